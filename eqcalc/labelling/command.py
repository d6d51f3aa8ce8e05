# SPDX-License-Identifier: MIT
"""What ``eqcalc label`` calls: methods by name, structures as ASE reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import ase

from eqcalc.datasets.record import Record
from eqcalc.labelling.dft import PySCF
from eqcalc.labelling.generation import generate
from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.labels import LabelReport, label
from eqcalc.labelling.method import Method

#: Methods by the name they have on the command line.
METHODS: dict[str, Callable[..., Method]] = {"gfn2": GFN2, "pbe0": PySCF}


def method_named(name: str, quantities: Collection[str] | None = None) -> Method:
    """Return the method called `name` that labels `quantities`, or its usual ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name](**({} if quantities is None else {"quantities": tuple(quantities)}))


def label_molecule(
    molecule: ase.Atoms | Sequence[ase.Atoms],
    target: str | Path,
    *,
    method: str = "gfn2",
    n_geometries: int = 1000,
    quantities: Collection[str] | None = None,
    processes: int = 1,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> LabelReport:
    """Sample geometries of a molecule with GFN2-xTB and label them.

    Parameters
    ----------
    molecule
        One geometry, whose conformers are searched for, or several conformers.
    method
        Name of the labelling method, of :data:`METHODS`.
    n_geometries
        Number of geometries.
    quantities
        Labels; those usual for the method if not given.
    target, processes, seed, progress, options
        See :func:`~eqcalc.labelling.generation.generate`.
    """
    frames = [molecule] if isinstance(molecule, ase.Atoms) else list(molecule)
    return generate(
        frames[0] if len(frames) == 1 else frames,
        target,
        n_geometries,
        method=method_named(method, quantities),
        seed=seed,
        processes=processes,
        progress=progress,
        **options,
    )


def label_structures(
    structures: Sequence[ase.Atoms],
    target: str | Path,
    *,
    method: str = "gfn2",
    quantities: Collection[str] | None = None,
    processes: int = 1,
    progress: bool = True,
    **options: Any,
) -> LabelReport:
    """Label structures as they are given; they may be different molecules.

    Parameters
    ----------
    structures
        With a total charge in ``atoms.info["charge"]``, if any.
    method, quantities
        See :func:`label_molecule`.
    target, processes, progress, options
        See :func:`~eqcalc.labelling.labels.label`.
    """
    records = [
        Record.from_atoms(atoms, source=str(atoms.info.get("source", ""))) for atoms in structures
    ]
    return label(
        records,
        method_named(method, quantities),
        target,
        processes=processes,
        progress=progress,
        **options,
    )
