# SPDX-License-Identifier: MIT
"""How often the 95 % limits of spectra contain the truth, for harmonic modes with thermal energies.

The energy of each mode is drawn from the canonical ensemble (an exponential distribution) for each
replica, and kept; the exact spectrum is the transform of the exact correlation function with the
same lag window. Scores are those of the infrared spectrum beside a measured one with other
positions and strengths. Takes some minutes on one core:

    python workflows/spectra/coverage.py --output workflows/spectra/results/coverage.csv
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqcalc.facts import aligned
from eqcalc.spectra import (
    Estimate,
    Spectrum,
    combine_committee,
    compare,
    dielectric,
    infrared,
    power_spectrum,
    raman,
    sum_rule_ratio,
)
from eqcalc.spectra.estimator.correlation import spectral_density
from eqcalc.units import INTENSITY_PER_SQUARED_CHARGE_PER_MASS as KM_PER_MOL
from eqcalc.units import SPECTRAL_PREFACTOR, SPEED_OF_LIGHT_CM_PER_FS

#: Wavenumbers [cm⁻¹]; the first two bands overlap at the resolution of the lag window, 40 cm⁻¹.
MODES = np.array([1000.0, 1040.0, 1600.0, 3000.0])
OMEGA = 2.0 * np.pi * SPEED_OF_LIGHT_CM_PER_FS * MODES
#: ∂μ/∂Q [e/amu^½] and ∂α/∂Q [Å²/amu^½], the latter with an isotropic part.
DIPOLE = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.0], [0.3, 0.0, 0.4], [0.0, 0.0, 0.8]])
ISOTROPIC = np.array([0.0, 1.0, 0.3, 2.0])
POLARIZABILITY = np.einsum("ka,ab->kab", DIPOLE, np.eye(3)) + ISOTROPIC[:, None, None] * np.eye(3)
#: Limits of the three resolved bands.
BANDS = ((880.0, 1160.0), (1500.0, 1700.0), (2900.0, 3100.0))
TEMPERATURE, INTERVAL, FRAMES, LAG = 300.0, 1.0, 2500, 834
THERMAL = TEMPERATURE * 2.0 * SPEED_OF_LIGHT_CM_PER_FS / SPECTRAL_PREFACTOR  # k_BT, amu Å²/fs²
#: Points below this fraction of the maximum are not counted.
SMALLEST = 0.02


def density(strength: np.ndarray, temperature: float = TEMPERATURE) -> np.ndarray:
    """Return the exact spectral density of modes with ⟨Ẋ²⟩ = strength·k_BT."""
    lags = INTERVAL * np.arange(LAG)
    exact = THERMAL * np.cos(np.outer(lags, OMEGA)) @ strength
    return spectral_density(exact, INTERVAL, temperature)[1]


def exact_infrared() -> np.ndarray:
    """Return the exact infrared spectrum, km/mol per cm⁻¹."""
    return KM_PER_MOL * density((DIPOLE**2).sum(1))


def speeds(n_replicas: int, rng: np.random.Generator) -> np.ndarray:
    """Return the velocities of the modes of one sample of replicas, [replica, mode, frame]."""
    energy = rng.exponential(THERMAL, size=(n_replicas, len(MODES), 1))
    phase = 2.0 * np.pi * rng.random(energy.shape)
    angle = OMEGA[:, None] * INTERVAL * np.arange(FRAMES) + phase
    return -np.sqrt(2.0 * energy) * np.sin(angle)


def kinds(n_replicas: int, rng: np.random.Generator) -> Iterator[tuple[str, Spectrum, np.ndarray]]:
    """Yield the spectra of one sample of replicas, and the exact ones."""
    speed = speeds(n_replicas, rng)
    dipole = np.einsum("rkt,ka->rta", speed, DIPOLE)
    polarizability = np.einsum("rkt,kab->rtab", speed, POLARIZABILITY)
    common = {"interval": INTERVAL, "lag": INTERVAL * LAG, "generator": rng}
    facts = {**common, "temperature": TEMPERATURE}
    squares, exact = (DIPOLE**2).sum(1), exact_infrared()
    absorption = infrared(derivative=dipole, unit="e*Å/fs", **facts)
    yield "infrared", absorption, exact
    trace = np.einsum("kaa->k", POLARIZABILITY) / 3.0
    anisotropy = 1.5 * ((POLARIZABILITY**2).sum((1, 2)) - 3.0 * trace**2)
    activity = raman(derivative=polarizability, unit="Å^3/fs", **facts).activity()
    yield "Raman", activity, density(45.0 * trace**2 + 7.0 * anisotropy)
    displacement = np.einsum("rkt,ka->rta", speed / OMEGA[:, None], DIPOLE)
    scale = 2.0 * SPEED_OF_LIGHT_CM_PER_FS / SPECTRAL_PREFACTOR
    power = power_spectrum(displacement, unit="e*Å", **common)
    yield "power", power, scale * density(squares / OMEGA**2, 1.0)
    cell = dielectric(derivative=dipole, unit="e*Å/fs", volume=100.0, **facts)
    loss = cell.imaginary()
    ratio = np.interp(loss.wavenumber, absorption.wavenumber, exact)
    ratio *= cell.absorption.values[1:] / absorption.values[1:] / (2.0 * np.pi * loss.wavenumber)
    yield "dielectric loss", loss, ratio
    seed = int(rng.integers(2**31))
    members = [
        infrared(derivative=s * dipole, unit="e*Å/fs", **{**facts, "generator": seed})
        for s in (0.9, 1.0, 1.1)
    ]
    found = combine_committee(members, common_trajectory=True).mean
    yield "committee", found, (0.81 + 1.0 + 1.21) / 3.0 * exact


class Hits(dict[str, list[bool]]):
    """Which limits contain the truth, by quantity."""

    def count(self, name: str, low: object, high: object, truth: object) -> None:
        """Add limits, one or many."""
        inside = (np.asarray(low) <= np.asarray(truth)) & (np.asarray(truth) <= np.asarray(high))
        self.setdefault(name, []).extend(np.atleast_1d(inside).tolist())


def of_spectra(n_replicas: int, rng: np.random.Generator, found: Hits) -> None:
    """Count points, areas, totals, ratios and centroids of one sample of replicas."""
    for name, spectrum, exact in kinds(n_replicas, rng):
        low, high = spectrum.confidence_band(0.95)
        seen = np.flatnonzero(np.abs(exact) > SMALLEST * exact.max())[::5]
        found.count(f"{name}, points", low[seen], high[seen], exact[seen])
        for band in BANDS:
            weights = spectrum.weights(*band)
            found.count(f"{name}, areas", *spectrum.integrate(*band).interval(), weights @ exact)
        if name == "infrared":
            total = Estimate(KM_PER_MOL * float((DIPOLE**2).sum()), 0.0)
            found.count("infrared, whole area", *spectrum.integrate().interval(), total.value)
            found.count("sum rule", *sum_rule_ratio(spectrum, total).interval(), 1.0)
            weights, x = spectrum.weights(*BANDS[0]), spectrum.wavenumber
            mean = (weights * x) @ exact / (weights @ exact)
            centroid = spectrum.band(*BANDS[0]).centroid
            found.count("centroid of two bands", *centroid.interval(), mean)


def of_scores(n_replicas: int, rng: np.random.Generator, found: Hits) -> None:
    """Count scores of one sample of replicas beside a measured spectrum of other strengths."""
    dipole = np.einsum("rkt,ka->rta", speeds(n_replicas, rng), DIPOLE)
    facts = {"interval": INTERVAL, "lag": INTERVAL * LAG, "temperature": TEMPERATURE}
    ours = infrared(derivative=dipole, unit="e*Å/fs", generator=rng, **facts)
    x = ours.wavenumber
    bands = ((1010.0, 1.0), (1590.0, 0.6), (3020.0, 0.5))
    other = sum(a / (1.0 + ((x - center) / 30.0) ** 2) for center, a in bands)
    measured = Spectrum(x, np.asarray(other), "1", "measured")
    exact = Spectrum(x, exact_infrared(), ours.unit, ours.label)
    found_ours, truth = (compare(s, measured, lower=800.0, upper=3200.0) for s in (ours, exact))
    for name, score in found_ours.scores.items():
        found.count(f"scores, {name}", score.lower, score.upper, truth.scores[name].value)
    moved = found_ours.displacement
    found.count("displacement", moved.lower, moved.upper, truth.displacement.value)


def coverage(n_replicas: int, repetitions: int, seed: int) -> dict[str, float]:
    """Return the fraction of 95 % limits that contain the truth, by quantity."""
    found = Hits()
    for count in (of_spectra, of_scores):
        rng = np.random.default_rng(seed)
        for _ in range(repetitions):
            count(n_replicas, rng, found)
    return {name: float(np.mean(inside)) for name, inside in found.items()}


def main() -> None:
    """Print the coverage for several numbers of replicas, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--replicas", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the percentages (.csv)")
    options = parser.parse_args()
    found = {n: coverage(n, options.repetitions, options.seed) for n in options.replicas}
    rows = [["95 % limits of", *(f"{n} replicas" for n in found)]]
    for name in next(iter(found.values())):
        rows.append([name, *(f"{100.0 * fractions[name]:.1f}" for fractions in found.values())])
    print(aligned(rows, words=(0,)))
    if options.output is not None:
        command = " ".join(["python", *sys.argv])
        text = "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows)
        options.output.write_text(f"# {command}\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
