# SPDX-License-Identifier: MIT
"""The page of a prediction: what it shows, from the results."""

from __future__ import annotations

import json
import math
import platform
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqcalc._version import __version__
from eqcalc.anharmonic import AnharmonicSpectrum, motion_table
from eqcalc.facts import Column, column, number, preformatted, rows_of, with_error
from eqcalc.prediction.bands import (
    Conformer,
    PredictedBand,
    biased,
    error_budget,
    predicted_bands,
    strengths,
)
from eqcalc.prediction.errors import of_intensities
from eqcalc.prediction.point_groups import symmetry
from eqcalc.reports.page import (
    Line,
    Page,
    Panel,
    Section,
    bibliography,
    paragraph,
    table,
)
from eqcalc.spectra import (
    HarmonicSpectrum,
    compare,
    compare_bands,
    convert_infrared,
    is_band_list,
    read_bands,
    read_measured,
)
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.experiment.comparison import spectroscopy
from eqcalc.spectra.provenance import molecule_facts, provenance_facts
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.prediction.result import Prediction

#: Transitions with this part of the largest intensity have a line in the figures.
_DRAWN = 0.002
#: Citations of the methods whose names contain these texts.
_LEVELS = {"GFN2": "gfn2", "PySCF": "pyscf"}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
#: Titles of the panels.
_KINDS = {"infrared": "Infrared", "raman": "Raman"}


def read_experiment(path: str | Path) -> Spectrum | BandList:
    """Read a measured spectrum or a list of bands; the content decides which.

    Raises
    ------
    InvalidInputError
        See :func:`~eqcalc.spectra.read_measured` and :func:`~eqcalc.spectra.read_bands`.
    """
    if is_band_list(path):
        return replace(read_bands(path), label=Path(path).name)
    return replace(read_measured(path), label=Path(path).name)


def report_page(prediction: Prediction, measured: Sequence[Spectrum | BandList] = ()) -> Page:
    """Return the page of a prediction, with measured spectra if there are any."""
    spectra = {"infrared": prediction.infrared, "raman": prediction.raman}
    panels, found = [], []
    for kind, spectrum in spectra.items():
        if spectrum is None:
            continue
        curves, lists = [], []
        known = prediction.conformers[0].fundamentals(kind)
        lists += [] if known is None else [replace(known, label="literature")]
        for item in measured:
            if _kind(item) != kind:
                continue
            sharp = prediction.without_rotation(kind) if isinstance(item, BandList) else None
            section, curve, bands = _measured(item, spectrum if sharp is None else sharp)
            found.append(section)
            curves += [] if curve is None else [curve]
            lists += [] if bands is None else [bands]
        panels.append(Panel(kind, _KINDS[kind], spectrum, curves, lists))
    missing = [item.label for item in measured if spectra[_kind(item)] is None]
    lines = predicted_bands(prediction.conformers, prediction.calibration, _DRAWN)
    treatments = {prediction.treatment: [_line(band) for band in lines]}
    if any(c.perturbed is not None for c in prediction.conformers):
        treatments["GVPT2"] = _simple(prediction.conformers, "perturbed")
    treatments.setdefault("harmonic", _simple(prediction.conformers, "harmonic"))
    formula = prediction.conformers[0].atoms.symbols.formula.format("hill")
    lead = [formula.translate(_SUBSCRIPTS)] if formula != prediction.name else []
    first = prediction.conformers[0].atoms
    facts = provenance_facts({"source": molecule_facts(first.numbers, first.get_masses())})
    lead += [facts["isotopes"]] if "isotopes" in facts else []
    lead += [prediction.level, f"gas at {prediction.temperature:g} K"]
    lead += [f"resolution {prediction.fwhm:g} cm⁻¹"]
    return Page(
        title=prediction.name,
        lead=" · ".join(lead),
        panels=panels,
        treatments=treatments,
        molecules={
            f"{i} ({100.0 * c.weight:.0f} %)": (c.atoms, c.harmonic)
            for i, c in enumerate(prediction.conformers, 1)
        },
        temperature=prediction.temperature,
        sections=[
            _bands(prediction, lines),
            _budget(prediction),
            *found,
            _conformers(prediction),
            _method(prediction, missing),
            _provenance(prediction),
            _again(prediction),
            Section("Please cite", preformatted(bibliography(_cited(prediction)), copied=True)),
        ],
        footer=f"Made by eqcalc {__version__} on {date.today().isoformat()}; everything is in "
        "this file, and it asks nothing of the network.",
    )


# --- lines ----------------------------------------------------------------------------


