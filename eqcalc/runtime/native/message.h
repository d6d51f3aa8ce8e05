// SPDX-License-Identifier: MIT
// What atoms receive from their neighbours, and the gradient of it.
#pragma once

#include "network.h"

// Filters of a block of pairs; a block stays in the cache.
class Filters {
public:
    static constexpr int kBlock = 48;

    Filters(Arena& arena, const Network& net, const std::vector<Pair>& pairs)
        : radial_(net.radial), rows_(arena.take(2 * pairs.size() * net.radial.width())),
          block_(arena.take(std::size_t(2 * kBlock) * 3 * net.features)) {
        Real* row = rows_;
        for (const Pair& pair : pairs) {
            radial_(pair.distance, row, row + radial_.width());
            row += 2 * radial_.width();
        }
    }

    // W of a block of pairs, [count, columns].
    const Real* values(const Linear& filter, int columns, int begin, int count) const {
        filter(count, row(begin), 2 * radial_.width(), radial_.width(), block_, columns, columns);
        return block_;
    }

    // W and dW/dd in turn, [count, 2, columns].
    const Real* with_derivatives(const Linear& filter, int columns, int begin, int count) const {
        filter(2 * count, row(begin), radial_.width(), radial_.width(), block_, columns, columns);
        return block_;
    }

private:
    const Real* row(int pair) const { return rows_ + std::size_t(2 * pair) * radial_.width(); }

    const Radial& radial_;
    Real *rows_, *block_;
};

// Features of atoms at one message.
struct Message {
    int F;
    const Real* context;  // φ, [n_atoms, 3F]: to scalars, along, carried
    const Real* carried;  // φ_v ∘ v, [n_atoms, 3, F]; null in the first layer
};

// Adds what is sent through a pair to its receiver, for one vector of features.
template <bool kCarried>
inline void send(const Message& m, int to, int from, const Real* w, const Real* direction, int k,
                 Real* scalars, Real* vectors) {
    const int F = m.F;
    const Real* x = m.context + std::size_t(from) * 3 * F + k;
    add(scalars + std::size_t(to) * F + k, load(w + k) * load(x));
    const Vector along = load(w + F + k) * load(x + F);
    for (int c = 0; c < 3; ++c) {
        Vector sent = along * direction[c];
        if constexpr (kCarried)
            sent += load(w + 2 * F + k) * load(m.carried + (std::size_t(from) * 3 + c) * F + k);
        add(vectors + (std::size_t(to) * 3 + c) * F + k, sent);
    }
}

template <bool kCarried>
void receive(const Message& m, const std::vector<Pair>& pairs, const Filters& filters,
             const Linear& filter, Real* scalars, Real* vectors) {
    const int columns = (kCarried ? 3 : 2) * m.F, n_pairs = int(pairs.size());
    for (int begin = 0; begin < n_pairs; begin += Filters::kBlock) {
        const int count = std::min(Filters::kBlock, n_pairs - begin);
        const Real* w = filters.values(filter, columns, begin, count);
        for (int p = begin; p < begin + count; ++p, w += columns) {
            const Pair& pair = pairs[p];
            Real there[3], back[3];
            for (int c = 0; c < 3; ++c) back[c] = -(there[c] = Real(pair.direction[c]));
            for (int k = 0; k < m.F; k += kLanes) {
                send<kCarried>(m, pair.receiver, pair.sender, w, there, k, scalars, vectors);
                send<kCarried>(m, pair.sender, pair.receiver, w, back, k, scalars, vectors);
            }
        }
    }
}

// Gradients of the energy at one message: of what was received, and to be added to, of what was
// sent; the latter are null in the first layer, where nothing before depends on positions.
struct MessageGradient {
    const Real *scalars, *vectors;
    Real *context, *carried;
};

// Gradient with respect to a pair's distance and direction.
struct PairGradient {
    double distance = 0.0, direction[3] = {0.0, 0.0, 0.0};
};

// Partial sums of a PairGradient over features.
struct PairSums {
    Vector distance{}, direction[3]{};
};

// The reverse of send().
template <bool kCarried>
inline void send_back(const Message& m, const MessageGradient& g, int to, int from, const Real* w,
                      const Real* dw, const Real* direction, Real sign, int k, PairSums& sums) {
    const int F = m.F;
    const Real* x = m.context + std::size_t(from) * 3 * F + k;
    const Vector to_scalars = load(g.scalars + std::size_t(to) * F + k);
    const Vector to_scalars_sent = to_scalars * load(x);
    sums.distance += load(dw + k) * to_scalars_sent;

    const Vector weight = load(w + F + k) * load(x + F);
    Vector projected{}, product{};
    for (int c = 0; c < 3; ++c) {
        const Vector to_vectors = load(g.vectors + (std::size_t(to) * 3 + c) * F + k);
        projected += to_vectors * direction[c];
        sums.direction[c] += sign * weight * to_vectors;
        if constexpr (kCarried) {
            const std::size_t at = (std::size_t(from) * 3 + c) * F + k;
            product += to_vectors * load(m.carried + at);
            add(g.carried + at, load(w + 2 * F + k) * to_vectors);
        }
    }
    sums.distance += load(dw + F + k) * (projected * load(x + F));
    if constexpr (kCarried) {
        sums.distance += load(dw + 2 * F + k) * product;
        Real* gx = g.context + std::size_t(from) * 3 * F + k;
        add(gx, load(w + k) * to_scalars);
        add(gx + F, load(w + F + k) * projected);
    }
}

template <bool kCarried>
void receive_back(const Message& m, const MessageGradient& g, const std::vector<Pair>& pairs,
                  const Filters& filters, const Linear& filter, PairGradient* of_pairs) {
    const int columns = (kCarried ? 3 : 2) * m.F, n_pairs = int(pairs.size());
    for (int begin = 0; begin < n_pairs; begin += Filters::kBlock) {
        const int count = std::min(Filters::kBlock, n_pairs - begin);
        const Real* w = filters.with_derivatives(filter, columns, begin, count);
        for (int p = begin; p < begin + count; ++p, w += 2 * columns) {
            const Pair& pair = pairs[p];
            const Real* dw = w + columns;
            Real there[3], back[3];
            for (int c = 0; c < 3; ++c) back[c] = -(there[c] = Real(pair.direction[c]));
            PairSums sums;
            const int i = pair.receiver, j = pair.sender;
            for (int k = 0; k < m.F; k += kLanes) {
                send_back<kCarried>(m, g, i, j, w, dw, there, Real(1.0), k, sums);
                send_back<kCarried>(m, g, j, i, w, dw, back, Real(-1.0), k, sums);
            }
            of_pairs[p].distance += sum(sums.distance);
            for (int c = 0; c < 3; ++c) of_pairs[p].direction[c] += sum(sums.direction[c]);
        }
    }
}
