// SPDX-License-Identifier: MIT
// What atoms receive from their neighbours, and the gradient of it.
#pragma once

#include "network.h"

// Filters of pairs, block by block; a block stays in the cache.
class Filters {
public:
    static constexpr int kBlock = 48;

    Filters() = default;

    // With `kept` those of few pairs are kept with their derivatives, to be used again.
    Filters(Arena& arena, const Network& net, const std::vector<Pair>& pairs, bool kept)
        : width_(net.radial.width()), rows_(arena.take(2 * pairs.size() * width_).value),
          block_(arena.take(std::size_t(2 * kBlock) * 3 * net.features).value) {
        Real* row = rows_;
        for (const Pair& pair : pairs) {
            net.radial(pair.distance, row, row + width_);
            row += 2 * width_;
        }
        if (!kept || pairs.size() > kFewPairs) return;
        for (const Layer& layer : net.layers)
            kept_.push_back({&layer.filter, arena.take(2 * pairs.size() * 3 * net.features).value, 0});
    }

    // W of a block of pairs, [count, columns].
    const Real* values(const Linear& filter, int columns, int begin, int count) const {
        filter(count, row(begin), 2 * width_, width_, block_, columns, columns, nullptr);
        return block_;
    }

    // W and dW/dd in turn, [count, 2, columns].
    const Real* with_derivatives(const Linear& filter, int columns, int begin, int count) {
        Real* found = block_;
        for (Kept& kept : kept_) {
            if (kept.filter != &filter) continue;
            found = kept.values + std::size_t(2 * begin) * columns;
            if (begin < kept.pairs) return found;
            kept.pairs = begin + count;
        }
        filter(2 * count, row(begin), width_, width_, found, columns, columns, nullptr);
        return found;
    }

    // Radial functions and their derivatives in turn, from that of a pair on, [2, width].
    const Real* row(int pair) const { return rows_ + std::size_t(2 * pair) * width_; }
    int width() const { return width_; }

private:
    static constexpr std::size_t kFewPairs = 512;  // of more it is faster to compute them again

    struct Kept {
        const Linear* filter;
        Real* values;
        int pairs;  // so many are known
    };

    int width_ = 0;
    Real *rows_ = nullptr, *block_ = nullptr;
    std::vector<Kept> kept_;
};

// How each kind of pass reads features of atoms and gradients of them, and what filters and
// directions of pairs are numbers of.
//
// Values: the network and the gradient of the energy. Tangents: the same differentiated along a
// direction of the positions. Adjoints: gradients of values only, kept where the tangents are.
struct Values {
    using At = InValue;
    using Of = InValue;
    using Direction = Real;
    static Vector filter(const Real* w, const Real*, Real) { return load(w); }
    static Real direction(double u, Real, Real sign) { return sign * Real(u); }
};
struct Adjoints : Values {
    using Of = InTangent;
};
struct Tangents {
    using At = InBoth;
    using Of = InBoth;
    using Direction = DualReal;
    static Dual filter(const Real* w, const Real* dw, Real rate) { return {load(w), rate * load(dw)}; }
    static DualReal direction(double u, Real rate, Real sign) { return {sign * Real(u), sign * rate}; }
};

// Features of atoms at one message.
struct Message {
    int F;
    Array context;  // φ, [n_atoms, 3F]: to scalars, along, carried
    Array carried;  // φ_v ∘ v, [n_atoms, 3, F]; null in the first layer
};

// Filters of a pair, for one vector of features.
template <class N>
struct Filter {
    N scalars, along, carried;
};

template <class Pass, bool kCarried>
inline auto filter_of(const Real* w, const Real* dw, Real rate, int F, int k) {
    Filter<typename Pass::At::Number> found{};
    found.scalars = Pass::filter(w + k, dw + k, rate);
    found.along = Pass::filter(w + F + k, dw + F + k, rate);
    if constexpr (kCarried) found.carried = Pass::filter(w + 2 * F + k, dw + 2 * F + k, rate);
    return found;
}