def _line(band: PredictedBand) -> Line:
    facts = [
        (f"± {source}", f"{error:.1f} cm⁻¹")
        for source, error in band.errors.items()
        if not math.isnan(error)
    ]
    if not math.isnan(band.error_95):
        facts.append(("± 95 %", f"{band.error_95:.1f} cm⁻¹"))
    for kind, error, unit in (
        ("infrared", band.infrared_error, "km/mol"),
        ("Raman", band.raman_error, "Å⁴/amu"),
    ):
        facts += [] if math.isnan(error) else [(f"± {kind}", f"{error:.2g} {unit}")]
    for name, value in (("harmonic", band.harmonic), ("GVPT2", band.perturbed)):
        facts += [] if math.isnan(value) else [(name, f"{value:.1f} cm⁻¹")]
    if not math.isnan(band.measured.value):
        facts.append(("literature", f"{band.measured.value:.0f} ± {band.measured.error:.0f} cm⁻¹"))
    return Line(
        band.wavenumber,
        band.state,
        {k: abs(n) for k, n in band.quanta.items()},
        band.error,
        band.infrared,
        band.raman,
        band.depolarization_ratio,
        band.conformer,
        facts,
        math.nan if math.isnan(band.bias) else band.expected,
    )


def _simple(conformers: Sequence[Conformer], treatment: str) -> list[Line]:
    """Return the lines of the harmonic approximation or of perturbation theory."""
    lines = []
    for i, conformer in enumerate(conformers):
        sticks: HarmonicSpectrum | AnharmonicSpectrum | None = getattr(conformer, treatment)
        if sticks is None:
            continue
        infrared, raman, ratio = strengths(sticks, conformer.weight)
        for t, nu in enumerate(sticks.wavenumber):
            if isinstance(sticks, AnharmonicSpectrum):
                label, quanta = sticks.state(t), sticks.assignment[t][0].quanta
            else:
                label, quanta = f"ν{t + 1}", {t: 1}
            lines.append(
                Line(float(nu), label, quanta, math.nan, infrared[t], raman[t], ratio[t], i)
            )
    return lines


# --- experiment -----------------------------------------------------------------------


def _kind(measured: Spectrum | BandList) -> str:
    """Return the kind of a measured spectrum; infrared if it is not said."""
    if isinstance(measured, BandList):
        stated = f"{measured.unit} {measured.provenance.get('DATATYPE', '')}".lower()
        return "raman" if "raman" in stated or "å" in stated else "infrared"
    return "raman" if spectroscopy(measured) == "Raman" else "infrared"


def _measured(
    measured: Spectrum | BandList, computed: Spectrum
) -> tuple[Section, Spectrum | None, BandList | None]:
    """Return the comparison with a measured spectrum, and what is drawn of it."""
    title = f"Measured: {measured.label}"
    if isinstance(measured, BandList):
        bands = replace(measured, label="measured")
        try:
            return (
                Section(title, preformatted(compare_bands(computed, measured).table())),
                None,
                bands,
            )
        except InvalidInputError as error:
            return Section(title, paragraph(f"not compared: {error}")), None, bands
    lower = max(float(x.wavenumber[0]) for x in (measured, computed))
    upper = min(float(x.wavenumber[-1]) for x in (measured, computed))
    try:
        found = compare(computed, measured, lower=lower, upper=upper)
        try:
            curve, how = convert_infrared(measured, "intensity"), "in absolute units"
        except InvalidInputError:
            area = computed.integrate(lower, upper).value
            curve = measured.scaled(area / measured.integrate(lower, upper).value)
            how = "scaled to the area of the computed spectrum"
        curve = replace(curve.between(lower, upper), label=measured.label)
    except InvalidInputError as error:
        return Section(title, paragraph(f"not compared: {error}")), None, None
    text = (
        f"Similarity of the shapes from {lower:.0f} to {upper:.0f} cm⁻¹; 1 is the same shape. "
        f"The measured curve is drawn {how}."
    )
    notes = "".join(paragraph(warning, "note") for warning in measured.warnings)
    return Section(title, paragraph(text) + preformatted(found.table()) + notes), curve, None


# --- sections -------------------------------------------------------------------------


def _in_columns(
    rows: Sequence[Sequence[str]], words: Sequence[int], sticks: Sequence[int] = ()
) -> str:
    """Return rows, those of heads and units first, as a table."""
    heads, units, *texts = rows
    titles = [f"{head}\n{unit}" for head, unit in zip(heads, units, strict=True)]
    return table(titles, texts, words, sticks)


