// SPDX-License-Identifier: MIT
// Dipole and polarizability from the features of atoms; see eqcalc/models/readouts.py.
#pragma once

#include "gradients.h"

class ReadOuts {
public:
    ReadOuts(const Network& net, const Input& in, Arena& arena, Array scalars, Array vectors)
        : net_(net), in_(in), arena_(arena), n_(in.first_atom[in.n_structures]),
          scalars_(scalars), vectors_(vectors) {
        arena_.restart();
    }

    // μ = Σ μ_i + q_i (r_i − r_0), r_0 the centre of mass, Σ q_i the total charge.
    void dipole(double* dipoles) {
        const auto [charges, vectors] = read_out(net_.dipole, of_dipole_);
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const std::int64_t begin = in_.first_atom[s], end = in_.first_atom[s + 1];
            double missing = in_.charges[s] / net_.dipole_scale;
            for (std::int64_t i = begin; i < end; ++i) missing -= charges[i * kLanes];
            missing /= double(end - begin);
            const Point origin = center(begin, end, in_.masses);
            for (int c = 0; c < 3; ++c) {
                double total = 0.0;
                for (std::int64_t i = begin; i < end; ++i)
                    total += vectors[(3 * i + c) * kLanes] +
                             (charges[i * kLanes] + missing) * (in_.positions[3 * i + c] - origin[c]);
                dipoles[3 * s + c] = net_.dipole_scale * total;
            }
        }
    }

    // α = Σ a_i 1 + ν_i ⊗ (r_i − r_0) + (r_i − r_0) ⊗ ν_i, r_0 the centroid or the centre of mass.
    void polarizability(double* polarizabilities) {
        const auto [isotropic, vectors] = read_out(net_.polarizability, of_polarizability_);
        const double* weights = net_.polarizability_about_mass ? in_.masses : nullptr;
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const std::int64_t begin = in_.first_atom[s], end = in_.first_atom[s + 1];
            const Point origin = center(begin, end, weights);
            double* alpha = polarizabilities + 9 * s;
            std::fill(alpha, alpha + 9, 0.0);
            for (std::int64_t i = begin; i < end; ++i)
                for (int a = 0; a < 3; ++a) {
                    alpha[4 * a] += isotropic[i * kLanes];
                    for (int b = 0; b < 3; ++b) {
                        const double arm = in_.positions[3 * i + b] - origin[b];
                        const double product = vectors[(3 * i + a) * kLanes] * arm;
                        alpha[3 * a + b] += product;
                        alpha[3 * b + a] += product;
                    }
                }
            for (int k = 0; k < 9; ++k) alpha[k] *= net_.polarizability_scale;
            for (int a = 0; a < 3; ++a) alpha[4 * a] += in_.polarizability_reference[s];
        }
    }

    // Adds the gradient of a loss to the tangents of `of_scalars` and `of_vectors`.
    void dipole_back(const double* seeds, Array of_scalars, Array of_vectors, Gradients& gradients) {
        const auto [of_charges, of_dipoles] = seeds_of_atoms();
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const std::int64_t begin = in_.first_atom[s], end = in_.first_atom[s + 1];
            const Point origin = center(begin, end, in_.masses);
            const auto of_charge = [&](std::int64_t i) {
                double total = 0.0;
                for (int c = 0; c < 3; ++c)
                    total += seeds[3 * s + c] * (in_.positions[3 * i + c] - origin[c]);
                return net_.dipole_scale * total;
            };
            double mean = 0.0;  // the total charge is fixed
            for (std::int64_t i = begin; i < end; ++i) mean += of_charge(i) / double(end - begin);
            for (std::int64_t i = begin; i < end; ++i) {
                of_charges.tangent[i * kLanes] = Real(of_charge(i) - mean);
                for (int c = 0; c < 3; ++c)
                    of_dipoles.tangent[(3 * i + c) * kLanes] =
                        Real(net_.dipole_scale * seeds[3 * s + c]);
            }
        }
        back(net_.dipole, of_dipole_, of_charges, of_dipoles, of_scalars, of_vectors, gradients);
    }

    void polarizability_back(const double* seeds, Array of_scalars, Array of_vectors,
                             Gradients& gradients) {
        const auto [of_isotropic, of_directions] = seeds_of_atoms();
        const double* weights = net_.polarizability_about_mass ? in_.masses : nullptr;
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const std::int64_t begin = in_.first_atom[s], end = in_.first_atom[s + 1];
            const Point origin = center(begin, end, weights);
            const double* of_alpha = seeds + 9 * s;
            for (std::int64_t i = begin; i < end; ++i) {
                of_isotropic.tangent[i * kLanes] =
                    Real(net_.polarizability_scale * (of_alpha[0] + of_alpha[4] + of_alpha[8]));
                for (int a = 0; a < 3; ++a) {
                    double total = 0.0;
                    for (int b = 0; b < 3; ++b)
                        total += (of_alpha[3 * a + b] + of_alpha[3 * b + a]) *
                                 (in_.positions[3 * i + b] - origin[b]);
                    of_directions.tangent[(3 * i + a) * kLanes] =
                        Real(net_.polarizability_scale * total);
                }
            }
        }
        back(net_.polarizability, of_polarizability_, of_isotropic, of_directions, of_scalars,
             of_vectors, gradients);
    }

