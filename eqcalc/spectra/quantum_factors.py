# SPDX-License-Identifier: MIT
"""Quantum correction factors, and what ring-polymer methods can and cannot show.

A classical correlation function has to be multiplied by a factor Q(ν̃) to stand
for the quantum one. The harmonic factor Q = x/(1 − e^−x), x = hcν̃/k_BT, is the
only common one that satisfies the fluctuation–dissipation theorem (Ramírez,
López-Ciudad, Kumar and Marx, J. Chem. Phys. 121, 3973 (2004)); it is also the
exact relation between a Kubo-transformed correlation function, which RPMD and
CMD approximate, and the quantum one. It is contained in every spectrum of
eqcalc, and a factor named here acts relative to it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

import numpy as np

from eqcalc.units import SECOND_RADIATION_CONSTANT, SPEED_OF_LIGHT_CM_PER_FS

QUANTUM_FACTORS: tuple[str, ...] = ("harmonic", "standard", "schofield", "none")

#: Methods whose correlation functions approximate the Kubo transform.
_KUBO = ("RPMD", "TRPMD", "CMD", "PACMD", "QCMD", "FQCMD", "TECMD", "TEPIGS")
#: Thermostats that act as friction on every physical (centroid) mode.
_FRICTION = ("LANGEVIN", "NVT", "BAOAB", "PILE", "PILEL", "PIMD")
#: Thermostats with a memory, whose line shape follows from their matrices.
_MEMORY = ("GLE", "PIGLE", "PIGLET", "PIGLEQTB", "QT")
#: Thermostats of the kinetic energy as a whole, or deterministic ones.
_GLOBAL = ("SVR", "CSVR", "BUSSI", "PILEG", "NHC", "NOSEHOOVER", "BERENDSEN", "NPT")
_THERMOSTATTED = (*_FRICTION, *_MEMORY, *_GLOBAL)


def _normalised(method: str) -> str:
    return "".join(c for c in method.upper() if c.isalnum())


#: Dynamics by the names the field gives them; case and hyphens do not matter.
METHOD_NAMES = (
    *("NVE", "Langevin", "NVT", "NPT", "BAOAB", "GLE", "QT", "SVR", "CSVR", "Bussi"),
    *("Berendsen", "Nose-Hoover", "NHC", "RPMD", "T-RPMD", "CMD", "PA-CMD", "QCMD", "f-QCMD"),
    *("Te-CMD", "Te-PIGS", "PIMD", "PILE", "PILE-L", "PILE-G", "PI+GLE", "PIGLET", "PIGLE-QTB"),
)


def check_method(method: str | None) -> None:
    """Refuse a name of the dynamics that is not one of :data:`METHOD_NAMES`.

    What a spectrum is warned of, and which quantum factor it may have, follow from
    it: a name with a letter wrong would switch both off.

    Raises
    ------
    ValueError
        Nothing is known of such a method.
    """
    known = {_normalised(name): name for name in METHOD_NAMES}
    if method is None or _normalised(method) in known:
        return
    close = difflib.get_close_matches(_normalised(method), known, n=1)
    meant = f" (did you mean {known[close[0]]}?)" if close else ""
    raise ValueError(f"method: unknown name {method!r}{meant}; known: {', '.join(METHOD_NAMES)}")


def is_kubo(method: str | None) -> bool:
    """Return whether `method` gives Kubo-transformed correlation functions."""
    return method is not None and _normalised(method) in _KUBO


def has_ring_modes(method: str | None) -> bool:
    """Return whether free ring-polymer modes move at their own wavenumbers in `method`.

    Centroid dynamics moves them elsewhere, or averages over them.
    """
    return method is not None and _normalised(method) in ("RPMD", "TRPMD")


def is_thermostatted(method: str | None) -> bool:
    """Return whether `method` couples the physical modes to a thermostat."""
    return method is not None and _normalised(method) in _THERMOSTATTED


def _x(wavenumber: np.ndarray, temperature: float) -> np.ndarray:
    return SECOND_RADIATION_CONSTANT * np.asarray(wavenumber, dtype=float) / temperature


def quantum_factor(wavenumber: np.ndarray, temperature: float, name: str) -> np.ndarray:
    """Return Q(ν̃), by which a classical correlation function is multiplied.

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
    ValueError
        No such factor.
    """
    x = _x(wavenumber, temperature)
    if name == "harmonic":
        # x/(1 − e^−x) → 1 at zero
        return np.divide(x, -np.expm1(-x), out=np.ones_like(x), where=x != 0.0)
    if name == "standard":
        return 2.0 / (1.0 + np.exp(-x))
    if name == "schofield":
        return np.exp(0.5 * x)
    if name == "none":
        return np.ones_like(x)
    raise ValueError(f"unknown quantum factor {name!r}; known: {', '.join(QUANTUM_FACTORS)}")


def relative_quantum_factor(
    wavenumber: np.ndarray, temperature: float, name: str, method: str | None = None
) -> np.ndarray:
    """Return Q/Q_harmonic, the factor that is still to be applied to a spectrum of eqcalc.

    It is exactly 1 for ``"harmonic"``.

    Raises
    ------
    ValueError
        The factor is unknown, or `method` already contains quantum statistics
        and the factor would be a second correction.
    """
    if name not in QUANTUM_FACTORS:
        raise ValueError(f"unknown quantum factor {name!r}; known: {', '.join(QUANTUM_FACTORS)}")
    if is_kubo(method) and name not in ("harmonic", "none"):
        raise ValueError(
            f"quantum factor {name!r} refused: {method} gives Kubo-transformed correlation "
            "functions, which already contain the quantum statistics of the nuclei; their exact "
            "relation to the spectrum is the factor 'harmonic'. The factor "
            f"{name!r} is for classical trajectories only"
        )
    if name == "harmonic":
        return np.ones_like(np.asarray(wavenumber, dtype=float))
    return quantum_factor(wavenumber, temperature, name) / quantum_factor(
        wavenumber, temperature, "harmonic"
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
    method: str | None,
    temperature: float,
    n_beads: int = 1,
    thermostat_time: float | None = None,
) -> list[str]:
    """Return what a reader of a spectrum made with `method` has to know.

    Parameters
    ----------
    method
        Name of the dynamics, such as ``"NVE"``, ``"T-RPMD"``, ``"Langevin"``.
    temperature
        K.
    n_beads
        Number of beads.
    thermostat_time
        Time constant of the friction on the physical modes, fs.
    """
    result = []
    name = _normalised(method or "")
    if name in _FRICTION:
        width = (
            f"adds {thermostat_width(thermostat_time):.1f} cm⁻¹ to the width of every band"
            if thermostat_time
            else "adds γ/2πc to the width of every band (5.3 cm⁻¹ at a time constant of 1 ps)"
        )
        result.append(
            f"the dynamics was thermostatted ({method}): its friction {width}; measure without a "
            "thermostat on the physical modes, or deconvolve"
        )
    elif name in _MEMORY:
        result.append(
            f"the dynamics was thermostatted ({method}), which broadens and shifts bands by its "
            "memory kernel; deconvolve with gle_kernel"
        )
    elif name in _GLOBAL:
        result.append(
            f"the dynamics was thermostatted ({method}): exchange of energy with the bath couples "
            "the modes of a small molecule and broadens bands unless it is slow (1 ps or more)"
        )
    if is_kubo(method) and n_beads > 1:
        first = ", ".join(f"{nu:.0f}" for nu in ring_modes(n_beads, temperature)[:3])
        if name == "RPMD":
            result.append(
                f"internal modes of the ring polymer ({first} cm⁻¹, …) can split or shift bands "
                "near them"
            )
        elif name == "TRPMD":
            result.append(
                "T-RPMD broadens bands at high wavenumber by tens of cm⁻¹, more at lower "
                f"temperature; internal modes of the ring polymer start at {first} cm⁻¹"
            )
        elif name in ("CMD", "PACMD"):
            result.append(
                f"{method} shifts bands of light atoms to lower wavenumbers and broadens them, the "
                "more the lower the temperature (curvature problem)"
            )
        result.append(
            "overtones and combination bands are not quantitative in ring-polymer (or classical) "
            "spectra"
        )
    return result


def bead_warning(
    method: str | None, n_beads: int, temperature: float, highest_band: float
) -> list[str]:
    """Return a warning when there are too few beads for the highest band [cm⁻¹]."""
    if not is_kubo(method) or n_beads < 2:
        return []
    needed = beads_needed(highest_band, temperature)
    if n_beads >= needed:
        return []
    return [
        f"{n_beads} beads are too few for the band at {highest_band:.0f} cm⁻¹ at "
        f"{temperature:g} K: at least {needed} are needed (P > hcν̃/k_BT)"
    ]


#: What :func:`bead_warning` says, and the band that it says it of.
_BEAD_WARNING = re.compile(r"\d+ beads are too few for the band at (\d+) cm⁻¹")


def merged_warnings(warnings: Iterable[str]) -> list[str]:
    """Return the warnings of several spectra of one run, each said once.

    Infrared and Raman spectrum see the highest band at slightly different
    wavenumbers; of these warnings that of the highest one is kept.
    """
    found = list(dict.fromkeys(warnings))
    about_beads = {w: int(match[1]) for w in found if (match := _BEAD_WARNING.match(w))}
    highest = max(about_beads, key=lambda w: about_beads[w], default=None)
    return [w for w in found if w not in about_beads or w == highest]
