# SPDX-License-Identifier: MIT
"""Cost of energy and forces against batch size and molecule size, beside other codes.

    OMP_NUM_THREADS=1 python workflows/benchmarks/peers.py --output results/peers

writes ``peers.csv`` and draws ``peers.png`` (both axes logarithmic); with ``--draw`` it only
draws what was measured before. Networks have random parameters and sizes that are usual
for them: PaiNN with 128 features and 3 layers (eqcalc, SchNetPack), MACE with 128x0e + 128x1o,
2 layers and correlation 3, TensorNet with 128 channels and 2 layers (TorchMD-NET); cutoff
5 Å, float32. They differ in accuracy, which is not looked at here. Codes that cannot be
imported are left out:

    pip install --ignore-requires-python schnetpack==2.2.0 mace-torch torchmd-net

Calls of all codes are made in turn; what is compared is CPU time. The inputs of SchNetPack and
MACE are converted beforehand, neighbour lists included; eqcalc and TorchMD-NET find the
pairs in every call.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.runtime import MoleculeEvaluator, eager_evaluator, evaluator_for, keep_freed_memory
from eqcalc.runtime.verification import trial_positions

CUTOFF = 5.0
BATCHES = (1, 4, 16, 64, 256)
SIZES = (2, 5, 9, 20, 50, 100, 200)

Call = Callable[[], object]


def ethanols(n: int) -> list[Atoms]:
    """Return n distorted ethanols."""
    generator = np.random.default_rng(0)
    frames = [molecule("CH3CH2OH") for _ in range(n)]
    for atoms in frames:
        atoms.positions += generator.normal(scale=0.03, size=atoms.positions.shape)
    return frames


def irregular(n_atoms: int) -> list[Atoms]:
    """Return one molecule of H, C and O, near the points of a lattice with 1.4 Å."""
    numbers = [(1, 6, 8)[k % 3] for k in range(n_atoms)]
    return [Atoms(numbers, trial_positions(n_atoms, 1)[0].numpy())]


# --- the codes: from frames to a call ----------------------------------------------


def eqcalc_call(kind: Callable[..., MoleculeEvaluator]) -> Callable[[list[Atoms]], Call]:
    """Return what prepares eqcalc in one of its executions."""
    torch.manual_seed(0)
    potential = Potential(PotentialConfig(PaiNNConfig(), ("energy",)), References((1, 6, 8)))

    def prepare(frames: list[Atoms]) -> Call:
        evaluator = kind(potential.eval(), torch.tensor(frames[0].numbers))
        positions = torch.tensor(np.array([atoms.positions for atoms in frames]))
        return lambda: evaluator(positions, ("energy", "forces"))

    return prepare


def schnetpack_call() -> Callable[[list[Atoms]], Call]:
    """Return what prepares PaiNN of SchNetPack."""
    from schnetpack import atomistic, nn, representation
    from schnetpack.interfaces import AtomsConverter
    from schnetpack.model import NeuralNetworkPotential
    from schnetpack.transform import MatScipyNeighborList

    painn = representation.PaiNN(
        n_atom_basis=128,
        n_interactions=3,
        radial_basis=nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF),
        cutoff_fn=nn.CosineCutoff(CUTOFF),
    )
    model = NeuralNetworkPotential(
        representation=painn,
        input_modules=[atomistic.PairwiseDistances()],
        output_modules=[atomistic.Atomwise(n_in=128, output_key="energy"), atomistic.Forces()],
    ).eval()

    def prepare(frames: list[Atoms]) -> Call:
        converter = AtomsConverter(MatScipyNeighborList(cutoff=CUTOFF), dtype=torch.float32)
        batch = converter(frames)
        return lambda: model(
            {k: v.clone() if v.is_floating_point() else v for k, v in batch.items()}
        )

    return prepare


def mace_call() -> Callable[[list[Atoms]], Call]:
    """Return what prepares MACE."""
    # the e3nn that MACE wants reads its constants with a type that torch no longer expects
    with torch.serialization.safe_globals([slice]):
        from e3nn import o3
        from mace import data, modules, tools
        from mace.tools import torch_geometric

    block = modules.RealAgnosticResidualInteractionBlock
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=modules.RealAgnosticInteractionBlock,
        num_interactions=2,
        num_elements=3,
        hidden_irreps=o3.Irreps("128x0e + 128x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(3),
        avg_num_neighbors=8.0,
        atomic_numbers=[1, 6, 8],
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    ).float()
    table = tools.AtomicNumberTable([1, 6, 8])

    def prepare(frames: list[Atoms]) -> Call:
        graphs = [
            data.AtomicData.from_config(data.config_from_atoms(atoms), table, CUTOFF)
            for atoms in frames
        ]
        batch = torch_geometric.Batch.from_data_list(graphs).to_dict()
        return lambda: model(dict(batch), compute_force=True)

    return prepare


def torchmdnet_call() -> Callable[[list[Atoms]], Call]:
    """Return what prepares TensorNet of TorchMD-NET."""
    from torchmdnet.models.model import create_model

    settings = {
        "model": "tensornet", "embedding_dimension": 128, "num_layers": 2, "num_rbf": 32,
        "rbf_type": "expnorm", "trainable_rbf": False, "activation": "silu", "cutoff_lower": 0.0,
        "cutoff_upper": CUTOFF, "max_z": 10, "max_num_neighbors": 256, "precision": 32,
        "equivariance_invariance_group": "O(3)", "atom_filter": -1, "prior_model": None,
        "output_model": "Scalar", "reduce_op": "add", "derivative": True,
    }  # fmt: skip
    model = create_model(settings).eval()

    def prepare(frames: list[Atoms]) -> Call:
        numbers = torch.tensor(np.concatenate([atoms.numbers for atoms in frames]))
        positions = np.concatenate([atoms.positions for atoms in frames])
        owner = torch.repeat_interleave(torch.tensor([len(atoms) for atoms in frames]))
        x = torch.tensor(positions, dtype=torch.float32)
        return lambda: model(numbers, x.clone(), owner)

    return prepare


CODES: dict[str, Callable[[], Callable[[list[Atoms]], Call]]] = {
    "eqcalc": lambda: eqcalc_call(evaluator_for),
    "eqcalc, eager": lambda: eqcalc_call(eager_evaluator),
    "SchNetPack PaiNN": schnetpack_call,
    "MACE": mace_call,
    "TorchMD-NET TensorNet": torchmdnet_call,
}


# --- measurement ------------------------------------------------------------------


def cpu_milliseconds(call: Call) -> float:
    """Return the CPU time of one call."""
    start = time.process_time_ns()
    call()
    return (time.process_time_ns() - start) * 1e-6


def measure(
    codes: dict[str, Callable[[list[Atoms]], Call]],
    frames: list[Atoms],
    rounds: int,
    seconds: float,
) -> dict[str, np.ndarray]:
    """Return CPU milliseconds of calls made in turn, by code.

    There are `rounds`, fewer but at least three if they would take more than `seconds`.
    """
    calls = {name: prepare(frames) for name, prepare in codes.items()}
    for call in calls.values():
        for _ in range(3):  # some compile themselves in their first calls
            if cpu_milliseconds(call) > 1e3:
                break
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.process_time()
    for done in range(rounds):
        if done >= 3 and time.process_time() - begin > seconds:
            break
        for name, call in calls.items():
            times[name].append(cpu_milliseconds(call))
    return {name: np.array(values) for name, values in times.items()}


def rows_of(axis: str, size: int, times: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """Return a row for each code: quartiles of its times and of the ratio to eqcalc's."""
    rows: list[dict[str, object]] = []
    for name, values in times.items():
        quartiles = np.percentile(values, (25, 50, 75))
        ratio = np.percentile(values / times["eqcalc"], (25, 50, 75))
        row: dict[str, object] = {"axis": axis, "size": size, "code": name, "calls": len(values)}
        for label, number in zip(("low", "median", "high"), quartiles, strict=True):
            row[f"{label}_ms"] = f"{number:.4g}"
        for label, number in zip(("low", "median", "high"), ratio, strict=True):
            row[f"{label}_ratio"] = f"{number:.4g}"
        rows.append(row)
        print(
            f"{axis:22} {size:4d}  {name:22} {quartiles[1]:10.3f} ms   {ratio[1]:7.2f} "
            f"({ratio[0]:.2f} to {ratio[2]:.2f})",
            flush=True,
        )
    return rows


