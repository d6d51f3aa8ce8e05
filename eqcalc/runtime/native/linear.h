// SPDX-License-Identifier: MIT
// Linear maps of many rows by weights that are laid out once.
#pragma once

#include <algorithm>
#include <array>
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
    const std::size_t bytes = (size * sizeof(Real) / 64 + 2) * 64;  // tiles read beyond the end
    void* p = std::aligned_alloc(64, bytes);
    if (p == nullptr) throw std::bad_alloc();
    std::memset(p, 0, bytes);
    return Buffer(static_cast<Real*>(p));
}

inline int padded(int width) { return (width + kLanes - 1) / kLanes * kLanes; }

constexpr int kPanel = 2 * kLanes;

// Features side by side: the widths of the parts, each padded with zeros to whole vectors.
using Parts = std::vector<int>;

// Index without padding of every column, -1 for padding.
inline std::vector<int> places(const Parts& parts) {
    std::vector<int> found;
    int index = 0;
    for (int part : parts)
        for (int k = 0; k < padded(part); ++k) found.push_back(k < part ? index++ : -1);
    return found;
}

// Sums of products: the columns of w and y are panels of one or two vectors.
template <int kRows, int kVectors>
struct Tile {
    Vector sums[kRows][kVectors];

    void set(const Real* bias) {
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) sums[r][v] = load(bias + v * kLanes);
    }
    void read(const Real* y, std::size_t stride) {
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) sums[r][v] = load(y + r * stride + v * kLanes);
    }
    void write(Real* y, std::size_t stride) const {
        for (int r = 0; r < kRows; ++r)
            for (int v = 0; v < kVectors; ++v) store(y + r * stride + v * kLanes, sums[r][v]);
    }
    // Adds Σ_k x[r, k] w[k], with elements of x at strides of rows and of k.
    void add(int depth, const Real* x, std::size_t row, std::size_t step, const Real* w) {
        for (int k = 0; k < depth; ++k, w += kPanel)
            for (int r = 0; r < kRows; ++r)
                for (int v = 0; v < kVectors; ++v)
                    sums[r][v] += x[r * row + k * step] * load(w + v * kLanes);
    }
};

template <int kRows>
void add_to_tile(int depth, const Real* x, std::size_t step, const Real* w, Real* y,
                 std::size_t stride) {
    Tile<kRows, 2> tile;
    tile.read(y, stride);
    tile.add(depth, x, 1, step, w);
    tile.write(y, stride);
}

template <int... kRow>
constexpr auto add_products_table(std::integer_sequence<int, kRow...>) {
    using Kernel = void (*)(int, const Real*, std::size_t, const Real*, Real*, std::size_t);
    return std::array<Kernel, kTileRows>{add_to_tile<kRow + 1>...};
}

// Adds Σ_k x[r + k step] w[k, panel] to row r of a panel of y, for all rows.
inline void add_products(int rows, int depth, const Real* x, std::size_t step, const Real* w, Real* y,
                         std::size_t stride) {
    static const auto kernels = add_products_table(std::make_integer_sequence<int, kTileRows>());
    const int tiles = (rows + kTileRows - 1) / kTileRows;
    for (int tile = 0; tile < tiles; ++tile) {
        const int begin = long(tile) * rows / tiles, end = long(tile + 1) * rows / tiles;
        kernels[end - begin - 1](depth, x + begin, step, w, y + begin * stride, stride);
    }
}

// y = x W + b. The weights are stored as panels of two vectors of columns, so that a product
// reads them in order.
class Linear {
public:
    // The weight of an input and an output without padding is matrix[input·in_step + output·out_step];
    // bias[output] may be null.
    void set(const Parts& in, const Parts& out, const Real* matrix, std::size_t in_step,
             std::size_t out_step, const Real* bias = nullptr) {
        const std::vector<int> inputs = places(in), outputs = places(out);
        depth_ = int(inputs.size());
        columns_ = int(outputs.size());
        const int panels = (columns_ + kPanel - 1) / kPanel;
        if (weights_ == nullptr) {
            weights_ = zeros(std::size_t(panels) * depth_ * kPanel);
            bias_ = zeros(std::size_t(panels) * kPanel);
            nothing_ = zeros(kPanel);
        }
        for (int begin = 0; begin < columns_; begin += kPanel) {
            Real* panel = weights_.get() + std::size_t(begin) * depth_;
            const int count = std::min(kPanel, columns_ - begin);
            const bool whole = count == kPanel && outputs[begin] >= 0 &&
                               outputs[begin + kPanel - 1] == outputs[begin] + kPanel - 1;
            const Real* column = matrix + (whole ? outputs[begin] * out_step : 0);
            for (int k = 0; k < depth_; ++k, panel += kPanel) {
                if (inputs[k] < 0) continue;
                const Real* from = column + inputs[k] * in_step;
                const int last = k + kLanes - 1;
                const bool square = whole && in_step == 1 && last < depth_ &&
                                    inputs[last] == inputs[k] + kLanes - 1;
                if (whole && out_step == 1) {
                    std::memcpy(panel, from, kPanel * sizeof(Real));
                } else if (square) {
                    for (int c = 0; c < kPanel; c += kLanes)
                        copy_transposed(from + c * out_step, out_step, panel + c);
                    k = last;
                    panel += (kLanes - 1) * kPanel;
                } else {
                    for (int c = 0; c < count; ++c)
                        if (outputs[begin + c] >= 0)
                            panel[c] = matrix[outputs[begin + c] * out_step + inputs[k] * in_step];
                }
            }
        }
        if (bias != nullptr)
            for (int c = 0; c < columns_; ++c)
                if (outputs[c] >= 0) bias_[c] = bias[outputs[c]];
    }

