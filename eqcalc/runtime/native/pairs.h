// SPDX-License-Identifier: MIT
// Pairs of atoms within the cutoff, and their radial functions.
#pragma once

#include <cmath>
#include <vector>

#include "linear.h"

// What goes into an evaluation. Pairs are given, each once, or found among the atoms of each
// structure; arrays are row-major.
struct Input {
    std::int64_t n_structures;
    const std::int64_t* first_atom;  // [n_structures + 1]
    const std::int64_t* rows;        // of the embedding table, [n_atoms]
    const double* positions;         // [n_atoms, 3] Å
    const double* masses;            // [n_atoms]
    const double* charges;           // total charges, [n_structures] e
    const double* energy_reference;  // what the elements add, [n_structures]
    const double* polarizability_reference;
    std::int64_t before;             // atoms that senders and receivers count and others do not
    std::int64_t n_pairs;            // negative: find them
    const std::int64_t* receivers;   // [n_pairs], ascending
    const std::int64_t* senders;     // [n_pairs]
    const double* shifts;            // of the sender's periodic image, [n_pairs, 3] Å
};

// How distance and direction of a pair change along the direction of differentiation.
struct PairRate {
    Real distance = 0, direction[3] = {0, 0, 0};
};

struct Pair {
    int receiver, sender;
    double distance;
    double direction[3];  // from the receiver to the sender

    // From the rate of the vector between the atoms.
    PairRate rate(const double* vector) const {
        double along = 0.0;
        for (int c = 0; c < 3; ++c) along += vector[c] * direction[c];
        PairRate found;
        found.distance = Real(along);
        for (int c = 0; c < 3; ++c)
            found.direction[c] = Real((vector[c] - along * direction[c]) / distance);
        return found;
    }
};

inline void keep_if_near(std::vector<Pair>& pairs, const Input& in, std::int64_t i, std::int64_t j,
                         const double* shift, double cutoff) {
    double vector[3], squared = 0.0;
    for (int c = 0; c < 3; ++c) {
        vector[c] = in.positions[3 * j + c] - in.positions[3 * i + c];
        if (shift != nullptr) vector[c] += shift[c];
        squared += vector[c] * vector[c];
    }
    if (squared >= cutoff * cutoff) return;  // a NaN goes on and is seen in the results
    const double distance = std::sqrt(squared);
    pairs.push_back({int(i), int(j), distance,
                     {vector[0] / distance, vector[1] / distance, vector[2] / distance}});
}

inline void find_pairs(std::vector<Pair>& pairs, const Input& in, double cutoff) {
    pairs.clear();
    for (std::int64_t p = 0; p < in.n_pairs; ++p)
        keep_if_near(pairs, in, in.receivers[p] - in.before, in.senders[p] - in.before,
                     in.shifts + 3 * p, cutoff);
    if (in.n_pairs >= 0) return;
    for (std::int64_t s = 0; s < in.n_structures; ++s)
        for (std::int64_t i = in.first_atom[s]; i < in.first_atom[s + 1]; ++i)
            for (std::int64_t j = i + 1; j < in.first_atom[s + 1]; ++j)
                keep_if_near(pairs, in, i, j, nullptr, cutoff);
}

// sine: sin(k_n d)/d; harmonics: the same where all k_n are multiples of the first;
// gaussian: exp(e (d − c_n)²). See eqcalc/models/radial.py.
enum class Basis : std::int64_t { sine = 0, harmonics = 1, gaussian = 2 };

// The radial functions of a distance times the cutoff function, and the cutoff function itself,
// which carries the bias of the filters.
struct Radial {
    Basis basis;
    double cutoff, exponent;
    int power;                      // of (1 + cos(πd/r_c))/2 in the cutoff function
    std::vector<double> constants;  // k_n or c_n

    int size() const { return int(constants.size()); }
    int width() const { return size() + 1; }

    // value and derivative are [width()] each.
    void operator()(double d, Real* value, Real* derivative) const {
        const double k = M_PI / cutoff, bell = 0.5 * (std::cos(k * d) + 1.0);
        double f = bell, df = -0.5 * k * std::sin(k * d);
        for (int n = 1; n < power; ++n) {
            df = df * bell * (n + 1.0) / n;
            f *= bell;
        }
        const double cosine = std::cos(constants[0] * d), sine = std::sin(constants[0] * d);
        double cn = 1.0, sn = 0.0;
        for (int n = 0; n < size(); ++n) {
            const double constant = constants[n];
            double b, db;
            if (basis == Basis::gaussian) {
                b = std::exp(exponent * (d - constant) * (d - constant));
                db = 2.0 * exponent * (d - constant) * b;
            } else {
                if (basis == Basis::harmonics) {
                    const double next = cn * cosine - sn * sine;
                    sn = sn * cosine + cn * sine;
                    cn = next;
                } else {
                    cn = std::cos(constant * d);
                    sn = std::sin(constant * d);
                }
                b = sn / d;
                db = (constant * cn - b) / d;
            }
            value[n] = Real(b * f);
            derivative[n] = Real(db * f + b * df);
        }
        value[size()] = Real(f);
        derivative[size()] = Real(df);
    }
};
