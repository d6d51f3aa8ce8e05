# SPDX-License-Identifier: MIT
"""Predicted against measured fundamentals: the constants of the error of a level, and their test.

    python workflows/predict/calibrate.py --level general --constants FILE
    python workflows/predict/calibrate.py --level general --quality harmonic --constants FILE
    python workflows/predict/calibrate.py --level gfn2 --largest 7 --constants FILE
    python workflows/predict/calibrate.py --level dft --quality standard --largest 4

Molecules of H, C, N and O of Shimanouchi's table are predicted like ``eqcalc predict --quality
quick`` or ``harmonic``; with ``standard`` VCI is that of a model of few labels, for methods whose
surface takes too many points. Each has a file in a folder of results; the same command continues
where it was interrupted, and begins anew for another model. Measured fundamentals, with the
degeneracy of their symmetry species, are assigned to the modes of the most stable conformer in the
most probable way, by the uncertainties of both: some that were measured badly, and have moved by
200 cm⁻¹ since, would otherwise push all others of their molecule by one place. The constants
(:mod:`eqcalc.prediction.errors`) are fitted to one half of the molecules, chosen by a hash of the
InChI, and tested on the other, and vice versa; of less than twelve molecules each is tested with
the constants of all others. Those that are written for the package are fitted to all; of few
molecules, whose own deviations are too small, the quantiles are those of the test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rdkit import RDLogger
from scipy.optimize import linear_sum_assignment, minimize

sys.path.insert(0, str(Path(__file__).parents[1] / "general"))
from fundamentals import Molecule, assigned, best_scale, half, molecules

from eqcalc.anharmonic import Treatment, anharmonic_spectrum
from eqcalc.files import write_atomically
from eqcalc.prediction import (
    ActiveLearning,
    Calibration,
    Level,
    level_named,
    molecule_from,
    predict,
)
from eqcalc.prediction.active_learning import fine_tuned
from eqcalc.prediction.errors import HARMONIC, HYDROGEN, VCI
from eqcalc.prediction.level import default_level
from eqcalc.prediction.planning import LARGEST, LARGEST_ANHARMONIC, LEARNT, QUALITIES
from eqcalc.spectra.experiment.fundamentals import UNCERTAINTY

#: Molecules of at most so many modes are treated both with and without terms of three modes.
_BOTH = 12
#: Least and greatest a, b [cm⁻¹] and f.
_LIMITS = ((1e-4, 0.05), (0.1, 50.0), (0.01, 3.0))
_NARROW, _WIDE = 0.68, 0.95
#: Half-width by which the model of few labels knows the surface of a level [cm⁻¹]; levels err more.
_TOLERANCE = 10.0
#: Fewer molecules are tested one by one: halves of them would tell too little.
_FEW = 12
#: So that intensities of fundamentals are those of integrated bands with their hot bands [K].
_COLD = 100.0
#: Bands at most so far from each other [cm⁻¹] have one intensity.
_CLOSE = 60.0
#: Columns of a file of a molecule.
_PREDICTED = ("harmonic", "wavenumber", "converged", "coupling", "model", "infrared")
_MEASURED = ("measured", "uncertainty", "measured_infrared")


class Bands(NamedTuple):
    """Fundamentals that were predicted and measured, ``[n_bands]``, cm⁻¹ and km/mol."""

    harmonic: np.ndarray
    wavenumber: np.ndarray
    converged: np.ndarray  #: error of convergence of VCI
    coupling: np.ndarray  #: most modes in a term of the surface
    model: np.ndarray  #: standard deviation that the model states, zero if it states none
    infrared: np.ndarray
    measured: np.ndarray
    uncertainty: np.ndarray
    measured_infrared: np.ndarray  #: zero if unknown, of degenerate modes the mean

    def deviation(self, constants: Calibration) -> np.ndarray:
        """Return expected less measured wavenumbers."""
        one = np.ones((len(self.harmonic), 1))
        bias = constants.bias(one, self.harmonic[:, None], self.wavenumber, self.coupling)
        return self.wavenumber - bias - self.measured

    def sigma(self, constants: Calibration) -> np.ndarray:
        """Return σ of the prediction."""
        one, shift = np.ones((len(self.harmonic), 1)), self.harmonic - self.wavenumber
        level = constants.level_error(one, self.harmonic[:, None])
        nuclei = constants.nuclei_error(self.converged, shift, self.coupling)
        return np.sqrt((constants.model * self.model) ** 2 + level**2 + nuclei**2)

    def relative(self, constants: Calibration) -> np.ndarray:
        """Return |deviation| in units of σ of prediction and measurement."""
        sigma = np.hypot(self.sigma(constants), self.uncertainty)
        return np.abs(self.deviation(constants)) / sigma


# --- prediction -----------------------------------------------------------------------


def predicted(molecule: Molecule, level: Level, quality: str, folder: Path) -> dict[str, Any]:
    """Return what the prediction of a molecule has to do with its fundamentals, as JSON.

    The folder is that of a model of few labels.
    """
    named = f"smiles:{molecule.smiles}"
    key, spent, learns = level.key, 0.0, quality == LEARNT
    if learns:
        options = ActiveLearning(folder, tolerance=_TOLERANCE)
        learnt = fine_tuned(molecule_from(named), level, options)
        level, quality = learnt.level, "quick"
        spent = sum(r.cpu_seconds for r in learnt.rounds)
    start = time.process_time()
    found = predict(named, level=level, quality=quality, temperature=_COLD)
    conformer, *others = found.conformers
    # the constants are those of the level, to whose error predictions add that of their model
    spectrum, stated = conformer.spectrum, None if learns else conformer.model_error
    place = spectrum.fundamental_transitions()
    converged = np.sqrt(sum((e**2 for e in spectrum.errors.values()), np.zeros(len(spectrum))))
    # positions of the harmonic approximation are those that are scaled
    wavenumber = spectrum.fundamentals()
    if found.treatment != VCI:
        wavenumber = spectrum.harmonic
    coupling = int(spectrum.provenance.get("mode_coupling", 1))
    both = dict.fromkeys((2, 3), np.full(len(place), np.nan))
    if len(place) <= _BOTH and not conformer.motions and found.treatment == VCI:
        larger = coupling > 2  # three, or all four of a molecule of four modes
        both[3 if larger else 2], other = spectrum.fundamentals(), 2 if larger else 3
        choices = {**(QUALITIES[quality] or {}), "coupling": other}
        treatment = Treatment.for_modes(len(place), **choices)
        evaluator = level.evaluator(conformer.atoms)
        compared = anharmonic_spectrum(conformer.harmonic, evaluator, treatment)
        both[other] = compared.fundamentals()
    return {
        "name": molecule.name,
        "level": key,
        "conformers": 1 + len(others),
        "cpu_s": round(spent + time.process_time() - start, 1),
        "harmonic": _listed(spectrum.harmonic),
        "wavenumber": _listed(wavenumber),
        "two_modes": _listed(both[2]),
        "three_modes": _listed(both[3]),
        "coupling": [coupling] * len(place),
        "converged": _listed(np.append(converged, np.nan)[place]),
        "infrared": _listed(np.append(spectrum.infrared_intensity, np.nan)[place]),
        "model": _listed(np.zeros(len(place)) if stated is None else stated.wavenumber),
        "measured": molecule.measured.tolist(),
        "uncertainty": molecule.uncertainty.tolist(),
        "measured_infrared": molecule.infrared.tolist(),
    }


def _listed(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(x) else round(float(x), 2) for x in values]


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if x is None else x for x in values], dtype=float)


def all_predicted(
    level: Level, quality: str, largest: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """Return the predictions of all molecules by InChI, from their files or made now."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = molecules()
    structures = {i: molecule_from(f"smiles:{m.smiles}") for i, m in listed.items()}
    sizes = {i: len(atoms) for i, atoms in structures.items()}
    found = {}
    for inchi, molecule in sorted(listed.items(), key=lambda item: sizes[item[0]]):
        most = largest if QUALITIES[quality] is None else min(largest, LARGEST_ANHARMONIC)
        if sizes[inchi] > most:
            print(f"{molecule.name}: more than {most} atoms", flush=True)
            continue
        if level.given == "general" and default_level(structures[inchi]) != level.given:
            print(f"{molecule.name}: the general model does not know its kind", flush=True)
            continue
        file = folder / f"{hashlib.sha256(inchi.encode()).hexdigest()[:12]}.json"
        entry = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if entry.get("level") != level.key:
            try:
                entry = predicted(molecule, level, quality, file.with_suffix(""))
            except Exception as error:  # a molecule that a level cannot do is reported
                print(f"{molecule.name}: {type(error).__name__}: {error}", flush=True)
                continue
            write_atomically(file, json.dumps(entry, ensure_ascii=False) + "\n")
        print(f"{molecule.name}: {entry['cpu_s']} s of CPU time", flush=True)
        if len(entry["measured"]) > len(entry["harmonic"]):
            print(f"{molecule.name}: more fundamentals than modes", flush=True)
            continue
        found[inchi] = entry
    return found


