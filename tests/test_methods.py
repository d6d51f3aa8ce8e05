# SPDX-License-Identifier: MIT
"""The table of dynamics methods: facts of physics, and that everybody agrees with it."""

import math

import pytest

from eqcalc.ipi.description import method_of_ipi
from eqcalc.methods import METHODS, method, method_names
from eqcalc.validation import InvalidInputError

ALL = list(METHODS.values())


def names_where(holds):
    return {row.name for row in ALL if holds(row)}


# --- physics --------------------------------------------------------------------------


def test_kubo_transformed_correlation_functions():
    centroid = {"CMD", "PA-CMD", "QCMD", "f-QCMD", "Te-CMD", "Te-PIGS"}
    assert names_where(lambda row: row.kubo) == {"RPMD", "T-RPMD", *centroid}


def test_quantum_dynamics_leaves_the_physical_modes_alone():
    for row in ALL:
        assert not (row.kubo and row.thermostats_centroid), row.name
        assert (row.spectra == "physical") == (row.kubo or row.name in ("NVE", "Wigner")), row.name


def test_path_integrals_that_only_sample_have_no_spectra():
    found = names_where(lambda row: row.spectra == "none")
    assert found == {"PILE-L", "PILE-G", "PI+GLE", "PIGLET", "PIMD", "PIGLE-QTB", "CC-PIMD"}
    assert all(METHODS[name].ring_polymer and METHODS[name].ensemble == "NVT" for name in found)


def test_classical_thermostats_broaden():
    for row in ALL:
        if row.correlation == "classical":
            assert not row.ring_polymer, row.name
            assert row.thermostatted in ("none", "all"), row.name
            assert (row.spectra == "broadened") == (row.thermostat != "none"), row.name


def test_ensembles():
    assert names_where(lambda row: row.ensemble == "NVE") == {
        *("NVE", "Wigner", "RPMD", "f-QCMD", "Te-PIGS"),
    }
    assert names_where(lambda row: row.ensemble == "NPT") == {"NPT"}
    for row in ALL:
        assert (row.thermostat == "none") == (row.thermostatted == "none"), row.name
        assert row.ring_polymer or row.thermostatted != "internal", row.name


def test_internal_modes_of_the_ring_show_unless_they_are_moved_or_averaged():
    assert names_where(lambda row: row.ring_resonances) == {"RPMD", "T-RPMD"}
    assert names_where(lambda row: row.curvature_problem) == {"CMD", "PA-CMD"}
    assert names_where(lambda row: row.fictitious_masses) == {"PA-CMD"}


def test_effective_potentials_and_centroids_that_are_held():
    assert names_where(lambda row: row.effective_potential) == {"f-QCMD", "Te-PIGS"}
    assert names_where(lambda row: row.fixed_centroid) == {"CC-PIMD"}
    for row in ALL:
        assert not row.effective_potential or (row.kubo and not row.ring_polymer)


def test_rotation_is_excited_by_all_but_constant_energy_and_global_thermostats():
    simulated = [METHODS[name] for name in method_names(engine="eqcalc")]
    still = {row.name for row in simulated if not row.excites_rotation}
    assert still == {"NVE", "RPMD", "SVR", "NHC", "NPT", "Te-PIGS"}


def test_literature_values():
    """λ = 1/2 for T-RPMD, 1 for PILE, 16 000 cm⁻¹ for PA-CMD."""
    assert METHODS["T-RPMD"].settings() == {"damping": 0.5}
    assert METHODS["PILE-L"].settings() == {"time_constant": 100.0, "damping": 1.0}
    assert METHODS["PA-CMD"].settings()["frequency"] == 16000.0
    assert METHODS["NVE"].settings() == METHODS["RPMD"].settings() == {}


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("trpmd", "T-RPMD"),
        ("T_RPMD", "T-RPMD"),
        ("PI+GLE", "PI+GLE"),
        ("pile", "PILE-L"),
        ("Bussi", "SVR"),
        ("csvr", "SVR"),
        ("nose-hoover", "NHC"),
        ("Nosé–Hoover", "NHC"),
        ("BAOAB", "Langevin"),
        ("te pigs", "Te-PIGS"),
    ],
)
def test_names_and_aliases(given, name):
    assert method(given).name == name


def test_no_name_means_two_methods():
    names = [n for row in ALL for n in (row.name, *row.aliases)]
    folded = {"".join(c for c in name.upper() if c.isalnum()) for name in names}
    # Nose-Hoover is there with and without accent, which differ
    assert len(folded) == len(names)


