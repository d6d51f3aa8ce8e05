// SPDX-License-Identifier: MIT
// One evaluation of some structures: forward through the network, backward for the gradient of the
// energy; and in training both once more for the gradient of the loss.
#pragma once

#include <optional>

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

// The gradient of a loss with respect to what came out, in the same shapes; null where it has none.
struct Seeds {
    const double *energy, *forces, *virial, *dipole, *polarizability;
    const Real *scalars, *vectors;
};

class Evaluation {
public:
    // With `recording` everything that training needs is kept.
    Evaluation(const Network& net, const Input& in, Arena& arena, Arena& of_read_outs,
               std::vector<Pair>& pairs, bool recording = false)
        : net_(net), in_(in), arena_(arena), of_read_outs_(of_read_outs), pairs_(pairs),
          recording_(recording), F(net.features), n(in.first_atom[in.n_structures]) {
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
        filters_ = Filters(arena_, net_, pairs_, recording_);
        hidden_ = arena_.take(n * F);
        joined_ = arena_.take(n * 2 * F);
        wide_ = arena_.take(n * 3 * F);
        vectors_ = arena_.take(n * 3 * F);
        mixed_ = arena_.take(n * 6 * F);
        states_.resize(net_.layers.size());
        begin_ = arena_.mark();
        forward<Values>();
        const State& last = states_.back();
        if (out.scalars != nullptr) hand_out(n, last.scalars.value, out.scalars);
        if (out.vectors != nullptr) hand_out(3 * n, last.vectors.value, out.vectors);
        read_outs_.emplace(net_, in_, of_read_outs_, last.scalars, last.vectors);
        if (out.dipole != nullptr) read_outs_->dipole(out.dipole);
        if (out.polarizability != nullptr) read_outs_->polarizability(out.polarizability);
        middle_ = arena_.mark();
        has_forces_ = out.forces != nullptr;
        if (out.energy == nullptr && !has_forces_) return;
        energy_forward<Values>(out.energy);
        if (!has_forces_) return;
        Gradient g = no_gradient();
        energy_back<Values>(nullptr, g);
        backward<Values>(g);
        gather(out);
    }

    // Adds the gradient of the loss with respect to the parameters to `gradients`.
    void differentiate(const Seeds& seeds, Gradients& gradients) {
        gradients_ = &gradients;
        const bool along = seeds.forces != nullptr || seeds.virial != nullptr;
        if (along) {
            find_rates(seeds);
            arena_.restart(begin_);
            forward<Tangents>();
            differentiate<Tangents>(seeds);
        } else {
            differentiate<Adjoints>(seeds);
        }
    }

private:
    // Copies rows of features without their padding.
    void hand_out(std::size_t rows, const Real* features, Real* target) const {
        for (std::size_t i = 0; i < rows; ++i)
            std::memcpy(target + i * net_.width, features + i * F, net_.width * sizeof(Real));
    }

    // Features in a layer.
    struct State {
        Array scalars, vectors;  // out
        Array message_hidden, message_active, context, carried;
        Array met;               // vectors after the message
        Array mixed;             // [n, 3, 2F]: left, right
        Array joined;            // [n, 2F]: scalars after the message, invariants of left
        Array update_hidden, update_active, gates;  // [n, F], [n, F], [n, 3F]: ss, vv, sv
    };

    // Gradient with respect to the features between two blocks.
    struct Gradient {
        Array scalars, vectors;
    };

    // An array that is kept in training, and else the one that all layers share.
    Array kept(Array shared, std::size_t size) { return recording_ ? arena_.take(size) : shared; }

    template <class At>
    static Array zeroed(Array a, std::size_t size) {
        std::memset(At::written(a), 0, size * sizeof(Real));
        return a;
    }

    template <class At>
    static Array copied(Array from, Array to, std::size_t size) {
        if (At::written(from) != At::written(to))
            std::memcpy(At::written(to), At::written(from), size * sizeof(Real));
        return to;
    }

    template <class At>
    static void apply(const Map& map, std::size_t rows, Array x, Array y) {
        if constexpr (std::is_same_v<At, InValue>) map.forward(int(rows), x.value, y.value);
        else map.forward.without_bias(int(rows), At::written(x), At::written(y));
    }