# --- the fit --------------------------------------------------------------------------


def matched(entries: Sequence[Mapping[str, Any]], constants: Calibration) -> tuple[Bands, int]:
    """Return the bands of molecules, and how many measured ones no transition is stated for.

    Modes without a stated fundamental, torsions and those lost in resonances, take part in the
    assignment with their harmonic wavenumbers.
    """
    parts, missing = [], 0
    for entry in entries:
        columns = [_array(entry[key]) for key in _PREDICTED]
        measured = [_array(entry[key]) for key in _MEASURED]
        harmonic, wavenumber, converged = columns[:3]
        stated = np.isfinite(wavenumber) & np.isfinite(converged)
        columns[1] = np.where(stated, wavenumber, harmonic)
        columns[2] = np.where(stated, converged, 0.0)
        modes = Bands(*columns, *np.zeros((len(measured), len(harmonic))))
        sigma = np.hypot(modes.sigma(constants)[:, None], measured[1])
        deviation = modes.deviation(constants)[:, None] - measured[0]
        rows, places = linear_sum_assignment(np.abs(deviation) / sigma + np.log(sigma))
        kept = stated[rows]
        missing += int((~kept).sum())
        parts.append(
            [column[rows[kept]] for column in columns]
            + [column[places[kept]] for column in measured]
        )
    return Bands(*(np.concatenate(column) for column in zip(*parts, strict=True))), missing


