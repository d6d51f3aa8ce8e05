# SPDX-License-Identifier: MIT
"""Time eqcalc beside SchNetPack 2 on ethanol, one thread, call by call in turn.

    OMP_NUM_THREADS=1 python workflows/benchmarks/schnetpack_comparison.py

Both networks are PaiNN with 128 features, 3 layers, 20 radial functions and a
cutoff of 5 Å in float32; parameters do not matter for the time. SchNetPack must
be importable in the same environment (``pip install --no-deps --target FOLDER
schnetpack hydra-core omegaconf …`` and FOLDER on PYTHONPATH). Its batches are
converted beforehand; eqcalc's calls contain everything. What is compared is
CPU time: medians of the ratios of neighbouring calls, with quartiles. The matrix products are those
of the network alone, by torch.mm at the same shapes. For training see training_comparison.py.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from training_comparison import cpu_milliseconds, matrix_products

import eqcalc
from eqcalc import EqCalculator, load_model, shipped_model
from eqcalc.runtime import eager_evaluator, evaluator_for, keep_freed_memory

ALL = ("energy", "forces", "dipole", "polarizability")
CUTOFF = 5.0


def schnetpack_model(*, response: bool) -> torch.nn.Module:
    """Return SchNetPack's PaiNN with forces and, if asked for, dipole and polarizability."""
    from schnetpack import atomistic, nn, representation
    from schnetpack.model import NeuralNetworkPotential

    torch.manual_seed(0)
    painn = representation.PaiNN(
        n_atom_basis=128,
        n_interactions=3,
        radial_basis=nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF),
        cutoff_fn=nn.CosineCutoff(CUTOFF),
    )
    outputs: list[torch.nn.Module] = [atomistic.Atomwise(n_in=128, output_key="energy")]
    if response:
        outputs.append(atomistic.DipoleMoment(n_in=128, use_vector_representation=True))
        outputs.append(atomistic.Polarizability(n_in=128))
    outputs.append(atomistic.Forces(energy_key="energy", force_key="forces"))
    return NeuralNetworkPotential(
        representation=painn,
        input_modules=[atomistic.PairwiseDistances()],
        output_modules=outputs,
    ).eval()


def ethanols(n: int) -> np.ndarray:
    """Return ``[n, 9, 3]`` positions around ethanol."""
    reference = molecule("CH3CH2OH").positions
    return reference + np.random.default_rng(0).normal(scale=0.03, size=(n, *reference.shape))


def schnetpack_inputs(n: int) -> dict[str, torch.Tensor]:
    """Return n ethanols as SchNetPack takes them."""
    from schnetpack.interfaces import AtomsConverter
    from schnetpack.transform import MatScipyNeighborList

    frames = []
    for positions in ethanols(n):
        frames.append(molecule("CH3CH2OH"))
        frames[-1].positions = positions
    return AtomsConverter(MatScipyNeighborList(cutoff=CUTOFF), dtype=torch.float32)(frames)


def schnetpack_batch(n: int, *, response: bool) -> Callable[[], object]:
    """Return a call that evaluates n ethanols, converted beforehand, with SchNetPack."""
    batch, model = schnetpack_inputs(n), schnetpack_model(response=response)

    def call() -> object:
        return model({k: v.clone() if v.is_floating_point() else v for k, v in batch.items()})

    return call


def eqcalc_batch(n: int, names: tuple[str, ...], *, eager: bool = False) -> Callable[[], object]:
    """Return a call that evaluates n ethanols with eqcalc."""
    potential = load_model(shipped_model("ethanol"), dtype=torch.float32)
    numbers = torch.tensor(molecule("CH3CH2OH").numbers)
    evaluator = (eager_evaluator if eager else evaluator_for)(potential, numbers)
    positions = torch.tensor(ethanols(n))
    return lambda: evaluator(positions, names)


def moving(calculator: object) -> Callable[[], object]:
    """Return a call that moves ethanol and asks its calculator for forces."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator
    frames, step = ethanols(64), [0]

    def call() -> object:
        step[0] += 1
        atoms.positions = frames[step[0] % 64]
        return atoms.get_forces()

    return call


def schnetpack_calculator(folder: Path) -> object:
    """Return SchNetPack's ASE calculator with a neighbour list that is kept while it holds."""
    from schnetpack.interfaces import SpkCalculator
    from schnetpack.transform import MatScipyNeighborList, SkinNeighborList

    path = folder / "model.pt"
    torch.save(schnetpack_model(response=False), path)
    neighbors = SkinNeighborList(MatScipyNeighborList(cutoff=CUTOFF), cutoff_skin=2.0)
    return SpkCalculator(str(path), neighbors, energy_unit="eV", dtype=torch.float32)


def compare(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> str:
    """Return medians of both, and of the ratio of neighbouring calls with its quartiles."""
    for call in (ours, theirs) * 3:
        call()
    times = np.array([(cpu_milliseconds(ours), cpu_milliseconds(theirs)) for _ in range(repeats)])
    low, middle, high = np.percentile(times[:, 1] / times[:, 0], (25, 50, 75))
    own, other = np.median(times, axis=0)
    return f"{own:8.3f} {other:8.3f}   {middle:5.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print a table of CPU milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--structures", type=int, default=50, help="in the large batch")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    keep_freed_memory()  # saves page faults; the eager networks gain most, SchNetPack's included
    import schnetpack

    print(
        f"eqcalc {eqcalc.__version__}, SchNetPack {schnetpack.__version__}, torch "
        f"{torch.__version__}, {torch.get_num_threads()} thread, {platform.machine()}"
    )
    n, few = options.structures, max(10, options.repeats // 5)
    force, everything = ALL[:2], ALL
    print(f"{'CPU ms':52s}   eqcalc    other   other/eqcalc (quartiles)")

    def row(title: str, ours: Callable[[], object], other: Callable[[], object], k: int) -> None:
        print(f"{title:52s} {compare(ours, other, k)}", flush=True)

    batch = eqcalc_batch(n, force)
    row(f"{n} molecules, E+F: SchNetPack", batch, schnetpack_batch(n, response=False), few)
    row(f"{n} molecules, E+F: eqcalc eager", batch, eqcalc_batch(n, force, eager=True), few)
    full = eqcalc_batch(n, everything)
    row(f"{n} molecules, E+F+μ+α: SchNetPack", full, schnetpack_batch(n, response=True), few)
    row(f"{n} molecules, E+F+μ+α against E+F", batch, full, few)
    beads, products = (
        eqcalc_batch(64, force),
        matrix_products(64 * 9, 64 * 36, force, training=False),
    )
    row("64 molecules, E+F: matrix products", beads, products, few)
    single, single_full = eqcalc_batch(1, force), eqcalc_batch(1, everything)
    row("1 molecule, E+F: SchNetPack", single, schnetpack_batch(1, response=False), options.repeats)
    row("1 molecule, E+F+μ+α against E+F", single, single_full, options.repeats)
    ours = moving(EqCalculator(shipped_model("ethanol"), device="cpu"))
    row("EqCalculator (E+F+μ+α) against bare model", single_full, ours, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        theirs = moving(schnetpack_calculator(Path(folder)))
    row("ASE call: SpkCalculator (E+F)", ours, theirs, options.repeats)


if __name__ == "__main__":
    main()
