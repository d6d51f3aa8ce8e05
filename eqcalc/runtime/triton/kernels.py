# SPDX-License-Identifier: MIT
"""Derivatives of the message functional of PaiNN, as Triton kernels.

With e a pair of receiver i and sender j, f a feature, k a radial function, and
the filter of each of the three kinds of message W_e^x = Σ_k ρ_ek ω_k^x, all
messages contracted with the values of their receivers form one scalar,

    L = Σ_ef  W_e^s a_j g_i  +  W_e^u b_j (u_e · h_i)  +  W_e^v (c_j · h_i),

with two scalars a and b and a vector c of every sender, and a scalar g and a
vector h of every receiver. Each kernel computes the derivative of L with respect to some of these;
see :mod:`eqcalc.runtime.triton.message`.

Filters are computed on the fly, so no array of pairs × features is ever stored. Sums over the pairs
of an atom use one program per atom and block of features, which keeps the weights ω in registers,
one feature per thread. Sums over features or over all pairs are tiled matrix products in the full
precision of their factors. Every sum is computed by one program in a fixed order, without atomic
operations, so results are bitwise reproducible. Without `SCALAR` the first term is left out of L,
without `CARRIED` the third.

Whether the kernels are compiled for a GPU or interpreted on a CPU is decided when
this module is imported: the latter if the variable TRITON_INTERPRET is 1.
"""

import triton
import triton.language as tl


@triton.jit
def _vector(pointer, stride, mask):
    """Load the three components of vectors that lie `stride` apart."""
    x = tl.load(pointer, mask=mask, other=0.0)
    y = tl.load(pointer + stride, mask=mask, other=0.0)
    z = tl.load(pointer + 2 * stride, mask=mask, other=0.0)
    return x, y, z


@triton.jit
def _weights(
    weights, feature, within,
    FEATURES: tl.constexpr, RADIAL: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr,
):  # fmt: skip
    """Return the weights of every radial function in registers, one feature per thread."""
    of_s = ()
    of_u = ()
    of_v = ()
    for k in tl.static_range(RADIAL):
        place = weights + k * 3 * FEATURES + feature
        if SCALAR:
            of_s = of_s + (tl.load(place, mask=within, other=0.0),)  # noqa: RUF005
        of_u = of_u + (tl.load(place + FEATURES, mask=within, other=0.0),)  # noqa: RUF005
        if CARRIED:
            of_v = of_v + (tl.load(place + 2 * FEATURES, mask=within, other=0.0),)  # noqa: RUF005
    return of_s, of_u, of_v


