# SPDX-License-Identifier: MIT
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eqcalc.spectra import harmonic_analysis
from eqcalc.units import POLARIZABILITY_VOLUME
from eqcalc.validation import InvalidInputError
from tests.spectra import toy_water as water


def diatomic(axis=(0.0, 0.0, 1.0), stretch=50.0):
    """Two atoms of 14.003 amu; α∥' = 3, α⊥' = 1 Å², charges ±0.3 e."""
    u = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    positions = np.array([-0.55 * u, 0.55 * u])
    block = stretch * np.outer(u, u)
    hessian = np.block([[block, -block], [-block, block]])
    dipole = 0.3 * np.array([-np.eye(3), np.eye(3)])
    tensor = np.eye(3) + 2.0 * np.outer(u, u)
    polarizability = np.array([-1.0, 1.0])[:, None, None, None] * u[:, None, None] * tensor
    return (positions, np.full(2, 14.003), hessian, dipole, polarizability * POLARIZABILITY_VOLUME)


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (1, 2, -3)])
def test_linear_molecule(axis):
    h = harmonic_analysis(*diatomic(axis))
    assert len(h) == 1
    assert len(h.residual) == 5
    # ν̃ = √(k/μ)/2πc with k = 50 eV/Å²
    exact = np.sqrt(50.0 * 1.602176634e-19 * 1e20 / (7.0015 * 1.66053906892e-27))
    assert h.wavenumber[0] == pytest.approx(exact / (2 * np.pi * 2.99792458e10), rel=1e-7)
    assert h.raman_activity[0] == pytest.approx(21.8525, rel=1e-5)
    assert h.depolarization_ratio[0] == pytest.approx(0.0851064, abs=1e-7)
    assert h.infrared_intensity[0] == pytest.approx(974.880110 * 0.09 / 7.0015, rel=1e-7)
    assert h.reduced_mass[0] == pytest.approx(14.003, rel=1e-9)


def test_cross_section_of_nitrogen():
    k = 50.0 * (2331.0 / harmonic_analysis(*diatomic()).wavenumber[0]) ** 2
    h = harmonic_analysis(*diatomic(stretch=k))
    assert h.wavenumber[0] == pytest.approx(2331.0, rel=1e-9)
    assert h.raman_cross_section(300.0, 514.5)[0] == pytest.approx(4.686e-31, rel=1e-3)


def arguments():
    return [
        water.EQUILIBRIUM,
        water.MASSES,
        water.hessian(),
        water.derivatives(water.dipole),
        water.derivatives(water.polarizability) * POLARIZABILITY_VOLUME,
    ]


def test_orientation_and_order_of_atoms_do_not_matter():
    r, m, f, z, a = arguments()
    reference = harmonic_analysis(r, m, f, z, a)
    q = Rotation.random(random_state=1).as_matrix()
    p = [2, 0, 1]
    turned = harmonic_analysis(
        (r @ q.T)[p] + 3.0,
        m[p],
        np.einsum("ac,bd,mcnd->manb", q, q, f)[p][:, :, p],
        np.einsum("ac,bd,mcd->mab", q, q, z)[p],
        np.einsum("ad,be,cf,mdef->mabc", q, q, q, a)[p],
    )
    for name in ("wavenumber", "infrared_intensity", "raman_activity", "depolarization_ratio"):
        assert np.allclose(getattr(turned, name), getattr(reference, name), rtol=1e-9)


def test_imaginary_modes_are_negative():
    r, m, f, z, a = arguments()
    h = harmonic_analysis(r, m, -f, z, a)
    assert np.all(h.wavenumber < 0.0)
    assert np.all(np.diff(h.wavenumber) > 0.0)
    assert "3669.29i" in h.table()
    assert np.isnan(h.raman_cross_section(300.0, 532.0)).all()
    assert h.infrared().values.max() == 0.0


def test_broadening_keeps_the_area():
    h = harmonic_analysis(*arguments())
    wide = np.linspace(0.0, 60000.0, 120001)
    for shape, tolerance in (("lorentzian", 3e-3), ("gaussian", 1e-9)):
        ir = h.infrared(10.0, wavenumber=wide, shape=shape)
        assert ir.integrate().value == pytest.approx(h.infrared_intensity.sum(), rel=tolerance)
        ra = h.raman(10.0, wavenumber=wide, shape=shape)
        assert ra.integrate().value == pytest.approx(h.raman_activity.sum(), rel=tolerance)
    # ε_max = 27.648 A/FWHM (Lorentz), 40.799 A/FWHM (Gauss), decadic
    single = harmonic_analysis(*diatomic())
    for shape, constant in (("lorentzian", 27.648), ("gaussian", 40.799)):
        nu = single.wavenumber[0] + np.arange(-50.0, 51.0)
        peak = single.infrared(12.0, wavenumber=nu, shape=shape).values.max() * 43.4294482
        assert peak == pytest.approx(constant * single.infrared_intensity[0] / 12.0, rel=1e-4)
    with pytest.raises(InvalidInputError) as caught:
        h.infrared(shape="voigt")
    assert caught.value.key == "shape"


def test_sticks_of_an_unstated_derivative_are_refused():
    r, m, f, z, _ = arguments()
    h = harmonic_analysis(r, m, f, z)
    with pytest.raises(ValueError, match="polarizability derivative was not given"):
        _ = h.raman_activity
    assert "Raman" not in h.table()


def test_bad_derivatives_are_refused():
    r, m, f, z, a = arguments()
    z[0, 0, 0] = np.nan
    with pytest.raises(InvalidInputError) as caught:
        harmonic_analysis(r, m, f, z)
    assert caught.value.key.startswith("dipole_derivative")
    with pytest.raises(InvalidInputError) as caught:
        harmonic_analysis(r, m, f, None, a[:2])
    assert caught.value.key == "polarizability_derivative"