    // From the gradient of y to that of x; in training also to that of the weights.
    template <class Pass>
    void apply_back(const Map& map, std::size_t rows, Array x, Array of_y, Array of_x) {
        using Of = typename Pass::Of;
        map.back(int(rows), Of::written(of_y), Of::written(of_x));
        if constexpr (!std::is_same_v<Pass, Values>)
            gradients_->add(map, {int(rows), x, of_y, std::is_same_v<Pass, Tangents>});
    }

    template <class Pass>
    void forward() {
        for (std::size_t l = 0; l < net_.layers.size(); ++l) forward<typename Pass::At, Pass>(l);
    }

    template <class At, class Pass>
    void forward(std::size_t l) {
        using N = typename At::Number;
        const Layer& layer = net_.layers[l];
        State& s = states_[l];
        s.context = arena_.take(n * 3 * F);
        s.scalars = arena_.take(n * F);
        s.met = kept(vectors_, n * 3 * F);
        if (l == 0) {
            begin_with_elements<At>(s);
            receive<Pass, false>({F, s.context, {}}, pairs_, rates_, filters_, layer.filter,
                                 s.scalars, s.met);
        } else {
            const State& before = states_[l - 1];
            s.message_hidden = arena_.take(n * F);
            s.message_active = kept(hidden_, n * F);
            apply<At>(layer.message.first, n, before.scalars, s.message_hidden);
            silu<At>(n * F, s.message_hidden, s.message_active);
            apply<At>(layer.message.second, n, s.message_active, s.context);
            s.carried = arena_.take(n * 3 * F);
            for_vectors([&](std::size_t i, std::size_t v, int k) {
                const N phi = At::get(s.context, (3 * i + 2) * F + k);
                At::put(s.carried, v, phi * At::get(before.vectors, v));
            });
            copied<At>(before.scalars, s.scalars, n * F);
            copied<At>(before.vectors, s.met, n * 3 * F);
            receive<Pass, true>({F, s.context, s.carried}, pairs_, rates_, filters_, layer.filter,
                                s.scalars, s.met);
        }

        s.mixed = arena_.take(n * 6 * F);
        apply<At>(layer.mix, 3 * n, s.met, s.mixed);
        s.joined = arena_.take(n * 2 * F);
        join<At>(n, s.scalars, F, s.mixed, F, net_.invariant, s.joined);
        s.update_hidden = arena_.take(n * F);
        s.update_active = kept(hidden_, n * F);
        apply<At>(layer.update.first, n, s.joined, s.update_hidden);
        silu<At>(n * F, s.update_hidden, s.update_active);
        s.gates = arena_.take(n * 3 * F);
        apply<At>(layer.update.second, n, s.update_active, s.gates);
        s.vectors = arena_.take(n * 3 * F);
        for_atoms([&](std::size_t i, int k) {
            const std::size_t gates = 3 * i * F + k;
            const N vv = At::get(s.gates, gates + F);
            N product{};
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const N right = At::get(s.mixed, (2 * c + 1) * F + k);
                product += At::get(s.mixed, 2 * c * F + k) * right;
                At::put(s.vectors, c * F + k, At::get(s.met, c * F + k) + vv * right);
            }
            At::add(s.scalars, i * F + k,
                    At::get(s.gates, gates) + At::get(s.gates, gates + 2 * F) * product);
        });
    }

    // Before the first message everything depends on the elements only.
    template <class At>
    void begin_with_elements(const State& s) const {
        zeroed<At>(s.met, n * 3 * F);
        if constexpr (std::is_same_v<At, InValue>) {
            for (std::size_t i = 0; i < n; ++i) {
                std::memcpy(s.scalars.value + i * F, net_.embedding.get() + in_.rows[i] * F,
                            F * sizeof(Real));
                std::memcpy(s.context.value + i * 3 * F, net_.first_context.get() + in_.rows[i] * 2 * F,
                            2 * F * sizeof(Real));
            }
        } else {
            zeroed<At>(s.scalars, n * F);
            zeroed<At>(s.context, n * 3 * F);
        }
    }

    template <class Pass>
    void energy_forward(double* energies) {
        const int hidden = net_.energy_hidden;
        energy_hidden_ = arena_.take(n * hidden);
        apply<typename Pass::At>(net_.energy, n, states_.back().scalars, energy_hidden_);
        if constexpr (std::is_same_v<Pass, Values>) {
            if (energies == nullptr) return;
            for (std::int64_t s = 0; s < in_.n_structures; ++s) {
                double total = 0.0;
                for (std::int64_t i = in_.first_atom[s]; i < in_.first_atom[s + 1]; ++i) {
                    Vector sums{};
                    for (int k = 0; k < hidden; k += kLanes)
                        sums += silu(load(energy_hidden_.value + i * hidden + k)) *
                                load(net_.energy_weights.get() + k);
                    total += sum(sums) + net_.energy_bias;
                }
                energies[s] = net_.energy_scale * total + in_.energy_reference[s];
            }
        }
    }

    // Gradient of the sum of energies; its tangent, or adjoint, includes that of the loss with
    // respect to the energies.
    template <class Pass>
    void energy_back(const double* of_energies, const Gradient& g) {
        using At = typename Pass::At;
        using Of = typename Pass::Of;
        const int hidden = net_.energy_hidden;
        const Array of_hidden = arena_.take(n * hidden);
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const Real seed = of_energies == nullptr ? 0 : Real(net_.energy_scale * of_energies[s]);
            for (std::int64_t i = in_.first_atom[s]; i < in_.first_atom[s + 1]; ++i) {
                if constexpr (!std::is_same_v<Pass, Values>) gradients_->energy_bias += seed;
                for (int k = 0; k < hidden; k += kLanes) {
                    const Vector weights = load(net_.energy_weights.get() + k);
                    const auto z = At::get(energy_hidden_, i * hidden + k);
                    typename Of::Number of_active;
                    if constexpr (std::is_same_v<Pass, Values>) {
                        of_active = weights;
                    } else if constexpr (std::is_same_v<Pass, Tangents>) {
                        of_active = {weights, seed * weights};
                        const Dual active = silu(z);
                        ::add(gradients_->energy_weights.get() + k,
                              seed * active.value + active.tangent);
                    } else {
                        of_active = seed * weights;
                        ::add(gradients_->energy_weights.get() + k, seed * silu(z));
                    }
                    Of::put(of_hidden, i * hidden + k, of_active * silu_slope(z));
                }
            }
        }
        apply_back<Pass>(net_.energy, n, states_.back().scalars, of_hidden, g.scalars);
    }

    Gradient no_gradient() { return {arena_.take(n * F), arena_.take(n * 3 * F)}; }

    template <class Pass>
    void differentiate(const Seeds& seeds) {
        arena_.restart(middle_);
        const bool energy = seeds.energy != nullptr || std::is_same_v<Pass, Tangents>;
        if constexpr (std::is_same_v<Pass, Tangents>) energy_forward<Pass>(nullptr);
        else if (energy) arena_.take(n * net_.energy_hidden);
        Gradient g = no_gradient();
        if (energy) energy_back<Pass>(seeds.energy, g);
        else zeroed<InTangent>(g.scalars, n * F);
        zeroed<InTangent>(g.vectors, n * 3 * F);
        add_seeds(n, seeds.scalars, g.scalars);
        add_seeds(3 * n, seeds.vectors, g.vectors);
        if (seeds.dipole != nullptr)
            read_outs_->dipole_back(seeds.dipole, g.scalars, g.vectors, *gradients_);
        if (seeds.polarizability != nullptr)
            read_outs_->polarizability_back(seeds.polarizability, g.scalars, g.vectors, *gradients_);
        backward<Pass>(g);
    }

    void add_seeds(std::size_t rows, const Real* seeds, Array g) const {
        if (seeds == nullptr) return;
        for (std::size_t i = 0; i < rows; ++i)
            for (int k = 0; k < net_.width; ++k) g.tangent[i * F + k] += seeds[i * net_.width + k];
    }

    // The direction is minus the gradient of the loss with respect to the forces, and for the
    // virial the strain; both times the scale of the energy.
    void find_rates(const Seeds& seeds) {
        rates_.clear();
        std::size_t s = 0;
        for (const Pair& pair : pairs_) {
            while (in_.first_atom[s + 1] <= pair.receiver) ++s;
            double vector[3] = {0.0, 0.0, 0.0};
            for (int c = 0; c < 3; ++c) {
                if (seeds.forces != nullptr)
                    vector[c] += seeds.forces[3 * pair.receiver + c] - seeds.forces[3 * pair.sender + c];
                if (seeds.virial != nullptr)
                    for (int a = 0; a < 3; ++a)
                        vector[c] += pair.distance * pair.direction[a] *
                                     seeds.virial[9 * s + 3 * a + c];
                vector[c] *= net_.energy_scale;
            }
            rates_.push_back(pair.rate(vector));
        }
    }

    template <class Pass>
    void backward(Gradient g) {
        if constexpr (std::is_same_v<Pass, Values>) {
            zeroed<InValue>(g.vectors, n * 3 * F);
            of_pairs_.assign(pairs_.size(), {});
        }
        for (std::size_t l = net_.layers.size(); l-- > 0;) {
            g = update_back<Pass>(l, g);
            g = message_back<Pass>(l, g);
        }
    }

    template <class Pass>
    Gradient update_back(std::size_t l, Gradient g) {
        using At = typename Pass::At;
        using Of = typename Pass::Of;
        using G = typename Of::Number;
        const Layer& layer = net_.layers[l];
        const State& s = states_[l];
        const Array of_gates = kept(wide_, n * 3 * F);
        for_atoms([&](std::size_t i, int k) {
            const G ss = Of::get(g.scalars, i * F + k);
            G vv{};
            typename At::Number product{};
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const auto right = At::get(s.mixed, (2 * c + 1) * F + k);
                vv += Of::get(g.vectors, c * F + k) * right;
                product += At::get(s.mixed, 2 * c * F + k) * right;
            }
            const std::size_t gates = 3 * i * F + k;
            Of::put(of_gates, gates, ss);
            Of::put(of_gates, gates + F, vv);
            Of::put(of_gates, gates + 2 * F, ss * product);
        });
        const Array of_active = kept(hidden_, n * F), of_hidden = kept(hidden_, n * F);
        apply_back<Pass>(layer.update.second, n, s.update_active, of_gates, of_active);
        silu_back<At, Of>(n * F, s.update_hidden, of_active, of_hidden);
        const Array of_joined = kept(joined_, n * 2 * F);
        apply_back<Pass>(layer.update.first, n, s.joined, of_hidden, of_joined);
        const Array of_mixed = kept(mixed_, n * 6 * F);
        const Gradient before = recording_ ? no_gradient() : g;
        for_atoms([&](std::size_t i, int k) {
            const G of_s = Of::get(g.scalars, i * F + k);
            const auto vv = At::get(s.gates, (3 * i + 1) * F + k);
            const G sv = of_s * At::get(s.gates, (3 * i + 2) * F + k);
            const std::size_t invariant = (2 * i + 1) * F + k;
            const G stretch =
                net_.invariant.stretch(Of::get(of_joined, invariant), At::get(s.joined, invariant));
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const std::size_t left = 2 * c * F + k, right = left + F;
                const auto l_c = At::get(s.mixed, left), r_c = At::get(s.mixed, right);
                Of::put(of_mixed, left, sv * r_c + stretch * l_c);
                Of::put(of_mixed, right, sv * l_c + Of::get(g.vectors, c * F + k) * vv);
            }
            Of::put(before.scalars, i * F + k, of_s + Of::get(of_joined, 2 * i * F + k));
        });
        apply_back<Pass>(layer.mix, 3 * n, s.met, of_mixed, wide_);
        for (std::size_t k = 0; k < n * 3 * F; k += kLanes)
            Of::put(before.vectors, k, Of::get(g.vectors, k) + Of::get(wide_, k));
        return before;
    }

    template <class Pass>
    Gradient message_back(std::size_t l, Gradient g) {
        using At = typename Pass::At;
        using Of = typename Pass::Of;
        using G = typename Of::Number;
        const Layer& layer = net_.layers[l];
        const State& s = states_[l];
        if (l == 0) {
            const Message message{F, s.context, {}};
            if constexpr (std::is_same_v<Pass, Values>) {
                receive_back<false>(message, {g.scalars, g.vectors, {}, {}}, pairs_, filters_,
                                    layer.filter, of_pairs_.data());
            } else {
                const Array of_context = zeroed<Of>(arena_.take(n * 3 * F), n * 3 * F);
                receive_back<Pass, false>(message, {g.scalars, g.vectors, of_context, {}}, pairs_,
                                          rates_, filters_, layer.filter, gradients_->work(net_),
                                          gradients_->filters[l].get());
                gradients_->of_first_context = of_context.tangent;
                gradients_->of_embedding = g.scalars.tangent;
            }
            return g;
        }
        const State& before = states_[l - 1];
        const Array of_context = zeroed<Of>(kept(wide_, n * 3 * F), n * 3 * F);
        const Array of_carried = zeroed<Of>(kept(mixed_, n * 3 * F), n * 3 * F);
        const Message message{F, s.context, s.carried};
        const MessageGradient of_message{g.scalars, g.vectors, of_context, of_carried};
        if constexpr (std::is_same_v<Pass, Values>)
            receive_back<true>(message, of_message, pairs_, filters_, layer.filter, of_pairs_.data());
        else
            receive_back<Pass, true>(message, of_message, pairs_, rates_, filters_, layer.filter,
                                     gradients_->work(net_), gradients_->filters[l].get());
        const Gradient of_before = recording_ ? no_gradient() : g;
        for_vectors([&](std::size_t i, std::size_t v, int k) {
            const std::size_t phi = (3 * i + 2) * F + k;
            const G of_sent = Of::get(of_carried, v);
            Of::add(of_context, phi, of_sent * At::get(before.vectors, v));
            Of::put(of_before.vectors, v, Of::get(g.vectors, v) + of_sent * At::get(s.context, phi));
        });
        const Array of_active = kept(hidden_, n * F), of_hidden = kept(hidden_, n * F);
        apply_back<Pass>(layer.message.second, n, s.message_active, of_context, of_active);
        silu_back<At, Of>(n * F, s.message_hidden, of_active, of_hidden);
        apply_back<Pass>(layer.message.first, n, before.scalars, of_hidden, joined_);
        for (std::size_t k = 0; k < n * F; k += kLanes)
            Of::put(of_before.scalars, k, Of::get(g.scalars, k) + Of::get(joined_, k));
        return of_before;
    }

    // From distances and directions of pairs to positions of atoms.
    void gather(const Output& out) const {
        std::memset(out.forces, 0, n * 3 * sizeof(double));
        if (out.virial != nullptr)
            std::memset(out.virial, 0, in_.n_structures * 9 * sizeof(double));
        std::int64_t s = 0;
        for (std::size_t p = 0; p < pairs_.size(); ++p) {
            const Pair& pair = pairs_[p];
            const PairGradient& g = of_pairs_[p];
            while (in_.first_atom[s + 1] <= pair.receiver) ++s;
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
                        out.virial[9 * s + 3 * a + c] +=
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
    Arena &arena_, &of_read_outs_;
    std::vector<Pair>& pairs_;
    const bool recording_;
    const int F;
    const std::size_t n;
    bool has_forces_ = false;
    std::size_t begin_ = 0, middle_ = 0;  // of the arena, at the first layer and after the last
    Filters filters_;
    std::vector<PairRate> rates_;
    std::vector<PairGradient> of_pairs_;
    std::vector<State> states_;
    Array energy_hidden_;
    std::optional<ReadOuts> read_outs_;
    Gradients* gradients_ = nullptr;
    // temporary, [n, F], [n, 2F], [n, 3F], [n, 3F] and [n, 6F]
    Array hidden_, joined_, wide_, vectors_, mixed_;
};
