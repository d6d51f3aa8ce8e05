# SPDX-License-Identifier: MIT
"""How similar the values of two spectra on one grid are."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

__all__ = ["SCORES", "displacement", "match_score"]


def match_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the Cauchy–Schwarz match score (f·g)²/(f·f g·g), 1 for the same shape."""
    return float((f @ g) ** 2 / ((f @ f) * (g @ g)))


def pearson_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the correlation coefficient of the values."""
    return float(np.corrcoef(f, g)[0, 1])


def spearman_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return the correlation coefficient of the ranks of the values."""
    return pearson_score(rankdata(f), rankdata(g))


def euclidean_score(f: np.ndarray, g: np.ndarray) -> float:
    """Return 1/(1 + |f − g|²/|g|²) of the spectra scaled to equal norm."""
    a, b = f / np.linalg.norm(f), g / np.linalg.norm(g)
    return float(1.0 / (1.0 + ((a - b) @ (a - b))))


#: Similarity of two arrays of values on one grid; 1 for the same shape.
SCORES = {
    "match": match_score,
    "pearson": pearson_score,
    "spearman": spearman_score,
    "euclidean": euclidean_score,
}


def displacement(x: np.ndarray, f: np.ndarray, g: np.ndarray) -> float:
    """Return ∫|F − G| dν̃ of the cumulative distributions of two non-negative spectra."""
    a, b = np.maximum(f, 0.0), np.maximum(g, 0.0)
    difference = np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()
    return float(np.sum(np.abs(difference)) * (x[1] - x[0]))
