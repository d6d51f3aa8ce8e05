# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.normal_modes import isotope_shifts
from eqcalc.spectra import (
    Series,
    assign_bands,
    assignment_notes,
    assignment_table,
    decompose,
    decompose_dipole_by_atoms,
    decompose_dipole_by_groups,
    decompose_dipole_by_modes,
    harmonic_analysis,
    infrared,
    mode_spectra,
    vibrational_density_of_states,
)
from eqcalc.spectra.assignment.modes import mode_momenta, mode_names
from eqcalc.validation import InvalidInputError
from tests.spectra import toy_water as water
from tests.spectra.oscillators import BOLTZMANN, angular

KW = {"interval": 1.0, "temperature": 20.0, "lag": 2000.0}


@pytest.fixture(scope="module")
def harmonic():
    return harmonic_analysis(
        water.EQUILIBRIUM, water.MASSES, water.hessian(), water.derivatives(water.dipole)
    )


@pytest.fixture(scope="module")
def run(harmonic):
    """Water at 20 K, slowly turning: positions and velocities of 12 replicas."""
    rng = np.random.default_rng(1)
    omega, spread = angular(harmonic.wavenumber), np.sqrt(BOLTZMANN * 20.0)
    q, p = spread / omega * rng.normal(size=(12, 3)), spread * rng.normal(size=(12, 3))
    r = water.EQUILIBRIUM + np.einsum("rk,kia->ria", q, harmonic.vectors)
    v = np.einsum("rk,kia->ria", p, harmonic.vectors)
    centre = water.MASSES @ water.EQUILIBRIUM / water.MASSES.sum()
    v += np.cross(2e-3 * rng.normal(size=(12, 1, 3)), water.EQUILIBRIUM - centre)
    return water.propagate(r, v, 0.5, 12000, every=2)


def assert_same(found, expected):
    scale = expected.values.max()
    assert np.allclose(found.values, expected.values, rtol=0.0, atol=1e-12 * scale)
    assert np.allclose(found.samples, expected.samples, rtol=0.0, atol=1e-11 * scale)


def assert_parts_are_the_whole(parts, whole):
    """Check shares, and parts with all their cross terms, against the whole to 1e-12."""
    tolerance = {"rtol": 0.0, "atol": 1e-12 * whole.values.max()}
    assert_same(parts.total, whole)
    shares = sum(parts.share(name).values for name in parts.names)
    assert np.allclose(shares, whole.values, **tolerance)
    pairs = [parts.cross(a, b).values for i, a in enumerate(parts.names) for b in parts.names[:i]]
    diagonal = [parts.part(name).values for name in parts.names]
    assert np.allclose(sum(pairs) + sum(diagonal), whole.values, **tolerance)


@pytest.mark.slow
def test_modes_rotation_and_remainder_are_the_whole_spectrum(run, harmonic):
    dipole = water.dipole(run[0])
    for options in ({}, {"timestep": 0.5, "finite_difference": "velocity-verlet"}):
        parts = decompose_dipole_by_modes(dipole, run[0], harmonic, **KW, **options)
        assert parts.names[3:] == ("rotation", "remainder")
        # finite differences are corrected in parts and cross terms alike
        assert_parts_are_the_whole(parts, infrared(dipole, unit="e*Å", **KW, **options))


def test_a_generator_draws_the_same_samples_for_every_part(run, harmonic):
    parts = decompose_dipole_by_modes(
        water.dipole(run[0]), run[0], harmonic, generator=np.random.default_rng(3), **KW
    )
    shares = sum(parts.share(name).samples for name in parts.names)
    scale = parts.total.samples.max()
    assert np.allclose(shares, parts.total.samples, rtol=0.0, atol=1e-11 * scale)


def test_each_band_is_its_mode(run, harmonic):
    parts = decompose_dipole_by_modes(water.dipole(run[0]), run[0], harmonic, **KW)
    bands = parts.total.bands(threshold=0.05, lower=1000.0)
    assert len(bands) == 3
    heavy = isotope_shifts(harmonic, np.array([15.999, 2.014, 2.014]))[0]
    assigned = assign_bands(parts, bands, harmonic=harmonic, isotope_shifts=heavy)
    for k, item in enumerate(assigned):
        name, share = item.shares[0]
        assert name == parts.names[k]
        assert share.value == pytest.approx(1.0, abs=0.05)
        assert share.error < 0.05
        assert item.partner.mode == k
        assert abs(item.anharmonic_shift) < 30.0
        # the hydrogens move, and deuterium is slower by nearly √2
        assert {atom for atom, _ in item.partner.atoms} == {1, 2}
        assert item.partner.isotope_shift / item.partner.wavenumber == pytest.approx(
            -0.27, abs=0.02
        )
    text = assignment_table(assigned, "km/mol", symbols=["O", "H", "H"])
    assert len(text.splitlines()) == 4
    assert "mode 1 (1387) 100 %" in text.splitlines()[1]
    assert "H1 4" in text
    assert "1387" in text.splitlines()[1].split()
    record = assigned[0].to_dict()
    assert record["harmonic"]["mode"] == 1
    assert record["area_km/mol"][0] == bands[0].area.value
    rotation = parts.share("rotation").integrate(0.0, 500.0).value
    assert rotation == pytest.approx(parts.total.integrate(0.0, 500.0).value, rel=0.02)


