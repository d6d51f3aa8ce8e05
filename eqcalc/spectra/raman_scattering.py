# SPDX-License-Identifier: MIT
"""Raman scattering in absolute units from a polarizability.

Placzek theory of off-resonance scattering by randomly oriented molecules. With a the mean
polarizability and β the traceless part, the two invariants of the time
derivatives are

    A(ν̃) = (K/T)∫⟨ȧ(0)ȧ(t)⟩…dt,   G(ν̃) = (3/2)(K/T)∫⟨Tr β̇(0)β̇(t)⟩…dt,

which integrate to a'² and γ'² of a harmonic mode. Every scattering geometry is
a combination of the two (Long, The Raman Effect). The differential
cross-section

    d²σ/dΩdν̃ = (2π)⁴/45 · h/(8π²c) · (ν̃₀ − ν̃)⁴/[ν̃(1 − e^−x)] · (45A + 7G),

contains the harmonic quantum factor, which is appropriate for both classical and Kubo-transformed
correlation functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eqcalc.spectra.estimation import Density
from eqcalc.spectra.estimator.statistics import Estimate
from eqcalc.spectra.frames import LABORATORY
from eqcalc.spectra.observable import (
    Observable,
    SpectrumOptions,
    estimated,
    with_beads_warning,
)
from eqcalc.spectra.quantum_factors import with_quantum_factor
from eqcalc.spectra.series import Series
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.trajectory import Trajectory
from eqcalc.units import RAMAN_CROSS_SECTION, SECOND_RADIATION_CONSTANT
from eqcalc.validation import (
    InvalidInputError,
    array_of,
    count,
    instance,
    number,
    one_of,
    positive,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Coefficients of A and G in each scattering geometry.
GEOMETRIES: dict[str, tuple[float, float]] = {
    "VV": (1.0, 4.0 / 45.0),
    "VH": (0.0, 1.0 / 15.0),
    # vertical laser, no analyser
    "unpolarized": (1.0, 7.0 / 45.0),
    # unpolarized laser at 90°, no analyser
    "natural": (0.5, 13.0 / 90.0),
}

_ACTIVITY = "Å⁴/amu per cm⁻¹"
#: Standard errors above which an intensity has a depolarization ratio.
_SIGNIFICANT = 3.0


def invariants(frames: np.ndarray) -> np.ndarray:
    """Return a and the five components b of β with Σb² = (3/2)Tr β², ``[n, 6]``.

    Of polarizabilities ``[n, 3, 3]``, or ``[n, 6]`` as xx, yy, zz, yz, xz, xy.
    """
    if frames.shape[-1] == 6 and frames.ndim == 2:
        xx, yy, zz, yz, xz, xy = frames.T
    else:
        xx, yy, zz = frames[:, 0, 0], frames[:, 1, 1], frames[:, 2, 2]
        xy, xz, yz = (
            0.5 * (frames[:, i, j] + frames[:, j, i]) for i, j in ((0, 1), (0, 2), (1, 2))
        )
    root = np.sqrt(3.0)
    shear = [root * xy, root * yz, root * xz, 0.5 * root * (xx - yy)]
    return np.stack([(xx + yy + zz) / 3.0, *shear, zz - 0.5 * (xx + yy)], axis=1)


#: The isotropic and the anisotropic part, from a matrix or xx, yy, zz, yz, xz, xy.
POLARIZABILITY = Observable(
    "polarizability", [(3, 3), (6,)], "Å^3", 6, invariants, (slice(0, 1), slice(1, 6))
)


def stokes_factor(
    wavenumber: np.ndarray,
    temperature: float,
    laser_wavelength: float,
    *,
    anti_stokes: bool = False,
    photon_counting: bool = False,
) -> np.ndarray:
    """Return the factor from an activity [Å⁴/amu] to a cross-section [cm²/sr].

    Parameters
    ----------
    wavenumber
        Raman shift, cm⁻¹, positive.
    temperature
        K.
    laser_wavelength
        nm.
    anti_stokes
        (ν̃₀+ν̃)⁴/[ν̃(e^x−1)] instead of (ν̃₀−ν̃)⁴/[ν̃(1−e^−x)].
    photon_counting
        The detector counts photons instead of measuring power: the fourth
        power of the scattered wavenumber ν̃ₛ becomes ν̃₀ν̃ₛ³.
    """
    wavenumber = array_of("wavenumber", wavenumber, (...,))
    if wavenumber.min(initial=np.inf) <= 0.0:
        value = float(wavenumber.min())
        raise InvalidInputError(key="wavenumber", value=value, expected="positive shifts [cm⁻¹]")
    temperature = positive("temperature", temperature, unit="K")
    laser = 1e7 / positive("laser_wavelength", laser_wavelength, unit="nm")
    x = SECOND_RADIATION_CONSTANT * wavenumber / temperature
    scattered = laser + wavenumber if anti_stokes else laser - wavenumber
    # n + 1 = 1/(1 − e^−x) quanta scatter to lower wavenumbers, n = 1/(e^x − 1) to higher ones
    inverse_bose_einstein = np.expm1(x) if anti_stokes else -np.expm1(-x)
    power = laser * scattered**3 if photon_counting else scattered**4
    return RAMAN_CROSS_SECTION * power / (wavenumber * inverse_bose_einstein)


@dataclass(frozen=True)
class RamanSpectrum:
    """The isotropic and anisotropic parts of a Raman spectrum, and quantities derived from them.

    Parameters
    ----------
    isotropic, anisotropic
        A and G, Å⁴/amu per cm⁻¹, with paired bootstrap samples.
    temperature
        K.
    """

    isotropic: Spectrum
    anisotropic: Spectrum
    temperature: float

    @property
    def wavenumber(self) -> np.ndarray:
        """Raman shift, cm⁻¹."""
        return self.isotropic.wavenumber

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the spectrum."""
        return self.isotropic.provenance

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the reader."""
        return self.isotropic.warnings

    def polarized(self, geometry: str) -> Spectrum:
        """Return the intensity A·i + G·j of a geometry, Å⁴/amu per cm⁻¹.

        ``"VV"`` A + 4G/45, ``"VH"`` G/15, ``"unpolarized"`` A + 7G/45 (no
        analyser), ``"natural"`` (A + 13G/45)/2 (unpolarized laser at 90°, no
        analyser).
        """
        i, j = GEOMETRIES[one_of("geometry", geometry, GEOMETRIES)]
        return self._mixed(i, j, f"Raman intensity, {geometry}")

    def _mixed(self, i: float, j: float, label: str) -> Spectrum:
        return self.isotropic.combined(self.anisotropic, lambda a, g: i * a + j * g, label=label)

    def activity(self) -> Spectrum:
        """Return 45A + 7G, Å⁴/amu per cm⁻¹, which integrates to the static activities."""
        return self._mixed(45.0, 7.0, "Raman activity")

    def depolarization_ratio(self, *, natural_light: bool = False) -> Spectrum:
        """Return ρ = VH/VV, nan where the polarized intensity is below the noise.

        Parameters
        ----------
        natural_light
            6G/(45A + 7G) of unpolarized light instead of 3G/(45A + 4G).

        The denominator must exceed three of its standard errors, and a thousandth of its maximum;
        and the ratio must not exceed its upper bound by three of its own. (It can in the negative
        side lobes of a lag window next to a strong polarized band; a Parzen window and the
        multitaper estimate have none.)
        """
        lower = self._mixed(45.0, 7.0 if natural_light else 4.0, "")
        factor = 6.0 if natural_light else 3.0
        clear = lower.values > 1e-3 * lower.values.max()
        if lower.standard_error is not None:
            clear &= lower.values > _SIGNIFICANT * lower.standard_error

        def ratio(g: np.ndarray, d: np.ndarray) -> np.ndarray:
            good = np.broadcast_to(clear, g.shape) & (d > 0.0)
            return np.divide(factor * g, d, out=np.full(g.shape, np.nan), where=good)

        result = self.anisotropic.combined(
            lower, ratio, unit="1", label="depolarization ratio", warnings=self.warnings
        )
        largest = 6.0 / 7.0 if natural_light else 0.75
        error = np.zeros(len(clear))
        if result.samples is not None:
            error = np.std(np.where(clear, result.samples, 0.0), axis=0, ddof=1)
        clear = clear & ~(result.values > largest + _SIGNIFICANT * error + 1e-3)
        return replace(
            result,
            values=np.where(clear, result.values, np.nan),
            standard_error=None if result.samples is None else np.where(clear, error, np.nan),
        )

    def band_depolarization(
        self, lower: float, upper: float, *, natural_light: bool = False
    ) -> Estimate:
        """Return the depolarization ratio of the areas of a band between two wavenumbers [cm⁻¹].

        Unlike the ratio at the maximum, it is independent of the resolution. See
        :meth:`depolarization_ratio` for `natural_light`.
        """
        upper_part, lower_part = (6.0, 7.0) if natural_light else (3.0, 4.0)
        weights = self.isotropic.weights(lower, upper)

        def ratio(a: np.ndarray, g: np.ndarray) -> np.ndarray:
            isotropic, anisotropic = a @ weights, g @ weights
            return upper_part * anisotropic / (45.0 * isotropic + lower_part * anisotropic)

        value = float(ratio(self.isotropic.values, self.anisotropic.values))
        if self.isotropic.samples is None or self.anisotropic.samples is None:
            return Estimate(value, float("nan"))
        sampled = ratio(self.isotropic.samples, self.anisotropic.samples)
        error = float(np.std(sampled, ddof=1))
        return Estimate(value, error, self.isotropic.n_independent)

    def cross_section(
        self,
        laser_wavelength: float,
        *,
        geometry: str = "unpolarized",
        anti_stokes: bool = False,
        photon_counting: bool = False,
    ) -> Spectrum:
        """Return the absolute differential cross-section, cm² sr⁻¹ per cm⁻¹.

        Parameters
        ----------
        laser_wavelength
            nm.
        geometry
            See :meth:`polarized`; ``"unpolarized"`` (no analyser) contains
            45A + 7G.
        anti_stokes, photon_counting
            See :func:`stokes_factor`.
        """
        intensity = self.polarized(geometry)
        if (
            not 0.0
            < number("laser_wavelength", laser_wavelength, unit="nm")
            < 1e7 / float(intensity.wavenumber[3])
        ):
            raise InvalidInputError(
                key="laser_wavelength",
                value=laser_wavelength,
                expected="a wavelength in nm, such as 532, with photons above the Raman shifts",
            )
        upper = None if anti_stokes else 1e7 / laser_wavelength
        # exclude the elastic line and shifts beyond the laser
        shifted = intensity.between(0.5 * float(intensity.wavenumber[1]), upper)
        weight = stokes_factor(
            shifted.wavenumber,
            self.temperature,
            laser_wavelength,
            anti_stokes=anti_stokes,
            photon_counting=photon_counting,
        )
        return shifted.weighted(
            45.0 * weight,
            f"{'anti-Stokes' if anti_stokes else 'Stokes'} scattering at {laser_wavelength:g} nm",
            unit="cm²/sr per cm⁻¹",
            label=f"Raman cross-section, {geometry}",
            provenance={
                **shifted.provenance,
                "laser_wavelength_nm": laser_wavelength,
                "geometry": geometry,
                "anti_stokes": anti_stokes,
                "photon_counting": photon_counting,
            },
        )


def reduced(spectrum: Spectrum) -> Spectrum:
    """Return a Stokes or anti-Stokes cross-section in the reduced, Bose-free form.

    The cross-section divided by its dependence on laser, temperature and
    wavenumber: Å⁴/amu per cm⁻¹ again.
    """
    record = instance("spectrum", spectrum, Spectrum).provenance
    if "laser_wavelength_nm" not in record:
        raise InvalidInputError(
            key="spectrum", value=spectrum.label, expected="a Raman cross-section"
        )
    weight = stokes_factor(
        spectrum.wavenumber,
        record["temperature_K"],
        record["laser_wavelength_nm"],
        anti_stokes=record["anti_stokes"],
        photon_counting=record["photon_counting"],
    )
    return spectrum.weighted(
        1.0 / (45.0 * weight),
        "reduced",
        unit=_ACTIVITY,
        label="reduced Raman intensity",
    )


def raman(
    data: Series | Trajectory | Any = None,
    *,
    quantum_factor: str = "harmonic",
    n_molecules: int = 1,
    frame: str = LABORATORY,
    reference: np.ndarray | None = None,
    **options: Unpack[SpectrumOptions],
) -> RamanSpectrum:
    """Return the Raman spectrum of a polarizability.

    Parameters
    ----------
    data
        A trajectory with the observable ``"polarizability"`` (or
        ``"polarizability_rate"``), a series, or the polarizability:
        ``[n_replicas, n_frames, 3, 3]``, or the six components
        ``[n_replicas, n_frames, 6]`` in the order xx, yy, zz, yz, xz, xy; one
        replica of it, or replicas of different length, a list or by name. For ring
        polymers, the mean over the beads of the polarizability of each bead.
    quantum_factor, n_molecules, frame, reference, options
        See :func:`eqcalc.spectra.infrared`. The unit of arrays is that of a polarizability
        volume, such as ``"Å^3"`` or ``"bohr^3"``, or ``"e^2*Å^2/eV"``.
    """
    count("n_molecules", n_molecules)
    density, series = estimated(
        POLARIZABILITY,
        data,
        options,
        quantum_factor=quantum_factor,
        frame=frame,
        reference=reference,
    )
    return raman_result(density, series, quantum_factor, n_molecules, frame)


def raman_result(
    density: Density,
    series: Series,
    quantum_factor: str = "harmonic",
    n_molecules: int = 1,
    frame: str = "laboratory",
) -> RamanSpectrum:
    """Return the Raman spectrum of the spectral densities of :func:`invariants` in Å³."""
    record = {"n_molecules": n_molecules, "frame": frame}
    activity = density.spectrum([45.0, 7.0], unit=_ACTIVITY, label="Raman activity")

    def part(weights: Sequence[float], name: str) -> Spectrum:
        spectrum = density.spectrum(
            weights,
            unit=_ACTIVITY,
            label=f"Raman intensity, {name}",
            spectrum="Raman",
            **record,
        )
        spectrum = with_beads_warning(spectrum, series, activity)
        return with_quantum_factor(spectrum, series.temperature, quantum_factor)

    isotropic = part([1.0 / n_molecules], "isotropic")
    anisotropic = part([0.0, 1.0 / n_molecules], "anisotropic")
    return RamanSpectrum(isotropic, anisotropic, series.temperature)


# --- oriented samples: crystals, surfaces, fixed single molecules -----------------


def porto(notation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the incoming and the outgoing polarization of a geometry in Porto's notation.

    Parameters
    ----------
    notation
        ``"z(xy)-z"``: incident light along z polarized along x, scattered light along −z polarized
        along y. Directions may carry a minus sign (Damen, Porto and Tell, Phys. Rev. 142, 570
        (1966)).

    Raises
    ------
    InvalidInputError
        The notation is invalid, or a polarization is parallel to its direction of propagation.
    """
    text = notation.strip().lower() if isinstance(notation, str) else ""
    match = re.fullmatch(r"-?([xyz])\(([xyz])\s*([xyz])\)-?([xyz])", text)
    if match is None or match[2] == match[1] or match[3] == match[4]:
        raise InvalidInputError(
            key="notation",
            value=notation,
            expected="a geometry such as 'z(xy)-z', with polarizations perpendicular to the light",
        )
    incoming, outgoing = (np.eye(3)["xyz".index(match[i])] for i in (2, 3))
    return incoming, outgoing


