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

from eqcalc.spectra.quantum_factors import thermostat_width
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import positive, shape, within


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
    nu = np.asarray(wavenumber, dtype=float)[:, None]
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
    nu = np.array(wavenumber, dtype=float)
    if nu[0] == 0.0:
        nu[0] = 0.1 * nu[1]
    size = len(drift)
    # frequencies as wavenumbers: a rate of 1/fs is 1/(2πc) cm⁻¹
    friction = np.asarray(drift, dtype=float) * thermostat_width(1.0)
    free = np.eye(size) if covariance is None else np.asarray(covariance, dtype=float)
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


@dataclass(frozen=True)
class Deconvolution:
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
    n = len(spectrum)
    step = spectrum.even_step()
    if stop is not None:
        within("stop", stop, 1, iterations)
    matrix = shape("kernel", kernel, (n, n)) * step
    gram = matrix.T @ matrix

    def iterate(y: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the iterates [count, n], or only the last, and their residuals."""
        data = np.maximum(y, 0.0)  # negative side lobes of the window are clipped
        target = matrix.T @ data
        f = np.maximum(data, 1e-6 * data.max())
        path, residual = np.empty((count, n)), np.empty(count)
        for k in range(count):
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
