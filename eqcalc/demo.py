# SPDX-License-Identifier: MIT
"""The demonstration: IR and Raman spectrum of ethanol by several treatments of its nuclei."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

import eqcalc
from eqcalc.anharmonic import (
    AnharmonicSpectrum,
    Treatment,
    anharmonic_spectrum,
    separated_motions,
    with_motions,
)
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.calculator import EqCalculator
from eqcalc.centroid import corrected, shipped_correction
from eqcalc.dynamics import Equilibration, HarmonicModes, recorded_execution, simulate
from eqcalc.files import make_folder, write_atomically, write_record
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.interruption import stopping
from eqcalc.methods import method
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.derivatives import hessian
from eqcalc.models.potential import Potential
from eqcalc.prediction.bands import Conformer
from eqcalc.prediction.result import Prediction
from eqcalc.progress import advance, progress_bar
from eqcalc.reports.description import level_of_theory
from eqcalc.reports.files import describe_spectra, write_molecular_spectra
from eqcalc.reports.method_comparison import (
    Vibrations,
    compare_methods,
    fundamentals_of,
    method_notes,
    method_table,
)
from eqcalc.reports.molecular import MolecularSpectra, check_sum_rule, molecular_spectra
from eqcalc.runtime import FusedExecution, eager_evaluator, evaluator_for, keep_freed_memory
from eqcalc.spectra import Spectrum, plot_infrared_raman, save_figure, write_spectrum
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.figures import dynamics_name
from eqcalc.structures import Structures
from eqcalc.trajectory import Trajectory, steps_written
from eqcalc.validation import InvalidFileError, count
from eqcalc.workers import worker_processes

#: Indices of the atoms of the torsion C–C–O–H in ASE's ethanol.
_C_C_O_H = (0, 1, 2, 3)
#: Conformers that differ, and their populations: gauche has a mirror image, all have one energy.
POPULATIONS = {"trans": 1.0 / 3.0, "gauche": 2.0 / 3.0}


class DemoRunError(RuntimeError):
    """A calculation of the demonstration failed.

    Parameters
    ----------
    run
        Name of the simulation, or ``"vci"``.
    reason
        Why.
    """

    def __init__(self, run: str, reason: BaseException | None) -> None:
        super().__init__(run, reason)
        self.run = run
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.run}: {self.reason}"


@dataclass(frozen=True)
class RunPlan:
    """One of the simulations of the demonstration.

    Parameters
    ----------
    name
        Stem of its files.
    method
        Dynamics method.
    replicas
        Number of replicas.
    steps
        Length of the production run.
    equilibration
        Length of the equilibration [fs].
    """

    name: str
    method: str
    replicas: int
    steps: int
    equilibration: float


#: About a minute each with the compiled kernels.
LONG_RUNS = (
    RunPlan("classical", "NVE", replicas=18, steps=8000, equilibration=200.0),
    RunPlan("te-pigs", "Te-PIGS", replicas=18, steps=8000, equilibration=200.0),
)
#: Without them, a step takes five times as long.
SHORT_RUNS = tuple(replace(run, steps=3000) for run in LONG_RUNS)
#: Terms of two modes: under a minute for both conformers.
TREATMENT = Treatment(coupling=2, quanta=3, nodes=(13, 7, 5))


@dataclass(frozen=True)
class DemoPlan:
    """Settings of the demonstration.

    Parameters
    ----------
    temperature
        Temperature [K].
    timestep
        Time step [fs].
    runs
        The simulations, each in a single-threaded process.
    treatment
        Of the quantum vibrations.
    """

    temperature: float = 300.0
    timestep: float = 0.5
    runs: tuple[RunPlan, ...] = LONG_RUNS
    treatment: Treatment = TREATMENT

    @classmethod
    def for_execution(cls, execution: str) -> DemoPlan:
        """Return a plan that takes two cores a few minutes with the given execution."""
        return cls(runs=LONG_RUNS if execution == FusedExecution.name else SHORT_RUNS)


@dataclass(frozen=True)
class DemoResult:
    """Results of the demonstration."""

    folder: Path
    spectra: tuple[MolecularSpectra, ...]
    quantum: Prediction
    summary: str


def run_demo(
    output: str | Path = "eqcalc-demo",
    *,
    seed: int = 0,
    plan: DemoPlan | None = None,
    progress: bool = True,
) -> DemoResult:
    """Write the IR and Raman spectrum of ethanol by several treatments of its nuclei.

    They are harmonic modes, classical dynamics, Te PIGS with the correction that comes with eqcalc,
    and VCI. The folder receives the trajectories, the transitions, the spectra (HDF5 and CSV), a
    figure and a summary. An interrupted demonstration is resumed from the last checkpoints; of a
    finished one only the results are rewritten.

    Parameters
    ----------
    output
        Folder, created if necessary.
    seed
        Random seed; the same seed gives the same trajectories.
    plan
        Settings; by default a run of a few minutes on two CPU cores, which is shorter
        without a C++ compiler.
    progress
        Show the progress.

    Raises
    ------
    InvalidInputError
        The seed is negative.
    InvalidFileError
        The folder contains something else, such as a demonstration with other settings.
    DemoRunError
        One of the calculations failed.
    """
    count("seed", seed, least=0)
    started = time.monotonic()
    folder = Path(output)
    model = shipped_model("ethanol")
    plan = plan or _recorded_plan(folder) or _plan_for_this_machine(model)
    _claim(folder, {"seed": seed, "plan": asdict(plan), "model": model.name})

    potential = load_model(model, dtype=torch.float64)
    conformers = ethanol_conformers(potential)
    harmonics = {name: harmonic_spectrum(potential, conformers[name]) for name in POPULATIONS}
    for name, harmonic in harmonics.items():
        write_atomically(folder / f"harmonic-{name}.txt", harmonic.table() + "\n")

    hessians = torch.stack(
        [
            hessian(potential, Structures.from_atoms(atoms)).reshape(27, 27)
            for atoms in conformers.values()
        ]
    )
    starts = [Atoms(atoms.numbers, atoms.positions) for atoms in conformers.values()]
    _calculate_all(folder, plan, seed, starts, hessians.numpy(), harmonics, progress)

    spectra, checks = [], []
    evaluator = eager_evaluator(potential, torch.tensor(conformers["trans"].numbers))
    for run in plan.runs:
        trajectory = Trajectory.open(folder / f"{run.name}.h5")
        result = molecular_spectra(trajectory, frequency_correction=True)
        write_molecular_spectra(result, folder, run.name)
        spectra.append(result)
        checks.append(check_sum_rule(result.infrared, trajectory, evaluator))
    quantum = _prediction(folder, plan, conformers, harmonics, spectra[0])
    table = _compare(folder, plan, quantum, spectra)
    summary = "\n\n".join(
        [
            f"eqcalc {eqcalc.__version__}: IR and Raman spectrum of ethanol",
            f"model {model.name}, {level_of_theory(potential.metadata)}, "
            f"hash {potential.metadata['hash'][:12]}, seed {seed}",
            table,
            *(describe_spectra(s, check) for s, check in zip(spectra, checks, strict=True)),
            *(
                f"{name} conformer, {treatment}\n{lines}"
                for name, conformer in zip(POPULATIONS, quantum.conformers, strict=True)
                for treatment, lines in (
                    ("double-harmonic", conformer.harmonic.table()),
                    ("VCI, errors of convergence", conformer.spectrum.table(PRINTED)),
                )
            ),
            f"this call took {time.monotonic() - started:.0f} s",
        ]
    )
    write_atomically(folder / "summary.txt", summary + "\n")
    return DemoResult(folder, tuple(spectra), quantum, summary)


def ethanol_conformers(potential: Potential) -> dict[str, Atoms]:
    """Return the trans and the two mirror-image gauche conformers, relaxed."""
    start = molecule("CH3CH2OH")
    relaxed = {}
    for name, angle in (("trans", 180.0), ("gauche", 60.0), ("gauche-mirror", -60.0)):
        turned = start.copy()
        turned.set_dihedral(*_C_C_O_H, angle, indices=_C_C_O_H[-1:])
        relaxed[name] = relax(potential, turned)
    return relaxed


# --- what to run ------------------------------------------------------------------


def _plan_for_this_machine(model: Path) -> DemoPlan:
    """Return a plan for the speed of the model on this machine; workers need its kernels too."""
    potential = load_model(model, dtype=torch.float32)
    numbers = torch.tensor(molecule("CH3CH2OH").numbers)
    return DemoPlan.for_execution(evaluator_for(potential, numbers).execution.name)


def _recorded_plan(folder: Path) -> DemoPlan | None:
    """Return the plan of the demonstration started in a folder."""
    record = folder / "demo.json"
    if not record.exists():
        return None
    try:
        settings = json.loads(record.read_text())["plan"]
        runs = tuple(RunPlan(**run) for run in settings.pop("runs"))
        treatment = settings.pop("treatment")
        treatment["nodes"] = tuple(treatment["nodes"])
        return DemoPlan(**settings, runs=runs, treatment=Treatment(**treatment))
    except (ValueError, KeyError, TypeError):
        return None  # of another version; _claim says so


# --- simulations in processes of their own ------------------------------------------


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Claim the folder for this demonstration, or check that it is its own already."""
    make_folder(folder)
    record = folder / "demo.json"
    advice = "choose another --output or remove the folder"
    text = json.dumps(settings, indent=1, sort_keys=True)
    if not record.exists():
        if any(folder.iterdir()):
            raise InvalidFileError(
                "is not empty and holds no demonstration", file=folder, advice=advice
            )
        write_atomically(record, text)
        return
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidFileError(f"is damaged ({error})", file=record, advice=advice) from None
    if found != json.loads(text):
        raise InvalidFileError(
            "holds a demonstration with other settings", file=record, advice=advice
        )


