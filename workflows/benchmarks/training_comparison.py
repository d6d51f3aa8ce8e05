# SPDX-License-Identifier: MIT
"""Time training of PaiNN beside SchNetPack 2, reading and batching of the data included.

    OMP_NUM_THREADS=1 python workflows/benchmarks/training_comparison.py

Both train PaiNN (128 features, 3 layers, 20 radial functions, 5 Å, float32) on the same
labelled ethanols of `data/ethanol`, with the pipeline that each has: eqcalc from its HDF5 file,
SchNetPack from an ASE database with its loader and its neighbour list by matscipy, both in
the process that trains. A step is reading, neighbours, batch, forward, loss, backward and
AdamW. Steps are made in turn; what is compared is CPU time: medians of the ratios of
neighbouring steps, with quartiles. "Floor" is the time of the matrix products of energy, forces and
the gradient of their loss alone, by torch.mm at the same shapes. `--molecule C6H6` takes so many
distorted copies of another molecule instead, labelled with zeros. See schnetpack_comparison.py for
installing SchNetPack; without it eqcalc is timed alone. `--threads 2` compares the wall time of
steps of eqcalc with one thread and with two instead, which needs two free cores.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule

import eqcalc
from eqcalc import Dataset
from eqcalc.datasets import Record
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.runtime import FusedTraining, keep_freed_memory
from eqcalc.training.data import Batches, BatchOrder, loader
from eqcalc.training.loss import Loss

CUTOFF = 5.0
DATA = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"
ALL = ("energy", "forces", "dipole", "polarizability")

Step = Callable[[], object]


def endless(make: Callable[[int], Iterator[object]]) -> Iterator[object]:
    """Return the batches of one epoch after the other."""
    return itertools.chain.from_iterable(make(epoch) for epoch in itertools.count())


def step_of(
    batches: Iterator[object],
    loss: Callable[[object], torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> Step:
    """Return a call that reads a batch and takes one step."""

    def step() -> object:
        batch = next(batches)
        optimizer.zero_grad()
        loss(batch).backward()
        return optimizer.step()

    return step


def matrix_products(
    atoms: int, pairs: int, names: tuple[str, ...], *, training: bool = True
) -> Step:
    """Return the matrix products of the network: every linear map forward, and back for forces.

    In training the tangents go forward and back too, and the weights take the rows of both. The
    read-outs of the dipole moment and the polarizability have no tangents, and no way back without
    training.
    """
    F, made = 128, []

    def add(
        rows: int, depth: int, columns: int, *, tangents: bool = True, back: bool = True
    ) -> None:
        passes = 2 if tangents and training else 1
        made.extend([(rows, depth, columns)] * passes)
        made.extend([(rows, columns, depth)] * passes * back)
        if training:
            made.append((columns, passes * rows, depth))

    for layer in range(3):
        if layer:
            add(atoms, F, F)
            add(atoms, F, 3 * F)
        add(3 * atoms, F, 2 * F)
        add(atoms, 2 * F, F)
        add(atoms, F, 3 * F)
        columns = 3 * F if layer else 2 * F
        made += [(pairs, 21, columns), (2 * pairs, 21, columns)]
        if training:
            made += [(2 * pairs, 21, columns)] * 2 + [(21, 2 * pairs, columns)]
    add(atoms, F, F // 2)
    for _ in {"dipole", "polarizability"}.intersection(names):
        for width, out in ((F, F // 2), (F // 2, 1)):
            add(3 * atoms, width, 2 * out, tangents=False, back=training)
            add(atoms, width + out, width, tangents=False, back=training)
            add(atoms, width, 2 * out, tangents=False, back=training)
    factors = [(torch.rand(m, k), torch.rand(k, n), torch.empty(m, n)) for m, k, n in made]

    def step() -> object:
        for left, right, product in factors:
            torch.mm(left, right, out=product)
        return None

    return step


def of_eqcalc(dataset: Dataset, names: tuple[str, ...], size: int, *, fused: bool = True) -> Step:
    """Return a training step of eqcalc, with compiled kernels or eagerly."""
    torch.manual_seed(0)
    heads = tuple(name for name in names if name != "forces")
    offset = float(np.mean(dataset.labels(range(len(dataset)))[0]["energy"].numpy())) / 9.0
    references = References((1, 6, 8), {"energy": dict.fromkeys((1, 6, 8), offset)})
    potential = Potential(PotentialConfig(PaiNNConfig(), heads), references)
    model = FusedTraining(potential) if fused else potential
    total = Loss(dict.fromkeys(names, 1.0), dict.fromkeys(names, 1.0))
    batches, order = Batches(dataset, names, CUTOFF), BatchOrder(np.arange(len(dataset)), size, 0)

    def epoch(number: int) -> Iterator[object]:
        order.set_epoch(number)
        return iter(loader(batches, order))

    def loss(batch: object) -> torch.Tensor:
        found = model.evaluate(batch.structures, batch.pairs, names, create_graph=True)
        return total(found, batch.labels, batch.present, batch.structures)

    # as eqcalc.training makes it
    optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-4, fused=True)
    return step_of(endless(epoch), loss, optimizer)


def of_schnetpack(dataset: Dataset, names: tuple[str, ...], size: int, folder: Path) -> Step:
    """Return a training step of SchNetPack on the same data."""
    from schnetpack import atomistic, nn, representation
    from schnetpack.data import ASEAtomsData, AtomsLoader
    from schnetpack.model import NeuralNetworkPotential
    from schnetpack.transform import CastTo32, MatScipyNeighborList

    theirs = {name: "dipole_moment" if name == "dipole" else name for name in names}
    path = folder / f"{len(names)}.db"
    units = {"energy": "eV", "forces": "eV/Ang", "dipole_moment": "e*Ang", "polarizability": ""}
    data = ASEAtomsData.create(
        str(path), distance_unit="Ang", property_unit_dict={k: units[k] for k in theirs.values()}
    )
    offset = np.mean([float(record.labels["energy"]) for record in dataset])
    rows = []
    for record in dataset:
        labels = {theirs[name]: np.array(record.labels[name]) for name in names}
        labels["energy"] = np.array([float(record.labels["energy"]) - offset])
        for name in ("dipole_moment", "polarizability"):
            if name in labels:
                labels[name] = labels[name][None]
        rows.append(labels)
    data.add_systems(rows, [dataset.atoms(index) for index in range(len(dataset))])
    data = ASEAtomsData(str(path), transforms=[MatScipyNeighborList(cutoff=CUTOFF), CastTo32()])

    torch.manual_seed(0)
    painn = representation.PaiNN(
        n_atom_basis=128,
        n_interactions=3,
        radial_basis=nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF),
        cutoff_fn=nn.CosineCutoff(CUTOFF),
    )
    outputs: list[torch.nn.Module] = [atomistic.Atomwise(n_in=128, output_key="energy")]
    if "dipole" in names:
        outputs.append(atomistic.DipoleMoment(n_in=128, use_vector_representation=True))
    if "polarizability" in names:
        outputs.append(atomistic.Polarizability(n_in=128))
    outputs.append(atomistic.Forces(energy_key="energy", force_key="forces"))
    model = NeuralNetworkPotential(
        representation=painn,
        input_modules=[atomistic.PairwiseDistances()],
        output_modules=outputs,
    ).train()
    batches = AtomsLoader(data, batch_size=size, shuffle=True, drop_last=True)

    def loss(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = {name: batch[name] for name in theirs.values()}
        found = model(batch)
        return torch.stack(
            [
                torch.nn.functional.mse_loss(found[name], label.reshape(found[name].shape))
                for name, label in labels.items()
            ]
        ).sum()

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return step_of(endless(lambda _: iter(batches)), loss, optimizer)


def cpu_milliseconds(call: Step) -> float:
    """Return the CPU time of one call."""
    start = time.process_time_ns()
    call()
    return (time.process_time_ns() - start) * 1e-6


def compare_threads(step: Step, threads: int, steps: int) -> str:
    """Return the wall time of a step with one thread and with several, in turn."""
    times = np.zeros((steps, 2))
    for pair in times:
        for column, number in enumerate((1, threads)):
            torch.set_num_threads(number)
            step()  # its threads are running
            start = time.perf_counter_ns()
            step()
            pair[column] = (time.perf_counter_ns() - start) * 1e-6
    one, several = np.median(times, axis=0)
    low, middle, high = np.percentile(times[:, 0] / times[:, 1], (25, 50, 75))
    return (
        f"{one:7.1f} ms, with {threads} threads {several:7.1f} ms   "
        f"{middle:.2f} ({low:.2f} to {high:.2f})"
    )


def distorted(name: str, n: int, folder: Path) -> Dataset:
    """Return distorted copies of a molecule, labelled with zeros."""
    rng, atoms = np.random.default_rng(0), molecule(name)
    labels = {"energy": np.zeros(()), "forces": np.zeros((len(atoms), 3)), "dipole": np.zeros(3)}
    labels["polarizability"] = np.zeros((3, 3))
    shapes = (atoms.positions + 0.05 * rng.normal(size=(len(atoms), 3)) for _ in range(n))
    records = [Record(atoms.numbers, positions, labels) for positions in shapes]
    return Dataset.create(folder / "distorted.h5", records, level_of_theory="none")


def main() -> None:
    """Print CPU time and samples per second, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--molecule")
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    size = options.batch_size
    print(
        f"eqcalc {eqcalc.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread, {options.steps} steps of {size} structures"
    )
    for names in (ALL[:2], ALL):
        with tempfile.TemporaryDirectory() as folder:
            if options.molecule:
                dataset = distorted(options.molecule, 10 * size, Path(folder))
            else:
                dataset = Dataset.open(options.data)
                known = np.all([dataset.present(name) for name in ALL], axis=0)
                dataset = dataset.subset(np.flatnonzero(known))
            if options.threads > 1:
                step = of_eqcalc(dataset, names, size)
                print(
                    f"{'+'.join(names):40}", compare_threads(step, options.threads, options.steps)
                )
                continue
            batch = Batches(dataset, names, CUTOFF)[np.arange(size)]
            calls = {
                "eqcalc": of_eqcalc(dataset, names, size),
                "eager": of_eqcalc(dataset, names, size, fused=False),
                "floor": matrix_products(
                    batch.structures.n_atoms, len(batch.pairs.receiver) // 2, names
                ),
            }
            try:
                calls["SchNetPack"] = of_schnetpack(dataset, names, size, Path(folder))
            except ImportError as error:
                print(f"SchNetPack cannot be imported ({error})")
            for _, call in itertools.product(range(3), calls.values()):
                call()
            times = np.array(
                [[cpu_milliseconds(call) for call in calls.values()] for _ in range(options.steps)]
            )
        for (name, _), column in zip(calls.items(), times.T, strict=True):
            low, middle, high = np.percentile(column / times[:, 0], (25, 50, 75))
            print(
                f"{'+'.join(names):40} {name:11} {np.median(column):7.1f} ms "
                f"{1e3 * size / np.median(column):6.0f} samples/s"
                f"   {middle:.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