@triton.jit
def _filters(
    radial, of_s, of_u, of_v,
    RADIAL: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the three filters of one pair, each [BLOCK]."""
    zero = tl.full([BLOCK], 0.0, radial.dtype.element_ty)
    w_s, w_u, w_v = zero, zero, zero
    for k in tl.static_range(RADIAL):
        value = tl.load(radial + k)
        if SCALAR:
            w_s += value * of_s[k]
        w_u += value * of_u[k]
        if CARRIED:
            w_v += value * of_v[k]
    return w_s, w_u, w_v


@triton.jit
def to_receivers(
    scalars, scalars_stride, carried, radial, weights, directions,
    sender, receiver_start, to_scalars, to_vectors,
    FEATURES: tl.constexpr, RADIAL: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """∂L/∂(g, h): the sum of messages. One program per receiver and block of features."""
    atom = tl.program_id(0).to(tl.int64)
    feature = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    within = feature < FEATURES
    of_s, of_u, of_v = _weights(weights, feature, within, FEATURES, RADIAL, SCALAR, CARRIED)
    zero = tl.full([BLOCK], 0.0, radial.dtype.element_ty)
    sum_s, sum_x, sum_y, sum_z = zero, zero, zero, zero
    begin = tl.load(receiver_start + atom)
    end = tl.load(receiver_start + atom + 1)
    for pair in range(begin, end):
        other = tl.load(sender + pair)
        x, y, z = _vector(directions + 3 * pair, 1, pair < end)
        row = scalars + other * scalars_stride + feature
        b = tl.load(row + FEATURES, mask=within, other=0.0)
        w_s, w_u, w_v = _filters(
            radial + pair * RADIAL, of_s, of_u, of_v, RADIAL, SCALAR, CARRIED, BLOCK
        )
        if SCALAR:
            sum_s += w_s * tl.load(row, mask=within, other=0.0)
        w_u *= b
        sum_x += w_u * x
        sum_y += w_u * y
        sum_z += w_u * z
        if CARRIED:
            c_x, c_y, c_z = _vector(carried + other * (3 * FEATURES) + feature, FEATURES, within)
            sum_x += w_v * c_x
            sum_y += w_v * c_y
            sum_z += w_v * c_z
    if SCALAR:
        tl.store(to_scalars + atom * FEATURES + feature, sum_s, mask=within)
    own = to_vectors + atom * (3 * FEATURES) + feature
    tl.store(own, sum_x, mask=within)
    tl.store(own + FEATURES, sum_y, mask=within)
    tl.store(own + 2 * FEATURES, sum_z, mask=within)


@triton.jit
def to_senders(
    received_scalars, received_vectors, radial, weights, directions,
    receiver, by_sender, sender_start, to_scalars, to_carried,
    FEATURES: tl.constexpr, RADIAL: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """∂L/∂(a, b, c). One program per sender and block of features."""
    atom = tl.program_id(0).to(tl.int64)
    feature = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    within = feature < FEATURES
    of_s, of_u, of_v = _weights(weights, feature, within, FEATURES, RADIAL, SCALAR, CARRIED)
    zero = tl.full([BLOCK], 0.0, radial.dtype.element_ty)
    sum_a, sum_b, sum_x, sum_y, sum_z = zero, zero, zero, zero, zero
    begin = tl.load(sender_start + atom)
    end = tl.load(sender_start + atom + 1)
    for place in range(begin, end):
        pair = tl.load(by_sender + place)
        other = tl.load(receiver + pair)
        x, y, z = _vector(directions + 3 * pair, 1, place < end)
        row = received_vectors + other * (3 * FEATURES) + feature
        h_x, h_y, h_z = _vector(row, FEATURES, within)
        w_s, w_u, w_v = _filters(
            radial + pair * RADIAL, of_s, of_u, of_v, RADIAL, SCALAR, CARRIED, BLOCK
        )
        if SCALAR:
            row = received_scalars + other * FEATURES + feature
            sum_a += w_s * tl.load(row, mask=within, other=0.0)
        sum_b += w_u * (h_x * x + h_y * y + h_z * z)
        if CARRIED:
            sum_x += w_v * h_x
            sum_y += w_v * h_y
            sum_z += w_v * h_z
    own = to_scalars + atom * (2 * FEATURES) + feature
    tl.store(own, sum_a, mask=within)
    tl.store(own + FEATURES, sum_b, mask=within)
    if CARRIED:
        own = to_carried + atom * (3 * FEATURES) + feature
        tl.store(own, sum_x, mask=within)
        tl.store(own + FEATURES, sum_y, mask=within)
        tl.store(own + 2 * FEATURES, sum_z, mask=within)


@triton.jit
def _coefficients(
    scalars, scalars_stride, carried, received_scalars, received_vectors, directions,
    sender, receiver, pair, valid, feature, within,
    FEATURES: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr,
):  # fmt: skip
    """Return the factors of the filters of pairs in L, then b and h, all [PAIRS, BLOCK]."""
    mask = valid[:, None] & within[None, :]
    i = tl.load(receiver + pair, mask=valid, other=0)[:, None]
    j = tl.load(sender + pair, mask=valid, other=0)[:, None]
    x, y, z = _vector(directions + 3 * pair, 1, valid)
    h_x, h_y, h_z = _vector(
        received_vectors + i * (3 * FEATURES) + feature[None, :], FEATURES, mask
    )
    row = scalars + j * scalars_stride + feature[None, :]
    b = tl.load(row + FEATURES, mask=mask, other=0.0)
    of_u = b * (h_x * x[:, None] + h_y * y[:, None] + h_z * z[:, None])
    of_s = of_u
    of_v = of_u
    if SCALAR:
        own = received_scalars + i * FEATURES + feature[None, :]
        of_s = tl.load(row, mask=mask, other=0.0) * tl.load(own, mask=mask, other=0.0)
    if CARRIED:
        c_x, c_y, c_z = _vector(carried + j * (3 * FEATURES) + feature[None, :], FEATURES, mask)
        of_v = c_x * h_x + c_y * h_y + c_z * h_z
    return of_s, of_u, of_v, b, h_x, h_y, h_z


@triton.jit(do_not_specialize=["n_pairs"])
def to_pairs(
    scalars, scalars_stride, carried, received_scalars, received_vectors,
    radial, weights, directions, sender, receiver, n_pairs, to_radial, to_directions,
    FEATURES: tl.constexpr, RADIAL: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr,
    OF_RADIAL: tl.constexpr, OF_DIRECTIONS: tl.constexpr,
    PAIRS: tl.constexpr, WAVES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """∂L/∂(ρ, u), or one of them. One program per tile of pairs."""
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    valid = pair < n_pairs
    wave = tl.arange(0, WAVES)
    known = wave < RADIAL
    kind = weights.dtype.element_ty
    place = pair[:, None] * RADIAL + wave[None, :]
    known_pairs = valid[:, None] & known[None, :]
    if OF_DIRECTIONS:
        rho = tl.load(radial + place, mask=known_pairs, other=0.0)
    sum_k = tl.full([PAIRS, WAVES], 0.0, kind)
    sum_x = tl.full([PAIRS], 0.0, kind)
    sum_y = tl.full([PAIRS], 0.0, kind)
    sum_z = tl.full([PAIRS], 0.0, kind)
    for first in range(0, FEATURES, BLOCK):
        feature = first + tl.arange(0, BLOCK)
        within = feature < FEATURES
        of_s, of_u, of_v, b, h_x, h_y, h_z = _coefficients(
            scalars, scalars_stride, carried, received_scalars, received_vectors, directions,
            sender, receiver, pair, valid, feature, within, FEATURES, SCALAR, CARRIED,
        )  # fmt: skip
        if OF_RADIAL:
            weight = weights + wave[None, :] * (3 * FEATURES) + feature[:, None]
            mask = within[:, None] & known[None, :]
            w = tl.load(weight + FEATURES, mask=mask, other=0.0)
            sum_k = tl.dot(of_u, w, sum_k, input_precision="ieee", out_dtype=kind)
            if SCALAR:
                w = tl.load(weight, mask=mask, other=0.0)
                sum_k = tl.dot(of_s, w, sum_k, input_precision="ieee", out_dtype=kind)
            if CARRIED:
                w = tl.load(weight + 2 * FEATURES, mask=mask, other=0.0)
                sum_k = tl.dot(of_v, w, sum_k, input_precision="ieee", out_dtype=kind)
        if OF_DIRECTIONS:
            weight = weights + wave[:, None] * (3 * FEATURES) + feature[None, :]
            mask = known[:, None] & within[None, :]
            w = tl.load(weight + FEATURES, mask=mask, other=0.0)
            zero = tl.full([PAIRS, BLOCK], 0.0, kind)
            along = b * tl.dot(rho, w, zero, input_precision="ieee", out_dtype=kind)
            sum_x += tl.sum(along * h_x, 1)
            sum_y += tl.sum(along * h_y, 1)
            sum_z += tl.sum(along * h_z, 1)
    if OF_RADIAL:
        tl.store(to_radial + place, sum_k, mask=known_pairs)
    if OF_DIRECTIONS:
        tl.store(to_directions + 3 * pair, sum_x, mask=valid)
        tl.store(to_directions + 3 * pair + 1, sum_y, mask=valid)
        tl.store(to_directions + 3 * pair + 2, sum_z, mask=valid)


@triton.jit(do_not_specialize=["n_pairs", "share"])
def to_weights(
    scalars, scalars_stride, carried, received_scalars, received_vectors,
    radial, directions, sender, receiver, n_pairs, share, partial,
    FEATURES: tl.constexpr, RADIAL: tl.constexpr, SCALAR: tl.constexpr, CARRIED: tl.constexpr,
    PAIRS: tl.constexpr, WAVES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """∂L/∂ω in parts. One program per chunk of pairs and block of features."""
    part = tl.program_id(0).to(tl.int64)
    feature = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    within = feature < FEATURES
    wave = tl.arange(0, WAVES)
    known = wave < RADIAL
    kind = radial.dtype.element_ty
    sum_s = tl.full([WAVES, BLOCK], 0.0, kind)
    sum_u = tl.full([WAVES, BLOCK], 0.0, kind)
    sum_v = tl.full([WAVES, BLOCK], 0.0, kind)
    begin = part * share
    end = tl.minimum(begin + share, n_pairs)
    for start in range(begin, end, PAIRS):
        pair = start + tl.arange(0, PAIRS)
        valid = pair < end
        place = radial + pair[None, :] * RADIAL + wave[:, None]
        rho = tl.load(place, mask=known[:, None] & valid[None, :], other=0.0)
        of_s, of_u, of_v, _, _, _, _ = _coefficients(
            scalars, scalars_stride, carried, received_scalars, received_vectors, directions,
            sender, receiver, pair, valid, feature, within, FEATURES, SCALAR, CARRIED,
        )  # fmt: skip
        sum_u = tl.dot(rho, of_u, sum_u, input_precision="ieee", out_dtype=kind)
        if SCALAR:
            sum_s = tl.dot(rho, of_s, sum_s, input_precision="ieee", out_dtype=kind)
        if CARRIED:
            sum_v = tl.dot(rho, of_v, sum_v, input_precision="ieee", out_dtype=kind)
    row = partial + (part * RADIAL + wave[:, None]) * (3 * FEATURES) + feature[None, :]
    mask = known[:, None] & within[None, :]
    tl.store(row, sum_s, mask=mask)
    tl.store(row + FEATURES, sum_u, mask=mask)
    tl.store(row + 2 * FEATURES, sum_v, mask=mask)