def _calculate_all(
    folder: Path,
    plan: DemoPlan,
    seed: int,
    starts: list[Atoms],
    hessians: np.ndarray,
    harmonics: dict[str, HarmonicSpectrum],
    progress: bool,
) -> None:
    """Run the simulations and VCI in parallel and monitor the trajectories."""
    with stopping() as request, worker_processes(len(plan.runs), _prepare_worker) as submit:
        futures = {
            run.name: submit(_simulate_one, folder, plan, run, seed, starts, hessians)
            for run in plan.runs
        }
        futures["vci"] = submit(_vibrate, folder, plan.treatment, harmonics)
        with _bars(plan, progress) as bars:
            done = False
            while not done:
                time.sleep(0.5)
                done = all(future.done() for future in futures.values())
                request.obey()
                _raise_first_error(futures)
                for run, bar in zip(plan.runs, bars, strict=True):
                    advance(bar, steps_written(folder / f"{run.name}.h5"))


def _raise_first_error(futures: dict[str, Future[None]]) -> None:
    for name, future in futures.items():
        if future.done() and future.exception() is not None:
            raise DemoRunError(name, future.exception()) from future.exception()


@contextmanager
def _bars(plan: DemoPlan, progress: bool) -> Iterator[list[Any]]:
    bars = [
        progress_bar(
            total=run.steps,
            desc=f"{run.method:>7}, {run.replicas} replicas",
            unit="steps",
            position=index,
            shown=progress,
        )
        for index, run in enumerate(plan.runs)
    ]
    try:
        yield bars
    finally:
        for bar in bars:
            bar.close()


