# SPDX-License-Identifier: MIT
"""Spectra as sums over normal modes or groups of atoms.

In the Eckart frame of an equilibrium geometry, with U the rotation into it, the
dipole moment is

    μ = Uᵀ[μ̄ + Σ_g Δμ_g] + remainder,

where Δμ_g is linear in the displacements: (∂μ/∂Q_k)Q_k of a normal mode, or
Σ_i Δr_i·(∂μ/∂r_i) over a group of atoms. μ̄, the mean dipole moment, rotates with the molecule and
gives the pure rotational spectrum; the remainder contains electrical anharmonicity. The parts add
up to μ exactly. In the laboratory frame every part has the rotational envelope of its band; in the
Eckart frame itself, U·μ, there is none, and no rotation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eqcalc.normal_modes import centred
from eqcalc.spectra.assignment.decomposition import Decomposition, decompose
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.frames import LABORATORY, molecular_rotations
from eqcalc.units import INTENSITY_PER_SQUARED_CHARGE_PER_MASS
from eqcalc.validation import InvalidInputError, array_of, count, instance, instances, one_of

#: Names of the parts that are neither modes nor groups.
ROTATION, REMAINDER = "rotation", "remainder"
#: Scale, unit and label of the decomposition of a dipole moment.
_INFRARED: dict[str, Any] = {
    "quantity_unit": "e*Å",
    "scale": INTENSITY_PER_SQUARED_CHARGE_PER_MASS,
    "result_unit": "km/mol per cm⁻¹",
    "label": "IR intensity",
}


def mode_names(harmonic: HarmonicSpectrum) -> tuple[str, ...]:
    """Return a name for each mode: its number and harmonic wavenumber."""
    return tuple(f"mode {k + 1} ({nu:.0f})" for k, nu in enumerate(harmonic.wavenumber))


def _references(
    harmonic: HarmonicSpectrum | Sequence[HarmonicSpectrum], n_replicas: int
) -> list[HarmonicSpectrum]:
    """Return the reference of each replica."""
    if isinstance(harmonic, HarmonicSpectrum):
        return [harmonic] * n_replicas
    instances("harmonic", harmonic, HarmonicSpectrum)
    if len(harmonic) != n_replicas or len({len(h) for h in harmonic}) != 1:
        raise InvalidInputError(
            key="harmonic",
            value=len(harmonic),
            expected=f"one analysis, or one for each of {n_replicas} replicas with the same number "
            "of modes",
        )
    return list(harmonic)


def _pieces(dipole: Any, positions: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return dipole moments and positions of each replica, checked to be of the same times."""
    pieces: dict[str, list[np.ndarray]] = {}
    for key, values, form in (
        ("dipole", dipole, ("n_frames", 3)),
        ("positions", positions, ("n_frames", "n_atoms", 3)),
    ):
        if not np.iterable(values) or isinstance(values, str | bytes | Mapping):
            expected = "an array of all replicas, or a list of them"
            raise InvalidInputError(key=key, value=values, expected=expected)
        pieces[key] = [array_of(f"{key}[{i}]", v, form) for i, v in enumerate(values)]
    lengths = {key: [len(piece) for piece in found] for key, found in pieces.items()}
    if lengths["dipole"] != lengths["positions"] or not all(lengths["dipole"] or [0]):
        raise InvalidInputError(
            key="dipole", value=lengths["dipole"], expected=f"frames {lengths['positions']}"
        )
    return pieces["dipole"], pieces["positions"]


def _displacements(
    positions: np.ndarray, harmonic: HarmonicSpectrum
) -> tuple[np.ndarray, np.ndarray]:
    """Return displacements in the Eckart frame of one replica, and the rotations into it."""
    masses = harmonic.masses
    positions = array_of("positions", positions, ("n_frames", len(masses), 3))
    rotations = molecular_rotations(positions, harmonic.positions, masses)
    seen = np.einsum("tab,tib->tia", rotations, centred(positions, masses), optimize=True)
    return seen - centred(harmonic.positions, masses), rotations


def _completed(
    dipole: np.ndarray, linear: np.ndarray, rotations: np.ndarray, frame: str
) -> np.ndarray:
    """Return linear parts, rotation and remainder ``[n_parts + 2, n_frames, 3]`` of one replica.

    Their sum is the dipole moment ``[n_frames, 3]``. `linear` ``[n_parts, n_frames, 3]`` is in the
    Eckart frame; `rotations` ``[n_frames, 3, 3]`` rotate into it. In that frame there is no
    rotation, and the parts are ``[n_parts + 1, n_frames, 3]``.
    """
    inside = np.einsum("tab,tb->ta", rotations, dipole) - linear.sum(0)
    if frame == "eckart":
        return np.concatenate([linear, inside[None]])
    permanent = np.broadcast_to(inside.mean(0), dipole.shape)
    parts = np.einsum("tba,gtb->gta", rotations, np.concatenate([linear, permanent[None]]))
    return np.concatenate([parts, (dipole - parts.sum(0))[None]])


