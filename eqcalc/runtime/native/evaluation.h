// SPDX-License-Identifier: MIT
// One evaluation: forward through the network, backward for the gradient of the energy.
#pragma once

#include "message.h"
#include "readouts.h"

// What comes out; pointers that are null are not wanted.
struct Output {
    double shortest;  // distance of any pair within the cutoff, infinite if there is none
    std::int64_t shortest_pair[2];  // its receiver and sender
    double* energy;               // [n_structures]
    double* forces;               // [n_atoms, 3]
    double* virial;               // Σ r ⊗ dE/dr over pairs, [n_structures, 3, 3]
    double* dipole;               // [n_structures, 3]
    double* polarizability;       // [n_structures, 3, 3]
    Real* scalars;                // features of the atoms, [n_atoms, width]
    Real* vectors;                // [n_atoms, 3, width]
};

class Evaluation {
public:
    Evaluation(const Network& net, const Input& in, Arena& arena, std::vector<Pair>& pairs)
        : net_(net), in_(in), arena_(arena), pairs_(pairs), F(net.features),
          n(in.first_atom[in.n_structures]) {
        arena_.restart();
        find_pairs(pairs_, in_, net_.radial.cutoff);
    }

    void run(Output& out) {
        for (const Pair& pair : pairs_)
            if (pair.distance < out.shortest) {
                out.shortest = pair.distance;
                out.shortest_pair[0] = pair.receiver;
                out.shortest_pair[1] = pair.sender;
            }
        const Filters filters(arena_, net_, pairs_);
        scalars_ = arena_.take(n * F);
        hidden_ = arena_.take(n * F);
        joined_ = arena_.take(n * 2 * F);
        wide_ = arena_.take(n * 3 * F);
        mixed_ = arena_.take(n * 6 * F);
        for (std::size_t i = 0; i < n; ++i)
            std::memcpy(scalars_ + i * F, net_.embedding.get() + in_.rows[i] * F, F * sizeof(Real));
        states_.resize(net_.layers.size());
        for (std::size_t l = 0; l < net_.layers.size(); ++l) forward(l, filters);
        if (out.scalars != nullptr) hand_out(n, scalars_, out.scalars);
        if (out.vectors != nullptr) hand_out(3 * n, states_.back().vectors, out.vectors);
        ReadOuts read_outs(net_, in_, arena_, scalars_, states_.back().vectors);
        if (out.dipole != nullptr) read_outs.dipole(out.dipole);
        if (out.polarizability != nullptr) read_outs.polarizability(out.polarizability);
        if (out.energy == nullptr && out.forces == nullptr) return;
        Real* slope = energy(out.energy);
        if (out.forces == nullptr) return;
        backward(slope, filters, out);
    }

private:
    // Copies rows of features without their padding.
    void hand_out(std::size_t rows, const Real* features, Real* target) const {
        for (std::size_t i = 0; i < rows; ++i)
            std::memcpy(target + i * net_.width, features + i * F, net_.width * sizeof(Real));
    }

    // What the backward pass needs of a layer.
    struct State {
        const Real* vectors_in;  // null in the first layer
        Real *vectors;           // out
        Real *message_hidden, *context, *carried;
        Real *mixed;             // [n, 3, 2F]: left, right
        Real *joined;            // [n, 2F]: scalars, lengths of left
        Real *update_hidden, *gates;  // [n, F] before activation, [n, 3F]: ss, vv, sv
    };

