// SPDX-License-Identifier: MIT
// The C interface: make a network from torch's parameters, evaluate structures, free it.

#include <limits>

#include "evaluation.h"

#ifdef EQCALC_WHEEL
// vectors of new compilers refer to it, and libraries of older systems lack it
namespace std {
[[noreturn]] __attribute__((weak, visibility("hidden"))) void __throw_bad_array_new_length() {
    throw bad_alloc();
}
}  // namespace std
#endif

namespace {

struct Settings {
    std::int64_t features, layers, embeddings, radial_functions, basis, invariant, cutoff_power;
    std::int64_t has_energy, has_dipole, has_polarizability;
    std::int64_t has_atomic_dipoles, polarizability_about_mass;
    double cutoff, epsilon, dipole_epsilon, polarizability_epsilon;
    double energy_scale, dipole_scale, polarizability_scale;
    double exponent;
    const double* constants;  // of the radial functions, [radial_functions]
};

// Parameters in the order of Potential's modules, one after the other. Maps are set by run().
class Parameters {
public:
    explicit Parameters(const Real* const* first) : first_(first) {}
    int index() const { return index_; }
    const Real* operator()() { return first_[index_++]; }

    void later(std::function<void()> task) { tasks_.push_back(std::move(task)); }

    void run(int threads) {
        parallel(threads, int(tasks_.size()), [&](int k) { tasks_[k](); });
    }

    void read(Map& map, const Parts& in, const Parts& out, bool biased = true) {
        map.weight = index();
        const Real* weight = (*this)();
        map.bias = biased ? index() : -1;
        const Real* bias = biased ? (*this)() : nullptr;
        later([&map, in, out, weight, bias] { map.set(in, out, weight, bias); });
    }

    void read(Perceptron& p, const Parts& in, int hidden, const Parts& out) {
        p.hidden = padded(hidden);
        read(p.first, in, {hidden});
        read(p.second, {hidden}, out);
    }

    void read_perceptron(std::vector<GatedBlock>& blocks, int F) {
        blocks.resize(1);
        GatedBlock& block = blocks[0];
        read(block.gate, {F}, std::max(F / 2, 1), {1});
        block.in = padded(F);
        block.out = padded(1);
        block.has_vectors = false;
    }

    void read(std::vector<GatedBlock>& blocks, int F, const Invariant& invariant) {
        const int widths[] = {F, std::max(F / 2, 1), 1};
        blocks.resize(2);
        for (int b = 0; b < 2; ++b) {
            const int in = widths[b], out = widths[b + 1];
            GatedBlock& block = blocks[b];
            read(block.mix, {in}, {out, out}, false);
            read(block.gate, {in, out}, in, {out, out});
            block.in = padded(in);
            block.out = padded(out);
            block.activate = b == 0;
            block.invariant = invariant;
        }
    }

private:
    const Real* const* first_;
    int index_ = 0;
    std::vector<std::function<void()>> tasks_;
};

// The context of the first message is a table over elements: of row after row, where it is unknown.
void find_first_context(Network& net, const std::int64_t* rows, std::size_t count) {
    const int F = net.features;
    const Perceptron& message = net.layers.front().message;
    Buffer hidden = zeros(F);
    const Array z{hidden.get()};
    for (std::size_t k = 0; k < count; ++k) {
        const std::int64_t row = rows[k];
        if (net.context_is_known[row]) continue;
        net.context_is_known[row] = true;
        message.first.forward(1, net.embedding.get() + row * F, hidden.get());
        silu<InValue>(F, z, z);
        message.second.forward.partly(hidden.get(), net.first_context.get() + row * 2 * F, 2 * F);
    }
}

// Fills a network, which may have been filled before, with parameters.
void read(Network& net, const Settings& s, Parameters take, int threads) {
    const int F = int(s.features), R = int(s.radial_functions);
    net.width = F;
    net.features = padded(F);
    net.radial = {Basis(s.basis), s.cutoff, s.exponent, int(s.cutoff_power),
                  {s.constants, s.constants + s.radial_functions}};
    net.invariant = {Invariant::Kind(s.invariant), Real(s.epsilon)};
    const Real* embedding = take();
    if (net.embedding == nullptr) {
        net.embeddings = s.embeddings;
        net.embedding = zeros(s.embeddings * net.features);
        net.first_context = zeros(s.embeddings * 2 * net.features);
        net.layers.resize(s.layers);
    }
    net.context_is_known.assign(s.embeddings, false);
    for (std::int64_t row = 0; row < s.embeddings; ++row)
        std::memcpy(net.embedding.get() + row * net.features, embedding + row * F, F * sizeof(Real));
    const Real *filters = take(), *filter_bias = take();
    for (Layer& layer : net.layers) {
        // the bias is the weight of the last radial function, which is the cutoff function
        take.later([=, &layer] {
            std::vector<Real> weights;
            for (int o = 0; o < 3 * F; ++o) {
                weights.insert(weights.end(), filters + o * R, filters + (o + 1) * R);
                weights.push_back(filter_bias[o]);
            }
            layer.filter.set({R + 1}, {F, F, F}, weights.data(), 1, R + 1);
        });
        filters += 3 * F * R;
        filter_bias += 3 * F;
        take.read(layer.message, {F}, F, {F, F, F});
        take.read(layer.mix, {F}, {F, F}, false);
        take.read(layer.update, {F, F}, F, {F, F, F});
    }
    if (s.has_energy) {
        const int hidden = std::max(F / 2, 1);
        net.energy_hidden = padded(net.energy_width = hidden);
        take.read(net.energy, {F}, {hidden});
        if (net.energy_weights == nullptr) net.energy_weights = zeros(net.energy_hidden);
        const Real* weights = take();
        std::copy(weights, weights + hidden, net.energy_weights.get());
        net.energy_bias = *take();
    }
    net.energy_scale = s.energy_scale;
    net.dipole_scale = s.dipole_scale;
    net.polarizability_scale = s.polarizability_scale;
    net.polarizability_about_mass = s.polarizability_about_mass;
    Invariant invariant = net.invariant;
    invariant.epsilon = Real(s.dipole_epsilon);
    if (s.has_dipole && s.has_atomic_dipoles) take.read(net.dipole, F, invariant);
    else if (s.has_dipole) take.read_perceptron(net.dipole, F);
    invariant.epsilon = Real(s.polarizability_epsilon);
    if (s.has_polarizability) take.read(net.polarizability, F, invariant);
    take.run(threads);
}

// Some consecutive structures of an input, as an input of its own.
struct Part {
    Input input;
    std::int64_t begin, end, atom;  // structures, and the first atom
    std::vector<std::int64_t> first_atom;

