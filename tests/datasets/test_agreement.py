# SPDX-License-Identifier: MIT
"""Labels of a few molecules beside those of GFN2-xTB, and values that cannot be."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.data import chemical_symbols

from eqcalc.datasets import (
    ConversionError,
    Dataset,
    compare_with_reference,
    convert,
    validate,
)
from eqcalc.datasets.agreement import critical_correlation
from eqcalc.datasets.record import Record
from eqcalc.labelling import GFN2
from eqcalc.units import conversion_factor
from tests.errors import refused

pytest.importorskip("tblite")

EXCERPTS = Path(__file__).parent / "excerpts"
ETHANOL = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"
UNITS = {"positions": "Å", "energy": "eV", "forces": "eV/Å", "dipole": "e*Å"}
SIX = [0, 80, 160, 240, 320, 400]


@pytest.fixture(scope="module")
def arrays():
    """Six ethanol geometries from an ensemble at 500 K and 800 K."""
    source = Dataset.open(ETHANOL)
    records = list(source.records(np.array(SIX)))
    labels = {key: [r.labels[name] for r in records] for key, name in NAMES.items()}
    positions = [r.positions for r in records]
    return {k: np.array(v) for k, v in {"z": records[0].numbers, "R": positions, **labels}.items()}


NAMES = {"E": "energy", "F": "forces", "D": "dipole", "polarizability": "polarizability"}


def run(tmp_path, arrays, names="EF", **options):
    keys = {"z", "R", *names} | ({"polarizability"} if "P" in names else set())
    np.savez(tmp_path / "a.npz", **{k: v for k, v in arrays.items() if k in keys})
    units = {n: u for n, u in UNITS.items() if n[0].upper() in f"P{names}"}
    if "P" in names:
        units["polarizability"] = options.pop("alpha", "e^2*Å^2/eV")
    options = {"units": units, "level_of_theory": "x", "overwrite": True, **options}
    return convert(tmp_path / "a.npz", tmp_path / "a.h5", progress=False, **options)


def test_good_labels_agree(tmp_path, arrays):
    report = run(tmp_path, arrays, "EFDP")
    found = {a.quantity: a for a in report.agreements if a.against}
    assert {*found} == {"energy", "forces", "dipole", "polarizability"}
    assert all(agreement.conclusive and agreement.ok for agreement in found.values())


def test_symbols_of_elements_in_an_archive(tmp_path, arrays):
    """Unknown ones were taken for padding."""
    symbols = np.array([chemical_symbols[z] for z in arrays["z"]])
    for spelling in (symbols, symbols.astype("S2")):
        read = run(tmp_path, {**arrays, "z": spelling}, "E", reference=None).dataset[0]
        assert read.numbers.tolist() == arrays["z"].tolist()
    symbols[-1] = "X"
    with refused(key="numbers", value="X"):
        run(tmp_path, {**arrays, "z": symbols}, "E", reference=None)


@pytest.mark.parametrize("unit", ["hartree", "kcal/mol"])
def test_energies_alone_are_judged_by_their_differences(tmp_path, arrays, unit):
    """Total energies of other methods have another origin."""
    shifted = {**arrays, "E": 1000.0 + arrays["E"]}
    (agreement,) = run(tmp_path, shifted, "E").agreements
    assert agreement.ok and agreement.conclusive
    wrong = {**arrays, "E": arrays["E"] / conversion_factor(unit, "eV")}
    with pytest.raises(ConversionError, match=unit):
        run(tmp_path, wrong, "E")
    assert run(tmp_path, wrong, "E", accept=["energy"]).dataset.quantities == ("energy",)


@pytest.mark.parametrize(("name", "right"), [("ccsdt_avtz", True), ("B3LYP_cc-pVDZ", False)])
def test_dipoles_of_formaldehyde(tmp_path, name, right):
    """One of two published files holds dipoles too small by 2.54."""
    convert(
        EXCERPTS / f"h2co_{name}.npz",
        tmp_path / "a.h5",
        level_of_theory=name,
        keys={"dipole": "D", "charge": "Q"},
        units=UNITS,
        accept=["dipole"],
        reference=None,
        progress=False,
    )
    dataset = Dataset.open(tmp_path / "a.h5")
    found = compare_with_reference(dataset, GFN2(), "dipole", np.random.default_rng(0))
    assert found.conclusive and found.ok == right
    assert ("factor of debye" in str(found)) != right
    forces = compare_with_reference(dataset, GFN2(), "forces", np.random.default_rng(0))
    assert forces.conclusive and forces.ok


@pytest.mark.parametrize("name", ["forces", "dipole"])
def test_shipped_ethanol(name):
    dataset = Dataset.open(ETHANOL)
    found = compare_with_reference(dataset, GFN2(), name, np.random.default_rng(0))
    assert found.conclusive and found.ok


class Quadratic:
    """A fast reference: an energy that grows with the distances from a mean geometry."""

    name = "quadratic"

    def label(self, atoms, names):
        return {"energy": float(np.sum(atoms.positions**2))}


def energies(n, label, rng):
    """Return the comparison of n energies with those of the reference."""
    numbers = [8, 1, 1]
    positions = rng.normal(0.0, 0.3, (n, 3, 3))
    records = [
        Record(np.array(numbers), r, {"energy": np.array(label(float(np.sum(r**2))))})
        for r in positions
    ]
    dataset = DatasetInMemory(records)
    return compare_with_reference(dataset, Quadratic(), "energy", rng)


class DatasetInMemory:
    """What the comparison asks of a dataset."""

    def __init__(self, records):
        self._records = records
        self.counts = [len(r.numbers) for r in records]

    def present(self, name):
        return np.array([name in r.labels for r in self._records])

    def records(self, rows):
        return [self._records[int(row)] for row in rows]


@pytest.mark.parametrize("n", [4, 6, 12])
@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_random_numbers_are_seldom_judged_as_energies(n, draw):
    """At most once in a thousand; where both are skewed, twice."""
    rng = np.random.default_rng(n)
    x, y = (getattr(rng, draw)(size=(40_000, n)) for _ in range(2))
    x, y = (z - z.mean(1, keepdims=True) for z in (x, y))
    r = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    alarms = np.mean(np.abs(r) > max(0.9, critical_correlation(n - 2)))
    assert alarms < (1.4e-3 if draw == "normal" else 2.4e-3)


def test_the_correlation_of_chance_depends_on_the_number():
    # tables of r for 4 and 10 degrees of freedom, two-sided 0.001
    assert critical_correlation(4) == pytest.approx(0.97406, abs=1e-5)
    assert critical_correlation(10) == pytest.approx(0.8233, abs=1e-4)
    assert critical_correlation(0) == 1.0


@pytest.mark.parametrize("n", [4, 6, 12])
def test_random_energies_are_accepted_and_wrong_units_are_not(n):
    rng = np.random.default_rng(3)
    random = [energies(n, lambda _: rng.normal(), rng) for _ in range(60)]
    assert all(agreement.ok for agreement in random)
    for unit in ("hartree", "kcal/mol", "kJ/mol"):
        factor = conversion_factor(unit, "eV")
        for scale in (factor, 1.0 / factor):
            wrong = energies(n, lambda e, scale=scale: -7e4 + scale * e, rng)
            assert wrong.conclusive and not wrong.ok and unit in str(wrong)
    right = energies(n, lambda e: -7e4 + 1.1 * e + 0.01 * rng.normal(), rng)
    assert right.ok


def test_energies_and_forces_in_the_same_wrong_unit(tmp_path):
    """They fit each other: only another method can tell."""
    rng = np.random.default_rng(0)
    method, water = GFN2(), molecule("H2O")
    found = []
    for _ in range(12):
        atoms = water.copy()
        atoms.positions += rng.normal(0.0, 0.05, (3, 3))
        found.append((atoms.positions, method.label(atoms, ("energy", "forces"))))
    arrays = {
        "z": water.numbers,
        "R": np.array([r for r, _ in found]),
        "E": np.array([float(labels["energy"]) for _, labels in found]),
        "F": np.array([labels["forces"] for _, labels in found]),
    }
    assert run(tmp_path, arrays).forces.conclusive
    kcal = conversion_factor("kcal/mol", "eV")
    wrong = {**arrays, "E": arrays["E"] / kcal, "F": arrays["F"] / kcal}
    with pytest.raises(ConversionError, match="kcal/mol/Å"):
        run(tmp_path, wrong)


@pytest.mark.parametrize(
    ("factor", "named"),
    [
        (1 / conversion_factor("debye", "e*Å"), "(debye)"),
        (conversion_factor("debye", "e*Å"), "(debye)"),
        (1 / conversion_factor("e*bohr", "e*Å"), "(e*bohr)"),
        (conversion_factor("e*bohr", "e*Å"), "(e*bohr)"),
        (1 / conversion_factor("debye", "e*bohr"), "factor of debye"),
        (conversion_factor("debye", "e*bohr") ** -1.0, "factor of debye"),
        (-1.0, "wrong sign"),
    ],
)
def test_a_dipole_off_by_a_factor_is_refused(tmp_path, arrays, factor, named):
    wrong = {**arrays, "D": factor * arrays["D"]}
    with refused(ConversionError, file=tmp_path / "a.npz") as caught:
        run(tmp_path, wrong, "ED")
    assert named in str(caught.value)
    report = run(tmp_path, wrong, "ED", accept=["dipole"])
    assert len(report.dataset) == 6 and named in str(report.validation)
    assert run(tmp_path, wrong, "ED", reference=None).agreements == ()


@pytest.mark.parametrize("name", ["B3LYP_cc-pVDZ", "ccsdt_avtz"])
def test_the_published_files_of_formaldehyde(tmp_path, name):
    """One holds Debye factors on atomic units; it is refused, the other is read."""
    source, target = EXCERPTS / f"h2co_{name}.npz", tmp_path / "a.h5"
    options = {"units": UNITS, "level_of_theory": name, "progress": False}
    if name == "ccsdt_avtz":
        assert all(a.ok and a.conclusive for a in convert(source, target, **options).agreements)
        return
    with pytest.raises(ConversionError, match="factor of debye"):
        convert(source, target, **options)


def test_units_of_a_polarizability_that_are_not_those_stated(tmp_path, arrays):
    for unit in ("bohr^3", "Å^3"):
        wrong = {
            **arrays,
            "polarizability": arrays["polarizability"] / conversion_factor(unit, "e^2*Å^2/eV"),
        }
        assert run(tmp_path, wrong, "EP", alpha=unit).agreements[-1].ok
        with pytest.raises(ConversionError, match="polarizability"):
            run(tmp_path, wrong, "EP")


@pytest.mark.parametrize("factor", [-1.0, conversion_factor("eV", "kcal/mol"), 1 / 1.889726])
def test_forces_of_a_few_structures(tmp_path, arrays, factor):
    with pytest.raises(ConversionError, match="wrong forces"):
        run(tmp_path, {**arrays, "F": factor * arrays["F"]})


def test_the_structure_whose_forces_have_the_wrong_sign_is_named(tmp_path, arrays):
    wrong = edited(arrays, "F", 4, -arrays["F"][4])
    with pytest.raises(ConversionError) as caught:
        run(tmp_path, wrong)
    assert caught.value.report.bad == [4]
    assert run(tmp_path, wrong, skip_bad=True).dropped == (4,)
    assert len(run(tmp_path, wrong, accept=["forces"]).dataset) == 6


# --- values that cannot be ------------------------------------------------------------


def edited(arrays, name, place, value):
    changed = arrays[name].copy()
    changed[place] = value
    return {**arrays, name: changed}


@pytest.mark.parametrize(
    ("name", "place", "value", "hard"),
    [
        ("E", 3, 0.0, False),
        ("E", 3, -4215.0 + 10.0, False),
        ("E", 3, 1e300, True),
        ("E", 3, -1e300, True),
        ("E", 3, np.nan, True),
        ("R", (3, 8, 0), 1e11, True),
        ("R", (3, 8, 0), 50.0, False),
        ("R", (3, 8), "of atom 7", True),
        ("F", (3, 4, 1), 1e300, True),
        ("F", (3, 4, 1), 1e3, False),
        ("F", 3, 0.0, False),
        ("D", (3, 1), 1e300, True),
        ("D", (3, 1), 1e3, False),
        ("polarizability", (3, 1, 1), 1e300, True),
        ("polarizability", (3, 1, 1), -1.0, True),
    ],
)
def test_what_cannot_be_is_named_by_its_index(tmp_path, arrays, name, place, value, hard):
    value = arrays["R"][3, 7] + 0.1 if isinstance(value, str) else value
    wrong = edited(arrays, name, place, value)
    names = {"D": "ED", "polarizability": "EP"}.get(name, "EF")
    with pytest.raises(ConversionError) as caught:
        run(tmp_path, wrong, names, reference=None)
    assert caught.value.report.bad == [3]
    skipped = run(tmp_path, wrong, names, reference=None, skip_bad=True)
    assert skipped.dropped == (3,) and len(skipped.dataset) == 5
    if hard:
        with pytest.raises(ConversionError):
            run(tmp_path, wrong, names, reference=None, accept=["outliers"])
    else:
        kept = run(tmp_path, wrong, names, reference=None, accept=["outliers"])
        assert len(kept.dataset) == 6
        assert any(problem.index == 3 for problem in kept.validation.warnings)


def test_an_energy_10_ev_off_among_hundreds(tmp_path, pbe0):
    records = list(Dataset.open(pbe0))
    labels = records[33].labels
    records[33] = type(records[33])(
        records[33].numbers, records[33].positions, {**labels, "energy": labels["energy"] + 10.0}
    )
    wrong = Dataset.create(tmp_path / "a.h5", records, level_of_theory="x")
    assert validate(wrong).bad == [33]
    assert validate(wrong, accept=["outliers"]).bad == []


@pytest.mark.parametrize(("taken", "factor"), [("bohr", 1.889726), ("Å", 1 / 1.889726)])
def test_lengths_in_another_unit(tmp_path, arrays, taken, factor):
    """Extended XYZ is in Å; what is not is seen by its bonds."""
    wrong = {**arrays, "R": factor * arrays["R"]}
    with pytest.raises(ConversionError, match=f"are they in {taken}"):
        run(tmp_path, wrong, "E")
    assert len(run(tmp_path, wrong, "E", accept=["lengths"]).dataset) == 6