def test_replicas_may_have_references_with_other_numbering(run, harmonic):
    # the two hydrogens change their names in every second replica
    exchanged = harmonic_analysis(
        water.EQUILIBRIUM[[0, 2, 1]],
        water.MASSES,
        water.hessian()[[0, 2, 1]][:, :, [0, 2, 1]],
        water.derivatives(water.dipole)[[0, 2, 1]],
    )
    positions = run[0].copy()
    positions[::2] = positions[::2][:, :, [0, 2, 1]]
    references = [exchanged if r % 2 == 0 else harmonic for r in range(len(positions))]
    dipole = water.dipole(positions)
    parts = decompose_dipole_by_modes(dipole, positions, references, **KW)
    plain = decompose_dipole_by_modes(dipole, run[0], harmonic, **KW)
    for name in plain.names:
        a, b = parts.share(name).values, plain.share(name).values
        assert np.allclose(a, b, rtol=0.0, atol=1e-9 * plain.total.values.max())
    with pytest.raises(ValueError, match="one for each of 12 replicas"):
        decompose_dipole_by_modes(dipole, positions, references[:5], **KW)


def test_groups_with_tensors_of_the_minimum(run, harmonic):
    dipole = water.dipole(run[0])
    tensors = water.derivatives(water.dipole)
    groups = {"first hydrogen": [1]}
    parts = decompose_dipole_by_groups(dipole, run[0], harmonic, tensors, groups, **KW)
    assert parts.names == ("first hydrogen", "others", "rotation", "remainder")
    assert_parts_are_the_whole(parts, infrared(dipole, unit="e*Å", **KW))
    # charges are fixed: the linear expansion is exact
    remainder = parts.share("remainder").values
    assert np.abs(remainder).max() < 1e-10 * parts.total.values.max()
    with pytest.raises(ValueError, match="is reserved"):
        decompose_dipole_by_groups(dipole, run[0], harmonic, tensors, {"rotation": [1]}, **KW)


def test_mode_spectra_are_one_state_each(run, harmonic):
    positions, velocities = run
    parts = mode_spectra(
        positions, velocities, harmonic, timestep=0.5, frequency_correction=True, **KW
    )
    momenta = mode_momenta(positions, velocities, harmonic)
    for k, name in enumerate(parts.names):
        kinetic = np.mean(momenta[..., k] ** 2) / (BOLTZMANN * 20.0)
        assert parts.part(name).integrate().value == pytest.approx(kinetic, rel=1e-3)
        band = parts.part(name).band(harmonic.wavenumber[k] - 60, harmonic.wavenumber[k] + 60)
        assert band.position.value == pytest.approx(harmonic.wavenumber[k], abs=2.0)
    # vibrations are the density of states less the rotation
    total = vibrational_density_of_states(velocities, water.MASSES, unit="Å/fs", **KW).integrate(
        1000.0, 4500.0
    )
    assert parts.total.integrate(1000.0, 4500.0).value == pytest.approx(total.value, rel=0.01)


def test_atoms_are_the_whole_spectrum(run):
    _, velocities = run
    tensors = np.broadcast_to(
        water.CHARGES[:, None, None] * np.eye(3), (*velocities.shape[:2], 3, 3, 3)
    )
    parts = decompose_dipole_by_atoms(tensors, velocities, {"oxygen": [0]}, **KW)
    assert parts.names == ("oxygen", "others")
    whole = infrared(derivative=water.dipole(velocities), unit="e*Å/fs", **KW)
    assert np.allclose(parts.total.values, whole.values, rtol=0.0, atol=1e-12 * whole.values.max())
    # the parts have opposite charge and move against each other: their interference adds
    assert parts.cross("oxygen", "others").integrate(1000, 4500).value > 0.0
    with pytest.raises(ValueError, match="more than one group"):
        decompose_dipole_by_atoms(tensors, velocities, {"a": [0, 1], "b": [1]}, **KW)
    with pytest.raises(ValueError, match="numbered from 0 to 2"):
        decompose_dipole_by_atoms(tensors, velocities, {"a": [3]}, **KW)
    with pytest.raises(ValueError, match="oxygen, others"):
        parts.part("hydrogen")