    void forward(std::size_t l, const Filters& filters) {
        const Layer& layer = net_.layers[l];
        State& s = states_[l];
        Real* activated = hidden_;
        s.vectors_in = l == 0 ? nullptr : states_[l - 1].vectors;
        s.context = arena_.take(n * 3 * F);
        if (l == 0) {
            s.vectors = arena_.take_zeros(n * 3 * F);
            for (std::size_t i = 0; i < n; ++i)
                std::memcpy(s.context + i * 3 * F, net_.first_context.get() + in_.rows[i] * 2 * F,
                            2 * F * sizeof(Real));
            receive<false>({F, s.context, nullptr}, pairs_, filters, layer.filter, scalars_,
                           s.vectors);
        } else {
            s.message_hidden = arena_.take(n * F);
            layer.message.first(n, scalars_, s.message_hidden);
            silu(n * F, s.message_hidden, activated);
            layer.message.second(n, activated, s.context);
            s.carried = arena_.take(n * 3 * F);
            for_vectors([&](std::size_t i, std::size_t v, int k) {
                const Vector phi = load(s.context + (3 * i + 2) * F + k);
                store(s.carried + v, phi * load(s.vectors_in + v));
            });
            s.vectors = arena_.take(n * 3 * F);
            std::memcpy(s.vectors, s.vectors_in, n * 3 * F * sizeof(Real));
            receive<true>({F, s.context, s.carried}, pairs_, filters, layer.filter, scalars_,
                          s.vectors);
        }

        s.mixed = arena_.take(n * 6 * F);
        layer.mix(3 * n, s.vectors, s.mixed);
        s.joined = arena_.take(n * 2 * F);
        join(n, scalars_, F, s.mixed, F, net_.epsilon, s.joined);
        s.update_hidden = arena_.take(n * F);
        layer.update.first(n, s.joined, s.update_hidden);
        silu(n * F, s.update_hidden, activated);
        s.gates = arena_.take(n * 3 * F);
        layer.update.second(n, activated, s.gates);
        for_atoms([&](std::size_t i, int k) {
            const Real* gates = s.gates + 3 * i * F + k;
            Vector product{};
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const Vector right = load(s.mixed + (2 * c + 1) * F + k);
                product += load(s.mixed + 2 * c * F + k) * right;
                add(s.vectors + c * F + k, load(gates + F) * right);
            }
            add(scalars_ + i * F + k, load(gates) + load(gates + 2 * F) * product);
        });
    }

    // Energies, and their gradient with respect to the last scalars.
    Real* energy(double* energies) {
        const Perceptron& head = net_.energy;
        const int hidden = head.hidden;
        Real* z = arena_.take(n * hidden);
        Real* slope = arena_.take(n * F);
        head.first(n, scalars_, z);
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            double total = 0.0;
            for (std::int64_t i = in_.first_atom[s]; i < in_.first_atom[s + 1]; ++i) {
                Vector sums{};
                for (int k = 0; k < hidden; k += kLanes)
                    sums += silu(load(z + i * hidden + k)) * load(net_.energy_weights.get() + k);
                total += sum(sums) + net_.energy_bias;
            }
            if (energies != nullptr)
                energies[s] = net_.energy_scale * total + in_.energy_reference[s];
        }
        Real* back = arena_.take(n * hidden);
        for (std::size_t i = 0; i < n; ++i)
            std::memcpy(back + i * hidden, net_.energy_weights.get(), hidden * sizeof(Real));
        times_silu_slope(n * hidden, z, back);
        head.first_back(n, back, slope);
        return slope;
    }

    void backward(Real* of_scalars, const Filters& filters, const Output& out) {
        Real* of_vectors = arena_.take_zeros(n * 3 * F);
        std::vector<PairGradient> of_pairs(pairs_.size());
        for (std::size_t l = net_.layers.size(); l-- > 0;) {
            update_back(l, of_scalars, of_vectors);
            message_back(l, of_scalars, of_vectors, filters, of_pairs.data());
        }
        gather(of_pairs, out);
    }

    void update_back(std::size_t l, Real* of_scalars, Real* of_vectors) {
        const Layer& layer = net_.layers[l];
        const State& s = states_[l];
        Real* of_gates = wide_;
        for_atoms([&](std::size_t i, int k) {
            Vector ss = load(of_scalars + i * F + k), vv{}, product{};
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const Vector right = load(s.mixed + (2 * c + 1) * F + k);
                vv += load(of_vectors + c * F + k) * right;
                product += load(s.mixed + 2 * c * F + k) * right;
            }
            Real* target = of_gates + 3 * i * F + k;
            store(target, ss);
            store(target + F, vv);
            store(target + 2 * F, ss * product);
        });
        Real* hidden = hidden_;
        layer.update.second_back(n, of_gates, hidden);
        times_silu_slope(n * F, s.update_hidden, hidden);
        Real* of_joined = joined_;
        layer.update.first_back(n, hidden, of_joined);
        Real* of_mixed = mixed_;
        for_atoms([&](std::size_t i, int k) {
            const Vector of_s = load(of_scalars + i * F + k);
            const Real* gates = s.gates + 3 * i * F + k;
            const Vector vv = load(gates + F), sv = of_s * load(gates + 2 * F);
            const Vector length = load(s.joined + (2 * i + 1) * F + k);
            const Vector stretch = load(of_joined + (2 * i + 1) * F + k) / length;
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const Real* mixed = s.mixed + 2 * c * F + k;
                const Vector left = load(mixed), right = load(mixed + F);
                store(of_mixed + 2 * c * F + k, sv * right + stretch * left);
                store(of_mixed + (2 * c + 1) * F + k,
                      sv * left + vv * load(of_vectors + c * F + k));
            }
            store(of_scalars + i * F + k, of_s + load(of_joined + 2 * i * F + k));
        });
        Real* through = wide_;
        layer.mix_back(3 * n, of_mixed, through);
        for (std::size_t k = 0; k < n * 3 * F; k += kLanes) add(of_vectors + k, load(through + k));
    }

    void message_back(std::size_t l, Real* of_scalars, Real* of_vectors, const Filters& filters,
                      PairGradient* of_pairs) {
        const Layer& layer = net_.layers[l];
        const State& s = states_[l];
        if (l == 0) {
            receive_back<false>({F, s.context, nullptr}, {of_scalars, of_vectors, nullptr, nullptr},
                                pairs_, filters, layer.filter, of_pairs);
            return;
        }
        Real* of_context = wide_;
        Real* of_carried = mixed_;
        std::memset(of_context, 0, n * 3 * F * sizeof(Real));
        std::memset(of_carried, 0, n * 3 * F * sizeof(Real));
        receive_back<true>({F, s.context, s.carried},
                           {of_scalars, of_vectors, of_context, of_carried}, pairs_, filters,
                           layer.filter, of_pairs);
        for_vectors([&](std::size_t i, std::size_t v, int k) {
            const std::size_t phi = (3 * i + 2) * F + k;
            const Vector of_sent = load(of_carried + v);
            add(of_context + phi, of_sent * load(s.vectors_in + v));
            add(of_vectors + v, of_sent * load(s.context + phi));
        });
        Real* hidden = hidden_;
        layer.message.second_back(n, of_context, hidden);
        times_silu_slope(n * F, s.message_hidden, hidden);
        Real* through = joined_;
        layer.message.first_back(n, hidden, through);
        for (std::size_t k = 0; k < n * F; k += kLanes) add(of_scalars + k, load(through + k));
    }

    // From distances and directions of pairs to positions of atoms.
    void gather(const std::vector<PairGradient>& of_pairs, const Output& out) const {
        std::memset(out.forces, 0, n * 3 * sizeof(double));
        std::vector<std::int64_t> owner;
        if (out.virial != nullptr) {
            std::memset(out.virial, 0, in_.n_structures * 9 * sizeof(double));
            for (std::int64_t s = 0; s < in_.n_structures; ++s)
                owner.resize(in_.first_atom[s + 1], s);
        }
        for (std::size_t p = 0; p < pairs_.size(); ++p) {
            const Pair& pair = pairs_[p];
            const PairGradient& g = of_pairs[p];
            double along = 0.0;
            for (int c = 0; c < 3; ++c) along += g.direction[c] * pair.direction[c];
            for (int c = 0; c < 3; ++c) {
                const double u = pair.direction[c];
                const double of_vector =
                    net_.energy_scale *
                    ((g.direction[c] - along * u) / pair.distance + g.distance * u);
                out.forces[3 * pair.sender + c] -= of_vector;
                out.forces[3 * pair.receiver + c] += of_vector;
                if (out.virial != nullptr)
                    for (int a = 0; a < 3; ++a)
                        out.virial[9 * owner[pair.receiver] + 3 * a + c] +=
                            pair.distance * pair.direction[a] * of_vector;
            }
        }
    }

    template <class Visit>
    void for_atoms(Visit visit) const {
        for (std::size_t i = 0; i < n; ++i)
            for (int k = 0; k < F; k += kLanes) visit(i, k);
    }

    // Calls visit(atom, offset of the vector's component, feature).
    template <class Visit>
    void for_vectors(Visit visit) const {
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c)
                for (int k = 0; k < F; k += kLanes) visit(i, c * F + k, k);
    }

    const Network& net_;
    const Input& in_;
    Arena& arena_;
    std::vector<Pair>& pairs_;
    const int F;
    const std::size_t n;
    Real* scalars_ = nullptr;
    std::vector<State> states_;
    // temporary, [n, F], [n, 2F], [n, 3F] and [n, 6F]
    Real *hidden_ = nullptr, *joined_ = nullptr, *wide_ = nullptr, *mixed_ = nullptr;
};