@pytest.mark.parametrize(
    ("given", "meant"), [("RMPD", "RPMD"), ("TRMPD", "T-RPMD"), ("Langvin", "Langevin"), ("", None)]
)
def test_misspelled_names(given, meant):
    with pytest.raises(InvalidInputError) as found:
        method(given)
    assert (found.value.key, found.value.value) == ("method", given)
    assert found.value.suggestion == meant


def test_methods_of_other_codes_are_not_run():
    with pytest.raises(InvalidInputError) as found:
        method("NVT", "eqcalc")
    assert found.value.suggestion is None  # it is not a misspelled NVE
    with pytest.raises(InvalidInputError) as found:
        method("PIGLET", "eqcalc")
    assert "PI+GLE" in found.value.expected
    for name in ("GLE", "NHC", "PI+GLE"):
        with pytest.raises(InvalidInputError):
            method(name, "i-PI")


def test_what_the_engines_run():
    classical = ("NVE", "Langevin", "SVR", "NHC", "GLE", "NPT", "Te-PIGS")
    quantum = ("RPMD", "T-RPMD", "PA-CMD", "PILE-L", "PILE-G", "PI+GLE", "CC-PIMD")
    assert method_names(engine="eqcalc", ring_polymer=False) == classical
    assert method_names(engine="eqcalc", ring_polymer=True) == quantum
    assert "GLE" not in method_names(engine="eqcalc", by_name=True)
    in_ipi = {"NVE", "Langevin", "SVR", "RPMD", "T-RPMD", "PILE-L", "PILE-G", "PA-CMD", "PIGLET"}
    in_ipi.add("Te-PIGS")
    assert set(method_names(engine="i-PI")) == in_ipi
    assert in_ipi - set(method_names(engine="i-PI", by_name=True)) == {"PIGLET"}


# --- parameters and beads -------------------------------------------------------------


def test_parameters_are_checked():
    assert METHODS["NHC"].settings(time_constant=5) == {"time_constant": 5.0, "chain_length": 4}
    drift = [[0.1]]
    assert METHODS["GLE"].settings(drift=drift) == {"drift": drift, "covariance": None}
    for name, given, key in (
        ("T-RPMD", {"damping": 0.0}, "T-RPMD.damping"),
        ("T-RPMD", {"lambda": 0.5}, "T-RPMD.lambda"),
        ("NHC", {"chain_length": 2.5}, "NHC.chain_length"),
        ("Langevin", {"time_constant": math.inf}, "Langevin.time_constant"),
        ("PI+GLE", {}, "PI+GLE.drift"),
        ("PIGLET", {}, "PIGLET.matrices"),
    ):
        with pytest.raises(InvalidInputError) as found:
            METHODS[name].settings(**given)
        assert found.value.key == key


def test_beads_fit_the_method():
    for row in ALL:
        right, wrong = (2, 1) if row.ring_polymer else (1, 2)
        assert row.checked_beads(right) == right
        for beads in (wrong, 0, 2.0):
            with pytest.raises(InvalidInputError) as found:
                row.checked_beads(beads)
            assert found.value.key == "beads"


# --- i-PI -----------------------------------------------------------------------------


def test_what_is_written_for_ipi_is_read_as_the_same_method():
    for row in ALL:
        if row.ipi is None:
            continue
        for thermostat in row.ipi.thermostats or ("",):
            for style in row.ipi.frequencies or ("",):
                found = method_of_ipi(
                    row.ipi.mode,
                    thermostat,
                    n_beads=8 if row.ring_polymer else 1,
                    free_centroid=row.ipi.free_centroid,
                    frequencies=style,
                    corrected=row.effective_potential,
                )
                assert found is row, (thermostat, style)


def test_ipi_of_other_kinds_is_not_known():
    assert method_of_ipi("sc", "langevin", n_beads=1) is None
    assert method_of_ipi("nvt", "langevin", n_beads=1, corrected=True) is None
    assert method_of_ipi("nvt", "cl", n_beads=1) is None
    assert method_of_ipi("nvt", "langevin", n_beads=8) is None
    # moved frequencies with a thermostat of the centroid are no PA-CMD
    assert method_of_ipi("nvt", "pile_l", n_beads=8, frequencies="pa-cmd").name == "PILE-L"