def decompose_dipole_by_modes(
    dipole: Sequence[np.ndarray] | np.ndarray,
    positions: Sequence[np.ndarray] | np.ndarray,
    harmonic: HarmonicSpectrum | Sequence[HarmonicSpectrum],
    *,
    frame: str = LABORATORY,
    **options: Any,
) -> Decomposition:
    """Decompose the infrared spectrum into normal modes, rotation and a remainder.

    Parameters
    ----------
    dipole
        ``[n_replicas, n_frames, 3]``, e Å; or a list of replicas, or pieces of
        them, of different length.
    positions
        ``[n_replicas, n_frames, n_atoms, 3]``, Å, at the same times.
    harmonic
        Normal modes with dipole derivatives at the minimum of the replicas; or one analysis per
        replica, for minima that differ by a permutation of atoms or by reflection.
    frame
        ``"laboratory"``, or ``"eckart"`` of the minima, without rotation.
    options
        ``interval`` and ``temperature``, and those of :func:`decompose`.
    """
    one_of("frame", frame, (LABORATORY, "eckart"))
    dipole, positions = _pieces(dipole, positions)
    references = _references(harmonic, len(positions))
    parts = []
    for mu, r, reference in zip(dipole, positions, references, strict=True):
        if reference.dipole_derivative is None:
            raise InvalidInputError(key="harmonic", expected="modes with a dipole derivative")
        displacement, rotations = _displacements(r, reference)
        coordinates = reference.coordinates(displacement).T
        linear = coordinates[..., None] * reference.dipole_derivative[:, None]
        parts.append(_completed(mu, linear, rotations, frame))
    return _infrared(mode_names(references[0]), parts, frame, options)


def decompose_dipole_by_groups(
    dipole: Sequence[np.ndarray] | np.ndarray,
    positions: Sequence[np.ndarray] | np.ndarray,
    harmonic: HarmonicSpectrum | Sequence[HarmonicSpectrum],
    polar_tensors: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    *,
    frame: str = LABORATORY,
    **options: Any,
) -> Decomposition:
    """Decompose the infrared spectrum into groups of atoms and a remainder.

    The polar tensors are those of the minimum; their variation along the trajectory is in the
    remainder. See :func:`decompose_dipole_by_atoms` for the decomposition with the tensors of every
    frame.

    Parameters
    ----------
    dipole, positions, harmonic, frame, options
        See :func:`decompose_dipole_by_modes`.
    polar_tensors
        ``[n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e, in the orientation of the
        reference; or ``[n_replicas, n_atoms, 3, 3]`` for one reference per replica.
    groups
        Indices of the atoms of each group; groups must not overlap. The other atoms form the group
        ``"others"``.
    """
    one_of("frame", frame, (LABORATORY, "eckart"))
    dipole, positions = _pieces(dipole, positions)
    references = _references(harmonic, len(positions))
    n_atoms = len(references[0].masses)
    everything = _complete_groups(groups, n_atoms)
    polar_tensors = array_of("polar_tensors", polar_tensors, (..., n_atoms, 3, 3))
    if polar_tensors.shape[:-3] not in ((), (len(positions),)):
        raise InvalidInputError(
            key="polar_tensors",
            value=polar_tensors.shape,
            expected=f"the shape [{n_atoms}, 3, 3], or [{len(positions)}, {n_atoms}, 3, 3]",
        )
    tensors = np.broadcast_to(polar_tensors, (len(positions), n_atoms, 3, 3))
    parts = []
    for mu, r, reference, tensor in zip(dipole, positions, references, tensors, strict=True):
        displacement, rotations = _displacements(r, reference)
        by_atom = np.einsum("tia,iab->itb", displacement, tensor, optimize=True)
        linear = np.stack([by_atom[atoms].sum(0) for atoms in everything.values()])
        parts.append(_completed(mu, linear, rotations, frame))
    return _infrared(tuple(everything), parts, frame, options)