def _prepare_worker() -> None:
    """Prepare a worker: one thread and fast memory."""
    torch.set_num_threads(1)
    keep_freed_memory()


def _simulate_one(
    folder: Path,
    plan: DemoPlan,
    run: RunPlan,
    seed: int,
    starts: list[Atoms],
    hessians: np.ndarray,
) -> None:
    potential = load_model(shipped_model("ethanol"), dtype=torch.float32)
    fine = max(1, round(1.0 / plan.timestep))
    output = folder / f"{run.name}.h5"
    evaluator: Any = evaluator_for(
        potential, torch.tensor(starts[0].numbers), execution=recorded_execution(output)
    )
    if method(run.method).effective_potential:
        correction = shipped_correction(evaluator, plan.temperature, starts[0].get_masses())
        assert correction is not None  # tests/centroid
        evaluator = corrected(evaluator, correction)
    simulate(
        starts,
        evaluator,
        output=output,
        method=run.method,
        temperature=plan.temperature,
        timestep=plan.timestep,
        steps=run.steps,
        seed=seed,
        replicas=run.replicas,
        initial=HarmonicModes(torch.from_numpy(hessians)),
        equilibration=Equilibration(run.equilibration),
        observables={
            "dipole": fine,
            "polarizability": fine,
            "potential_energy": 10 * fine,
            "temperature": 10 * fine,
            "conserved_energy": 10 * fine,
            "bead_positions": 100 * fine,
        },
        progress=False,
    )