    void set(const Input& in, std::int64_t from, std::int64_t to) {
        begin = from;
        end = to;
        atom = in.first_atom[begin];
        first_atom.assign(in.first_atom + begin, in.first_atom + end + 1);
        for (std::int64_t& first : first_atom) first -= atom;
        input = in;
        input.n_structures = end - begin;
        input.first_atom = first_atom.data();
        input.before = atom;
        input.rows += atom;
        input.positions += 3 * atom;
        input.masses += atom;
        input.charges += begin;
        input.energy_reference += begin;
        input.polarizability_reference += begin;
        if (in.n_pairs < 0) return;
        const auto pair = [&](std::int64_t first) {
            return std::lower_bound(in.receivers, in.receivers + in.n_pairs, first) - in.receivers;
        };
        const std::int64_t first = pair(atom);
        input.n_pairs = pair(in.first_atom[end]) - first;
        input.receivers += first;
        input.senders += first;
        input.shifts += 3 * first;
    }

    Output of(const Output& out, int width) const {
        return {std::numeric_limits<double>::infinity(),
                {0, 0},
                offset(out.energy, begin),
                offset(out.forces, 3 * atom),
                offset(out.virial, 9 * begin),
                offset(out.dipole, 3 * begin),
                offset(out.polarizability, 9 * begin),
                offset(out.scalars, atom * width),
                offset(out.vectors, 3 * atom * width)};
    }

    Seeds of(const Seeds& seeds, int width) const {
        return {offset(seeds.energy, begin), offset(seeds.forces, 3 * atom),
                offset(seeds.virial, 9 * begin), offset(seeds.dipole, 3 * begin),
                offset(seeds.polarizability, 9 * begin), offset(seeds.scalars, atom * width),
                offset(seeds.vectors, 3 * atom * width)};
    }

private:
    template <class T>
    static T* offset(T* p, std::int64_t by) {
        return p == nullptr ? nullptr : p + by;
    }
};

// Structures of about so many atoms go through the network together: enough rows to use each
// weight often, few enough to stay in the cache.
constexpr std::int64_t kAtoms = 48;

// Where parts of about equally many atoms begin, and the end.
std::vector<std::int64_t> division(const Input& in) {
    const std::int64_t atoms = in.first_atom[in.n_structures];
    const std::int64_t parts = std::max<std::int64_t>((atoms + kAtoms - 1) / kAtoms, 1);
    std::vector<std::int64_t> bounds{0};
    for (std::int64_t s = 1; s <= in.n_structures; ++s)
        if (in.first_atom[s] * parts >= std::int64_t(bounds.size()) * atoms) bounds.push_back(s);
    if (bounds.back() < in.n_structures) bounds.push_back(in.n_structures);
    return bounds;
}

// What an evaluation works with.
struct Workspace {
    Part part;
    Arena arena, of_read_outs;
    std::vector<Pair> pairs;
};

// A part of a batch in training.
struct Block {
    Part part;
    Arena arena{true}, of_read_outs{true};
    std::vector<Pair> pairs;
    std::unique_ptr<Evaluation> evaluation;
    Gradients gradients;
};

// A batch in training, from its evaluation to the gradient of its loss.
struct Tape {
    const Network* net = nullptr;
    std::vector<std::unique_ptr<Block>> blocks;
    int size = 0;