def _bands(prediction: Prediction, lines: Sequence[PredictedBand]) -> Section:
    """Return the table of the bands, whose rows select their lines."""
    bands = prediction.bands
    several, scattering = len(prediction.conformers) > 1, prediction.raman is not None
    known = any(not math.isnan(band.measured.value) for band in bands)
    perturbed = any(not math.isnan(band.perturbed) for band in bands)
    symmetric = any(band.irrep for band in bands)
    columns: list[Column] = [("state", "", [b.state for b in bands])]
    if symmetric:
        columns.append(("symmetry", "", [b.irrep or "–" for b in bands]))
    treatment = prediction.treatment
    columns.append(column(treatment, "cm⁻¹", [b.wavenumber for b in bands], ".1f"))
    if biased(bands):
        columns.append(column("expected", "cm⁻¹", [b.expected for b in bands], ".1f"))
    columns.append(column("±", "", [b.error for b in bands], ".1f"))
    if perturbed:
        columns.append(column("GVPT2", "cm⁻¹", [b.perturbed for b in bands], ".1f"))
    if treatment != "harmonic":
        columns.append(column("harmonic", "cm⁻¹", [b.harmonic for b in bands], ".1f"))
    if known:
        off = [number(b.expected - b.measured.value, "+.0f").replace("-", "−") for b in bands]
        columns.append(column("measured", "cm⁻¹", [b.measured.value for b in bands], ".0f"))
        columns.append(("deviation", "", off))
    strengths = [with_error(b.infrared, b.infrared_error) for b in bands]
    columns.append(("infrared", "km/mol", strengths))
    if scattering:
        columns.append(("Raman", "Å⁴/amu", [with_error(b.raman, b.raman_error) for b in bands]))
        columns.append(column("ρ", "", [b.depolarization_ratio for b in bands], ".2f"))
    if several:
        columns.append(("conformer", "", [str(b.conformer + 1) for b in bands]))
    numbers = {(b.conformer, b.state, b.wavenumber): i for i, b in enumerate(lines)}
    sticks = [numbers[(b.conformer, b.state, b.wavenumber)] for b in bands]
    advice = "A click on a row, a band or a line shows its motion; drag in a figure to zoom."
    return Section(
        "Bands",
        paragraph(advice, "soft")
        + _in_columns(rows_of(columns), (0, 1) if symmetric else (0,), sticks),
    )


def _budget(prediction: Prediction) -> Section:
    """Return the errors of the positions by their sources, and what is not among them."""
    bands = [b for b in prediction.bands if b.conformer == 0]
    sources = {source for band in bands for source in band.errors}
    record = prediction.conformers[0].spectrum.provenance
    coupling = record.get("mode_coupling")
    terms = ", and of the terms of three modes left out" if coupling == 2 else ""
    harmonic = "" if coupling else ", the harmonic approximation"
    meaning = {
        "model": "how much the members of the model disagree",
        "nuclei": f"convergence of the basis and of the quadrature of VCI{terms}",
        "level": f"the level of theory{harmonic}, with what the members of a model do not tell of "
        "its error",
    }
    told = "; ".join(f"{s}: {meaning[s]}" for s in meaning if s in sources)
    found = prediction.calibration
    if found is None:
        text = (
            f"How far positions may be off, by what is left out or not known ({told or 'none'}). "
            f"Not among them: the error of the level of theory{harmonic}, which is the largest "
            f"({prediction.level} was not compared with measured fundamentals)."
        )
    else:
        text = (
            f"How far positions may be off ({told}): half-widths that contain 68 % of "
            f"{found.bands} measured fundamentals of {found.molecules} molecules of H, C, N and O, "
            "about the position that is expected without the bias of this level; the last column "
            "contains 95 %."
            + (" Those of overtones and combinations are extrapolated." if coupling else "")
        )
    rest = "There is no sampling error, since no dynamics is run."
    if prediction.conformers[0].model_error is not None:
        rest += f" In addition, {of_intensities(found)}."
    budget = _in_columns(error_budget(bands, prediction.treatment), (0,))
    return Section("Error budget", paragraph(text) + budget + paragraph(rest))


def _conformers(prediction: Prediction) -> Section:
    head = ["conformer", "population", "free energy\nmeV", "A, B, C\ncm⁻¹"]
    head += ["zero-point energy\ncm⁻¹", "point group", "symmetry number"]
    rows, motions = [], ""
    for i, c in enumerate(prediction.conformers, 1):
        constants = ", ".join(f"{x:.4g}" for x in c.spectrum.rotational_constants)
        zero = number(c.spectrum.zero_point_energy, ".0f")
        found = symmetry(c.atoms)
        row = [str(i), f"{c.weight:.3f}", f"{1000.0 * c.free_energy:.1f}", constants, zero]
        rows.append([*row, found.point_group, str(found.number)])
        if c.motions:
            motions += paragraph(f"Motions of large amplitude of conformer {i}:")
            motions += preformatted(motion_table(c.motions))
    return Section("Conformers", table(head, rows) + motions)


