// SPDX-License-Identifier: MIT
// Dipole and polarizability from the features of atoms; see eqcalc/models/readouts.py.
#pragma once

#include "network.h"

class ReadOuts {
public:
    ReadOuts(const Network& net, const Input& in, Arena& arena, Array scalars, Array vectors)
        : net_(net), in_(in), arena_(arena), n_(in.first_atom[in.n_structures]),
          scalars_(scalars), vectors_(vectors) {}

    // μ = Σ μ_i + q_i (r_i − r_0), r_0 the centre of mass, Σ q_i the total charge.
    void dipole(double* dipoles) {
        const auto [charges, vectors] = read_out(net_.dipole);
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const std::int64_t begin = in_.first_atom[s], end = in_.first_atom[s + 1];
            double missing = in_.charges[s] / net_.dipole_scale;
            double mass = 0.0, origin[3] = {0.0, 0.0, 0.0};
            for (std::int64_t i = begin; i < end; ++i) {
                missing -= charges[i * kLanes];
                mass += in_.masses[i];
                for (int c = 0; c < 3; ++c) origin[c] += in_.masses[i] * in_.positions[3 * i + c];
            }
            missing /= double(end - begin);
            for (int c = 0; c < 3; ++c) {
                double total = 0.0;
                for (std::int64_t i = begin; i < end; ++i)
                    total += vectors[(3 * i + c) * kLanes] +
                             (charges[i * kLanes] + missing) *
                                 (in_.positions[3 * i + c] - origin[c] / mass);
                dipoles[3 * s + c] = net_.dipole_scale * total;
            }
        }
    }

    // α = Σ a_i 1 + ν_i ⊗ (r_i − r̄) + (r_i − r̄) ⊗ ν_i, r̄ the centroid.
    void polarizability(double* polarizabilities) {
        const auto [isotropic, vectors] = read_out(net_.polarizability);
        for (std::int64_t s = 0; s < in_.n_structures; ++s) {
            const std::int64_t begin = in_.first_atom[s], end = in_.first_atom[s + 1];
            double centroid[3] = {0.0, 0.0, 0.0};
            for (std::int64_t i = begin; i < end; ++i)
                for (int c = 0; c < 3; ++c)
                    centroid[c] += in_.positions[3 * i + c] / double(end - begin);
            double* alpha = polarizabilities + 9 * s;
            std::fill(alpha, alpha + 9, 0.0);
            for (std::int64_t i = begin; i < end; ++i)
                for (int a = 0; a < 3; ++a) {
                    alpha[4 * a] += isotropic[i * kLanes];
                    for (int b = 0; b < 3; ++b) {
                        const double arm = in_.positions[3 * i + b] - centroid[b];
                        const double product = vectors[(3 * i + a) * kLanes] * arm;
                        alpha[3 * a + b] += product;
                        alpha[3 * b + a] += product;
                    }
                }
            for (int k = 0; k < 9; ++k) alpha[k] *= net_.polarizability_scale;
            for (int a = 0; a < 3; ++a) alpha[4 * a] += in_.polarizability_reference[s];
        }
    }

private:
    // A scalar and a vector per atom, each the first of its padded features.
    std::pair<const Real*, const Real*> read_out(const std::vector<GatedBlock>& blocks) {
        Array scalars = scalars_, vectors = vectors_;
        for (const GatedBlock& block : blocks) {
            const int rows = int(n_);
            const Array mixed = arena_.take(n_ * 6 * block.out);
            block.mix.forward(3 * rows, vectors.value, mixed.value);
            const Array joined = arena_.take(n_ * (block.in + block.out));
            join<InValue>(n_, scalars, block.in, mixed, block.out, block.invariant, joined);
            const Array hidden = arena_.take(n_ * block.gate.hidden);
            block.gate.first.forward(rows, joined.value, hidden.value);
            silu<InValue>(n_ * block.gate.hidden, hidden, hidden);
            const Array gates = arena_.take(n_ * 2 * block.out);
            block.gate.second.forward(rows, hidden.value, gates.value);
            scalars = arena_.take(n_ * block.out);
            vectors = arena_.take(n_ * 3 * block.out);
            for (std::size_t i = 0; i < n_; ++i)
                for (int k = 0; k < block.out; k += kLanes) {
                    const Vector value = InValue::get(gates, 2 * i * block.out + k);
                    const Vector gate = InValue::get(gates, (2 * i + 1) * block.out + k);
                    InValue::put(scalars, i * block.out + k, block.activate ? silu(value) : value);
                    for (std::size_t c = 3 * i; c < 3 * i + 3; ++c)
                        InValue::put(vectors, c * block.out + k,
                                     gate * InValue::get(mixed, (2 * c + 1) * block.out + k));
                }
        }
        return {scalars.value, vectors.value};
    }

    const Network& net_;
    const Input& in_;
    Arena& arena_;
    const std::size_t n_;
    const Array scalars_, vectors_;
};
