# SPDX-License-Identifier: MIT
"""From a molecule to a labelled dataset: sample its geometries, then label them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from eqcalc.datasets.dataset import Dataset
from eqcalc.files import require_writable
from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.labels import LabelReport, label
from eqcalc.labelling.method import Method
from eqcalc.labelling.sampling import SamplingPlan, sample


def generate(
    molecule: ase.Atoms | Sequence[ase.Atoms],
    target: str | Path,
    n: int,
    *,
    method: Method | None = None,
    sampler: Method | None = None,
    plan: SamplingPlan | None = None,
    seed: int = 0,
    processes: int = 1,
    progress: bool = True,
    **options: Any,
) -> LabelReport:
    """Sample `n` geometries of a molecule and label them.

    The geometries are kept in ``<target>.geometries`` until all are labelled, so
    that a run that was killed goes on where it was when it is started again.

    Parameters
    ----------
    molecule
        One geometry, whose conformers are searched for, or several conformers.
    target
        The dataset to write; must not exist.
    n
        Number of geometries.
    method
        Gives the labels; GFN2-xTB if not given.
    sampler
        Drives the sampling; GFN2-xTB with loose thresholds if not given.
    plan
        Where the geometries come from; :meth:`SamplingPlan.default` if not given.
    seed
        Of all random numbers.
    processes, progress
        See :func:`~eqcalc.labelling.labels.label`.
    options
        Precision and compression, as of
        :class:`~eqcalc.datasets.writer.DatasetWriter`.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists; choose another name")
    require_writable(target.parent)  # before minutes of sampling
    method = method or GFN2()
    sampler = sampler or GFN2(accuracy=1.0)
    plan = plan or SamplingPlan.default()
    frames = [molecule] if isinstance(molecule, ase.Atoms) else list(molecule)
    about = {
        "sampling": plan.settings(),
        "sampled_with": sampler.name,
        "sampler_version": sampler.version,
        "sampler_settings": sampler.settings(),
        "molecule": [
            {"symbols": atoms.get_chemical_formula("reduce"), "positions": atoms.positions.tolist()}
            for atoms in frames
        ],
        "n_geometries": n,
        "seed": seed,
    }
    kept = target.with_name(target.name + ".geometries")
    if kept.exists():
        geometries = Dataset.open(kept)
        different = [key for key, value in about.items() if geometries.provenance.get(key) != value]
        if different:
            raise ValueError(
                f"{kept} was left by a run with another {', '.join(different)}; "
                "finish that run, or delete the file to start anew"
            )
    else:
        records = sample(
            molecule,
            sampler,
            n,
            np.random.default_rng(seed),
            plan,
            processes=processes,
            progress=progress,
        )
        geometries = Dataset.create(kept, records, level_of_theory="none", provenance=about)
    report = label(
        list(geometries),
        method,
        target,
        processes=processes,
        progress=progress,
        provenance=about,
        **options,
    )
    kept.unlink()
    return report