def _vibrate(folder: Path, treatment: Treatment, harmonics: dict[str, HarmonicSpectrum]) -> None:
    """Write the transitions of each conformer by VCI, unless they are there."""
    potential = load_model(shipped_model("ethanol"), dtype=torch.float64)
    numbers = molecule("CH3CH2OH").numbers
    for name, modes in harmonics.items():
        target = _transitions(folder, name)
        if target.exists():
            continue
        evaluator = evaluator_for(potential, torch.tensor(numbers))
        atoms = Atoms(numbers, modes.positions, calculator=EqCalculator(potential))
        at_rest, motions = separated_motions(atoms, modes)
        spectrum = anharmonic_spectrum(modes, evaluator, treatment, at_rest=at_rest)
        spectrum = with_motions(spectrum, at_rest, motions, modes, evaluator)
        write_record(target, spectrum.to_dict())


def _transitions(folder: Path, conformer: str) -> Path:
    return folder / f"vci-{conformer}.json"


# --- results ----------------------------------------------------------------------


def _prediction(
    folder: Path,
    plan: DemoPlan,
    conformers: dict[str, Atoms],
    harmonics: dict[str, HarmonicSpectrum],
    dynamics: MolecularSpectra,
) -> Prediction:
    """Return the quantum vibrations, which rotate, at the resolution of the dynamics."""
    found = []
    for name, weight in POPULATIONS.items():
        record = json.loads(_transitions(folder, name).read_text(encoding="utf-8"))
        transitions = AnharmonicSpectrum.from_dict(record)
        found.append(Conformer(conformers[name], weight, 0.0, transitions, (), harmonics[name]))
    source = dynamics.provenance
    level = str(source["source"]["level_of_theory"])
    return Prediction("ethanol", level, plan.temperature, source["resolution_cm-1"], tuple(found))


def _compare(
    folder: Path, plan: DemoPlan, quantum: Prediction, spectra: Sequence[MolecularSpectra]
) -> str:
    """Write the figure of all treatments; return their table."""
    assert quantum.raman is not None
    absorption = [s.infrared for s in spectra if s.infrared is not None]
    lines: dict[str, Spectrum] = {}
    for kind, spectrum in (("infrared", quantum.infrared), ("raman", quantum.raman)):
        # the same sample as that of the dynamics, in the footer of the figure
        record = {**spectrum.provenance, "source": absorption[0].provenance["source"]}
        lines[kind] = replace(spectrum, provenance=record)
        for suffix in (".h5", ".csv"):
            write_spectrum(lines[kind], folder / f"vci-{kind}{suffix}")
    measured = fundamentals_of(absorption[0])
    save_figure(
        plot_infrared_raman(
            [*absorption, lines["infrared"]],
            [*(s.raman for s in spectra if s.raman is not None), lines["raman"]],
            quantum.conformers[0].harmonic,
            measured=measured,
            names=[*map(dynamics_name, absorption), "VCI"],
            title=f"Ethanol, {plan.temperature:g} K; sticks: trans conformer",
        ),
        folder / "ethanol.png",
    )
    vibrations = [Vibrations(c.weight, c.harmonic, c.spectrum) for c in quantum.conformers]
    rows = compare_methods(vibrations, absorption, measured)
    notes = [
        *method_notes([run.method for run in plan.runs]),
        *(f"not run here: {note}" for note in method_notes(["T-RPMD"])[-1:]),
    ]
    return "\n".join(["infrared bands", method_table(rows, absorption), *notes])