def _method(prediction: Prediction, missing: Sequence[str]) -> Section:
    record = prediction.conformers[0].spectrum.provenance
    if "quanta" in record:
        how = (
            "those of quantum nuclei: vibrational configuration interaction (VCI) "
            f"with up to {record['quanta']} quanta on a surface with terms of up to "
            f"{record['mode_coupling']} modes"
        )
        rest = " For a molecule of this size this is more accurate than dynamics."
    else:
        how = "those of harmonic vibrations without overtones and combination bands"
        if found := {f"{x:.4f}" for x in record["scale"] if x != 1.0}:
            how += f", wavenumbers times {' and '.join(sorted(found))}"
        rest = " Torsions and inversions are harmonic, too."
    text = (
        f"The spectra are {how}; each transition has the rotational envelope of a rigid top, "
        f"conformers are weighted by their populations.{rest}"
    )
    notes = [
        *prediction.notes,
        *(f"{x}: not compared, there is no Raman spectrum" for x in missing),
    ]
    return Section(
        "What is computed, and what is not",
        paragraph(text) + "".join(paragraph(note, "note") for note in notes),
    )


def _provenance(prediction: Prediction) -> Section:
    record = prediction.infrared.provenance
    versions = {name: metadata.version(name) for name in ("ase", "numpy", "scipy", "torch")}
    facts = {
        "molecule": prediction.name,
        "level of theory": prediction.level,
        "vibrations": str(record.get("method", "")),
        "computed with": str(record.get("method_version", "")),
        "model": str(record.get("model", ""))[:12],
        "eqcalc": __version__,
        "libraries": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
    }
    rows = [[name, fact] for name, fact in facts.items() if fact]
    whole = json.dumps(record, indent=1, ensure_ascii=False, default=str)
    return Section(
        "Provenance", table(["", ""], rows, (0, 1)) + _details("the whole record", whole)
    )


def _again(prediction: Prediction) -> Section:
    """Return how to run the prediction again, on the command line and in Python."""
    asked: dict[str, Any] = dict(prediction.asked)
    version = f"pip install 'eqcalc[predict]=={__version__}'"
    if not asked:
        text = (
            "It was asked for in Python with a structure, which is conformer-1.xyz in the folder."
        )
        return Section("Run it again", paragraph(text) + preformatted(version, copied=True))
    molecule, isotopes = asked.pop("molecule"), asked.pop("isotopes", {})
    learning = asked.pop("learning", None)
    options = [x for key, value in asked.items() for x in (f"--{key}", str(value))]
    options += [] if learning is None else learning.arguments()
    options += [x for key, mass in isotopes.items() for x in ("--isotope", f"{key}={mass}")]
    command = shlex.join(["eqcalc", "predict", molecule, *options])
    given = {**asked, **({"isotopes": isotopes} if isotopes else {})}
    given |= {} if learning is None else {"learning": learning}
    arguments = ", ".join([repr(molecule), *(f"{k}={v!r}" for k, v in given.items())])
    imported = "" if learning is None else "\nfrom eqcalc.prediction import ActiveLearning"
    python = f"import eqcalc{imported}\nprediction = eqcalc.predict({arguments})"
    body = preformatted(f"{version}\n{command}", copied=True) + preformatted(python, copied=True)
    return Section("Run it again", body)


def _cited(prediction: Prediction) -> list[str]:
    record = prediction.infrared.provenance
    stated = f"{prediction.level} {record.get('method', '')}"
    keys = ["eqcalc", *(key for name, key in _LEVELS.items() if name in stated)]
    keys += ["painn"] if "model" in record else []
    keys += ["watson", "nmode"] if prediction.treatment == "VCI" else []
    keys += ["gvpt2"] if any(c.perturbed is not None for c in prediction.conformers) else []
    keys += ["pitzer"] if any(c.motions for c in prediction.conformers) else []
    keys += ["shimanouchi"] if prediction.conformers[0].fundamentals("infrared") else []
    return [*keys, "ase"]


def _details(summary: str, text: str) -> str:
    """Return text that is folded away."""
    return f"<details><summary>{escape(summary)}</summary>{preformatted(text)}</details>"