    void operator()(int rows, const Real* x, Real* y) const {
        (*this)(rows, x, depth_, depth_, y, columns_, columns_, bias_.get());
    }

    // The derivative: x W.
    void without_bias(int rows, const Real* x, Real* y) const {
        (*this)(rows, x, depth_, depth_, y, columns_, columns_, nullptr);
    }

    // The first columns of y, of one row.
    void partly(const Real* x, Real* y, int columns) const {
        (*this)(1, x, depth_, depth_, y, columns, columns, bias_.get());
    }

    // With rows of x and y a stride apart, of the first `depth` inputs and `columns` outputs.
    void operator()(int rows, const Real* x, int x_stride, int depth, Real* y, int y_stride,
                    int columns, const Real* bias) const {
        static const Table kernels = table(std::make_integer_sequence<int, kTileRows>());
        const int tiles = (rows + kTileRows - 1) / kTileRows;
        for (int column = 0; column < columns; column += kPanel) {
            const Real* w = weights_.get() + std::size_t(column) * depth_;
            const Real* b = bias == nullptr ? nothing_.get() : bias + column;
            const bool whole = columns - column >= kPanel;
            for (int tile = 0; tile < tiles; ++tile) {
                const int begin = long(tile) * rows / tiles, end = long(tile + 1) * rows / tiles;
                kernels.of[end - begin - 1][whole](
                    depth, x + std::size_t(begin) * x_stride, x_stride, w, b,
                    y + std::size_t(begin) * y_stride + column, y_stride);
            }
        }
    }

private:
    // A square, from rows a step apart to rows of a panel.
    static void copy_transposed(const Real* from, std::size_t step, Real* to) {
        Vector rows[kLanes];
        for (int r = 0; r < kLanes; ++r) std::memcpy(&rows[r], from + r * step, sizeof(Vector));
        transpose(rows);
        for (int r = 0; r < kLanes; ++r) store(to + r * kPanel, rows[r]);
    }

    using Kernel = void (*)(int, const Real*, int, const Real*, const Real*, Real*, int);
    struct Table {
        Kernel of[kTileRows][2];
    };

    // Every sum runs over the inputs in order, whatever the other rows are: the result of a
    // molecule does not depend on its company, to the last bit.
    template <int kRows, int kVectors>
    static void multiply(int depth, const Real* x, int x_stride, const Real* w, const Real* bias,
                         Real* y, int y_stride) {
        Tile<kRows, kVectors> tile;
        tile.set(bias);
        tile.add(depth, x, x_stride, 1, w);
        tile.write(y, y_stride);
    }

    template <int... kRow>
    static constexpr Table table(std::integer_sequence<int, kRow...>) {
        return {{{multiply<kRow + 1, 1>, multiply<kRow + 1, 2>}...}};
    }

    int depth_ = 0, columns_ = 0;
    Buffer weights_, bias_, nothing_;
};

// A linear map of the network with its transpose, which is the map of gradients.
struct Map {
    Linear forward, back;
    Parts in, out;
    int weight = -1, bias = -1;  // which parameters it is made of

    // From a matrix [output, input], as torch stores it.
    void set(const Parts& inputs, const Parts& outputs, const Real* matrix, const Real* biases) {
        in = inputs;
        out = outputs;
        int width = 0;
        for (int part : in) width += part;
        forward.set(in, out, matrix, 1, width, biases);
        back.set(out, in, matrix, width, 1);
    }
};
