// SPDX-License-Identifier: MIT
// PaiNN, its read-outs, and their gradients by hand.
//
// The functions and names are those of eqcalc/models/networks/painn.py and readouts.py.
// Scalars are rows [atom, feature], vectors [atom, component, feature]. Exact savings: a filter serves
// both directions of its pair; in the first layer there are no vectors yet and the context of an atom
// depends on its element only; the derivative of a filter replaces the gradient of the radial
// functions.
#pragma once

#include "pairs.h"

// A two-layer perceptron.
struct Perceptron {
    Map first, second;
    int hidden = 0;  // padded
};

// What replaces a vector by a scalar, as a function of its squared length s.
struct Invariant {
    enum Kind : std::int64_t { length = 0, square = 1, soft_length = 2 };  // √(s + ε), s, √(s + 1) − 1
    Kind kind = length;
    Real epsilon = 0;

    template <class N>
    N of(N s) const {
        if (kind == square) return s;
        return kind == length ? square_root(epsilon + s) : Real(-1.0) + square_root(Real(1.0) + s);
    }

    // Gradient of the invariant g divided by the vector: 2 dg/ds, times `of_g`.
    template <class N>
    N stretch(N of_g, N g) const {
        if (kind == square) return Real(2.0) * of_g;
        return kind == length ? of_g / g : of_g / (Real(1.0) + g);
    }
};

struct Layer {
    Perceptron message, update;
    Map mix;
    Linear filter;
};

// Gated equivariant block, or a perceptron of scalars alone.
struct GatedBlock {
    Map mix;
    Perceptron gate;
    int in = 0, out = 0;  // padded widths
    bool activate = false, has_vectors = true;
    Invariant invariant;
};

struct Network {
    int width = 0, features = 0;  // number of features, and padded
    Radial radial{};
    Invariant invariant;
    std::size_t embeddings = 0;
    Buffer embedding, first_context;  // [embeddings, F] and [embeddings, 2F], padded
    std::vector<char> context_is_known;
    std::vector<Layer> layers;
    Map energy;
    Buffer energy_weights;  // of the last, linear step, [hidden]
    int energy_hidden = 0, energy_width = 0;  // with padding, and without
    double energy_bias = 0;
    std::vector<GatedBlock> dipole, polarizability;
    double energy_scale = 1, dipole_scale = 1, polarizability_scale = 1;
    bool polarizability_about_mass = false;  // or about the centroid
};

template <class N>
inline N silu(N z) {
    return z * sigmoid(z);
}

template <class N>
inline N silu_slope(N z) {
    const N s = sigmoid(z);
    return s * (Real(1.0) + z * (Real(1.0) - s));
}

// y = silu(z)
template <class At>
inline void silu(std::size_t size, Array z, Array y) {
    for (std::size_t k = 0; k < size; k += kLanes) At::put(y, k, silu(At::get(z, k)));
}

// The gradient of z from that of silu(z).
template <class At, class Of>
inline void silu_back(std::size_t size, Array z, Array of_silu, Array of_z) {
    for (std::size_t k = 0; k < size; k += kLanes)
        Of::put(of_z, k, Of::get(of_silu, k) * silu_slope(At::get(z, k)));
}

// Scalars beside the invariants of the left half of mixed vectors, of n atoms.
template <class At>
inline void join(std::size_t n, Array scalars, int in, Array mixed, int out,
                 const Invariant& invariant, Array joined) {
    using N = typename At::Number;
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t row = i * (in + out);
        std::memcpy(At::written(joined) + row, At::written(scalars) + i * in, in * sizeof(Real));
        for (int k = 0; k < out; k += kLanes) {
            N squared{};
            for (std::size_t c = 3 * i; c < 3 * i + 3; ++c) {
                const N left = At::get(mixed, 2 * c * out + k);
                squared += left * left;
            }
            At::put(joined, row + in + k, invariant.of(squared));
        }
    }
}

// Memory that is used again, array by array, by whatever takes arrays in the same order.
class Arena {
public:
    // with_tangents: arrays have room for tangents.
    explicit Arena(bool with_tangents = false) : with_tangents_(with_tangents) {}

    std::size_t mark() const { return next_; }
    void restart(std::size_t mark = 0) { next_ = mark; }

    Array take(std::size_t size) {
        if (next_ == blocks_.size()) blocks_.emplace_back();
        Block& block = blocks_[next_++];
        if (block.size < size)
            block = {zeros(size), with_tangents_ ? zeros(size) : Buffer(), size};
        return {block.value.get(), block.tangent.get()};
    }

private:
    struct Block {
        Buffer value, tangent;
        std::size_t size = 0;
    };
    std::vector<Block> blocks_;
    std::size_t next_ = 0;
    const bool with_tangents_;
};
