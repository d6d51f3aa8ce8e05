// SPDX-License-Identifier: MIT
// The C interface: make a network from torch's parameters, evaluate structures, free it.

#include <limits>

#include "evaluation.h"

namespace {

struct Settings {
    std::int64_t features, layers, embeddings, radial_functions, basis;
    std::int64_t has_energy, has_dipole, has_polarizability;
    double cutoff, epsilon, dipole_epsilon, polarizability_epsilon;
    double energy_scale, dipole_scale, polarizability_scale;
    double exponent;
    const double* constants;  // of the radial functions, [radial_functions]
};

// Parameters in the order of Potential's modules, one after the other.
class Parameters {
public:
    explicit Parameters(const Real* const* next) : next_(next) {}
    const Real* operator()() { return *next_++; }

private:
    const Real* const* next_;
};

Perceptron perceptron(Parameters& take, const Parts& in, int hidden, const Parts& out) {
    const Real *w1 = take(), *b1 = take(), *w2 = take(), *b2 = take();
    Perceptron p;
    p.hidden = padded(hidden);
    p.first = Linear::from_matrix(in, {hidden}, w1, b1);
    p.second = Linear::from_matrix({hidden}, out, w2, b2);
    p.first_back = Linear::transpose(in, {hidden}, w1);
    p.second_back = Linear::transpose({hidden}, out, w2);
    return p;
}

Layer layer(Parameters& take, int F, const Radial& radial, const Real* filter_weights,
            const Real* filter_bias) {
    Layer l;
    const int R = radial.size();
    // the bias is the weight of the last radial function, which is the cutoff function
    l.filter = Linear({radial.width()}, {F, F, F}, [=](int n, int o) {
        return n == R ? filter_bias[o] : filter_weights[o * R + n];
    });
    l.message = perceptron(take, {F}, F, {F, F, F});
    const Real* mix = take();
    l.mix = Linear::from_matrix({F}, {F, F}, mix);
    l.mix_back = Linear::transpose({F}, {F, F}, mix);
    l.update = perceptron(take, {F, F}, F, {F, F, F});
    return l;
}

GatedBlock gated_block(Parameters& take, int in, int out, bool activate, double epsilon) {
    GatedBlock block;
    block.mix = Linear::from_matrix({in}, {out, out}, take());
    block.gate = perceptron(take, {in, out}, in, {out, out});
    block.in = padded(in);
    block.out = padded(out);
    block.activate = activate;
    block.epsilon = Real(epsilon);
    return block;
}

std::vector<GatedBlock> gated_blocks(Parameters& take, int F, double epsilon) {
    const int hidden = std::max(F / 2, 1);
    std::vector<GatedBlock> blocks;
    blocks.push_back(gated_block(take, F, hidden, true, epsilon));
    blocks.push_back(gated_block(take, hidden, 1, false, epsilon));
    return blocks;
}

// The context of the first message is a table over elements.
Buffer first_context(const Network& net, std::size_t rows) {
    const int F = net.features;
    const Perceptron& message = net.layers.front().message;
    Buffer hidden = zeros(rows * F), table = zeros(rows * 2 * F);
    message.first(int(rows), net.embedding.get(), hidden.get());
    silu(rows * F, hidden.get(), hidden.get());
    message.second(int(rows), hidden.get(), F, F, table.get(), 2 * F, 2 * F);
    return table;
}

Network network(const Settings& s, Parameters take) {
    const int F = int(s.features);
    Network net;
    net.width = F;
    net.features = padded(F);
    net.radial = {Basis(s.basis), s.cutoff, s.exponent,
                  {s.constants, s.constants + s.radial_functions}};
    net.epsilon = Real(s.epsilon);
    const Real* embedding = take();
    net.embedding = zeros(s.embeddings * net.features);
    for (std::int64_t row = 0; row < s.embeddings; ++row)
        std::memcpy(net.embedding.get() + row * net.features, embedding + row * F,
                    F * sizeof(Real));
    const Real *filters = take(), *filter_bias = take();
    for (int l = 0; l < s.layers; ++l)
        net.layers.push_back(layer(take, F, net.radial,
                                   filters + std::size_t(l) * 3 * F * s.radial_functions,
                                   filter_bias + std::size_t(l) * 3 * F));
    net.first_context = first_context(net, s.embeddings);
    if (s.has_energy) {
        const int hidden = std::max(F / 2, 1);
        const Real *w1 = take(), *b1 = take(), *w2 = take();
        net.energy.hidden = padded(hidden);
        net.energy.first = Linear::from_matrix({F}, {hidden}, w1, b1);
        net.energy.first_back = Linear::transpose({F}, {hidden}, w1);
        net.energy_weights = zeros(padded(hidden));
        std::copy(w2, w2 + hidden, net.energy_weights.get());
        net.energy_bias = *take();
    }
    net.energy_scale = s.energy_scale;
    net.dipole_scale = s.dipole_scale;
    net.polarizability_scale = s.polarizability_scale;
    if (s.has_dipole) net.dipole = gated_blocks(take, F, s.dipole_epsilon);
    if (s.has_polarizability) net.polarizability = gated_blocks(take, F, s.polarizability_epsilon);
    return net;
}

// Molecules of so many atoms go through the network together: enough rows to use each weight
// often, few enough to stay in the cache.
constexpr std::int64_t kBlockAtoms = 48;

template <class T>
T* offset(T* p, std::int64_t by) { return p == nullptr ? nullptr : p + by; }

// Evaluates the isolated structures from `begin` up to `end`.
void evaluate_block(const Network& net, const Input& in, std::int64_t begin, std::int64_t end,
                    Arena& arena, std::vector<Pair>& pairs, Output& out) {
    const std::int64_t atom = in.first_atom[begin];
    std::vector<std::int64_t> first_atom(in.first_atom + begin, in.first_atom + end + 1);
    for (std::int64_t& first : first_atom) first -= atom;
    Input block = in;
    block.n_structures = end - begin;
    block.first_atom = first_atom.data();
    block.rows += atom;
    block.positions += 3 * atom;
    block.masses += atom;
    block.charges += begin;
    block.energy_reference += begin;
    block.polarizability_reference += begin;
    Output part{std::numeric_limits<double>::infinity(),
                {0, 0},
                offset(out.energy, begin),
                offset(out.forces, 3 * atom),
                nullptr,
                offset(out.dipole, 3 * begin),
                offset(out.polarizability, 9 * begin),
                offset(out.scalars, atom * net.width),
                offset(out.vectors, 3 * atom * net.width)};
    Evaluation(net, block, arena, pairs).run(part);
    if (part.shortest < out.shortest) {
        out.shortest = part.shortest;
        for (int k = 0; k < 2; ++k) out.shortest_pair[k] = part.shortest_pair[k] + atom;
    }
}

}  // namespace

extern "C" {

// Null when there is no memory.
void* eqcalc_network(const Settings* settings, const Real* const* parameters) {
    try {
        return new Network(network(*settings, Parameters(parameters)));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void eqcalc_free(void* network) { delete static_cast<Network*>(network); }

// Evaluates the structures from `begin` up to `end`, or all of them if pairs are given. Nonzero
// when there is no memory. Several threads may evaluate one network.
int eqcalc_evaluate(const void* network, const Input* input, Output* output, std::int64_t begin,
                    std::int64_t end) {
    static thread_local Arena arena;
    static thread_local std::vector<Pair> pairs;
    try {
        const Network& net = *static_cast<const Network*>(network);
        output->shortest = std::numeric_limits<double>::infinity();
        if (input->n_pairs >= 0) {
            Evaluation(net, *input, arena, pairs).run(*output);
            return 0;
        }
        while (begin < end) {
            std::int64_t next = begin + 1;
            while (next < end &&
                   input->first_atom[next + 1] - input->first_atom[begin] <= kBlockAtoms)
                ++next;
            evaluate_block(net, *input, begin, next, arena, pairs, *output);
            begin = next;
        }
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}
}
