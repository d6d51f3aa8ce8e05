// SPDX-License-Identifier: MIT
// Linear maps of many rows by weights that are laid out once.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "simd.h"

struct Free {
    void operator()(Real* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<Real[], Free>;

// Zeros, aligned to vectors.
inline Buffer zeros(std::size_t size) {
    const std::size_t bytes = (size * sizeof(Real) / 64 + 1) * 64;
    void* p = std::aligned_alloc(64, bytes);
    if (p == nullptr) throw std::bad_alloc();
    std::memset(p, 0, bytes);
    return Buffer(static_cast<Real*>(p));
}

inline int padded(int width) { return (width + kLanes - 1) / kLanes * kLanes; }

// Features side by side: the widths of the parts, each padded with zeros to whole vectors.
using Parts = std::vector<int>;

// y = x W + b. The weights are stored as panels of two vectors of columns, so that a product
// reads them in order.
class Linear {
public:
    Linear() = default;

    // weight(input, output) and, if given, bias[output] count without padding.
    template <class Weight>
    Linear(const Parts& in, const Parts& out, Weight weight, const Real* bias = nullptr)
        : depth_(total(in)), columns_(total(out)) {
        const int panels = (columns_ + kPanel - 1) / kPanel;
        weights_ = zeros(std::size_t(panels) * depth_ * kPanel);
        bias_ = zeros(std::size_t(panels) * kPanel);
        for_each(out, [&](int o, int column) {
            if (bias != nullptr) bias_[column] = bias[o];
            Real* panel = weights_.get() + std::size_t(column / kPanel) * depth_ * kPanel;
            for_each(in, [&](int i, int k) { panel[k * kPanel + column % kPanel] = weight(i, o); });
        });
    }

    // From a matrix [output, input], as torch stores it.
    static Linear from_matrix(const Parts& in, const Parts& out, const Real* matrix,
                              const Real* bias = nullptr) {
        const int inputs = size(in);
        return {in, out, [=](int i, int o) { return matrix[o * inputs + i]; }, bias};
    }

    // The map of gradients: from those of the outputs to those of the inputs.
    static Linear transpose(const Parts& in, const Parts& out, const Real* matrix) {
        const int inputs = size(in);
        return {out, in, [=](int o, int i) { return matrix[o * inputs + i]; }};
    }

    void operator()(int rows, const Real* x, Real* y) const {
        (*this)(rows, x, depth_, depth_, y, columns_, columns_);
    }

    // With rows of x and y a stride apart, of the first `depth` inputs and `columns` outputs.
    void operator()(int rows, const Real* x, int x_stride, int depth, Real* y, int y_stride,
                    int columns) const {
        static const Table kernels = table(std::make_integer_sequence<int, kTileRows>());
        const int tiles = (rows + kTileRows - 1) / kTileRows;
        for (int column = 0; column < columns; column += kPanel) {
            const Real* w = weights_.get() + std::size_t(column) * depth_;
            const bool whole = columns - column >= kPanel;
            for (int tile = 0; tile < tiles; ++tile) {
                const int begin = long(tile) * rows / tiles, end = long(tile + 1) * rows / tiles;
                kernels.of[end - begin - 1][whole](
                    depth, x + std::size_t(begin) * x_stride, x_stride, w, bias_.get() + column,
                    y + std::size_t(begin) * y_stride + column, y_stride);
            }
        }
    }

private:
    static constexpr int kPanel = 2 * kLanes;
    using Kernel = void (*)(int, const Real*, int, const Real*, const Real*, Real*, int);
    struct Table {
        Kernel of[kTileRows][2];
    };

    // Every sum runs over the inputs in order, whatever the other rows are: the result of a
    // molecule does not depend on its company, to the last bit.
    template <int kRows, int kVectors>
    static void multiply(int depth, const Real* x, int x_stride, const Real* w, const Real* bias,
                         Real* y, int y_stride) {
        Vector sums[kRows][kVectors];
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) sums[r][v] = load(bias + v * kLanes);
        for (int k = 0; k < depth; ++k, w += kPanel)
            for (int r = 0; r < kRows; ++r)
                for (int v = 0; v < kVectors; ++v)
                    sums[r][v] += x[std::size_t(r) * x_stride + k] * load(w + v * kLanes);
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v)
                store(y + std::size_t(r) * y_stride + v * kLanes, sums[r][v]);
    }

    template <int... kRow>
    static constexpr Table table(std::integer_sequence<int, kRow...>) {
        return {{{multiply<kRow + 1, 1>, multiply<kRow + 1, 2>}...}};
    }

    static int size(const Parts& parts) {
        int width = 0;
        for (int part : parts) width += part;
        return width;
    }

    static int total(const Parts& parts) {
        int width = 0;
        for (int part : parts) width += padded(part);
        return width;
    }

    // Calls visit(index without padding, index with padding).
    template <class Visit>
    static void for_each(const Parts& parts, Visit visit) {
        int index = 0, offset = 0;
        for (int part : parts) {
            for (int k = 0; k < part; ++k) visit(index++, offset + k);
            offset += padded(part);
        }
    }

    int depth_ = 0, columns_ = 0;
    Buffer weights_, bias_;
};
