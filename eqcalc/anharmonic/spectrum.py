# SPDX-License-Identifier: MIT
"""Vibrational transitions with infrared intensities, Raman activities and assignments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, ClassVar

import numpy as np
from scipy.signal import fftconvolve

from eqcalc.anharmonic.rigid_top import rotational_envelope
from eqcalc.facts import (
    Column,
    ComparedByValue,
    aligned,
    column,
    jsonable,
    preformatted,
    rows_of,
)
from eqcalc.spectra.lines import LINE_SHAPES
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.spectra.sticks import Sticks
from eqcalc.units import INTENSITY_PER_SQUARED_CHARGE_PER_MASS
from eqcalc.validation import one_of, positive

#: In reports, transitions with less than this part of the largest intensity are not printed.
PRINTED = 0.02
#: A transition is named after configurations that make up at least this part of it.
_NAMED = 0.1
_DERIVATIVES = ("dipole_derivative", "polarizability_derivative")


@dataclass(frozen=True)
class Configuration:
    """A product of one-mode functions in a state: quanta of each excited mode and weight."""

    quanta: dict[int, int]
    weight: float

    def __str__(self) -> str:
        """Return e.g. ``"2ν3 + ν5"``; modes count from one in ascending order of wavenumber."""
        parts = [f"{v if v > 1 else ''}ν{k + 1}" for k, v in sorted(self.quanta.items())]
        return " + ".join(parts) or "0"


@dataclass(frozen=True, repr=False, eq=False)
class AnharmonicSpectrum(ComparedByValue, Sticks):
    """Transitions in ascending order of wavenumber.

    Parameters
    ----------
    harmonic
        Harmonic wavenumber of each mode of the molecule, ``[n_modes]``, cm⁻¹.
    wavenumber
        ``[n_transitions]``, cm⁻¹.
    dipole_derivative
        √(2ω(p_i − p_f)/ħ) ⟨i|μ|f⟩ with populations p, in principal axes of ascending moments of
        inertia, ``[n_transitions, 3]``, e/amu^½, or None.
    polarizability_derivative
        √(2ωp_i/ħ) ⟨i|α|f⟩ likewise, ``[n_transitions, 3, 3]``, Å²/amu^½, or None.
    assignment
        Leading configurations of each upper state, in descending order of weight.
    initial
        Likewise of each lower state.
    rotational_constants
        A, B, C of the equilibrium, ``[3]``, cm⁻¹; A = 0 for a linear molecule.
    zero_point_energy
        cm⁻¹.
    errors
        Convergence errors of the wavenumbers by their sources, ``[n_transitions]``, cm⁻¹.
    provenance
        How it was computed (JSON-able).
    """

    harmonic: np.ndarray
    wavenumber: np.ndarray
    dipole_derivative: np.ndarray | None
    polarizability_derivative: np.ndarray | None
    assignment: Sequence[Sequence[Configuration]]
    initial: Sequence[Sequence[Configuration]]
    rotational_constants: np.ndarray
    zero_point_energy: float
    errors: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = "anharmonic"

    def __len__(self) -> int:
        return len(self.wavenumber)

    def __repr__(self) -> str:
        found = [f"{nu:.1f}" for nu in self.fundamentals() if not np.isnan(nu)]
        return (
            f"{type(self).__name__}({len(self)} transitions; fundamentals {', '.join(found)} cm⁻¹)"
        )

    def fundamentals(self) -> np.ndarray:
        """Return the wavenumber of each fundamental, ``[n_modes]``, cm⁻¹.

        It is that of the transition with the largest weight of one quantum in the mode; nan if
        no transition has it as its leading configuration.
        """
        return np.append(self.wavenumber, np.nan)[self.fundamental_transitions()]

    def fundamental_transitions(self) -> np.ndarray:
        """Return the transition that is the fundamental of each mode, −1 if none is.

        See :meth:`fundamentals`.
        """
        result = np.full(len(self.harmonic), -1)
        best = np.zeros(len(self.harmonic))
        for t, (found, start) in enumerate(zip(self.assignment, self.initial, strict=True)):
            if sum(found[0].quanta.values()) == 1 and not start[0].quanta:
                (k,) = found[0].quanta
                if found[0].weight > best[k]:
                    result[k], best[k] = t, found[0].weight
        return result

    def gas_infrared(
        self, temperature: float, fwhm: float = 1.0, shape: str = "lorentzian"
    ) -> Spectrum:
        """Return the infrared spectrum of the gas, km/mol per cm⁻¹.

        Parameters
        ----------
        temperature
            Of the rotation, K.
        fwhm, shape
            Resolution of the instrument, cm⁻¹.
        """
        envelope = rotational_envelope(self.rotational_constants, temperature)
        moments = self._dipole()
        bands = [envelope.infrared(moment) for moment in moments]
        return self._rotating(
            envelope.shift,
            INTENSITY_PER_SQUARED_CHARGE_PER_MASS * np.array(bands).reshape(len(self), -1),
            fwhm,
            shape,
            unit="km/mol per cm⁻¹",
            label="IR intensity",
            temperature=temperature,
        )

    def gas_raman(
        self, temperature: float, fwhm: float = 1.0, shape: str = "lorentzian"
    ) -> Spectrum:
        """Return the Raman activity 45a'² + 7γ'² of the gas, Å⁴/amu per cm⁻¹.

        The arguments are those of :meth:`gas_infrared`. Isotropic scattering does not change
        the rotation: its line is narrow.
        """
        envelope = rotational_envelope(self.rotational_constants, temperature)
        # γ'² is 3/2 of the squared traceless part
        bands = 10.5 * np.array([envelope.anisotropic_raman(a) for a in self._polarizability()])
        bands = bands.reshape(len(self), -1)
        bands[:, len(envelope.shift) // 2] += 45.0 * self.isotropic
        return self._rotating(
            envelope.shift,
            bands,
            fwhm,
            shape,
            unit="Å⁴/amu per cm⁻¹",
            label="Raman activity",
            temperature=temperature,
        )

    def _rotating(
        self,
        shift: np.ndarray,
        bands: np.ndarray,
        fwhm: float,
        shape: str,
        *,
        unit: str,
        label: str,
        temperature: float,
    ) -> Spectrum:
        """Return the sum of bands about their origins, at the resolution of an instrument."""
        positive("fwhm", fwhm, unit="cm⁻¹")
        line_shape = LINE_SHAPES[one_of("shape", shape, LINE_SHAPES)]
        step = shift[1] - shift[0]
        margin = len(shift) // 2
        n = int(np.ceil(float(np.max(self.wavenumber, initial=0.0)) / step)) + margin + 1
        total = np.zeros(n + 2 * margin)
        for origin, band in zip(np.rint(self.wavenumber / step).astype(int), bands, strict=True):
            total[origin : origin + len(band)] += band
        kernel = line_shape(step * np.arange(-n, n + 1), fwhm)
        values = fftconvolve(total[margin : margin + n], kernel, mode="same")
        record = {**self.provenance, "spectrum": self.kind, "line_shape": shape}
        record |= {"resolution_cm-1": fwhm, "rotational_temperature_K": temperature}
        return Spectrum(step * np.arange(n), values, unit, label, provenance=record)

    def _repr_html_(self) -> str:
        return preformatted(self.table(PRINTED))

    def table(self, least: float = 0.0) -> str:
        """Return the transitions as text.

        Parameters
        ----------
        least
            Transitions whose infrared and Raman intensities are both below this part of the
            largest are left out, unless they are fundamentals.
        """
        shown = self.shown(least)
        columns: list[Column] = [
            column("ν̃/cm⁻¹", "", self.wavenumber, ".1f"),
            *(column(f"± {name}", "cm⁻¹", error, ".1f") for name, error in self.errors.items()),
            *self.intensity_columns(3),
            ("state", "", [self.state(t) for t in range(len(self))]),
        ]
        heads, units, *rows = rows_of(columns)
        return aligned([heads, units, *compress(rows, shown)], words={len(heads) - 1})

    def state(self, transition: int) -> str:
        """Return the upper state of a transition, and the lower one unless it is the ground state.

        For example ``"ν3 (90 %)"`` or ``"2ν1 (95 %) ← ν1"``; without weights for a harmonic
        oscillator and for a motion of large amplitude, whose states are not made of configurations.
        """
        upper, start = self.assignment[transition], self.initial[transition][0]
        separated = {k - 1 for k in self.provenance.get("separated_modes", ())}
        name = str(upper[0]) if separated.issuperset(upper[0].quanta) else _named(upper)
        return name + (f" ← {start}" if start.quanta else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the transitions as JSON-able lists."""
        return {
            "harmonic_cm-1": self.harmonic.tolist(),
            "zero_point_energy_cm-1": self.zero_point_energy,
            "wavenumber_cm-1": self.wavenumber.tolist(),
            "errors_cm-1": {source: jsonable(error) for source, error in self.errors.items()},
            "assignment": _listed(self.assignment),
            "initial": _listed(self.initial),
            "rotational_constants_cm-1": self.rotational_constants.tolist(),
            "provenance": self.provenance,
            **{
                name: None if values is None else values.tolist()
                for name in _DERIVATIVES
                for values in [getattr(self, name)]
            },
            **self.intensities(),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> AnharmonicSpectrum:
        """Return the spectrum whose :meth:`to_dict` is given, also after it was JSON."""
        derivatives: dict[str, Any] = {
            name: None if record[name] is None else np.array(record[name]) for name in _DERIVATIVES
        }
        return cls(
            harmonic=np.array(record["harmonic_cm-1"]),
            wavenumber=np.array(record["wavenumber_cm-1"]),
            assignment=_configurations(record["assignment"]),
            initial=_configurations(record["initial"]),
            rotational_constants=np.array(record["rotational_constants_cm-1"]),
            zero_point_energy=record["zero_point_energy_cm-1"],
            errors={
                source: np.array(error, dtype=float)  # None is nan
                for source, error in record["errors_cm-1"].items()
            },
            provenance=record["provenance"],
            **derivatives,
        )

    def shown(self, least: float) -> np.ndarray:
        """Return which transitions :meth:`table` shows, ``[n_transitions]``."""
        shown = np.array(
            [
                sum(found[0].quanta.values()) == 1
                and found[0].weight >= _NAMED
                and not start[0].quanta
                for found, start in zip(self.assignment, self.initial, strict=True)
            ]
        )
        for strength in (
            None if self.dipole_derivative is None else self.infrared_intensity,
            None if self.polarizability_derivative is None else self.raman_activity,
        ):
            if strength is not None and len(strength):
                shown = shown | (strength >= least * strength.max())
        return np.asarray(shown)

    def _broadened(
        self, strength: np.ndarray, fwhm: float, wavenumber: np.ndarray | None, shape: str
    ) -> Spectrum:
        plain = super()._broadened(strength, fwhm, wavenumber, shape)
        return replace(plain, provenance={**plain.provenance, **self.provenance})


def _listed(states: Sequence[Sequence[Configuration]]) -> list[list[dict[str, Any]]]:
    """Return configurations of states as JSON-able lists; modes count from one."""
    return [
        [{"quanta": {k + 1: v for k, v in c.quanta.items()}, "weight": c.weight} for c in f]
        for f in states
    ]


def _configurations(states: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[Configuration]]:
    """Return what :func:`_listed` lists."""
    return [
        [Configuration({int(k) - 1: v for k, v in c["quanta"].items()}, c["weight"]) for c in f]
        for f in states
    ]


def _named(found: Sequence[Configuration]) -> str:
    """Return the configurations of a state, with their weights in per cent if there are several."""
    if len(found) == 1:
        return str(found[0])
    leading = [c for c in found if c.weight >= _NAMED] or found[:1]
    return ", ".join(f"{c} ({100.0 * c.weight:.0f} %)" for c in leading)