// Adds what is sent through a pair to its receiver, for one vector of features.
template <class At, bool kCarried, class N, class Direction>
inline void send(const Message& m, std::size_t to, std::size_t from, const Filter<N>& w,
                 const Direction* direction, int k, Array scalars, Array vectors) {
    const std::size_t F = m.F, x = from * 3 * F + k;
    At::add(scalars, to * F + k, w.scalars * At::get(m.context, x));
    const N along = w.along * At::get(m.context, x + F);
    for (int c = 0; c < 3; ++c) {
        N sent = along * direction[c];
        if constexpr (kCarried)
            sent += w.carried * At::get(m.carried, (from * 3 + c) * F + k);
        At::add(vectors, (to * 3 + c) * F + k, sent);
    }
}

// Calls visit(index of the pair, W, dW/dd, its direction, and the opposite one).
template <class Pass, bool kDerivatives, class Visit>
inline void for_pairs(const std::vector<Pair>& pairs, const std::vector<PairRate>& rates,
                      Filters& filters, const Linear& filter, int columns, Visit visit) {
    const int n_pairs = int(pairs.size());
    for (int begin = 0; begin < n_pairs; begin += Filters::kBlock) {
        const int count = std::min(Filters::kBlock, n_pairs - begin);
        const Real* w = kDerivatives ? filters.with_derivatives(filter, columns, begin, count)
                                     : filters.values(filter, columns, begin, count);
        for (int p = begin; p < begin + count; ++p, w += (kDerivatives ? 2 : 1) * columns) {
            const PairRate rate = rates.empty() ? PairRate{} : rates[p];
            typename Pass::Direction there[3], back[3];
            for (int c = 0; c < 3; ++c) {
                there[c] = Pass::direction(pairs[p].direction[c], rate.direction[c], 1);
                back[c] = Pass::direction(pairs[p].direction[c], rate.direction[c], -1);
            }
            visit(p, w, w + columns, rate.distance, there, back);
        }
    }
}

template <class Pass, bool kCarried>
void receive(const Message& m, const std::vector<Pair>& pairs, const std::vector<PairRate>& rates,
             Filters& filters, const Linear& filter, Array scalars, Array vectors) {
    constexpr bool kDerivatives = std::is_same_v<Pass, Tangents>;
    for_pairs<Pass, kDerivatives>(
        pairs, rates, filters, filter, (kCarried ? 3 : 2) * m.F,
        [&](int p, const Real* w, const Real* dw, Real rate, const auto* there, const auto* back) {
            const int i = pairs[p].receiver, j = pairs[p].sender;
            for (int k = 0; k < m.F; k += kLanes) {
                const auto of_pair = filter_of<Pass, kCarried>(w, dw, rate, m.F, k);
                send<typename Pass::At, kCarried>(m, i, j, of_pair, there, k, scalars, vectors);
                send<typename Pass::At, kCarried>(m, j, i, of_pair, back, k, scalars, vectors);
            }
        });
}

// Gradients at one message: of what was received, and to be added to, of what was sent.
struct MessageGradient {
    Array scalars, vectors, context, carried;
};

// The reverse of send(): adds to the gradients of what was sent, and to that of the filters. The
// projections on the direction of the pair are returned.
template <class Pass, bool kCarried, bool kContext, class N, class Direction>
inline void send_back(const Message& m, const MessageGradient& g, std::size_t to, std::size_t from,
                      const Filter<N>& w, const Direction* direction, int k,
                      Filter<typename Pass::Of::Number>& of_filter,
                      typename Pass::Of::Number* of_direction) {
    using At = typename Pass::At;
    using Of = typename Pass::Of;
    using G = typename Of::Number;
    const std::size_t F = m.F, x = from * 3 * F + k;
    const auto along = At::get(m.context, x + F);
    const G to_scalars = Of::get(g.scalars, to * F + k);
    of_filter.scalars += At::get(m.context, x) * to_scalars;
    G projected{};
    for (int c = 0; c < 3; ++c) {
        const G to_vectors = Of::get(g.vectors, (to * 3 + c) * F + k);
        projected += to_vectors * direction[c];
        of_direction[c] = to_vectors;
        if constexpr (kCarried) {
            const std::size_t at = (from * 3 + c) * F + k;
            of_filter.carried += to_vectors * At::get(m.carried, at);
            Of::add(g.carried, at, w.carried * to_vectors);
        }
    }
    of_filter.along += projected * along;
    if constexpr (kContext) {
        Of::add(g.context, x, w.scalars * to_scalars);
        Of::add(g.context, x + F, w.along * projected);
    }
    const auto weight = w.along * along;
    for (int c = 0; c < 3; ++c) of_direction[c] = of_direction[c] * weight;
}

