# SPDX-License-Identifier: MIT
"""Deconvolution of the broadening of a spectrum by a thermostat.

A thermostat broadens a sharp line at ω₀ to a known shape K(ω, ω₀), the velocity spectrum of a
harmonic oscillator under the same thermostat. The spectrum without thermostat, g, is obtained from
y = Kg with the iterative image space reconstruction algorithm (ISRA), which preserves positivity
and is stopped at the bend of the L-curve of residual against roughness (Rossi, Kapil and Ceriotti,
J. Chem. Phys. 148, 102301 (2018)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

from eqcalc.facts import ComparedByValue
from eqcalc.spectra.quantum_factors import thermostat_width
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidInputError, array_of, count, instance, positive, within


def langevin_kernel(wavenumber: np.ndarray, time_constant: float) -> np.ndarray:
    """Return the line shape of a harmonic oscillator under Langevin friction.

    K(ω, ω₀) = (2/π) γω²/[(ω² − ω₀²)² + γ²ω²], whose integral over ω is 1.

    Parameters
    ----------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, for both ω and ω₀.
    time_constant
        1/γ, fs.

    Returns
    -------
    ``[n_wavenumbers, n_wavenumbers]``, cm, at [ω, ω₀].
    """
    gamma = thermostat_width(positive("time_constant", time_constant, unit="fs"))
    nu = _wavenumbers(wavenumber)[:, None]
    # ω = 0 of ω₀ = 0 is the limit 2/(πγ)
    square = np.maximum(nu**2, 1e-12)
    return (2.0 / np.pi) * gamma * square / ((square - nu.T**2) ** 2 + gamma**2 * square)


def gle_kernel(
    wavenumber: np.ndarray, drift: np.ndarray, covariance: np.ndarray | None = None
) -> np.ndarray:
    """Return the line shape of a harmonic oscillator under a generalised Langevin thermostat.

    Parameters
    ----------
    wavenumber
        ``[n_wavenumbers]``, cm⁻¹, ascending; a zero is replaced by a tenth of
        the first step.
    drift
        ``[n + 1, n + 1]``, drift matrix A_p of the momentum (first) and n
        auxiliary momenta, 1/fs.
    covariance
        ``[n + 1, n + 1]``, C_p in units of k_BT; the unit matrix, canonical
        sampling, by default.

    Returns
    -------
    ``[n_wavenumbers, n_wavenumbers]``, cm, at [ω, ω₀]; the integral over ω is 1.
    """
    nu = _wavenumbers(wavenumber)
    if nu[0] == 0.0:
        nu[0] = 0.1 * nu[1]
    # frequencies as wavenumbers: a rate of 1/fs is 1/(2πc) cm⁻¹
    friction = array_of("drift", drift, ("n", "n")) * thermostat_width(1.0)
    size = len(friction)
    if not size or np.linalg.eigvals(friction).real.min() <= 0.0:
        expected = "a matrix whose eigenvalues have positive real parts"
        raise InvalidInputError(key="drift", value=drift, expected=expected)
    free = np.eye(size)
    if covariance is not None:
        free = array_of("covariance", covariance, (size, size))
        if not np.allclose(free, free.T) or np.linalg.eigvalsh(free).min() <= 0.0:
            expected = "a symmetric positive definite matrix"
            raise InvalidInputError(key="covariance", value=covariance, expected=expected)
    noise = np.zeros((size + 1, size + 1))
    noise[1:, 1:] = friction @ free + free @ friction.T
    kernel = np.empty((len(nu), len(nu)))
    for j, nu0 in enumerate(nu):
        # d(q, p, s) = −A (q, p, s) dt + noise, coordinates scaled by ω₀
        a = np.zeros((size + 1, size + 1))
        a[1:, 1:] = friction
        a[0, 1], a[1, 0] = -nu0, nu0
        stationary = solve_continuous_lyapunov(a, noise)
        values, vectors = np.linalg.eig(a)
        right = np.linalg.solve(vectors, stationary.astype(complex))[:, 1]
        weights = vectors[1] * right * values
        line = (weights / (values**2 + nu[:, None] ** 2)).sum(1).real
        kernel[:, j] = (2.0 / np.pi) * line / stationary[1, 1]
    return kernel


def _wavenumbers(values: np.ndarray) -> np.ndarray:
    """Return a copy of two or more wavenumbers, ascending from zero or above."""
    nu = array_of("wavenumber", values, ("n_wavenumbers",)).copy()
    if len(nu) < 2 or nu[0] < 0.0 or not np.all(np.diff(nu) > 0.0):
        expected = "two or more wavenumbers [cm⁻¹] in ascending order, none below zero"
        raise InvalidInputError(key="wavenumber", value=values, expected=expected)
    return nu


@dataclass(frozen=True, eq=False)
class Deconvolution(ComparedByValue):
    """A deconvolved spectrum and the L-curve of the iteration.

    Parameters
    ----------
    spectrum
        The deconvolved spectrum.
    residual, roughness
        ``[n_iterations]``, |y − Kg|/|y| and |g''| (relative): the L-curve.
    iteration
        Iteration at which it was stopped.
    """

    spectrum: Spectrum
    residual: np.ndarray
    roughness: np.ndarray
    iteration: int


def deconvolve(
    spectrum: Spectrum,
    kernel: np.ndarray,
    *,
    iterations: int = 2000,
    stop: int | None = None,
) -> Deconvolution:
    """Deconvolve a known broadening from a spectrum.

    Parameters
    ----------
    spectrum
        On an even grid; cut it to the range of interest with
        :meth:`Spectrum.between` first. Its bootstrap samples are deconvolved
        with the same number of iterations.
    kernel
        ``[n_wavenumbers, n_wavenumbers]`` on the same grid, from
        :func:`langevin_kernel` or :func:`gle_kernel`.
    iterations
        Number of iterations, the length of the L-curve.
    stop
        Iteration to take, instead of the bend of the L-curve.
    """
    n = len(instance("spectrum", spectrum, Spectrum))
    step = spectrum.even_step()
    count("iterations", iterations)
    if stop is not None:
        within("stop", count("stop", stop), 1, iterations)
    matrix = array_of("kernel", kernel, (n, n)) * step
    gram = matrix.T @ matrix

    def iterate(y: np.ndarray, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the iterates [n_steps, n] and their residuals."""
        data = np.maximum(y, 0.0)  # negative side lobes of the window are clipped
        target = matrix.T @ data
        f = np.maximum(data, 1e-6 * data.max())
        path, residual = np.empty((n_steps, n)), np.empty(n_steps)
        for k in range(n_steps):
            image = gram @ f
            f = f * target / np.maximum(image, 1e-300)
            path[k] = f
            residual[k] = np.sqrt(
                max(float(data @ data - 2.0 * f @ target + f @ (gram @ f)), 0.0) / (data @ data)
            )
        return path, residual

    path, residual = iterate(spectrum.values, iterations if stop is None else stop)
    bend = np.linalg.norm(np.diff(path, 2, axis=1), axis=1) / np.linalg.norm(path, axis=1)
    iteration = _corner(residual, bend) if stop is None else stop
    samples = None
    if spectrum.samples is not None:
        samples = np.array([iterate(y, iteration)[0][-1] for y in spectrum.samples])
    result = replace(
        spectrum,
        values=path[iteration - 1],
        samples=samples,
        standard_error=None,
        history=(*spectrum.history, f"deconvolved, ISRA, {iteration} iterations"),
    )
    return Deconvolution(result, residual, bend, iteration)


def _corner(residual: np.ndarray, roughness: np.ndarray) -> int:
    """Return the iteration of largest curvature of log residual against log roughness."""
    if len(residual) < 10:
        return len(residual)
    # equally spaced in the logarithm of the iteration, where the curve is smooth
    t = np.linspace(0.0, np.log(len(residual)), 60)
    index = np.unique(np.round(np.exp(t)).astype(int)) - 1
    s = np.log(index + 1.0)
    x = np.gradient(np.log(np.maximum(residual[index], 1e-300)), s)
    y = np.gradient(np.log(np.maximum(roughness[index], 1e-300)), s)
    curvature = np.abs(x * np.gradient(y, s) - y * np.gradient(x, s)) / (x**2 + y**2) ** 1.5
    # the curvature at both ends is meaningless
    inner = slice(2, -2)
    return int(index[inner][np.argmax(curvature[inner])]) + 1