def test_pieces_of_a_replica_are_not_independent(run, harmonic):
    positions = run[0][:4]
    dipole = water.dipole(positions)
    halves = [slice(0, 2500), slice(2500, None)]
    data = ([mu[h] for mu in dipole for h in halves], [r[h] for r in positions for h in halves])
    sources = [r for r in range(4) for _ in halves]
    joined = decompose_dipole_by_modes(*data, harmonic, **KW, sources=sources).total
    apart = decompose_dipole_by_modes(*data, harmonic, **KW).total
    # the same estimate, weighted by time, but fewer independent parts
    scale = apart.values.max()
    assert np.allclose(joined.values, apart.values, rtol=0.0, atol=1e-12 * scale)
    assert (joined.n_independent, apart.n_independent) == (4, 8)
    assert joined.provenance["n_replicas"] == 4
    assert joined.provenance["total_time_ps"] == apart.provenance["total_time_ps"]
    single = decompose_dipole_by_modes(*data, harmonic, **KW, sources=[0] * 8).total
    assert single.standard_error is None


@pytest.mark.parametrize(
    ("strengths", "doubt"),
    [
        # (bend, symmetric stretch, antisymmetric stretch), at the wavenumber of the bend
        ((0.0, 1.0, 0.0), "mode 2 (3590) has 100 %, but is 2203 cm⁻¹ away"),
        (
            (0.45, 0.35, 0.2),
            "shared by mode 1 (1387) 45 %, mode 2 (3590) 35 %, mode 3 (3669) 20 %",
        ),
        ((0.8, 0.2, 0.0), None),
    ],
)
def test_a_partner_carries_half_of_its_band_and_is_near(harmonic, strengths, doubt):
    """Parts without correlation, all at one wavenumber, with given shares of the area."""
    phases = 2.0 * np.pi * np.arange(4)[:, None] / 4.0
    angle = angular(harmonic.wavenumber[0]) * np.arange(3000) + phases
    parts = {}
    for k, name in enumerate((*mode_names(harmonic), "rotation", "remainder")):
        parts[name] = np.zeros((4, 3000, 3))
        if k < 3:
            parts[name][..., k] = np.sqrt(strengths[k]) * np.cos(angle)
    known = {
        "interval": 1.0,
        "temperature": 20.0,
        "unit": "e*Å",
        "quantity_unit": "e*Å",
        "result_unit": "km/mol per cm⁻¹",
        "label": "IR intensity",
    }
    made = decompose(parts, **known)
    (item,) = assign_bands(made, [made.total.band(1200.0, 1600.0)], harmonic=harmonic)
    if doubt is None:
        assert item.partner.mode == 0
        assert not item.doubts
    else:
        assert item.partner is None
        assert item.doubts[0].startswith(doubt)
        assert assignment_notes([item, item])[0].startswith(f"1387, 1387 cm⁻¹: {doubt}")
        assert item.to_dict()["doubts"] == list(item.doubts)
    sharers = [share for share in strengths if share >= 0.1] if max(strengths) < 0.5 else []
    assert [s.value for _, s in item.shared] == pytest.approx(sharers, abs=1e-6)
    assert list(item.to_dict()["shared_by"]) == [name for name, _ in item.shared]
    # what is in no part may take away from the others
    parts["remainder"] = -0.5 * sum(parts.values())
    less = decompose(parts, **known)
    (item,) = assign_bands(less, [less.total.band(1200.0, 1600.0)], harmonic=harmonic)
    assert item.doubts[-1].startswith("a negative remainder cancels 100 %")


def test_the_eckart_frame_has_no_rotation(run, harmonic):
    """The parts are those of the spectrum in that frame; the envelope is in the laboratory one."""
    dipole = water.dipole(run[0])
    inside = decompose_dipole_by_modes(dipole, run[0], harmonic, frame="eckart", **KW)
    assert inside.names == (*mode_names(harmonic), "remainder")
    facts = {name: value for name, value in KW.items() if name != "unit"}
    series = Series(
        dipole, unit="e*Å", quantity="dipole", masses=water.MASSES,
        positions=Series(run[0], 1.0, 20.0, "Å", "positions"),
        interval=facts.pop("interval"), temperature=facts.pop("temperature"),
    )  # fmt: skip
    expected = infrared(series, frame="eckart", reference=water.EQUILIBRIUM, **facts)
    assert_parts_are_the_whole(inside, expected)
    assert inside.total.provenance["frame"] == "eckart"
    outside = decompose_dipole_by_modes(dipole, run[0], harmonic, **KW)
    rotation = outside.total.integrate(0.0, 300.0).value
    assert inside.total.integrate(0.0, 300.0).value < 1e-3 * rotation
    with pytest.raises(InvalidInputError) as caught:
        decompose_dipole_by_modes(dipole, run[0], harmonic, frame="corotating", **KW)
    assert caught.value.key == "frame"