def draw(table: Path, figure_path: Path) -> None:
    """Draw medians and quartiles, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    names = list(dict.fromkeys(row["code"] for row in rows))
    titles = list(dict.fromkeys(row["axis"] for row in rows))
    figure = Figure(figsize=(4.2 * len(titles), 3.8), layout="constrained")
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for axes, title in zip(panels, titles, strict=True):
        for index, name in enumerate(names):
            mine = [row for row in rows if row["axis"] == title and row["code"] == name]
            x, low, middle, high = (
                np.array([float(row[key]) for row in mine])
                for key in ("size", "low_ms", "median_ms", "high_ms")
            )
            marker, color = "os^Dv"[index % 5], f"C{index}"
            axes.loglog(x, middle, f"{marker}-", ms=4, lw=1.2, color=color, label=name)
            axes.fill_between(x, low, high, color=color, alpha=0.25, lw=0)
        axes.set(xlabel=title, ylabel="energy and forces / CPU ms")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.savefig(figure_path, dpi=130)


def main() -> None:
    """Measure, write the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="without .csv and .png")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time for each size")
    parser.add_argument(
        "--longest",
        type=float,
        default=10.0,
        help="s; a code with longer calls gets no larger size",
    )
    parser.add_argument("--draw", action="store_true", help="only draw the table that exists")
    options = parser.parse_args()
    table = options.output.with_suffix(".csv")
    if not options.draw:
        warnings.filterwarnings("ignore")
        keep_freed_memory()
        codes = {}
        for name, load in CODES.items():
            try:
                codes[name] = load()
            except ImportError as error:
                print(f"{name}: not measured, since it cannot be imported ({error})")
        rows: list[dict[str, object]] = []
        for axis, sizes, frames in (
            ("molecules of ethanol", BATCHES, ethanols),
            ("atoms of one molecule", SIZES, irregular),
        ):
            left = dict(codes)
            for size in sizes:
                times = measure(left, frames(size), options.rounds, options.seconds)
                rows += rows_of(axis, size, times)
                longest = 1e3 * options.longest
                left = {name: code for name, code in left.items() if times[name].max() < longest}
        with table.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    draw(table, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