private:
    using Point = std::array<double, 3>;

    // What a block reads and computes.
    struct State {
        Array scalars_in, vectors_in, mixed, joined, hidden, active, gates;
    };

    // Mean of the positions, weighted if there are weights.
    Point center(std::int64_t begin, std::int64_t end, const double* weights) const {
        Point sums{};
        double total = 0.0;
        for (std::int64_t i = begin; i < end; ++i) {
            const double weight = weights == nullptr ? 1.0 : weights[i];
            total += weight;
            for (int c = 0; c < 3; ++c) sums[c] += weight * in_.positions[3 * i + c];
        }
        for (double& sum : sums) sum /= total;
        return sums;
    }

    // The hidden layer of a perceptron.
    void activate(const Perceptron& perceptron, State& s) {
        s.hidden = arena_.take(n_ * perceptron.hidden);
        s.active = arena_.take(n_ * perceptron.hidden);
        perceptron.first.forward(int(n_), s.joined.value, s.hidden.value);
        silu<InValue>(n_ * perceptron.hidden, s.hidden, s.active);
    }

    // A scalar and a vector per atom, each the first of its padded features.
    std::pair<const Real*, const Real*> read_out(const std::vector<GatedBlock>& blocks,
                                                 std::vector<State>& states) {
        Array scalars = scalars_, vectors = vectors_;
        states.clear();
        for (const GatedBlock& block : blocks) {
            const int rows = int(n_);
            State s{scalars, vectors, {}, {}, {}, {}, {}};
            if (!block.has_vectors) {
                s.joined = scalars;
                activate(block.gate, s);
                scalars = arena_.take(n_ * block.out);
                block.gate.second.forward(rows, s.active.value, scalars.value);
                vectors = arena_.take(n_ * 3 * block.out);
                std::memset(vectors.value, 0, n_ * 3 * block.out * sizeof(Real));
                states.push_back(s);
                continue;
            }
            s.mixed = arena_.take(n_ * 6 * block.out);
            block.mix.forward(3 * rows, vectors.value, s.mixed.value);
            s.joined = arena_.take(n_ * (block.in + block.out));
            join<InValue>(n_, scalars, block.in, s.mixed, block.out, block.invariant, s.joined);
            activate(block.gate, s);
            s.gates = arena_.take(n_ * 2 * block.out);
            block.gate.second.forward(rows, s.active.value, s.gates.value);
            scalars = arena_.take(n_ * block.out);
            vectors = arena_.take(n_ * 3 * block.out);
            for (std::size_t i = 0; i < n_; ++i)
                for (int k = 0; k < block.out; k += kLanes) {
                    const Vector value = InValue::get(s.gates, 2 * i * block.out + k);
                    const Vector gate = InValue::get(s.gates, (2 * i + 1) * block.out + k);
                    InValue::put(scalars, i * block.out + k, block.activate ? silu(value) : value);
                    for (std::size_t c = 3 * i; c < 3 * i + 3; ++c)
                        InValue::put(vectors, c * block.out + k,
                                     gate * InValue::get(s.mixed, (2 * c + 1) * block.out + k));
                }
            states.push_back(s);
        }
        return {scalars.value, vectors.value};
    }

    // Gradients of the scalar and the vector of every atom, to be filled in.
    std::pair<Array, Array> seeds_of_atoms() {
        const Array of_scalars = arena_.take(n_ * kLanes), of_vectors = arena_.take(n_ * 3 * kLanes);
        std::memset(of_scalars.tangent, 0, n_ * kLanes * sizeof(Real));
        std::memset(of_vectors.tangent, 0, n_ * 3 * kLanes * sizeof(Real));
        return {of_scalars, of_vectors};
    }

    // The reverse of read_out().
    void back(const std::vector<GatedBlock>& blocks, const std::vector<State>& states,
              Array of_scalars, Array of_vectors, Array to_scalars, Array to_vectors,
              Gradients& gradients) {
        const int rows = int(n_);
        const auto apply_back = [&](const Map& map, int n, Array x, Array of_y, Array of_x) {
            map.back(n, of_y.tangent, of_x.tangent);
            gradients.add(map, {n, x, of_y, false});
        };
        for (std::size_t b = blocks.size(); b-- > 0;) {
            const GatedBlock& block = blocks[b];
            const State& s = states[b];
            const int out = block.out, width = block.in + out;
            if (!block.has_vectors) {
                const Array of_active = arena_.take(n_ * block.gate.hidden);
                const Array of_hidden = arena_.take(n_ * block.gate.hidden);
                const Array of_output = of_scalars;
                of_scalars = arena_.take(n_ * block.in);
                of_vectors = arena_.take(n_ * 3 * block.in);
                std::memset(of_vectors.tangent, 0, n_ * 3 * block.in * sizeof(Real));
                apply_back(block.gate.second, rows, s.active, of_output, of_active);
                silu_back<InValue, InTangent>(n_ * block.gate.hidden, s.hidden, of_active, of_hidden);
                apply_back(block.gate.first, rows, s.joined, of_hidden, of_scalars);
                continue;
            }
            const Array of_gates = arena_.take(n_ * 2 * out), of_mixed = arena_.take(n_ * 6 * out);
            const Array of_active = arena_.take(n_ * block.gate.hidden);
            const Array of_hidden = arena_.take(n_ * block.gate.hidden);
            const Array of_joined = arena_.take(n_ * width);
            for (std::size_t i = 0; i < n_; ++i)
                for (int k = 0; k < out; k += kLanes) {
                    const std::size_t value = 2 * i * out + k, gate = value + out;
                    Vector of_value = InTangent::get(of_scalars, i * out + k), of_gate{};
                    if (block.activate) of_value *= silu_slope(InValue::get(s.gates, value));
                    for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                        const std::size_t right = (2 * c + 1) * out + k;
                        const Vector of_vector = InTangent::get(of_vectors, c * out + k);
                        of_gate += of_vector * InValue::get(s.mixed, right);
                        InTangent::put(of_mixed, right, of_vector * InValue::get(s.gates, gate));
                    }
                    InTangent::put(of_gates, value, of_value);
                    InTangent::put(of_gates, gate, of_gate);
                }
            apply_back(block.gate.second, rows, s.active, of_gates, of_active);
            silu_back<InValue, InTangent>(n_ * block.gate.hidden, s.hidden, of_active, of_hidden);
            apply_back(block.gate.first, rows, s.joined, of_hidden, of_joined);
            of_scalars = arena_.take(n_ * block.in);
            of_vectors = arena_.take(n_ * 3 * block.in);
            for (std::size_t i = 0; i < n_; ++i) {
                for (int k = 0; k < out; k += kLanes) {
                    const std::size_t invariant = i * width + block.in + k;
                    const Vector stretch = block.invariant.stretch(
                        InTangent::get(of_joined, invariant), InValue::get(s.joined, invariant));
                    for (std::size_t c = 3 * i; c < 3 * i + 3; ++c)
                        InTangent::put(of_mixed, 2 * c * out + k,
                                       stretch * InValue::get(s.mixed, 2 * c * out + k));
                }
                std::memcpy(of_scalars.tangent + i * block.in, of_joined.tangent + i * width,
                            block.in * sizeof(Real));
            }
            apply_back(block.mix, 3 * rows, s.vectors_in, of_mixed, of_vectors);
        }
        const std::size_t size = n_ * net_.features;
        for (std::size_t k = 0; k < size; k += kLanes)
            InTangent::add(to_scalars, k, InTangent::get(of_scalars, k));
        for (std::size_t k = 0; k < 3 * size; k += kLanes)
            InTangent::add(to_vectors, k, InTangent::get(of_vectors, k));
    }

    const Network& net_;
    const Input& in_;
    Arena& arena_;
    const std::size_t n_;
    const Array scalars_, vectors_;
    std::vector<State> of_dipole_, of_polarizability_;
};
