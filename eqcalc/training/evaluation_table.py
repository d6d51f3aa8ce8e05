# SPDX-License-Identifier: MIT
"""Prediction errors as a table in customary units, as files, and as parity plots."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_masses
from numpy.typing import ArrayLike

from eqcalc.facts import ComparedByValue, aligned, preformatted
from eqcalc.files import make_folder, replacing, write_atomically, write_record
from eqcalc.quantities import Quantity, quantity
from eqcalc.units import BOLTZMANN, angular_frequency_to_wavenumber, conversion_factor
from eqcalc.validation import one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: With more points than this, densities are plotted instead of points.
_DOTS = 5000
#: Of fewer compositions than this the range of all is told, else that of two thirds.
_FEW = 6


@dataclass(frozen=True)
class ErrorRow:
    """Errors of one quantity in one unit.

    Parameters
    ----------
    quantity
        A quantity, compared by components (all nine of a tensor), its value per atom
        (``"energy per atom"``), or an invariant (``"dipole magnitude"``,
        ``"isotropic polarizability"``).
    unit
        Unit of the errors.
    mae, rmse, largest
        Mean absolute, root-mean-square and largest absolute error.
    spread
        Standard deviation of the labels, each component about its mean: the RMSE of a model
        that predicts the mean.
    n
        Number of values compared.
    """

    quantity: str
    unit: str
    mae: float
    rmse: float
    largest: float
    spread: float
    n: int


@dataclass(frozen=True, repr=False, eq=False)
class EvaluationTable(ComparedByValue):
    """Errors of a model, with the underlying values.

    Parameters
    ----------
    rows
        One row per quantity and unit.
    model, dataset
        Model and dataset, as text.
    n_structures
        Number of structures evaluated.
    notes
        Caveats, for example that the levels of theory differ.
    meaning
        What the model was trained on, and what its errors mean for spectra.
    predicted, labels
        By quantity, in internal units, for known labels only: ``[n_known, ...]``, for
        forces ``[n_atoms, 3]``.
    """

    rows: tuple[ErrorRow, ...]
    model: str
    dataset: str
    n_structures: int
    notes: tuple[str, ...] = ()
    meaning: tuple[str, ...] = ()
    predicted: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    labels: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def row(self, name: str, unit: str) -> ErrorRow:
        """Return the row of the quantity `name` in `unit`."""
        rows = {f"{row.quantity} [{row.unit}]": row for row in self.rows}
        return rows[one_of("row", f"{name} [{unit}]", rows)]

    @property
    def _title(self) -> str:
        return f"{self.model} on {self.n_structures} structures of {self.dataset}"

    def __str__(self) -> str:
        rows = [["quantity", "unit", "MAE", "RMSE", "largest", "spread", "values"]]
        for r in self.rows:
            numbers = [f"{x:.4g}" for x in (r.mae, r.rmse, r.largest, r.spread)]
            rows.append([r.quantity, r.unit, *numbers, str(r.n)])
        notes = [f"Note: {note}" for note in self.notes]
        return "\n".join([self._title, aligned(rows, words=(0, 1)), *self.meaning, *notes])

    def __repr__(self) -> str:
        first: dict[str, ErrorRow] = {}
        for row in self.rows:
            if row.quantity in self.predicted or not self.predicted:
                first.setdefault(row.quantity, row)
        errors = ", ".join(f"{name} {row.mae:.3g} {row.unit}" for name, row in first.items())
        return f"<EvaluationTable: {self._title}; MAE {errors}>"

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def settings(self) -> dict[str, Any]:
        """Return the table as JSON-able mappings."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "n_structures": self.n_structures,
            "notes": list(self.notes),
            "meaning": list(self.meaning),
            "rows": [vars(row) for row in self.rows],
        }

    def csv(self) -> str:
        """Return the rows as CSV."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(f.name for f in fields(ErrorRow))
        for row in self.rows:
            writer.writerow(f"{v:.8g}" if isinstance(v, float) else v for v in vars(row).values())
        return stream.getvalue()

    def write(self, folder: str | Path, name: str = "evaluation") -> list[Path]:
        """Write ``<name>.csv``, ``<name>.json`` and a parity plot per quantity.

        Returns
        -------
        list of Path
            The files.
        """
        folder = Path(folder)
        make_folder(folder)
        paths = [folder / f"{name}.csv", folder / f"{name}.json"]
        write_atomically(paths[0], self.csv())
        write_record(paths[1], self.settings())
        for q, predicted in self.predicted.items():
            paths.append(folder / f"{name}-{q}.png")
            with replacing(paths[-1]) as written:
                parity_plot(q, self.labels[q], predicted).savefig(written, dpi=150)
        return paths


def wavenumber_error(error: float, numbers: ArrayLike, temperature: float = 300.0) -> float:
    """Return the typical error of a harmonic wavenumber [cm⁻¹] of a model with this force error.

    The errors of forces σ_F at thermal geometries, none of them along translations and rotations,
    are taken to be those of n × n force constants between the n = 3N − 6 vibrations that share
    them equally: each contributes by its thermal amplitude √(k_BT)/ω. In mass-weighted
    coordinates the errors are σ_F √(3N ⟨1/m⟩ / n), diagonal constants thus uncertain by ω/√(n k_BT)
    times that, and wavenumbers by δω = σ_F √(3N ⟨1/m⟩ / (4 n² k_BT)). This is an order of
    magnitude; the guide to error bars compares it with wavenumbers computed directly.

    Parameters
    ----------
    error
        Mean absolute error of the components of forces [eV/Å].
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    temperature
        [K].

    Returns
    -------
    float
        Mean absolute error [cm⁻¹]; NaN for a single atom.
    """
    masses = atomic_masses[np.asarray(numbers, dtype=int)]
    if len(masses) < 2:
        return math.nan
    n = max(3 * len(masses) - 6, 1)
    inverse = 3 * len(masses) / n * float(np.mean(1.0 / masses))
    shift = 0.5 * error * math.sqrt(inverse / (n * BOLTZMANN * temperature))
    return angular_frequency_to_wavenumber(shift)


def describe_force_error(
    error: float, molecules: Sequence[ArrayLike], errors: Sequence[float] | None = None
) -> str:
    """Return what a mean error of forces means for the wavenumbers of molecules.

    Parameters
    ----------
    error
        Mean absolute error of the components of forces [eV/Å].
    molecules
        Atomic numbers of each.
    errors
        Mean absolute error of each molecule; by default that of all. That of all is one of large
        molecules, which have most atoms, and tells little of a diatomic one.
    """
    errors = [error] * len(molecules) if errors is None else errors
    pairs = zip(errors, molecules, strict=True)
    found = np.array([wavenumber_error(each, numbers) for each, numbers in pairs])
    found = found[np.isfinite(found)]
    typical, text = np.median(found) if len(found) else math.nan, ""
    if len(found) > 1:
        # of a few all are told
        share = (0.0, 1.0) if len(found) < _FEW else (1.0 / 6.0, 5.0 / 6.0)
        low, high = (_rounded(x) for x in np.quantile(found, share))
        of = "" if len(found) < _FEW else " for two thirds of the compositions"
        text = f" ({low} to {high}{of})" if low != high else ""
    return (
        f"a mean error of forces of {1000.0 * error:.3g} meV/Å typically means one of "
        f"{_rounded(typical)} cm⁻¹{text} in harmonic wavenumbers, at the level of theory of the "
        "labels; single modes may be off by four times as much"
    )


def _rounded(error: float) -> str:
    return f"{error:.1g}" if error < 10.0 else f"{error:.0f}"


def error_rows(
    predicted: dict[str, np.ndarray], labels: dict[str, np.ndarray], counts: dict[str, np.ndarray]
) -> tuple[ErrorRow, ...]:
    """Return the errors of each quantity in each of its report units.

    `counts` holds the numbers of atoms of the structures by quantity; for the other arguments
    see :class:`EvaluationTable`.
    """
    rows: list[ErrorRow] = []

    def add(text: str, q: Quantity, ours: np.ndarray, theirs: np.ndarray, per: str = "") -> None:
        for unit, label in q.report:
            factor = conversion_factor(q.unit, unit)
            error = np.abs(ours - theirs) * factor
            rows.append(
                ErrorRow(
                    quantity=text,
                    unit=label + per,
                    mae=float(error.mean()),
                    rmse=float(np.sqrt(np.square(error).mean())),
                    largest=float(error.max()),
                    spread=float(np.sqrt(np.square(theirs - theirs.mean(axis=0)).mean()) * factor),
                    n=error.size,
                )
            )

    for name, ours in predicted.items():
        q, theirs = quantity(name), labels[name]
        add(name, q, ours, theirs)
        if q.error_per_atom:
            atoms = counts[name]
            add(f"{name} per atom", q, ours / atoms, theirs / atoms, per="/atom")
        if q.invariant == "magnitude":
            size = (len(ours), math.prod(q.shape))
            a, b = (np.linalg.norm(x.reshape(size), axis=-1) for x in (ours, theirs))
            add(f"{name} magnitude", q, a, b)
        elif q.invariant == "isotropic":
            a, b = (np.trace(x, axis1=-2, axis2=-1) / 3.0 for x in (ours, theirs))
            add(f"isotropic {name}", q, a, b)
    return tuple(rows)


def parity_plot(name: str, labels: np.ndarray, predicted: np.ndarray) -> Figure:
    """Plot predicted against reference values of one quantity, and the errors below.

    Both arrays have the same shape, in internal units. Energies are relative to the mean of the
    labels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    q = quantity(name)
    small_unit, small_label = q.report[0]
    unit, label = q.figure or q.report[0]
    title = name.replace("_", " ") + (" components" if q.rank else "")
    factor = conversion_factor(q.unit, unit)
    theirs = labels.ravel() * factor
    ours = predicted.ravel() * factor
    if name == "energy":
        title = "energy − mean"
        theirs, ours = theirs - theirs.mean(), ours - theirs.mean()
    error = (ours - theirs) * conversion_factor(unit, small_unit)

    figure = Figure(figsize=(4.6, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    low, high = min(theirs.min(), ours.min()), max(theirs.max(), ours.max())
    upper.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
    lower.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    for axes, values in ((upper, ours), (lower, error)):
        if len(theirs) > _DOTS:
            axes.hexbin(theirs, values, gridsize=80, norm=LogNorm(), linewidths=0.1, cmap="viridis")
        else:
            axes.plot(theirs, values, ".", markersize=2.5, alpha=0.6, markeredgewidth=0.0)
    mae, rmse = np.abs(error).mean(), np.sqrt(np.square(error).mean())
    upper.set_title(f"{title}: MAE {mae:.3g}, RMSE {rmse:.3g} {small_label}", fontsize=10)
    upper.set_ylabel(f"model [{label}]")
    lower.set_ylabel(f"error [{small_label}]")
    lower.set_xlabel(f"label [{label}]")
    return figure
