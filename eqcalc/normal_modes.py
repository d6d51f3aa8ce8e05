# SPDX-License-Identifier: MIT
r"""Rigid motions and normal modes of a molecule, and quantum displacements along the modes.

With mass-weighted coordinates q = √m r, the normal modes are the eigenvectors of the
Hessian ∂²E/∂q∂q in the complement of translations and rotations (Wilson, Decius and
Cross, Molecular Vibrations, 1955, chapter 2):

========  =====================================  ================================
symbol    name                                   unit and shape
========  =====================================  ================================
λ         ``NormalModes.eigenvalues``            eV/(Å² amu), ``[n_modes]``
ω = √λ    ``NormalModes.angular_frequency``      1/ASE time
ν̃         ``NormalModes.wavenumber``             cm⁻¹, negative if λ < 0
∂r/∂Q     ``NormalModes.vectors``                amu^−½, ``[n_modes, n_atoms, 3]``
Q         ``NormalModes.coordinates(Δr)``        Å amu^½
I         moments of inertia                     amu Å²
========  =====================================  ================================

**When is a molecule linear?** A linear molecule has two rotations and 3N − 5 modes. An
optimizer leaves it bent by 1e-6 to 1e-3 Å, and what then looks like a rotation about the
axis is its second bending vibration. The ratio of the smallest to the largest moment of
inertia, I_a/I_c, measures the bend:

=================================================  ==============
molecule                                           I_a/I_c
=================================================  ==============
noise of 1e-4 Å on each coordinate of CO2, HCN     ~1e-8
noise of 1e-3 Å on each coordinate of CO2, HCN     ~1e-6
one angle of CO2, HCN or C2H2 bent by 1°           1.4e-5 – 3e-5
one angle of CO2, HCN or C2H2 bent by 2°           6e-5 – 1.1e-4
HNCO, H2O2, water                                  0.01, 0.08, 0.3
=================================================  ==============

:data:`LINEAR_AT_REST` = 1e-5 lies between the noise and a bend of 1° (0.7° in CO2).
A molecule with a smaller bend at its minimum is linear for a spectroscopist as well: the
zero-point motion of a bending vibration, 3° to 6°, passes over the barrier between its
two sides. A geometry taken from dynamics is bent by its vibration: there the minimum tells
(`linear`), or the average over many geometries (:data:`LINEAR_IN_MOTION`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eqcalc.facts import ComparedByValue
from eqcalc.units import (
    BOLTZMANN,
    HBAR,
    angular_frequency_to_wavenumber,
    wavenumber_to_angular_frequency,
)
from eqcalc.validation import InvalidInputError, array_of, finite, shape

#: A relaxed molecule is linear if I_a/I_c, its smallest over its largest moment of inertia,
#: is below this value.
LINEAR_AT_REST = 1e-5
#: A vibrating molecule is linear if the means of I_a and I_c have a ratio below this value.
LINEAR_IN_MOTION = 1e-2

#: Largest overlap of printed displacements, of two digits, with translations and rotations.
_RIGID = 0.1

#: Below this I_a/I_c a rotation about the axis cannot be told from rounding.
_ROUNDING = 1e-9


class NotAMinimumError(ValueError):
    """A stationary point has modes along which the energy does not rise.

    Attributes
    ----------
    wavenumber
        Of these modes, cm⁻¹; imaginary ones are negative.
    """

    def __init__(self, wavenumber: np.ndarray) -> None:
        self.wavenumber = np.asarray(wavenumber, dtype=float)
        values = ", ".join(f"{abs(nu):.0f}{'i' if nu < 0.0 else ''}" for nu in self.wavenumber)
        super().__init__(
            f"the structure is not a minimum: {len(self.wavenumber)} of its wavenumbers "
            f"({values} cm⁻¹) are imaginary or zero; relax it, starting from a less symmetric "
            "geometry"
        )


# --- rigid motions -----------------------------------------------------------------------


def atomic_masses(masses: ArrayLike) -> np.ndarray:
    """Return masses ``[n_atoms]``, amu, checked to be positive and finite.

    Raises
    ------
    InvalidInputError
        There are none, or one is not.
    """
    checked = array_of("masses", masses, ("n_atoms",))
    if not checked.size or checked.min() <= 0.0:
        expected = "a positive mass [amu] of each atom"
        raise InvalidInputError(key="masses", value=checked.tolist(), expected=expected)
    return checked


def centred(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return positions ``[..., n_atoms, 3]`` relative to their centre of mass, Å."""
    centre = np.einsum("...ia,i->...a", positions, masses) / masses.sum()
    return np.asarray(positions - centre[..., None, :])


