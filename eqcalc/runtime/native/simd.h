// SPDX-License-Identifier: MIT
// Vectors of the compiler's own extension, and the functions of them that the network needs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifndef REAL
#define REAL float
#endif

using Real = REAL;

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kTileRows = 12;  // 24 accumulators, 2 operands and a broadcast in 32 registers
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
constexpr int kTileRows = 6;  // the same in 16 registers
#else
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 6;
#endif
constexpr int kLanes = kVectorBytes / sizeof(Real);

using Integer = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
typedef Real Vector __attribute__((vector_size(kVectorBytes), may_alias));
typedef Integer Integers __attribute__((vector_size(kVectorBytes), may_alias));

inline Vector load(const Real* p) { return *reinterpret_cast<const Vector*>(p); }
inline void store(Real* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }
inline void add(Real* p, Vector v) { store(p, load(p) + v); }
inline Vector broadcast(Real x) { return Vector{} + x; }

#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, Integers{__VA_ARGS__})
#endif

// a₀ b₀ a₁ b₁ …, of the first halves and of the second ones.
template <int... kLane>
inline std::pair<Vector, Vector> interleaved(Vector a, Vector b,
                                             std::integer_sequence<int, kLane...>) {
    return {SHUFFLED(a, b, (kLane / 2 + kLane % 2 * kLanes)...),
            SHUFFLED(a, b, ((kLane + kLanes) / 2 + kLane % 2 * kLanes)...)};
}

// Transposes a square by perfect shuffles of its rows.
inline void transpose(Vector (&rows)[kLanes]) {
    for (int done = 1; done < kLanes; done *= 2) {
        Vector shuffled[kLanes];
        for (int k = 0; k < kLanes / 2; ++k)
            std::tie(shuffled[2 * k], shuffled[2 * k + 1]) = interleaved(
                rows[k], rows[k + kLanes / 2], std::make_integer_sequence<int, kLanes>());
        std::copy(shuffled, shuffled + kLanes, rows);
    }
}

inline double sum(Vector v) {
    // pairwise: the compiler turns the halves into shuffles
    Real lane[kLanes];
    std::memcpy(lane, &v, sizeof v);
    for (int width = kLanes / 2; width > 0; width /= 2)
        for (int k = 0; k < width; ++k) lane[k] += lane[k + width];
    return lane[0];
}

// e^x to the last digits of Real for |x| < 87; beyond, the value at the bound. NaN stays NaN.
inline Vector exponential(Vector x) {
    constexpr bool single = sizeof(Real) == 4;
    constexpr Real bound = 87.0;
    constexpr Real log2_e = 1.442695040888963407;
    // ln 2 in two parts, the first of few digits, so that n·ln 2 is exact
    constexpr Real ln2_high = single ? 0.693359375 : 0.693147180369123816490;
    constexpr Real ln2_low = single ? -2.12194440e-4 : 1.90821492927058770002e-10;
    // adding this rounds to an integer and leaves it in the low bits
    constexpr Real rounder = single ? 12582912.0 : 6755399441055744.0;
    constexpr int mantissa = single ? 23 : 52;
    constexpr int degree = single ? 7 : 13;

    x = x < -bound ? broadcast(-bound) : x;
    x = x > bound ? broadcast(bound) : x;
    const Vector shifted = x * log2_e + rounder;
    const Vector n = shifted - rounder;
    const Vector r = (x - n * ln2_high) - n * ln2_low;
    Vector series = broadcast(1.0);
    for (int k = degree; k > 0; --k) series = series * (r * Real(1.0 / k)) + Real(1.0);
    const Integers power = reinterpret_cast<const Integers&>(shifted) << mantissa;
    const Integers scaled = reinterpret_cast<const Integers&>(series) + power;
    return reinterpret_cast<const Vector&>(scaled);
}

inline Vector sigmoid(Vector x) { return Real(1.0) / (Real(1.0) + exponential(-x)); }

inline Vector square_root(Vector x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Real) == 4) return Vector(_mm512_sqrt_ps(__m512(x)));
    else return Vector(_mm512_sqrt_pd(__m512d(x)));
#elif defined(__AVX__)
    if constexpr (sizeof(Real) == 4) return Vector(_mm256_sqrt_ps(__m256(x)));
    else return Vector(_mm256_sqrt_pd(__m256d(x)));
#else
    for (int k = 0; k < kLanes; ++k) x[k] = __builtin_sqrt(x[k]);
    return x;
#endif
}

// A number with its derivative along one direction: what is computed with it is differentiated.
template <class T>
struct WithTangent {
    T value, tangent;
};
using Dual = WithTangent<Vector>;
using DualReal = WithTangent<Real>;

inline Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.tangent + b.tangent}; }
inline Dual& operator+=(Dual& a, Dual b) { return a = a + b; }
inline Dual operator+(Real a, Dual b) { return {a + b.value, b.tangent}; }
inline Dual operator-(Real a, Dual b) { return {a - b.value, -b.tangent}; }
inline Dual operator*(Real a, Dual b) { return {a * b.value, a * b.tangent}; }
template <class T>
inline Dual operator*(Dual a, WithTangent<T> b) {
    return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
}
inline Dual operator/(Dual a, Dual b) {
    const Vector ratio = a.value / b.value;
    return {ratio, (a.tangent - ratio * b.tangent) / b.value};
}

inline Dual sigmoid(Dual x) {
    const Vector s = sigmoid(x.value);
    return {s, s * (Real(1.0) - s) * x.tangent};
}

inline Dual square_root(Dual x) {
    const Vector root = square_root(x.value);
    return {root, Real(0.5) * x.tangent / root};
}

// Rows of numbers; the tangents exist in training only.
struct Array {
    Real* value = nullptr;
    Real* tangent = nullptr;

    Array operator+(std::size_t k) const {
        return {value + k, tangent == nullptr ? nullptr : tangent + k};
    }
};

// What a pass reads and writes of an array.
template <Real* Array::*part>
struct In {
    using Number = Vector;
    static Real* written(Array a) { return a.*part; }
    static Number get(Array a, std::size_t k) { return load(a.*part + k); }
    static void put(Array a, std::size_t k, Number v) { store(a.*part + k, v); }
    static void add(Array a, std::size_t k, Number v) { ::add(a.*part + k, v); }
};
using InValue = In<&Array::value>;
using InTangent = In<&Array::tangent>;
// Values have been computed before; what is written is the tangent.
struct InBoth {
    using Number = Dual;
    static Real* written(Array a) { return a.tangent; }
    static Number get(Array a, std::size_t k) { return {load(a.value + k), load(a.tangent + k)}; }
    static void put(Array a, std::size_t k, Number v) { store(a.tangent + k, v.tangent); }
    static void add(Array a, std::size_t k, Number v) { ::add(a.tangent + k, v.tangent); }
};
