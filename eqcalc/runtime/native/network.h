// SPDX-License-Identifier: MIT
// PaiNN, its read-outs, and the gradient of the energy by hand.
//
// The functions and names are those of eqcalc/models/networks/painn.py and readouts.py. Scalars are rows
// [atom, feature], vectors [atom, component, feature]. Exact savings: a filter serves both
// directions of its pair; in the first layer there are no vectors yet and the context of an atom
// depends on its element only; the derivative of a filter replaces the gradient of the radial
// functions.
#pragma once

#include "pairs.h"

// A two-layer perceptron with its backward maps.
struct Perceptron {
    Linear first, second, first_back, second_back;
    int hidden = 0;
};

struct Layer {
    Perceptron message, update;
    Linear mix, mix_back, filter;
};

// Gated equivariant block, forward only.
struct GatedBlock {
    Linear mix;
    Perceptron gate;
    int in = 0, out = 0;  // padded widths
    bool activate = false;
    Real epsilon = 0;
};

struct Network {
    int width = 0, features = 0;  // number of features, and padded
    Radial radial{};
    Real epsilon = 0;
    Buffer embedding, first_context;  // [rows, F] and [rows, 2F], padded
    std::vector<Layer> layers;
    Perceptron energy;
    Buffer energy_weights;  // of the last, linear step, [hidden]
    double energy_bias = 0;
    std::vector<GatedBlock> dipole, polarizability;
    double energy_scale = 1, dipole_scale = 1, polarizability_scale = 1;
};

inline Vector silu(Vector z) { return z * sigmoid(z); }

inline Vector silu_slope(Vector z) {
    const Vector s = sigmoid(z);
    return s * (Real(1.0) + z * (Real(1.0) - s));
}

inline void silu(std::size_t size, const Real* z, Real* y) {
    for (std::size_t k = 0; k < size; k += kLanes) store(y + k, silu(load(z + k)));
}

inline void times_silu_slope(std::size_t size, const Real* z, Real* gradient) {
    for (std::size_t k = 0; k < size; k += kLanes)
        store(gradient + k, load(gradient + k) * silu_slope(load(z + k)));
}

// Memory of one thread, used again by every call.
class Arena {
public:
    void restart() { next_ = 0; }

    Real* take(std::size_t size) {
        if (next_ == blocks_.size()) blocks_.emplace_back();
        Block& block = blocks_[next_++];
        if (block.size < size) block = {zeros(size), size};
        return block.data.get();
    }

    Real* take_zeros(std::size_t size) {
        Real* p = take(size);
        std::memset(p, 0, size * sizeof(Real));
        return p;
    }

private:
    struct Block {
        Buffer data;
        std::size_t size = 0;
    };
    std::vector<Block> blocks_;
    std::size_t next_ = 0;
};