def principal_axes(positions: np.ndarray, masses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal moments of inertia and the axes they belong to.

    Parameters
    ----------
    positions
        ``[..., n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.

    Returns
    -------
    moments
        ``[..., 3]``, ascending, amu Å².
    axes
        ``[..., 3, 3]``, one in each column.
    """
    r = centred(positions, masses)
    products = np.einsum("i,...ia,...ib->...ab", masses, r, r)
    trace = np.trace(products, axis1=-2, axis2=-1)[..., None, None]
    moments, axes = np.linalg.eigh(trace * np.eye(3) - products)
    return moments, axes


def is_linear(positions: np.ndarray, masses: np.ndarray, threshold: float = LINEAR_AT_REST) -> bool:
    """Return whether a molecule is linear: mean of I_a below threshold · mean of I_c.

    Parameters
    ----------
    positions
        ``[..., n_atoms, 3]``, Å: a relaxed geometry, or many of a molecule in motion, for
        which the threshold is :data:`LINEAR_IN_MOTION`.
    masses
        ``[n_atoms]``, amu.
    """
    moments = principal_axes(positions, masses)[0].reshape(-1, 3).mean(axis=0)
    return bool(moments[0] < threshold * moments[2])


def inverse_inertia(positions: np.ndarray, masses: np.ndarray, *, linear: bool) -> np.ndarray:
    """Return I⁻¹, which takes an angular momentum to the angular velocity Ω = I⁻¹ L.

    Parameters
    ----------
    positions
        ``[..., n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.
    linear
        The molecule is linear at its minimum: angular momentum about the axis of the
        smallest moment belongs to bending vibrations, and I⁻¹ does not act on it.

    Returns
    -------
    numpy.ndarray
        ``[..., 3, 3]``, 1/(amu Å²); zero about an axis through all atoms.
    """
    moments, axes = principal_axes(positions, masses)
    rotates = moments > _ROUNDING * moments[..., -1:]
    if linear:
        rotates[..., 0] = False
    inverse = np.divide(1.0, moments, out=np.zeros_like(moments), where=rotates)
    return np.asarray((axes * inverse[..., None, :]) @ np.swapaxes(axes, -1, -2))


def rigid_motions(
    positions: np.ndarray, masses: np.ndarray, linear: bool | None = None
) -> np.ndarray:
    """Return orthonormal mass-weighted translations and rotations, in this order.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.
    linear
        Whether the molecule is linear at its minimum; :func:`is_linear` of `positions` by
        default. State it for geometries in motion: otherwise a bent snapshot of a linear
        molecule loses a bending mode.

    Returns
    -------
    numpy.ndarray
        ``[n_rigid, 3 n_atoms]``; n_rigid is 6, for a linear molecule 5, for an atom 3.
    """
    root = np.sqrt(masses)
    r = centred(positions, masses)
    translations = [np.outer(root / np.linalg.norm(root), axis).ravel() for axis in np.eye(3)]
    rotations = np.array([(root[:, None] * np.cross(axis, r)).ravel() for axis in np.eye(3)])
    # The squares of the singular values are the principal moments of inertia, descending.
    _, sizes, directions = np.linalg.svd(rotations, full_matrices=False)
    if is_linear(positions, masses) if linear is None else linear:
        sizes[2:] = 0.0
    kept = directions[(sizes > np.sqrt(_ROUNDING) * sizes[0]) & (len(masses) > 1)]
    return np.concatenate([translations, _with_fixed_sign(kept)])


# --- normal modes --------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class NormalModes(ComparedByValue):
    """Harmonic vibrations about a geometry, in ascending order of wavenumber.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]``, Å.
    masses
        ``[n_atoms]``, amu.
    eigenvalues
        ``[n_modes]``, squared angular frequencies, eV/(Å² amu); negative where the
        energy falls on both sides.
    vectors
        ``[n_modes, n_atoms, 3]``, ∂r/∂Q, amu^−½: √m·vectors are orthonormal.
    rigid
        ``[n_rigid, n_atoms, 3]``, ∂r/∂Q of translations and rotations, amu^−½.
    residual
        ``[n_rigid]``, cm⁻¹: wavenumbers in the space of the rigid motions, which has
        been projected out. Values far from zero mean that the geometry is not a
        stationary point, or that the Hessian is inaccurate.
    """

    positions: np.ndarray
    masses: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    rigid: np.ndarray
    residual: np.ndarray

    @classmethod
    def from_hessian(
        cls, positions: ArrayLike, masses: ArrayLike, hessian: ArrayLike, linear: bool | None = None
    ) -> NormalModes:
        """Return the normal modes of a molecule.

        Translations and rotations are projected out, so that a molecule has 3N − 6 modes
        (3N − 5 if linear) whatever small forces are left; away from a stationary point they
        are those of the local quadratic model of the energy. The first component of largest
        magnitude of each vector is positive: what is drawn along the modes with a seed does not
        depend on the linear-algebra library (except for degenerate modes).

        Parameters
        ----------
        positions
            ``[n_atoms, 3]``, Å.
        masses
            ``[n_atoms]``, amu.
        hessian
            ``[n_atoms, 3, n_atoms, 3]`` or ``[3 n_atoms, 3 n_atoms]``, eV/Å².
        linear
            See :func:`rigid_motions`.

        Raises
        ------
        InvalidInputError
            A shape is wrong, a number is not finite, a mass is not positive, or the Hessian
            is not symmetric.
        """
        masses = atomic_masses(masses)
        n = len(masses)
        positions = array_of("positions", positions, (n, 3))
        hessian = finite("hessian", hessian)
        sizes = (n, 3, n, 3) if hessian.ndim == 4 else (3 * n, 3 * n)
        matrix = shape("hessian", hessian, sizes).reshape(3 * n, 3 * n)
        asymmetry = float(np.abs(matrix - matrix.T).max())
        if asymmetry > 1e-2 * max(float(np.abs(matrix).max()), 1e-12):
            raise InvalidInputError(
                f"elements across the diagonal differ by up to {asymmetry:.2g} eV/Å²",
                key="hessian",
                expected="a symmetric matrix",
            )
        root = np.repeat(np.sqrt(masses), 3)
        weighted = 0.5 * (matrix + matrix.T) / np.outer(root, root)
        rigid = rigid_motions(positions, masses, linear)
        # an orthonormal basis of the vibrations: the complement of the rigid motions
        basis = np.linalg.svd(rigid)[2][len(rigid) :]
        eigenvalues, coefficients = np.linalg.eigh(basis @ weighted @ basis.T)
        return cls(
            positions=positions,
            masses=masses,
            eigenvalues=eigenvalues,
            vectors=(_with_fixed_sign(coefficients.T @ basis) / root).reshape(-1, n, 3),
            rigid=(rigid / root).reshape(-1, n, 3),
            residual=_signed_wavenumber(np.linalg.eigvalsh(rigid @ weighted @ rigid.T)),
        )

    @staticmethod
    def from_displacements(
        positions: ArrayLike,
        masses: ArrayLike,
        wavenumber: ArrayLike,
        displacements: ArrayLike,
    ) -> NormalModes:
        """Return modes that are known by their wavenumbers and displacements.

        Parameters
        ----------
        positions, masses
            See :meth:`from_hessian`.
        wavenumber
            ``[n_modes]``, cm⁻¹, ascending; imaginary ones negative.
        displacements
            ``[n_modes, n_atoms, 3]`` in the axes of `positions`, of any length.

        Raises
        ------
        InvalidInputError
            A shape is wrong, a number is not finite, or the displacements move the molecule as a
            whole: they are in other axes, or those of other masses.
        """
        masses = atomic_masses(masses)
        n = len(masses)
        positions = array_of("positions", positions, (n, 3))
        wavenumber = array_of("wavenumber", wavenumber, ("n_modes",))
        sizes = (len(wavenumber), n, 3)
        given = array_of("displacements", displacements, sizes)
        root = np.repeat(np.sqrt(masses), 3)
        weighted = given.reshape(len(given), 3 * n) * root
        weighted = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
        rigid = rigid_motions(positions, masses)
        moved = float(np.linalg.norm(weighted @ rigid.T, axis=1).max(initial=0.0))
        if moved > _RIGID:
            raise InvalidInputError(
                "they move the molecule as a whole",
                key="displacements",
                value=round(moved, 3),
                expected=f"an overlap with rigid motions below {_RIGID}: the axes of the positions",
            )
        scale = wavenumber_to_angular_frequency(1.0)
        return NormalModes(
            positions=positions,
            masses=masses,
            eigenvalues=np.sign(wavenumber) * (scale * wavenumber) ** 2,
            vectors=(_with_fixed_sign(weighted) / root).reshape(sizes),
            rigid=(rigid / root).reshape(-1, n, 3),
            residual=np.full(len(rigid), np.nan),
        )

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({len(self.masses)} atoms, {len(self)} modes"
        if len(self):
            text += f", {self.wavenumber[0]:.1f} to {self.wavenumber[-1]:.1f} cm⁻¹"
        imaginary = int(np.sum(self.eigenvalues < 0.0))
        return text + (f", {imaginary} imaginary)" if imaginary else ")")

    @property
    def linear(self) -> bool:
        """Whether the molecule is taken as linear: two rotations."""
        return len(self.rigid) == 5

    @property
    def wavenumber(self) -> np.ndarray:
        """``[n_modes]``, cm⁻¹; an imaginary wavenumber is given as negative."""
        return _signed_wavenumber(self.eigenvalues)

    @property
    def angular_frequency(self) -> np.ndarray:
        """``[n_modes]``, 1/ASE time; nan where imaginary."""
        real = self.eigenvalues >= 0.0
        return np.sqrt(self.eigenvalues, out=np.full(len(self), np.nan), where=real)

    @property
    def reduced_mass(self) -> np.ndarray:
        """Reduced mass of each mode, 1/Σ|∂r/∂Q|², amu."""
        return 1.0 / np.einsum("kna,kna->k", self.vectors, self.vectors)

    @property
    def weighted(self) -> np.ndarray:
        """√m ∂r/∂Q, orthonormal rows ``[n_modes, 3 n_atoms]``."""
        return (self.vectors * np.sqrt(self.masses)[:, None]).reshape(
            len(self), 3 * len(self.masses)
        )

    @property
    def steps(self) -> np.ndarray:
        """∂r/∂q of the dimensionless coordinates q = √(ω/ħ) Q, ``[n_modes, n_atoms, 3]``, Å."""
        return np.asarray(self.vectors * np.sqrt(HBAR / self.angular_frequency)[:, None, None])

    def coordinates(self, displacements: np.ndarray) -> np.ndarray:
        """Return the normal coordinates Q ``[..., n_modes]`` [Å amu^½] of Δr [Å]."""
        weighted = self.vectors * self.masses[:, None]
        return np.asarray(np.einsum("kia,...ia->...k", weighted, displacements, optimize=True))

    def hessian(self) -> np.ndarray:
        """Return the force constants of the vibrations, ``[3 n_atoms, 3 n_atoms]``, eV/Å².

        They act on no rigid motion, whatever the masses, so that the modes of an
        isotopologue follow from them.
        """
        weighted = (self.vectors * self.masses[:, None]).reshape(len(self), 3 * len(self.masses))
        return np.asarray((weighted.T * self.eigenvalues) @ weighted)


def require_minimum(modes: NormalModes) -> None:
    """Require that the energy rises along every mode.

    Raises
    ------
    NotAMinimumError
        A wavenumber is imaginary or zero.
    """
    flat = modes.eigenvalues <= 0.0
    if flat.any():
        raise NotAMinimumError(modes.wavenumber[flat])


def finite_difference_hessian(
    positions: np.ndarray, forces: Callable[[np.ndarray], np.ndarray], step: float
) -> np.ndarray:
    """Return the Hessian by central differences of forces, symmetrised.

    Parameters
    ----------
    positions
        ``[n_atoms, 3]``, Å.
    forces
        Maps displaced positions ``[n, n_atoms, 3]`` Å to forces of the same shape, eV/Å.
    step
        Displacement of each coordinate [Å].

    Returns
    -------
    ``[3 n_atoms, 3 n_atoms]``, eV/Å².
    """
    steps = step * np.eye(positions.size).reshape(-1, *positions.shape)
    ahead, behind = np.split(forces(np.concatenate([positions + steps, positions - steps])), 2)
    rows = ((behind - ahead) / (2.0 * step)).reshape(len(steps), -1)
    return np.asarray(0.5 * (rows + rows.T))


# --- modes of isotopologues and of other surfaces -------------------------------------------


def mode_overlap(first: NormalModes, second: NormalModes) -> np.ndarray:
    """Return the overlap of the modes of one molecule with those of another.

    This is the Duschinsky matrix J = L₁ᵀ L₂ of their mass-weighted vectors (Duschinsky,
    Acta Physicochim. URSS 7, 551 (1937)) of isotopologues or of two potential-energy
    surfaces, ``[n_first, n_second]``. Both need the same order of atoms and orientation.
    """
    return np.asarray(first.weighted @ second.weighted.T)


def matched_modes(first: NormalModes, second: NormalModes) -> np.ndarray:
    """Return the index of the mode of `second` that is each mode of `first`, one to one.

    The sum of the squared overlaps (:func:`mode_overlap`) is the largest.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    squares = mode_overlap(first, second) ** 2
    return np.asarray(linear_sum_assignment(squares, maximize=True)[1])


def isotope_shifts(modes: NormalModes, masses: np.ndarray) -> tuple[np.ndarray, NormalModes]:
    """Return how far each mode moves with other masses ``[n_atoms]`` [amu], and the modes there.

    The shifts ``[n_modes]`` [cm⁻¹] are in the order of `modes`: new wavenumber less the original
    one, matched by overlap. The modes of the isotopologue are in their own order.
    """
    changed = NormalModes.from_hessian(
        modes.positions, masses, modes.hessian(), linear=modes.linear
    )
    return changed.wavenumber[matched_modes(modes, changed)] - modes.wavenumber, changed


# --- quantum displacements --------------------------------------------------------------------


def quantum_variance(angular_frequency: np.ndarray, temperature: float) -> np.ndarray:
    """Return ⟨Q²⟩ = ħ/(2ω) coth(ħω/2kT) of harmonic oscillators, Å² amu.

    That of the conjugate momentum is ω² times as large (Hillery et al., Phys. Rep. 106,
    121 (1984)).

    Parameters
    ----------
    angular_frequency
        ω > 0 [1/ASE time].
    temperature
        Temperature [K]; zero is allowed.
    """
    omega = np.asarray(angular_frequency, dtype=float)
    occupation = np.ones_like(omega)
    if temperature > 0.0:
        occupation /= np.tanh(HBAR * omega / (2.0 * BOLTZMANN * temperature))
    return np.asarray(HBAR / (2.0 * omega) * occupation)


def wigner_displacements(
    modes: NormalModes,
    temperature: float,
    n: int,
    rng: np.random.Generator,
    minimum_wavenumber: float = 0.0,
) -> np.ndarray:
    """Draw displacements from the thermal quantum density of harmonic modes.

    Each normal coordinate is Gaussian with the variance of :func:`quantum_variance`, the
    position marginal of the Wigner function of a harmonic oscillator.

    Parameters
    ----------
    modes
        Modes about the geometry that is displaced.
    temperature
        Temperature [K]; zero is allowed.
    n
        Number of displacements.
    minimum_wavenumber
        Modes below it [cm⁻¹], and imaginary ones, are not displaced.

    Returns
    -------
    numpy.ndarray
        ``[n, n_atoms, 3]``, Å.
    """
    lowest = max(wavenumber_to_angular_frequency(minimum_wavenumber) ** 2, 1e-12)
    used = modes.eigenvalues >= lowest
    sigma = np.sqrt(quantum_variance(np.sqrt(modes.eigenvalues[used]), temperature))
    amplitudes = rng.standard_normal((n, len(sigma))) * sigma
    return np.einsum("sm,mac->sac", amplitudes, modes.vectors[used])


def ring_polymer_displacements(
    modes: NormalModes, temperature: float, n_beads: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw beads of thermal ring polymers about a fixed centroid.

    The energy is that of the local quadratic model. Internal mode k of the ring polymer
    then has the variance kT/(ω_k² + ω²) per bead, with ω_k = 2 (n_beads kT/ħ)
    sin(kπ/n_beads) (Ceriotti et al., J. Chem. Phys. 133, 124104 (2010)). For a harmonic
    molecule a classical snapshot is distributed as a centroid, so snapshot plus bead
    displacement has the quantum density; no mode, soft or stiff, is counted twice.

    Parameters
    ----------
    modes
        Modes about the centroid. Imaginary frequencies are fine as long as the springs
        hold the ring polymer together; stronger ones are taken at that limit.
    temperature
        Temperature [K].
    n_beads
        Beads of each ring polymer.
    n
        Number of ring polymers.

    Returns
    -------
    numpy.ndarray
        Displacements of the beads from the centroid [Å], ``[n, n_beads, n_atoms, 3]``;
        they sum to zero over the beads.
    """
    kT = BOLTZMANN * temperature
    k = np.arange(n_beads // 2 + 1)
    springs = (2.0 * n_beads * kT / HBAR * np.sin(np.pi * k / n_beads)) ** 2
    # 0.75: a ring polymer that is about to fall apart is no thermal sample
    stiffness = np.maximum(modes.eigenvalues, -0.75 * springs[1] if n_beads > 1 else 0.0)
    amplitude = np.zeros((len(k), len(stiffness)))
    amplitude[1:] = np.sqrt(n_beads * kT / (springs[1:, None] + stiffness))
    noise = np.fft.rfft(rng.standard_normal((n, n_beads, len(stiffness))), axis=1)
    beads = np.fft.irfft(noise * amplitude, n=n_beads, axis=1)
    return np.einsum("sbm,mac->sbac", beads, modes.vectors)


def _signed_wavenumber(eigenvalues: np.ndarray) -> np.ndarray:
    """Return √λ as a wavenumber [cm⁻¹], negative for a negative λ [eV/(Å² amu)]."""
    scale = angular_frequency_to_wavenumber(1.0)
    return np.asarray(np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * scale)


def _with_fixed_sign(vectors: np.ndarray) -> np.ndarray:
    """Return the rows, each with its (first) component of largest magnitude positive."""
    if not vectors.size:
        return vectors
    size = np.abs(vectors)
    # equal by symmetry up to rounding
    first = np.argmax(size > (1.0 - 1e-6) * size.max(axis=1, keepdims=True), axis=1)
    return np.asarray(vectors * np.sign(vectors[np.arange(len(vectors)), first])[:, None])
