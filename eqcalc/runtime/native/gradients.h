// SPDX-License-Identifier: MIT
// The gradient of a loss with respect to the parameters.
#pragma once

#include <functional>

#include "message.h"
#include "threads.h"

// What a linear map adds to the gradient of its weights: Σ x ⊗ of_y over rows, and with tangents that
// of the value of the gradient by the tangent of x.
struct Product {
    int rows;
    Array x, of_y;
    bool tangents;
};

// Of one block of atoms.
struct Gradients {
    std::vector<std::pair<const Map*, Product>> products;  // in the same order for every block
    std::vector<Buffer> filters;                           // see receive_back()
    Buffer energy_weights;
    double energy_bias = 0;
    const Real *of_first_context = nullptr, *of_embedding = nullptr;  // [n, 3F] and [n, F]

    void start(const Network& net) {
        products.clear();
        const std::size_t columns = (3 * net.features + kPanel - 1) / kPanel * kPanel;
        const std::size_t size = net.radial.width() * columns;
        filters.resize(net.layers.size());
        for (Buffer& filter : filters) {
            if (filter == nullptr) filter = zeros(size);
            std::memset(filter.get(), 0, size * sizeof(Real));
        }
        if (energy_weights == nullptr) energy_weights = zeros(std::max(net.energy_hidden, 1));
        std::memset(energy_weights.get(), 0, net.energy_hidden * sizeof(Real));
        energy_bias = 0;
    }

    void add(const Map& map, const Product& product) { products.push_back({&map, product}); }

    Real* work(const Network& net) {
        if (work_ == nullptr) work_ = zeros(std::size_t(2 * Filters::kBlock) * (3 * net.features + kPanel));
        return work_.get();
    }

private:
    Buffer work_;
};

// The gradient of the outputs from `first` up to `last` (with padding) of a map: rows of the weights
// [output, input], and the bias, as torch stores them.
class WeightGradient {
public:
    explicit WeightGradient(Arena& arena) : arena_(arena) {}

    void operator()(const Map& map, const std::vector<Product>& products, int first, int last,
                    Real* of_weight, Real* of_bias) {
        const std::vector<int> outputs = places(map.out);
        in_ = places(map.in).size();
        out_ = outputs.size();
        width_ = (in_ + kPanel - 1) / kPanel * kPanel;
        first_ = first;
        last_ = last;
        arena_.restart();
        sums_ = zeroed((last - first) * width_);
        Real* bias = zeroed(last - first);
        panels_ = arena_.take(kDepth * width_).value;
        for (const Product& product : products) {
            for (int r = 0; r < product.rows; ++r)
                for (int k = first; k < last; k += kLanes)
                    ::add(bias + k - first, load(product.of_y.tangent + r * out_ + k));
            add(product.rows, product.x.value, product.of_y.tangent);
            if (product.tangents) add(product.rows, product.x.tangent, product.of_y.value);
        }
        int inputs_without_padding = 0;
        for (int part : map.in) inputs_without_padding += part;
        for (int o = first; o < last; ++o) {
            if (outputs[o] < 0) continue;
            Real* target = of_weight + std::size_t(outputs[o]) * inputs_without_padding;
            const Real* source = sums_ + (o - first) * width_;
            for (int part : map.in) {
                std::memcpy(target, source, part * sizeof(Real));
                target += part;
                source += padded(part);
            }
            if (of_bias != nullptr) of_bias[outputs[o]] = bias[o - first];
        }
    }

private:
    static constexpr int kDepth = 192;  // rows that stay in the cache

    Real* zeroed(std::size_t size) {
        Real* values = arena_.take(size).value;
        std::memset(values, 0, size * sizeof(Real));
        return values;
    }

    // Adds Σ of_y ⊗ x over rows.
    void add(int rows, const Real* x, const Real* of_y) {
        for (int begin = 0; begin < rows; begin += kDepth)
            add_block(std::min(kDepth, rows - begin), x + begin * in_, of_y + begin * out_ + first_);
    }

    void add_block(int depth, const Real* x, const Real* of_y) {
        for (std::size_t column = 0; column < width_; column += kPanel)
            for (int k = 0; k < depth; ++k)
                for (int v = 0; v < kPanel; v += kLanes)
                    store(panels_ + column * depth + k * kPanel + v, load(x + k * in_ + column + v));
        const int outputs = last_ - first_;
        for (std::size_t column = 0; column < width_; column += kPanel)
            add_products(outputs, depth, of_y, out_, panels_ + column * depth, sums_ + column, width_);
    }

    Arena& arena_;
    std::size_t in_ = 0, out_ = 0, width_ = 0;  // the last one padded to whole panels
    int first_ = 0, last_ = 0;
    Real *sums_ = nullptr, *panels_ = nullptr;
};

// The gradient of the loss of a batch, part by part of the parameters. Every sum runs over the atoms
// in order, so that the result does not depend on the number of threads.
class ParameterGradients {
public:
    // of_parameters: one array for every parameter, null where it is not wanted.
    ParameterGradients(const Network& net, Real* const* of_parameters)
        : net_(net), of_(of_parameters) {}

    void add(const Gradients& part, const Input& input) { parts_.push_back({&part, &input}); }