    void run(const Network& network, const Input& in, const Output& out, int threads) {
        net = &network;
        const std::vector<std::int64_t> bounds = division(in);
        size = int(bounds.size()) - 1;
        while (int(blocks.size()) < size) blocks.push_back(std::make_unique<Block>());
        parallel(threads, size, [&](int k) {
            Block& block = *blocks[k];
            block.part.set(in, bounds[k], bounds[k + 1]);
            block.evaluation =
                std::make_unique<Evaluation>(network, block.part.input, block.arena,
                                             block.of_read_outs, block.pairs, true);
            Output part = block.part.of(out, network.width);
            block.evaluation->run(part);
        });
    }

    void differentiate(const Seeds& seeds, Real* const* of_parameters, int threads) {
        parallel(threads, size, [&](int k) {
            Block& block = *blocks[k];
            block.gradients.start(*net);
            block.evaluation->differentiate(block.part.of(seeds, net->width), block.gradients);
        });
        ParameterGradients of_all(*net, of_parameters);
        for (int k = 0; k < size; ++k) of_all.add(blocks[k]->gradients, blocks[k]->part.input);
        of_all.run(threads);
    }
};

template <class Body>
int guarded(Body body) {
    try {
        body();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

#pragma GCC visibility push(default)

// Functions that return an int return zero, or something else when there is no memory.
extern "C" {

// Null when there is no memory.
void* eqcalc_network() { return new (std::nothrow) Network(); }
void eqcalc_free(void* network) { delete static_cast<Network*>(network); }
void* eqcalc_tape() { return new (std::nothrow) Tape(); }
void eqcalc_free_tape(void* tape) { delete static_cast<Tape*>(tape); }

// Gives a network its parameters, for the first time or anew, for structures of elements `rows`.
int eqcalc_read(void* network, const Settings* settings, const Real* const* parameters,
                const std::int64_t* rows, std::int64_t n_rows, int threads) {
    return guarded([&] {
        Network& net = *static_cast<Network*>(network);
        read(net, *settings, Parameters(parameters), threads);
        find_first_context(net, rows, n_rows);
    });
}

// Several threads may evaluate one network. The result of a structure does not depend on the others.
int eqcalc_evaluate(const void* network, const Input* input, Output* output, int threads) {
    static Pool<Workspace> workspaces;
    return guarded([&] {
        const Network& net = *static_cast<const Network*>(network);
        const std::vector<std::int64_t> bounds = division(*input);
        std::mutex mutex;
        output->shortest = std::numeric_limits<double>::infinity();
        parallel(threads, int(bounds.size()) - 1, [&](int k) {
            Pool<Workspace>::Loan work(workspaces);
            work->part.set(*input, bounds[k], bounds[k + 1]);
            Output part = work->part.of(*output, net.width);
            Evaluation(net, work->part.input, work->arena, work->of_read_outs, work->pairs).run(part);
            const std::lock_guard<std::mutex> lock(mutex);
            // of equal distances the first, whichever thread is faster
            const auto key = [](const Output& o) { return std::pair(o.shortest, o.shortest_pair[0]); };
            for (std::int64_t& atom : part.shortest_pair) atom += work->part.atom;
            if (key(part) < key(*output)) {
                output->shortest = part.shortest;
                std::copy(part.shortest_pair, part.shortest_pair + 2, output->shortest_pair);
            }
        });
    });
}

// Evaluates a batch and keeps what the gradient of a loss needs; what the input points to must
// exist until then.
int eqcalc_record(const void* network, void* tape, const Input* input, const Output* output,
                  int threads) {
    return guarded([&] {
        static_cast<Tape*>(tape)->run(*static_cast<const Network*>(network), *input, *output, threads);
    });
}

// Gradient of a loss with respect to the parameters from that with respect to what was recorded;
// null where it is not wanted.
int eqcalc_differentiate(void* tape, const Seeds* seeds, Real* const* of_parameters, int threads) {
    return guarded([&] { static_cast<Tape*>(tape)->differentiate(*seeds, of_parameters, threads); });
}
}

#pragma GCC visibility pop