def decompose_dipole_by_atoms(
    polar_tensors: np.ndarray,
    velocities: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    **options: Any,
) -> Decomposition:
    """Decompose the infrared spectrum into groups of atoms, without a remainder.

    The part of a group is Σ v_i·(∂μ/∂r_i) over its atoms, with the polar tensors
    of every frame.

    Parameters
    ----------
    polar_tensors
        ``[n_replicas, n_frames, n_atoms, 3, 3]``, ∂μ_b/∂r_ia at [i, a, b], e.
    velocities
        ``[n_replicas, n_frames, n_atoms, 3]``, Å/fs.
    groups, options
        See :func:`decompose_dipole_by_groups`.
    """
    velocities = array_of("velocities", velocities, ("n_replicas", "n_frames", "n_atoms", 3))
    polar_tensors = array_of("polar_tensors", polar_tensors, (*velocities.shape, 3))
    everything = _complete_groups(groups, velocities.shape[-2])
    rates = np.einsum("rtia,rtiab->rtib", velocities, polar_tensors, optimize=True)
    parts = {name: rates[:, :, atoms].sum(2) for name, atoms in everything.items()}
    return decompose(derivative=parts, unit="e*Å/fs", **_INFRARED, **_without_unit(options))


def _complete_groups(groups: Mapping[str, Sequence[int]], n_atoms: int) -> dict[str, list[int]]:
    """Return the groups, with all other atoms as an additional group."""
    if not isinstance(groups, Mapping):
        expected = "names with the indices of the atoms of each group"
        raise InvalidInputError(key="groups", value=groups, expected=expected)
    chosen = [count(f"groups.{name}", i, least=0) for name, group in groups.items() for i in group]
    problem = ""
    if len(set(chosen)) != len(chosen):
        problem = "an atom belongs to more than one group"
    elif chosen and not 0 <= min(chosen) <= max(chosen) < n_atoms:
        problem = f"atoms are numbered from 0 to {n_atoms - 1}"
    elif taken := {"others", ROTATION, REMAINDER} & set(groups):
        problem = f"the name {taken.pop()!r} is reserved"
    if problem:
        raise InvalidInputError(problem, key="groups")
    rest = [i for i in range(n_atoms) if i not in chosen]
    complete = {name: list(atoms) for name, atoms in groups.items()}
    return complete | ({"others": rest} if rest else {})


def _infrared(
    names: tuple[str, ...], parts: Sequence[np.ndarray], frame: str, options: Mapping[str, Any]
) -> Decomposition:
    """Return the decomposition into the parts from :func:`_completed` for each replica."""
    rest = (REMAINDER,) if frame == "eckart" else (ROTATION, REMAINDER)
    by_part = zip((*names, *rest), zip(*parts, strict=True), strict=True)
    return decompose(dict(by_part), unit="e*Å", frame=frame, **_INFRARED, **_without_unit(options))


def _without_unit(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return options without a unit, which is that of the arguments."""
    if "unit" in options:
        expected = "none: the arguments are in Å, fs and e"
        raise InvalidInputError(key="unit", value=options["unit"], expected=expected)
    return options


# --- density of states --------------------------------------------------------------------


def mode_momenta(
    positions: np.ndarray, velocities: np.ndarray, harmonic: HarmonicSpectrum
) -> np.ndarray:
    """Return the momenta P_k = Σ mᵢ (∂rᵢ/∂Q_k)·vᵢ of the normal modes in the Eckart frame.

    ``[n_replicas, n_frames, n_modes]``, Å amu^½/fs, of positions [Å] and velocities [Å/fs]
    ``[n_replicas, n_frames, n_atoms, 3]``. The geometry of the modes is the reference.
    """
    form = ("n_replicas", "n_frames", len(harmonic.masses), 3)
    positions = array_of("positions", positions, form)
    velocities = array_of("velocities", velocities, positions.shape)
    if not positions.size:
        raise InvalidInputError(key="positions", value=positions.shape, expected="frames")
    rotations = np.stack(
        [molecular_rotations(r, harmonic.positions, harmonic.masses) for r in positions]
    )
    return harmonic.coordinates(np.einsum("rtab,rtib->rtia", rotations, velocities, optimize=True))


def mode_spectra(
    positions: np.ndarray, velocities: np.ndarray, harmonic: HarmonicSpectrum, **options: Any
) -> Decomposition:
    """Return the density of states projected on the normal modes, with mode–mode cross terms.

    Each mode integrates to one state in the harmonic limit.

    Parameters
    ----------
    positions, velocities, harmonic
        See :func:`mode_momenta`.
    options
        See :func:`decompose_dipole_by_modes`.
    """
    instance("harmonic", harmonic, HarmonicSpectrum)
    momenta = mode_momenta(positions, velocities, harmonic)
    return decompose(
        derivative={name: momenta[..., k, None] for k, name in enumerate(mode_names(harmonic))},
        unit="Å/fs",
        quantity_unit="Å",
        result_unit="states per cm⁻¹",
        label="density of states",
        **_without_unit(options),
    )