    void run(int threads) {
        static Pool<Arena> arenas;
        std::vector<std::function<void(Arena&)>> tasks;
        for (std::size_t p = 0; !parts_.empty() && p < parts_[0].first->products.size(); ++p) {
            const Map& map = *parts_[0].first->products[p].first;
            const int columns = int(places(map.out).size());
            for (int first = 0; first < columns; first += kColumns)
                tasks.push_back([this, &map, p, first, columns](Arena& arena) {
                    std::vector<Product> products;
                    for (const auto& part : parts_) products.push_back(part.first->products[p].second);
                    weights(arena, map, products, first, std::min(first + kColumns, columns));
                });
        }
        tasks.push_back([this](Arena& arena) { elements(arena); });
        tasks.push_back([this](Arena&) { filters(); });
        tasks.push_back([this](Arena&) { energy(); });
        parallel(threads, int(tasks.size()), [&](int k) {
            Pool<Arena>::Loan arena(arenas);
            tasks[k](*arena);
        });
    }

private:
    static constexpr int kColumns = 192;  // of a task

    void weights(Arena& arena, const Map& map, const std::vector<Product>& products, int first,
                 int last) const {
        arena.restart();
        WeightGradient{arena}(map, products, first, last, of_[map.weight],
                              map.bias < 0 ? nullptr : of_[map.bias]);
    }

    // Of the embedding, and of the first message's perceptron, whose input depends on the element only.
    void elements(Arena& arena) const {
        const int F = net_.features, width = net_.width;
        std::vector<int> place(net_.embeddings, -1);
        std::vector<std::size_t> rows;
        for (const auto& [part, in] : parts_)
            for (std::int64_t i = 0; i < in->first_atom[in->n_structures]; ++i)
                if (place[in->rows[i]] < 0) {
                    place[in->rows[i]] = int(rows.size());
                    rows.push_back(in->rows[i]);
                }
        const std::size_t n = rows.size();
        Buffer memory = zeros(n * 9 * F);
        Real* next = memory.get();
        const auto take = [&](int columns) { return std::exchange(next, next + n * columns); };
        Real *x = take(F), *z = take(F), *active = take(F), *of_active = take(F), *of_x = take(F);
        Real *of_embedding = take(F), *of_context = take(3 * F);
        for (std::size_t k = 0; k < n; ++k)
            std::memcpy(x + k * F, net_.embedding.get() + rows[k] * F, F * sizeof(Real));
        for (const auto& [part, in] : parts_)
            for (std::int64_t i = 0; i < in->first_atom[in->n_structures]; ++i) {
                const std::size_t k = place[in->rows[i]];
                for (int f = 0; f < 2 * F; f += kLanes)
                    ::add(of_context + k * 3 * F + f, load(part->of_first_context + i * 3 * F + f));
                for (int f = 0; f < F; f += kLanes)
                    ::add(of_embedding + k * F + f, load(part->of_embedding + i * F + f));
            }
        const Perceptron& message = net_.layers.front().message;
        message.first.forward(int(n), x, z);
        silu<InValue>(n * F, {z}, {active});
        message.second.back(int(n), of_context, of_active);
        silu_back<InValue, InValue>(n * F, {z}, {of_active}, {of_active});
        message.first.back(int(n), of_active, of_x);
        weights(arena, message.second, {{int(n), {active}, {nullptr, of_context}, false}}, 0, 3 * F);
        weights(arena, message.first, {{int(n), {x}, {nullptr, of_active}, false}}, 0, F);
        std::memset(of_[0], 0, net_.embeddings * width * sizeof(Real));
        for (std::size_t k = 0; k < n; ++k)
            for (int f = 0; f < width; ++f)
                of_[0][rows[k] * width + f] = of_embedding[k * F + f] + of_x[k * F + f];
    }

    void filters() const {
        const std::size_t F = net_.features, width = net_.width, R = net_.radial.size();
        Real *weight = of_[1], *bias = of_[2];
        for (std::size_t l = 0; l < net_.layers.size(); ++l) {
            const std::size_t columns = ((l == 0 ? 2 : 3) * F + kPanel - 1) / kPanel * kPanel;
            for (std::size_t which = 0; which < 3; ++which, weight += width * R, bias += width) {
                const bool sent = l > 0 || which < 2;
                for (std::size_t n = 0; n <= R; ++n)  // the last one is the bias
                    for (std::size_t f = 0; f < width; ++f) {
                        Real total = 0;
                        for (std::size_t p = 0; sent && p < parts_.size(); ++p)
                            total += parts_[p].first->filters[l][n * columns + which * F + f];
                        (n < R ? weight[f * R + n] : bias[f]) = total;
                    }
            }
        }
    }

    // Of the last step of the read-out of the energy.
    void energy() const {
        const int weight = net_.energy.bias + 1;
        if (net_.energy_hidden == 0 || of_[weight] == nullptr) return;
        const int hidden = net_.energy_width;
        std::fill(of_[weight], of_[weight] + hidden, Real(0));
        double bias = 0;
        for (const auto& part : parts_) {
            bias += part.first->energy_bias;
            for (int k = 0; k < hidden; ++k) of_[weight][k] += part.first->energy_weights[k];
        }
        of_[weight + 1][0] = Real(bias);
    }

    const Network& net_;
    Real* const* of_;
    std::vector<std::pair<const Gradients*, const Input*>> parts_;
};
