# SPDX-License-Identifier: MIT
"""The latent space of every degree: figures, effective ranks, and what each degree is worth.

    python workflows/irreps/latent.py runs/irreps/[0..4]/published/0/model.eqc data/qm9/subset.h5 \
        --output workflows/irreps/results

Draws, for the held-out molecules, the features of every degree summed over atoms: raw
components, their lengths, and, for comparison, the components that a slice by the number of
multiplicities takes for that degree (``Counter(irreps.ls)``, which forgets the 2l+1 components).
Points are principal components, and with ``--phate`` PHATE too (pip install phate), coloured by
complexity: rings plus branchings of the bond graph, or, as in the paper, the spacial score
with ``--spacial-score`` (pip install rdkit).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from latent_features import (
    degree_slices,
    effective_rank,
    flattened,
    gradient_norms,
    invariants,
    pooled_latent,
    principal_components,
    without_degree,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import load_model
from eqcalc.models.networks.irreps_gcn import bonds
from eqcalc.models.potential import Potential
from eqcalc.neighbors import all_pairs
from eqcalc.training import evaluate
from eqcalc.training.config import DataConfig
from eqcalc.training.data import split_dataset
from eqcalc.training.sweeps import how_made


def complexity(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return rings plus branchings of the bonds between heavy atoms of each molecule.

    Rings are bonds − atoms + 1; every atom with k > 2 heavy neighbours adds k − 2.
    """
    scores = []
    for row in rows:
        structure = dataset.structures([row])
        heavy = structure.numbers > 1
        pairs = bonds(structure, all_pairs(structure))
        both = heavy[pairs.receiver] & heavy[pairs.sender]
        neighbors = torch.bincount(pairs.receiver[both], minlength=structure.n_atoms)
        rings = int(both.sum()) // 2 - int(heavy.sum()) + 1
        scores.append(rings + int((neighbors - 2).clamp(min=0).sum()))
    return np.array(scores)


