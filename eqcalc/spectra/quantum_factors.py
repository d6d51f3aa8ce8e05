# SPDX-License-Identifier: MIT
"""Quantum correction factors, and limitations of ring-polymer methods.

A classical correlation function must be multiplied by a factor Q(ν̃) to approximate the quantum
one. The harmonic factor Q = x/(1 − e^−x), x = hcν̃/k_BT, is the only common one that satisfies the
fluctuation–dissipation theorem (Ramírez, López-Ciudad, Kumar and Marx, J. Chem. Phys. 121, 3973
(2004)); it is also the exact relation between a Kubo-transformed correlation function, which RPMD
and CMD approximate, and the quantum one. Every spectrum of eqcalc contains it; other factors are
applied relative to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from eqcalc.methods import DynamicsMethod
from eqcalc.units import SECOND_RADIATION_CONSTANT, SPEED_OF_LIGHT_CM_PER_FS
from eqcalc.validation import InvalidInputError, one_of

if TYPE_CHECKING:
    from eqcalc.spectra.spectrum import Spectrum

#: Names of the factors.
QUANTUM_FACTORS: tuple[str, ...] = ("harmonic", "standard", "schofield", "none")

#: Factors allowed for each kind of correlation function, and why others are wrong.
_ALLOWED: dict[str, tuple[tuple[str, ...], str]] = {
    "kubo": (
        ("harmonic", "none"),
        "a Kubo-transformed correlation function contains the quantum statistics of the nuclei, "
        "and its exact relation to the spectrum is the factor 'harmonic'",
    ),
    "none": (
        ("harmonic", "none"),
        "path-integral sampling contains the quantum statistics of the nuclei",
    ),
    # x/(1 − e^−x) of the Kubo transform times tanh(x/2)/(x/2) is 2/(1 + e^−x)
    "symmetrized": (
        ("standard", "none"),
        "a quantum thermostat or a Wigner start gives every mode its quantum energy, as in the "
        "symmetrized correlation function, whose exact relation to the spectrum is the factor "
        "'standard'",
    ),
    "rescaled": (
        (),
        "the run starts with the quantum energy of every mode (Wigner), and a global thermostat "
        "rescales it to the classical total: the energy of a mode, and so every intensity, is "
        "unknown; run NVE, or equilibrate (simulate --equilibration)",
    ),
}
#: Probability of a normal variable below 3 σ.
_CERTAIN = 0.99865
#: Kinetic temperatures above this many of the target may be those of quantum states.
_HOT = 1.3
#: Wavenumbers at which the quantum energy is told [cm⁻¹].
_TOLD = (500.0, 1500.0, 3000.0)


def _x(wavenumber: np.ndarray, temperature: float) -> np.ndarray:
    return SECOND_RADIATION_CONSTANT * np.asarray(wavenumber, dtype=float) / temperature


def quantum_factor(wavenumber: np.ndarray, temperature: float, name: str) -> np.ndarray:
    """Return the quantum correction factor Q(ν̃) of a classical correlation function.

    Parameters
    ----------
    wavenumber
        cm⁻¹.
    temperature
        K.
    name
        ``"harmonic"`` x/(1−e^−x), ``"standard"`` 2/(1+e^−x), ``"schofield"``
        e^(x/2), ``"none"`` 1, with x = hcν̃/k_BT.

    Raises
    ------
    InvalidInputError
        There is no such factor.
    """
    one_of("quantum_factor", name, QUANTUM_FACTORS)
    x = _x(wavenumber, temperature)
    if name == "harmonic":
        # x/(1 − e^−x) → 1 at zero
        return np.divide(x, -np.expm1(-x), out=np.ones_like(x), where=x != 0.0)
    if name == "standard":
        return 2.0 / (1.0 + np.exp(-x))
    if name == "schofield":
        return np.exp(0.5 * x)
    return np.ones_like(x)


def check_quantum_factor(
    name: str, correlation: str | None, temperature: float | None = None
) -> None:
    """Raise an error for a factor that the correlation function of the dynamics already contains.

    The kinds of correlation functions are those of :class:`eqcalc.methods.DynamicsMethod`; None
    if it is not known. The temperature [K] is for the message.

    Raises
    ------
    InvalidInputError
        There is no such factor, or it would count the quantum energy twice.
    """
    one_of("quantum_factor", name, QUANTUM_FACTORS)
    allowed, reason = _ALLOWED.get(correlation or "", (QUANTUM_FACTORS, ""))
    if name not in allowed:
        if correlation == "symmetrized" and temperature is not None:
            reason += f": {_quantum_energies(temperature)}"
        raise InvalidInputError(
            reason,
            key="quantum_factor",
            value=name,
            expected=" or ".join(allowed) or "another run",
        )


def exact_factor(correlation: str | None) -> str:
    """Return the name of the factor that is exact for harmonic modes."""
    return "standard" if correlation == "symmetrized" else "harmonic"


def _quantum_energies(temperature: float) -> str:
    """Return the quantum energy of modes in units of k_BT, in words."""
    half = 0.5 * _x(np.array(_TOLD), temperature)
    energies = half / np.tanh(half)
    told = ", ".join(f"{e:.1f} at {nu:.0f}" for e, nu in zip(energies, _TOLD, strict=True))
    return f"a mode has {told} cm⁻¹ times k_BT at {temperature:g} K"


def energy_warnings(correlation: str | None, temperature: float, name: str) -> list[str]:
    """Return a warning if classical nuclei carry quantum energy, which the factor takes out."""
    if correlation != "symmetrized":
        return []
    done = "takes out of the intensities" if name == "standard" else "leaves in the intensities"
    return [
        f"the nuclei carry quantum energy ({_quantum_energies(temperature)}), which the quantum "
        f"factor {name!r} {done}; classical dynamics passes it from fast to slow vibrations "
        "(zero-point leakage): compare the beginning of the run with its end"
    ]


def temperature_warning(
    replicas: np.ndarray, target: float, expected_error: float = float("nan")
) -> list[str]:
    """Return a warning if the kinetic temperature differs from the target temperature.

    Parameters
    ----------
    replicas
        ``[n_replicas]``, mean kinetic temperature of each, K.
    target
        Temperature of the run, K.
    expected_error
        Standard error of a single replica at the target temperature, K. Quantum energies scatter
        more, and hide behind the error that is found; a temperature that is much too high is
        compared with this one.
    """
    n, found = len(replicas), float(np.mean(replicas))
    error = float(np.std(replicas, ddof=1) / np.sqrt(n)) if n > 1 else expected_error
    # the error is estimated from few replicas: Student's t for 3 σ
    limit = 3.0 * error if n == 1 else student.ppf(_CERTAIN, n - 1) * error
    if found > _HOT * target:
        limit = np.fmin(limit, 4.0 * expected_error / np.sqrt(n))
    if not np.isfinite(limit) or abs(found - target) < max(limit, 0.01 * target):
        return []
    advice = "run more replicas, or equilibrate longer"
    if found > _HOT * target:
        advice = (
            "equilibrate, or, if the momenta were those of quantum states (a Wigner start: "
            f"{_quantum_energies(target)}), give the quantum factor 'standard'"
        )
    return [
        f"the mean kinetic temperature is {found:.1f} ({error:.1f}) K, not {target:g} K: every "
        f"intensity is off by their ratio; {advice}"
    ]


def with_quantum_factor(spectrum: Spectrum, temperature: float, name: str) -> Spectrum:
    """Return a spectrum with its quantum factor, the harmonic one unless recorded, replaced.

    Raises
    ------
    InvalidInputError
        See :func:`check_quantum_factor`, for the correlation function that is recorded.
    """
    record = spectrum.provenance
    check_quantum_factor(name, record.get("correlation"), temperature)
    now = record.get("quantum_factor", "harmonic")
    if name == now:
        return replace(spectrum, provenance={"quantum_factor": name, **record})
    wanted, before = (quantum_factor(spectrum.wavenumber, temperature, n) for n in (name, now))
    return spectrum.weighted(
        wanted / before,
        f"quantum factor {name} / {now}",
        provenance={**record, "quantum_factor": name},
        warnings=(
            *spectrum.warnings,
            *energy_warnings(record.get("correlation"), temperature, name),
        ),
    )


# --- ring polymers --------------------------------------------------------------------


def ring_modes(n_beads: int, temperature: float) -> np.ndarray:
    """Return the wavenumbers [cm⁻¹] of the internal free ring-polymer modes, ascending.

    ω_k = 2ω_P sin(kπ/P), ω_P = P k_BT/ħ. RPMD bands near one of them may be
    split or shifted (Witt et al., J. Chem. Phys. 130, 194510 (2009)).
    """
    k = np.arange(1, n_beads // 2 + 1)
    return 2.0 * n_beads * temperature / SECOND_RADIATION_CONSTANT * np.sin(k * np.pi / n_beads)


def beads_needed(wavenumber: float, temperature: float) -> int:
    """Return the number of beads P > hcν̃/k_BT for a vibration at `wavenumber` [cm⁻¹]."""
    return math.ceil(float(_x(np.asarray(wavenumber), temperature)))


def thermostat_width(time_constant: float) -> float:
    """Return the width γ/2πc [cm⁻¹] that friction of time constant 1/γ [fs] adds to every band."""
    return 1.0 / (2.0 * math.pi * SPEED_OF_LIGHT_CM_PER_FS * time_constant)


def method_warnings(
    method: DynamicsMethod | None,
    temperature: float,
    n_beads: int = 1,
    thermostat_time: float | None = None,
) -> list[str]:
    """Return warnings about the dynamics for the reader of a spectrum.

    The method is None if unknown; `thermostat_time` is the time constant [fs] of the
    friction on the physical modes.
    """
    if method is None:
        return []
    result = []
    if method.thermostats_centroid:
        effect = {
            "friction": f"its friction {_added_width(thermostat_time)}; simulate without a "
            "thermostat on the physical modes, or deconvolve",
            "memory": "its memory kernel broadens and shifts bands; deconvolve with gle_kernel",
            "global": "exchange of energy with the bath couples the modes of a small molecule and "
            "broadens bands unless it is slow (1 ps or more)",
        }[method.thermostat]
        result.append(f"the dynamics was thermostatted ({method.name}): {effect}")
    if method.constant_pressure:
        result.append(
            "the cell changed along the run: intensities per volume are those of one volume, and "
            "steps of a barostat add noise; take a run at the mean volume"
        )
    if method.kubo and n_beads > 1:
        first = ", ".join(f"{nu:.0f}" for nu in ring_modes(n_beads, temperature)[:3])
        if method.ring_resonances and method.thermostat == "none":
            result.append(
                f"internal modes of the ring polymer ({first} cm⁻¹, …) can split or shift bands "
                "near them"
            )
        elif method.ring_resonances:
            result.append(
                f"{method.name} broadens bands at high wavenumber by tens of cm⁻¹, more at lower "
                f"temperature; internal modes of the ring polymer start at {first} cm⁻¹"
            )
        elif method.curvature_problem:
            result.append(
                f"{method.name} shifts bands of light atoms to lower wavenumbers and broadens "
                "them, the more the lower the temperature (curvature problem)"
            )
        result.append(
            "overtones and combination bands are not quantitative in ring-polymer (or classical) "
            "spectra"
        )
    return result


def _added_width(thermostat_time: float | None) -> str:
    if thermostat_time is None:
        return "adds γ/2πc to the width of every band (5.3 cm⁻¹ at a time constant of 1 ps)"
    return f"adds {thermostat_width(thermostat_time):.1f} cm⁻¹ to the width of every band"


def bead_warning(n_beads: int, temperature: float, highest_band: float) -> list[str]:
    """Return a warning when there are too few beads for the highest band [cm⁻¹]."""
    needed = beads_needed(highest_band, temperature)
    if n_beads < 2 or n_beads >= needed:
        return []
    return [
        f"{n_beads} beads are too few for the band at {highest_band:.0f} cm⁻¹ at "
        f"{temperature:g} K: at least {needed} are needed (P > hcν̃/k_BT)"
    ]


#: Pattern of the message of :func:`bead_warning`, with the band as group.
_BEAD_WARNING = re.compile(r"\d+ beads are too few for the band at (\d+) cm⁻¹")


def merged_warnings(warnings: Iterable[str]) -> list[str]:
    """Return the warnings of several spectra of one run without duplicates.

    The highest band differs slightly between infrared and Raman spectra; of these warnings the one
    for the highest band is kept.
    """
    found = list(dict.fromkeys(warnings))
    about_beads = {w: int(match[1]) for w in found if (match := _BEAD_WARNING.match(w))}
    highest = max(about_beads, key=lambda w: about_beads[w], default=None)
    return [w for w in found if w not in about_beads or w == highest]