def truncation(entries: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return t and u: effect of terms of three modes in anharmonic shifts, and its spread."""
    columns = [
        np.concatenate([_array(e[key]) for e in entries])
        for key in ("harmonic", "two_modes", "three_modes")
    ]
    harmonic, two, three = columns
    known = np.isfinite(two) & np.isfinite(three)
    if not known.any():
        return 0.0, 0.0
    shift, effect = (harmonic - two)[known], (two - three)[known]
    size = np.maximum(np.abs(shift), 1e-3)
    typical = weighted_median(effect * np.sign(shift) / size, size)
    return typical, float(np.abs(effect - typical * shift).sum() / size.sum())


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value that makes Σ w |x − value| least; zero without values."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, 0.5 * below[-1])])


def fitted(entries: Sequence[Mapping[str, Any]], level: str) -> Calibration:
    """Return the constants that fit the fundamentals of some molecules."""
    left_out = truncation(entries)
    found = Calibration(level, 0.0, 0.0, 0.005, 5.0, 1.0, left_out, (1.0, 2.0), len(entries), 0)
    for _ in range(5):  # assignments and biases depend on each other
        bands, _ = matched(entries, found)
        unbiased = replace(found, hydrogen=0.0, other=0.0)
        part = bands.deviation(unbiased) / bands.harmonic
        weight = bands.harmonic / np.hypot(bands.sigma(found), bands.uncertainty)
        hydrogen = bands.harmonic > HYDROGEN
        found = replace(
            found,
            hydrogen=weighted_median(part[hydrogen], weight[hydrogen]),
            other=weighted_median(part[~hydrogen], weight[~hydrogen]),
        )
    bands, _ = matched(entries, found)

    def with_widths(logarithms: np.ndarray) -> Calibration:
        a, b, f = np.exp(logarithms).tolist()
        return replace(found, proportional=a, constant=b, model=f)

    def improbability(logarithms: np.ndarray) -> float:
        """Return the negative logarithm of the likelihood of exp(−|x|/σ)/2σ, per band."""
        constants = with_widths(logarithms)
        sigma = np.hypot(bands.sigma(constants), bands.uncertainty)
        return float(np.mean(np.log(sigma) + np.abs(bands.deviation(constants)) / sigma))

    limits = np.log(_LIMITS)
    best = minimize(improbability, limits.mean(axis=1), bounds=limits, method="L-BFGS-B")
    found = replace(with_widths(best.x), bands=len(bands.harmonic))
    if not bands.model.any():
        found = replace(found, model=1.0)
    quantiles = np.quantile(bands.relative(found), (_NARROW, _WIDE)).tolist()
    found = replace(found, quantiles=tuple(quantiles))
    compared = np.concatenate([intensities(entry, found) for entry in entries])
    if len(compared):
        ratio = np.abs(np.log(compared[:, 1] / compared[:, 2]))
        factor = float(np.exp(np.quantile(ratio, _NARROW)))
        found = replace(found, intensities=(factor, len(compared)))
    return _rounded(found)


def intensities(entry: Mapping[str, Any], constants: Calibration) -> np.ndarray:
    """Return measured wavenumbers with predicted and measured intensities, ``[n, 3]``.

    Bands of a molecule that are close to each other, of which an active one may have been assigned
    to the mode of another, are one; so are those of degenerate modes.
    """
    bands, _ = matched([entry], constants)
    order = np.argsort(bands.measured)
    group = np.cumsum(np.diff(bands.measured[order], prepend=0.0) > _CLOSE) - 1
    columns = (np.ones(len(order)), bands.measured, bands.infrared, bands.measured_infrared)
    count, place, predicted, measured = (np.bincount(group, c[order]) for c in columns)
    known = measured > 0.0
    return np.stack([place / count, predicted, measured], axis=1)[known]


def _rounded(constants: Calibration) -> Calibration:
    """Return constants with four digits."""

    def short(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(short, value))
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return Calibration(**{name: short(value) for name, value in asdict(constants).items()})


# --- the test -------------------------------------------------------------------------


def tested(entries: Mapping[str, Mapping[str, Any]], level: str) -> dict[str, Any]:
    """Return how well molecules are predicted with the constants of others.

    Others are those of the other half; of few molecules, all but the one that is predicted.
    """
    everything, few = [*entries.values()], len(entries) < _FEW
    halves = [[e for inchi, e in entries.items() if half(inchi) == k] for k in (0, 1)]
    parts = [[e] for e in everything] if few else halves
    others = [[e for e in everything if e not in part] for part in parts]
    constants = [fitted(part, level) for part in others]
    relative, off, raw, width, uncertainty, missing = [], [], [], [], [], 0
    for k, part in enumerate(parts):
        bands, lost = matched(part, constants[k])
        missing += lost
        relative.append(bands.relative(constants[k]))
        off.append(np.abs(bands.deviation(constants[k])))
        raw.append(np.abs(bands.wavenumber - bands.measured))
        width.append(constants[k].quantiles[0] * bands.sigma(constants[k]))
        uncertainty.append(bands.uncertainty)
    within = [
        np.concatenate([x <= c.quantiles[q] for x, c in zip(relative, constants, strict=True)])
        for q in (0, 1)
    ]
    deviation, widths = np.concatenate(off), np.concatenate(width)
    sure = np.concatenate(uncertainty) <= UNCERTAINTY["C"]
    order, fifth = np.argsort(widths), len(widths) // 5
    names = ("harmonic", "measured", "uncertainty")
    harmonic, of_others = (
        [[tuple(_array(e[name]) for name in names) for e in part] for part in group]
        for group in (parts, others)
    )
    scales = [best_scale(part) for part in of_others]
    simple = {
        name: [
            s * assigned(h, m, u, s) - m
            for part, scale in zip(harmonic, scales, strict=True)
            for h, m, u in part
            for s in (scale if scaled else 1.0,)
        ]
        for name, scaled in (("harmonic", False), ("scaled harmonic", True))
    }
    return {
        "molecules": len(entries),
        "tested": "one by one" if few else "by halves",
        "measured fundamentals": len(deviation) + missing,
        "of these without a stated transition": missing,
        "within 68 %": _mean(within[0]),
        "within 95 %": _mean(within[1]),
        "mean absolute error / cm-1": _mean(deviation),
        "the same of bands measured to 6 cm-1": _mean(deviation[sure]),
        "number of these": int(sure.sum()),
        "median absolute error / cm-1": round(float(np.median(deviation)), 2),
        "the same without the bias: mean / cm-1": _mean(np.concatenate(raw)),
        "median half-width of 68 % / cm-1": round(float(np.median(widths)), 2),
        "mean absolute error of the fifth of narrowest bars / cm-1": _mean(
            deviation[order[:fifth]]
        ),
        "mean absolute error of the fifth of widest bars / cm-1": _mean(deviation[order[-fifth:]]),
        **{
            f"mean absolute error, {name} / cm-1": _mean(np.abs(np.concatenate(found)))
            for name, found in simple.items()
        },
        "scales of harmonic wavenumbers": [round(s, 4) for s in scales],
        **(
            {"quantiles": np.quantile(np.concatenate(relative), (_NARROW, _WIDE)).tolist()}
            if few
            else {"constants of each half": [asdict(c) for c in reversed(constants)]}
        ),
    }


def _mean(values: np.ndarray) -> float:
    return round(float(np.mean(values)), 3)


def main() -> None:
    """Predict, fit, test and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--level", default="general", help="as for eqcalc predict")
    parser.add_argument("--quality", choices=("quick", "harmonic", LEARNT), default="quick")
    parser.add_argument(
        "--largest", type=int, default=LARGEST, help="atoms of the largest molecule"
    )
    parser.add_argument("--folder", type=Path, help="of a file for each molecule")
    parser.add_argument("--output", type=Path, help="results (.json)")
    parser.add_argument("--constants", type=Path, help="file of constants, whose other levels stay")
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    level = level_named(options.level)
    treatment = HARMONIC if QUALITIES[options.quality] is None else VCI
    name = Path(options.level).stem + ("" if treatment == VCI else f"-{treatment}")
    folder = options.folder or Path("runs") / f"predict-{name}"
    entries = all_predicted(level, options.quality, options.largest, folder)
    everything = fitted(list(entries.values()), level.name)
    test = tested(entries, level.name)
    if quantiles := test.pop("quantiles", None):
        everything = _rounded(replace(everything, quantiles=tuple(quantiles)))
    results = {
        "level": level.name,
        "treatment": treatment,
        "key": level.key,
        "cpu_s": round(sum(e["cpu_s"] for e in entries.values()), 1),
        **test,
        "constants of all": asdict(everything),
    }
    by_name = {
        e["name"]: _mean(np.abs(matched([e], everything)[0].deviation(everything)))
        for e in entries.values()
    }
    print(json.dumps(results, indent=1, ensure_ascii=False))
    results["mean absolute error of each molecule / cm-1"] = by_name
    results["wavenumber / cm-1, predicted and measured intensity / km/mol"] = {
        e["name"]: table.round(1).tolist()
        for e in entries.values()
        if len(table := intensities(e, everything))
    }
    output = options.output or Path(__file__).parent / "results" / f"{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if options.constants:
        known = {}
        if options.constants.exists():
            known = json.loads(options.constants.read_text(encoding="utf-8"))
        # those of an older model of the same level are of no more use
        known = {
            key: entries
            for key, entries in known.items()
            if key == level.key or all(entry["level"] != level.name for entry in entries.values())
        }
        known[level.key] = {**known.get(level.key, {}), treatment: asdict(everything)}
        text = json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True)
        write_atomically(options.constants, text + "\n")


if __name__ == "__main__":
    main()