def raman_oriented(
    data: Series | Trajectory | Any = None,
    *,
    incoming: np.ndarray,
    outgoing: np.ndarray,
    quantum_factor: str = "harmonic",
    **options: Unpack[SpectrumOptions],
) -> Spectrum:
    """Return the Raman intensity of an oriented sample in one polarization geometry.

    With e_in and e_out the polarizations, s = e_out·α·e_in and the intensity is
    (K/T)∫⟨ṡ(0)ṡ(t)⟩…dt, Å⁴/amu per cm⁻¹. :func:`porto` converts a geometry in Porto's notation to
    the two polarizations.

    Parameters
    ----------
    data, quantum_factor, options
        See :func:`raman`; the polarizability is ``[3, 3]``.
    incoming, outgoing
        ``[3]``, directions of the polarizations; normalised here.
    """
    first, second = array_of("outgoing", outgoing, (3,)), array_of("incoming", incoming, (3,))
    for key, direction in (("outgoing", first), ("incoming", second)):
        if not direction.any():
            raise InvalidInputError(
                key=key, value=direction.tolist(), expected="three components, not all zero"
            )
    selector = np.outer(first, second) / (np.linalg.norm(first) * np.linalg.norm(second))
    element = Observable(
        "polarizability",
        [(3, 3)],
        "Å^3",
        1,
        lambda frames: np.einsum("nij,ij->n", frames, selector)[:, None],
    )
    density, series = estimated(element, data, options, quantum_factor=quantum_factor)
    spectrum = density.spectrum(
        [1.0],
        unit=_ACTIVITY,
        label="Raman intensity, oriented",
        spectrum="Raman",
        incoming=second.tolist(),
        outgoing=first.tolist(),
    )
    return with_quantum_factor(spectrum, series.temperature, quantum_factor)