// Gradient with respect to a pair's distance and direction.
struct PairGradient {
    double distance = 0.0, direction[3] = {0.0, 0.0, 0.0};
};

// The gradient of the energy: with respect to pairs and, but for the first layer, what was sent.
template <bool kCarried>
void receive_back(const Message& m, const MessageGradient& g, const std::vector<Pair>& pairs,
                  Filters& filters, const Linear& filter, PairGradient* of_pairs) {
    for_pairs<Values, true>(
        pairs, {}, filters, filter, (kCarried ? 3 : 2) * m.F,
        [&](int p, const Real* w, const Real* dw, Real, const Real* there, const Real* back) {
            const int i = pairs[p].receiver, j = pairs[p].sender, F = m.F;
            Vector of_distance{}, of_direction[3]{};
            for (int k = 0; k < F; k += kLanes) {
                const auto of_pair = filter_of<Values, kCarried>(w, dw, 0, F, k);
                Filter<Vector> of_filter{};
                Vector forth[3], reverse[3];
                send_back<Values, kCarried, kCarried>(m, g, i, j, of_pair, there, k, of_filter, forth);
                send_back<Values, kCarried, kCarried>(m, g, j, i, of_pair, back, k, of_filter, reverse);
                of_distance += load(dw + k) * of_filter.scalars + load(dw + F + k) * of_filter.along;
                if constexpr (kCarried) of_distance += load(dw + 2 * F + k) * of_filter.carried;
                for (int c = 0; c < 3; ++c) of_direction[c] += forth[c] - reverse[c];
            }
            of_pairs[p].distance += sum(of_distance);
            for (int c = 0; c < 3; ++c) of_pairs[p].direction[c] += sum(of_direction[c]);
        });
}

// The gradient of the loss: with respect to the weights of the filters, [radial functions, columns
// padded to panels], and what was sent. `work` has room for 2 kBlock rows of columns.
template <class Pass, bool kCarried>
void receive_back(const Message& m, const MessageGradient& g, const std::vector<Pair>& pairs,
                  const std::vector<PairRate>& rates, Filters& filters, const Linear& filter,
                  Real* work, Real* of_weights) {
    constexpr bool kTangents = std::is_same_v<Pass, Tangents>;
    const int F = m.F, columns = (kCarried ? 3 : 2) * F, n_pairs = int(pairs.size());
    const int rows = filters.width(), panels = (columns + kPanel - 1) / kPanel;
    for_pairs<Pass, kTangents>(
        pairs, rates, filters, filter, columns,
        [&](int p, const Real* w, const Real* dw, Real rate, const auto* there, const auto* back) {
            const int i = pairs[p].receiver, j = pairs[p].sender;
            const int begin = p - p % Filters::kBlock;
            const int count = std::min(Filters::kBlock, n_pairs - begin);
            const int depth = (kTangents ? 2 : 1) * count;
            const auto put = [&](int column, const auto& of_weight) {
                Real* at = work + (std::size_t(column / kPanel) * depth) * kPanel + column % kPanel;
                if constexpr (kTangents) {
                    store(at + 2 * (p - begin) * kPanel, of_weight.tangent);
                    store(at + (2 * (p - begin) + 1) * kPanel, rate * of_weight.value);
                } else {
                    store(at + (p - begin) * kPanel, of_weight);
                }
            };
            for (int k = 0; k < F; k += kLanes) {
                const auto of_pair = filter_of<Pass, kCarried>(w, dw, rate, F, k);
                Filter<typename Pass::Of::Number> of_filter{};
                typename Pass::Of::Number unused[3];
                send_back<Pass, kCarried, true>(m, g, i, j, of_pair, there, k, of_filter, unused);
                send_back<Pass, kCarried, true>(m, g, j, i, of_pair, back, k, of_filter, unused);
                put(k, of_filter.scalars);
                put(F + k, of_filter.along);
                if constexpr (kCarried) put(2 * F + k, of_filter.carried);
            }
            if (p + 1 < begin + count) return;
            for (int panel = 0; panel < panels; ++panel)
                add_products(rows, depth, filters.row(begin), filters.width() * (kTangents ? 1 : 2),
                             work + std::size_t(panel) * depth * kPanel, of_weights + panel * kPanel,
                             std::size_t(panels) * kPanel);
        });
}