def spacial_scores(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return the spacial score of each molecule, NaN where its bonds cannot be assigned.

    Stereochemistry, hybridisation, rings and heavy neighbours of every heavy atom, after
    Krzyzanowski et al., J. Med. Chem. 66, 12739 (2023), as RDKit counts them.
    """
    from rdkit import Chem, RDLogger
    from rdkit.Chem import SpacialScore, rdDetermineBonds

    RDLogger.DisableLog("rdApp.*")
    scores = []
    for row in rows:
        structure = dataset.structures([row])
        molecule, conformer = Chem.RWMol(), Chem.Conformer(structure.n_atoms)
        atoms = zip(structure.numbers.tolist(), structure.positions.tolist(), strict=True)
        for index, (number, position) in enumerate(atoms):
            molecule.AddAtom(Chem.Atom(number))
            conformer.SetAtomPosition(index, position)
        molecule.AddConformer(conformer)
        try:
            rdDetermineBonds.DetermineBonds(molecule, charge=0)
        except ValueError:  # zwitterions and the like
            scores.append(np.nan)
            continue
        heavy = Chem.RemoveHs(molecule)
        Chem.AssignStereochemistryFrom3D(heavy)
        scores.append(SpacialScore.SPS(heavy, normalize=False))
    return np.array(scores)


def embed(points: np.ndarray, phate: bool) -> np.ndarray:
    """Return two coordinates of every point."""
    if phate:
        from phate import PHATE

        return PHATE(knn=10, random_state=21516, verbose=0, n_jobs=1).fit_transform(points)
    return principal_components(points)[0]


def draw(
    latent: dict[int, np.ndarray], multiplicity: int, score: np.ndarray, label: str, phate: bool
) -> Figure:
    """Draw raw components, lengths, and the mistaken slices, one column per degree."""
    flat, degrees = flattened(latent), list(latent)
    slices = degree_slices(dict.fromkeys(degrees, multiplicity))
    raw = {l: flat[:, slices[l]] for l in degrees}
    lengths = invariants(latent)
    mistaken = {
        l: flat[:, k * multiplicity : (k + 1) * multiplicity] for k, l in enumerate(degrees)
    }
    owner = np.concatenate([np.full(values.shape[1], l) for l, values in raw.items()])
    rows = {
        "components": raw,
        "lengths": lengths,
        "mistaken slices": mistaken,
    }
    titles = {key: {l: f"$l={l}$" for l in degrees} for key in rows}
    for k, l in enumerate(degrees):
        real = owner[k * multiplicity : (k + 1) * multiplicity]
        names = ", ".join(str(degree) for degree in np.unique(real))
        titles["mistaken slices"][l] = f"called ${l}$, is $l={names}$"
    figure = Figure(figsize=(2.0 * len(degrees), 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(degrees), squeeze=False)
    known = np.isfinite(score)
    # a few very complex molecules must not take up the whole range of colours
    shades = Normalize(*np.percentile(score[known], (2, 98)))
    for axes_row, (title, points) in zip(grid, rows.items(), strict=True):
        for axes, l in zip(axes_row, degrees, strict=True):
            x, y = embed(points[l], phate).T
            style = {"s": 2, "linewidths": 0, "rasterized": True}
            axes.scatter(x[~known], y[~known], color="lightgrey", **style)
            drawn = axes.scatter(x[known], y[known], c=score[known], norm=shades, **style)
            axes.set_xticks([])
            axes.set_yticks([])
            rank = effective_rank(points[l])
            axes.set_title(f"{titles[title][l]}, rank {rank:.1f}", fontsize=7)
        axes_row[0].set_ylabel(title, fontsize=9)
    figure.colorbar(drawn, ax=grid, label=label, shrink=0.6)
    return figure


def explained(points: np.ndarray, score: np.ndarray) -> float:
    """Return the share of the variance of a score that a linear function of points predicts.

    Predictions are those of five parts, each by the least squares of the other four; a share
    below zero is worse than the mean.
    """
    known = np.isfinite(score)
    design, score = np.column_stack([np.ones(known.sum()), points[known]]), score[known]
    part = np.arange(len(score)) % 5
    residual = np.zeros_like(score)
    for k in range(5):
        weights = np.linalg.lstsq(design[part != k], score[part != k], rcond=1e-10)[0]
        residual[part == k] = score[part == k] - design[part == k] @ weights
    return float(1.0 - (residual**2).mean() / score.var())


def usage(
    potential: Potential,
    dataset: Dataset,
    rows: np.ndarray,
    latent: dict[int, np.ndarray],
    score: np.ndarray,
) -> list[dict[str, object]]:
    """Return one row per degree: ranks, gradients, and the error without the degree."""
    (name,) = potential.config.heads
    whole = evaluate(potential, dataset, rows, names=(name,)).rows[0]
    gradients = gradient_norms(potential, dataset, rows, name)
    table: list[dict[str, object]] = []
    for l, values in latent.items():
        with without_degree(potential, l):
            without = evaluate(potential, dataset, rows, names=(name,)).rows[0]
        table.append(
            {
                "degree": l,
                "effective rank of components": round(
                    effective_rank(values.reshape(len(values), -1)), 2
                ),
                "effective rank of lengths": round(effective_rank(invariants(latent)[l]), 2),
                "complexity from components": round(
                    explained(values.reshape(len(values), -1), score), 3
                ),
                "complexity from lengths": round(explained(invariants(latent)[l], score), 3),
                "gradient × feature [eV]": f"{gradients[l]:.4g}",
                f"MAE [{whole.unit}]": f"{whole.mae:.5g}",
                f"MAE without it [{whole.unit}]": f"{without.mae:.5g}",
            }
        )
    return table


def main() -> None:
    """Read the arguments, write figure and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--structures", type=int, default=1000, help="at most this many")
    parser.add_argument("--phate", action="store_true", help="a second figure, by PHATE")
    parser.add_argument("--spacial-score", action="store_true", help="colour by it; needs rdkit")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    potential, dataset = load_model(options.model), Dataset.open(options.dataset)
    data = potential.metadata["training"]["config"]["data"]
    rows = split_dataset(dataset, DataConfig(**data)).test[: options.structures]
    latent = pooled_latent(potential, dataset, rows)
    config = potential.config.representation
    name = "latent-" + "-".join(str(l) for l in latent)
    if options.spacial_score:
        score, label = spacial_scores(dataset, rows), "spacial score"
    else:
        score, label = complexity(dataset, rows), "rings and branchings"
    for phate in {False, options.phate}:
        figure = draw(latent, config.multiplicity, score, label, phate)
        figure.savefig(options.output / f"{name}{'-phate' if phate else ''}.png", dpi=100)
    table = usage(potential, dataset, rows, latent, score)
    with (options.output / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
        training = potential.metadata["training"]["config"]
        stream.write(
            f"# {how_made(seed=training['seed'])}; model {potential.metadata['hash'][:12]}, "
            f"{len(rows)} held-out molecules\n"
        )
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
