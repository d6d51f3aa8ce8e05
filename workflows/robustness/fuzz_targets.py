# SPDX-License-Identifier: MIT
"""Every reader of eqcalc, valid files for it, and bounds of what it may read.

A target reads the file at a path, as far as a user's command would, and returns the numbers it
accepted, each under the name of a bound.
"""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import write

from eqcalc.datasets import Dataset, convert
from eqcalc.datasets.readers.qm9 import QM9_LABELS
from eqcalc.dynamics import simulate
from eqcalc.dynamics.checkpoint import Checkpoint, checkpoint_path
from eqcalc.ipi.description import Description
from eqcalc.ipi.input_document import read_matrices
from eqcalc.ipi.outputs import read_extras, read_frames, read_properties
from eqcalc.labelling.labels import _read_journal
from eqcalc.models import Potential, PotentialConfig, References, SmoothPaiNNConfig, load_model
from eqcalc.models.checkpoint import save_model
from eqcalc.molecules import atomic_masses, read_structures, total_charge
from eqcalc.runtime import eager_evaluator
from eqcalc.spectra import (
    infrared,
    raman,
    read_bands,
    read_harmonic,
    read_measured,
    read_raman,
    read_series,
    read_spectrum,
    write_spectrum,
)
from eqcalc.spectra.experiment.band_lists import is_band_list
from eqcalc.training.config import TrainingConfig
from eqcalc.training.sweeps import Sweep
from eqcalc.trajectory import Trajectory
from tests.datasets.test_outputs import CP2K
from tests.spectra.experiment import test_instruments as instruments
from tests.spectra.io import test_force_constants as force_constants
from tests.test_structure_formats import HYDRONIUM, molfile, v3000

#: Outputs of programs.
OUTPUTS = Path(__file__).parents[2] / "tests/datasets/excerpts/outputs"

Found = Iterable[tuple[str, Any]]

#: Largest absolute values that a molecule, a spectrum or a simulation can have, in the units of
#: eqcalc: far above any real one.
BOUNDS = {
    "positions": 1e6,
    "energy": 1e9,
    "forces": 1e6,
    "dipole": 1e6,
    "polarizability": 1e9,
    "charge": 1e3,
    "masses": 1e3,
    "wavenumber": 1e7,
    "values": 1e30,
    "temperature": 1e6,
    "time": 1e12,
}
#: Those that are not negative.
POSITIVE = ("masses", "wavenumber", "temperature", "time", "standard_error")


@dataclass(frozen=True)
class Target:
    """A reader.

    Parameters
    ----------
    name
        Its name.
    kind
        ``"text"``, ``"hdf5"``, ``"npz"``, ``"safetensors"``, ``"sqlite"``, ``"json"``, ``"yaml"``,
        ``"xml"``: the changes that know the structure of its files.
    suffix
        Of its files.
    read
        Reads a file and returns the numbers it accepted.
    seeds
        Contents of valid files.
    sealed
        Files are written by eqcalc, with a checksum: no changed byte may be accepted.
    """

    name: str
    kind: str
    suffix: str
    read: Callable[[Path], Found]
    seeds: list[bytes] = field(default_factory=list)
    sealed: bool = False


# --- readers ----------------------------------------------------------------------------


def _dataset(path: Path) -> Found:
    dataset = Dataset.open(path)
    for record in dataset.records():
        yield "positions", record.positions
        yield "charge", record.charge
        yield from record.labels.items()


def _converted(format: str, **options: Any) -> Callable[[Path], Found]:
    def read(path: Path) -> Found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            convert(
                path,
                path.with_name("converted.h5"),
                level_of_theory="none",
                format=format,
                accept=["energy"],  # labels are random
                progress=False,
                **options,
            )
        return _dataset(path.with_name("converted.h5"))

    return read


def _structures(path: Path) -> Found:
    for atoms in read_structures([path]):
        yield "positions", atoms.positions
        yield "positions", atoms.cell.array
        yield "masses", atomic_masses(atoms)
        yield "charge", total_charge(atoms)


def _trajectory(path: Path) -> Found:
    trajectory = Trajectory.open(path)
    yield "temperature", trajectory.temperature
    yield "time", trajectory.timestep
    for name in trajectory.observables():
        series = trajectory.observable(name)
        yield name, series.values
        yield "time", series.interval


def _model(path: Path) -> Found:
    model = load_model(path)
    for tensor in model.parameters():
        yield "values", tensor.detach().numpy()


def _checkpoint(path: Path) -> Found:
    state = Checkpoint.read(path).state
    yield "positions", state.positions.numpy()


def _spectrum(path: Path) -> Found:
    spectrum = read_spectrum(path)
    yield "wavenumber", spectrum.wavenumber
    yield "values", spectrum.values[np.isfinite(spectrum.values)]
    if spectrum.standard_error is not None:
        known = np.isfinite(spectrum.standard_error)
        yield "standard_error", spectrum.standard_error[known]


def _raman(path: Path) -> Found:
    spectrum = read_raman(path)
    yield "temperature", spectrum.temperature
    yield "values", spectrum.activity().values


def _measured(path: Path) -> Found:
    if is_band_list(path):
        bands = read_bands(path)
        yield "wavenumber", bands.position
        for values in (bands.intensity, bands.uncertainty):
            yield "standard_error", [] if values is None else values[np.isfinite(values)]
        return
    spectrum = read_measured(path, limits=(600.0, 900.0))
    yield "wavenumber", spectrum.wavenumber
    yield "values", spectrum.values


def _vibrations(path: Path) -> Found:
    atoms, modes = read_harmonic(path)
    yield "positions", atoms.positions
    yield "masses", modes.masses
    yield "wavenumber", np.abs(modes.wavenumber)
    yield "values", modes.infrared_intensity if "infrared" in modes.known else 0.0


def _matrices(path: Path) -> Found:
    read_matrices(path, 2)
    return ()


def _series(format: str, key: Any = None, **options: Any) -> Callable[[Path], Found]:
    def read(path: Path) -> Found:
        known = {"interval": 0.5, "timestep": 0.5, **options}
        replicas = read_series([path], format, key, **known)
        for name, values in replicas.items():
            dipole = values.shape[1:] == (3,)
            yield ("dipole" if dipole else "polarizability"), values
            unit = replicas.unit or ("D" if dipole else "bohr^3")
            make = infrared if dipole else raman
            spectrum = make(
                {name: values}, interval=0.5, temperature=300.0, unit=unit, lag=5.0, errors="none"
            )
            yield "values", getattr(spectrum, "isotropic", spectrum).values

    return read


def _settings(path: Path) -> Found:
    config = TrainingConfig.read(path)
    yield "values", config.stopping.epochs


def _sweep(path: Path) -> Found:
    Sweep.read(path)
    return ()


def _ipi_input(path: Path) -> Found:
    description = Description.read(path)
    yield "values", description.total_steps
    for output in description.outputs():
        yield "time", output.stride
    description.sockets()
    description.charges()
    if not description.is_checkpoint:
        return
    for system in description.systems():
        yield "temperature", system.temperature
        yield "time", system.timestep
    for positions, _ in description.beads():
        yield "positions", positions


def _ipi_properties(path: Path) -> Found:
    for records in read_properties(path).values():
        yield "values", records.values


def _ipi_frames(path: Path) -> Found:
    yield "positions", read_frames(path, 2).values


def _ipi_extras(path: Path) -> Found:
    for records in read_extras(path, {"dipole": (3,)}).values():
        yield "dipole", records.values


JOURNAL = {"journal_version": 1, "method": "m", "geometries": "abc"}


def _journal(path: Path) -> Found:
    for entry in _read_journal(path, JOURNAL).values():
        for name, values in (entry.get("labels") or {}).items():
            yield name, np.array(values, dtype=float)


# --- valid files --------------------------------------------------------------------------

_RNG = np.random.default_rng(20261129)
_N = 40
_T = 0.5 * np.arange(_N)


def _motion(n: int) -> np.ndarray:
    """Return smooth motions ``[n_frames, n]``."""
    phases = _RNG.uniform(0.0, 6.0, size=n)
    return 0.1 * np.cos(2e-2 * np.pi * 3.0 * _T[:, None] + phases) + 0.01 * _RNG.normal(size=n)


_REST = np.array([[0, 0, 0.53], [0, 0, -0.68], [0.94, 0, 1.11], [-0.94, 0, 1.11]])


def _molecule(seed: int) -> Atoms:
    atoms = Atoms("COH2", _REST)
    atoms.positions += 0.03 * np.random.default_rng(seed).normal(size=(4, 3))
    return atoms


def _labelled(n: int) -> list[Atoms]:
    """Return formaldehydes with the energy and forces of springs."""
    found = []
    for seed in range(n):
        atoms = _molecule(seed)
        moved = atoms.positions - _REST
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-3100.0 + 5.0 * float((moved**2).sum()),
            forces=-10.0 * moved,
            dipole=np.array([0.0, 0.0, 0.5]) + 0.1 * moved[0],
        )
        atoms.info["charge"] = 0
        found.append(atoms)
    return found


def _extxyz(n: int) -> bytes:
    text = io.StringIO()
    write(text, _labelled(n), format="extxyz")
    return text.getvalue().encode()


def _table(values: np.ndarray, first: np.ndarray | None = None, separator: str = " ") -> str:
    columns = values if first is None else np.column_stack([first, values])
    return "".join(separator.join(f"{x:.6f}" for x in row) + "\n" for row in columns)


def _alpha() -> np.ndarray:
    return np.array([10.0, 9.0, 8.0, 0.0, 0.0, 0.0]) + _motion(6)


def _xyz_frames(values: np.ndarray) -> str:
    return "".join(
        f'2\nProperties=species:S:1:pos:R:3 mu="{v[0]:.6f} {v[1]:.6f} {v[2]:.6f}" time={t:g}\n'
        f"O 0 0 {0.1 * np.cos(t):.4f}\nH 0 0 1\n"
        for t, v in zip(_T, values, strict=True)
    )


def _cp2k(values: np.ndarray) -> str:
    return "".join(
        f"  Dipole moment [Debye]\n    X= {x:.8f} Y= {y:.8f} Z= {z:.8f}     Total= 1.0\n"
        f" MD| Step number  {i + 1}\n MD| Time [fs]  {0.5 * (i + 1):.6f}\n"
        for i, (x, y, z) in enumerate(values)
    )


def _outcar(values: np.ndarray) -> str:
    return " vasp.6.4.2\n   POTIM  =   0.5000\n" + "".join(
        f"--- Iteration {i + 1:6d}(   1)  ---\n dipolmoment  {x:.6f} {y:.6f} {z:.6f} electrons "
        "Angstroem\n POSITION          TOTAL-FORCE (eV/Angst)\n"
        for i, (x, y, z) in enumerate(values)
    )


def _ipi(values: np.ndarray) -> str:
    return "".join(
        f" #EXTRAS(dipole)# Step:  {i:10d}  Bead:  0\n{x:.8e} {y:.8e} {z:.8e}\n"
        for i, (x, y, z) in enumerate(values)
    )


IPI_PROPERTIES = (
    "# column   1     --> step : The current simulation time step.\n"
    "# column   2     --> potential{electronvolt} : x\n# cols.    3-5   --> mu_mean{ase} : x\n"
)
IPI_INPUT = """<simulation verbosity="low">
  <output prefix="run">
    <properties stride="2" filename="out"> [ step, time{picosecond}, potential ] </properties>
    <trajectory stride="10" filename="pos" format="ase"> positions{ase} </trajectory>
    <checkpoint stride="100"/>
  </output>
  <total_steps> 1000 </total_steps>
  <prng><seed> 3 </seed></prng>
  <ffsocket name="driver" mode="unix"><address> abc </address></ffsocket>
  <system>
    <initialize nbeads="2"><file mode="xyz"> start.xyz </file>
      <velocities mode="thermal" units="kelvin"> 300 </velocities></initialize>
    <forces><force forcefield="driver"/></forces>
    <motion mode="dynamics"><dynamics mode="nvt"><timestep units="femtosecond"> 0.25 </timestep>
      <thermostat mode="pile_l"><tau units="femtosecond"> 100 </tau></thermostat>
    </dynamics></motion>
    <ensemble><temperature units="kelvin"> 300 </temperature></ensemble>
  </system>
</simulation>
"""
SETTINGS = """output: run
data: {path: data.h5, training: 80, validation: 10}
model: {representation: {name: painn, features: 32, layers: 2, cutoff: 5.0}}
loss: {energy: 0.1, forces: 0.9}
optimizer: {batch_size: 10, learning_rate: 5.0e-4}
stopping: {epochs: 10, patience: 5}
seed: 1
"""
SWEEP = """base:
  data: {path: data.h5, training: 950, validation: 50}
  loss: {energy: 0.05, forces: 0.95}
  model: {representation: {name: painn}}
axes:
  seed:
    0: {seed: 0, data.seed: 0}
    1: {seed: 1}
"""


PLAIN = """4
charge=1 mult=2 O=C
6 0,0 0.0 -0.53D+00
O 0 0 0.68
D 0.94 0 -1.11
H3 -0.94 0 -1.11
"""
_WATER = "O 0.0 0.0 0.0\nH 0.0 0.0 0.96\nH 0.93 0.0 -0.24\n"
INPUTS = (
    f"! B3LYP Opt\n%pal nprocs 4 end\n* xyz 1 2\n{_WATER}*\n",
    "! HF\n* int 0 1\nO 0 0 0 0 0 0\nH 1 0 0 .96 0 0\nH 1 2 0 .96 104.5 0\n*\n",
    f"! HF\n%coords\n CTyp xyz\n Charge -1\n Mult 2\n coords\n{_WATER} end\nend\n",
    f"$molecule\n1 2\n--\n1 2\n{_WATER}--\n0 1\nNe 0 3 0\n$end\n$rem\nmethod hf\n$end\n",
    "molecule w {\n0 1\nO\nH 1 r\nH 1 r 2 a\n\nr = 0.96\na = 104.5\n}\nenergy('hf')\n",
    f"charge 1\ngeometry units angstrom\n{_WATER}end\ndft; mult 2; end\ntask dft optimize\n",
    "@SET L 9\n&FORCE_EVAL\n&DFT\nCHARGE 1\n&END\n&SUBSYS\n&CELL\nABC $L 9 9\n&END\n&COORD\n"
    f"SCALED\n{_WATER.replace('0.9', '0.0')}&END\n&KIND O\nELEMENT O\n&END\n&END\n&END\n",
)
GAUSSIAN = """%chk=a.chk
# pbe1pbe/def2tzvp units=au

title

0 2
C(Iso=13) -1 0.0 0.0 1.0
O 0 0.0 0.0 -1.28
H 0 1.78 0.0 2.1

--Link1--
# hf

title

0 1
O
H 1 r
H 1 r 2 104.5

r=0.96
"""
TURBOMOLE = """$coord angs
 0.0 0.0 0.1 o
 0.94 0.0 -0.2 h
 -0.47 0.81 -0.2 h
 -0.47 -0.81 -0.2 h
$eht charge=1 unpaired=0
$end
"""
BANDS = (
    "Wavenumber (cm-1),Uncertainty,Intensity (km/mol),Name\n1746.0,0.5,70,C=O\n2843,1,60,CH\n",
    "nu1 a1 2782.5(3) 12\nnu2 a1 1746.0(1) 8\n",
    "##TITLE= x\n##JCAMP-DX= 4.24\n##DATA TYPE= INFRARED PEAK TABLE\n##XUNITS= 1/CM\n"
    "##YUNITS= ABSORBANCE\n##NPOINTS= 2\n##PEAK TABLE= (XY..XY)\n1746.0,0.9\n2843.1,0.5\n##END=\n",
)
MATRICES = "".join(
    f"<{tag} shape='(2, 2, 2)' units='inversecm'> [ 1.0, 2.5e-1, 0.3, 4, 1, 2, 3, 4 ] </{tag}>\n"
    for tag in "AC"
)
RESTART = """<simulation>
  <step>20</step> <total_steps>1000</total_steps>
  <output prefix="run"><checkpoint stride="100"/></output>
  <ffsocket name="driver" mode="unix"><address> abc </address></ffsocket>
  <system>
    <beads natoms="2" nbeads="2"><q shape="(2, 6)"> [ 0, 0, 0, 0, 0, 2, 0, 0, 0.1, 0, 0, 2 ] </q>
      <p shape="(2, 6)"> [ 0, 0, 1, 0, 0, 2, 0, 0, 0.1, 0, 0, 2 ] </p>
      <m shape="(2)"> [ 29000, 1837 ] </m><names shape="(2)"> [ O, H ] </names></beads>
    <forces><force forcefield="driver"/></forces>
    <motion mode="dynamics"><dynamics mode="nve"><timestep> 10 </timestep></dynamics></motion>
    <ensemble><temperature units="kelvin"> 300 </temperature></ensemble>
    <cell> [ 9, 0, 0, 0, 9, 0, 0, 0, 9 ] </cell>
  </system>
</simulation>
"""


def _as_format(folder: Path, name: str, atoms: Atoms, **options: Any) -> Target:
    """Return the target of a format that ASE writes."""
    path = folder / f"a{name}"
    write(path, atoms, **options)
    kind = "text" if name in (".pdb", ".cif", "-POSCAR") else "json"
    return Target(f"structures {name}", kind, name, _structures, [path.read_bytes()])


def _measured_texts() -> list[bytes]:
    nu = np.arange(500.0, 1000.0, 5.0)
    y = 0.1 + np.exp(-(((nu - 800.0) / 20.0) ** 2))
    plain = _table(y[:, None], nu, "\t")
    return [
        ("Wavenumber (cm-1)\tAbsorbance\n" + plain).encode(),
        plain.replace(".", ",").encode(),
        plain.replace("\t", ",").encode("utf-16"),
        ("#Acq. time (s)=\t10\n#Laser (nm)=\t785\n#X (cm-\xb9)=\n" + plain).encode("latin-1"),
        ("##NAMES=Quartz\n##RAMAN\n" + plain.replace("\t", ", ") + "##END=\n").encode(),
        (
            "TITLE\tx\nDATA TYPE\tINFRARED SPECTRUM\nXUNITS\t1/CM\nYUNITS\tABSORBANCE\nNPOINTS\t100"
            "\nXYDATA\n" + plain + "\n##### Extended Information\n[Comments]\nUser\ta\n"
        ).encode(),
        gzip.compress(plain.encode()),
        instruments.perkin_elmer("A", y, x=nu).encode(),
    ]


def _jdx() -> list[bytes]:
    head = (
        "##TITLE= x\n##JCAMP-DX= 4.24\n##DATA TYPE= INFRARED SPECTRUM\n##XUNITS= 1/CM\n"
        "##YUNITS= ABSORBANCE\n##XFACTOR= 1\n##YFACTOR= 0.001\n##FIRSTX= 500\n##LASTX= 995\n"
    )
    nu = np.arange(500, 1000, 5)
    y = np.round(100 + 1000 * np.exp(-(((nu - 800.0) / 20.0) ** 2))).astype(int)
    rows = "".join(
        f"{nu[i]} " + " ".join(map(str, y[i : i + 10])) + "\n" for i in range(0, len(nu), 10)
    )
    affn = f"{head}##NPOINTS= 100\n##XYDATA= (X++(Y..Y))\n{rows}##END=\n"
    pairs = "".join(f"{a}, {b}\n" for a, b in zip(nu, y, strict=True))
    xy = f"{head}##NPOINTS= 100\n##XYPOINTS= (XY..XY)\n{pairs}##END=\n"
    packed = (
        head.replace("LASTX= 995", "LASTX= 1000").replace("FIRSTX= 500", "FIRSTX= 600")
        + "##NPOINTS= 6\n##XYDATA= (X++(Y..Y))\n600A00J1J2%T\n920A23K0\n1000A43\n##END=\n"
    )
    return [affn.encode(), xy.encode(), packed.encode()]


def _schnetpack(path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("properties", data=_motion(8)[:, None])
        record = file.create_dataset("molecules", data=np.zeros(1)).attrs
        record["entries"], record["time_step"] = _N, 0.0005
        data.attrs["shapes"] = json.dumps({"energy": [2, 1], "mu": [2, 3]})
        data.attrs["positions"] = json.dumps({"energy": [0, 2], "mu": [2, 8]})


def potential() -> Potential:
    """Return a small model with reproducible parameters."""
    heads = ("energy", "dipole")
    config = PotentialConfig(SmoothPaiNNConfig(features=8, layers=1), heads, {})
    references = References(
        elements=(1, 6, 8),
        values={"energy": {1: -13.6, 6: -1030.0, 8: -2040.0}},
        scales={"energy": 0.1, "dipole": 0.1},
    )
    torch.manual_seed(11)
    return Potential(config, references)


def _files_of_eqcalc(folder: Path) -> dict[str, Path]:
    """Return files that eqcalc itself writes."""
    source = folder / "a.xyz"
    source.write_bytes(_extxyz(6))
    paths = {name: folder / f"{name}.h5" for name in ("dataset", "trajectory", "spectrum", "raman")}
    convert(
        source,
        paths["dataset"],
        level_of_theory="none",
        units=UNITS,
        keys=KEYS,
        accept=["energy"],  # its labels are random
        progress=False,
    )
    model = potential()
    paths["model"] = folder / "model.eqc"
    save_model(model, paths["model"])
    simulate(
        _molecule(0),
        eager_evaluator(model.double(), torch.tensor(_molecule(0).numbers)),
        output=paths["trajectory"],
        method="NVE",
        temperature=300.0,
        timestep=0.5,
        steps=10,
        seed=1,
        replicas=2,
        progress=False,
    )
    paths["checkpoint"] = checkpoint_path(paths["trajectory"])
    known = {"interval": 0.5, "temperature": 300.0, "lag": 5.0}
    spectrum = infrared([_motion(3), _motion(3)], unit="D", **known)
    for suffix in ("h5", "csv", "jdx"):
        paths[f"spectrum.{suffix}"] = write_spectrum(spectrum, folder / f"spectrum.{suffix}")
    write_spectrum(raman([_alpha(), _alpha()], unit="bohr^3", **known), paths["raman"])
    return paths


UNITS = {"positions": "Å", "energy": "eV", "forces": "eV/Å", "dipole": "e*Å"}
KEYS = {name: name for name in ("energy", "forces", "dipole", "charge")}


def make_targets(folder: Path) -> list[Target]:
    """Return all readers with valid files, made in a folder."""
    made = _files_of_eqcalc(folder)
    dipole, six = _motion(3), _alpha()
    step = np.arange(_N)

    def text(name: str, read: Callable[[Path], Found], *seeds: str, suffix: str = ".txt") -> Target:
        return Target(name, "text", suffix, read, [seed.encode() for seed in seeds])

    def own(name: str, kind: str, read: Callable[[Path], Found], sealed: bool = True) -> Target:
        path = made[name]
        return Target(f"{name} ({kind})", kind, path.suffix, read, [path.read_bytes()], sealed)

    arrays = {"R": np.stack([a.positions for a in _labelled(6)]), "z": _molecule(0).numbers}
    arrays["E"] = np.array([a.get_potential_energy() for a in _labelled(6)])
    arrays["F"] = np.stack([a.get_forces() for a in _labelled(6)])
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    database = folder / "a.db"
    with connect(database) as writer:
        for atoms in _labelled(4):
            atoms.info.pop("charge")
            writer.write(atoms)
    other = folder / "schnetpack.hdf5"
    _schnetpack(other)
    journal = "".join(
        json.dumps(line) + "\n"
        for line in (JOURNAL, *({"index": i, "labels": {"energy": -1.0 * i}} for i in range(5)))
    )
    labels = {"units": UNITS, "keys": KEYS}
    rows = {"units": UNITS, "keys": {k: k for k in KEYS if k != "charge"}}
    npz = {"units": {k: UNITS[k] for k in ("positions", "energy", "forces")}}
    npz["keys"] = {"energy": "E", "forces": "F", "numbers": "z", "positions": "R"}
    xvg = '@ xaxis label "Time (ps)"\n@ yaxis label "(Debye)"\n' + _table(dipole, 5e-4 * step)
    properties = IPI_PROPERTIES + "".join(f"{i} -1.5 0.1 0.2 {0.1 * i:.5f}\n" for i in range(10))
    frames = "".join(
        f'2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 ipi_comment="Step: {i:9d}  '
        f'Bead: 0 positions{{ase}}  cell{{ase}}" pbc="T T T"\nO 0 0 0\nH 0 0 1.{i}\n'
        for i in range(8)
    )
    columns = "# step x y z\n" + _table(dipole, step)
    numbers = iter(range(1, 20))
    qm9 = "\t".join(f"{next(numbers)}" if label is None else "0.5" for label in QM9_LABELS)
    qm9 = f"4\ngdb 1\t{qm9}\n" + "".join(
        f"{s}\t{x:.4f}\t{y:.4f}\t{z:.4f}\t0.1\n" for s, (x, y, z) in zip("COHH", _REST, strict=True)
    )
    outputs = [path.read_bytes() for path in sorted(OUTPUTS.iterdir())] + [CP2K.encode()]
    writers = ("orca", "checkpoint", "archive", "qchem", "cp2k")
    vibrations = [getattr(force_constants, name)(folder).read_bytes() for name in writers]
    fixed = _molecule(0)
    fixed.set_constraint(FixAtoms([1]))
    fixed_file = io.StringIO()
    write(fixed_file, fixed, format="extxyz", columns=["symbols", "positions", "move_mask"])
    plain = [_extxyz(2), PLAIN.encode(), fixed_file.getvalue().encode()]
    molfiles = [
        molfile(HYDRONIUM, 3, ["M  CHG  1   1   2", "M  ISO  1   2   2", "M  RAD  1   1   2"]),
        v3000(HYDRONIUM, ["CHG=2", "CHG=-1"]),
        molfile(HYDRONIUM) + "> <charge>\n1\n\n$$$$\n" + molfile(HYDRONIUM) + "$$$$\n",
    ]
    comma = _table(dipole, _T, "\t").replace(".", ",")
    return [
        Target("dataset of extxyz", "text", ".xyz", _converted("extxyz", **labels), [_extxyz(6)]),
        Target("dataset of outputs", "text", ".out", _converted("outputs"), outputs),
        text("dataset of QM9", _converted("qm9"), qm9, suffix=".xyz"),
        Target("structures", "text", ".xyz", _structures, plain),
        text("structures .sdf", _structures, *molfiles, suffix=".sdf"),
        text("structures .gjf", _structures, GAUSSIAN, suffix=".gjf"),
        text("structures of inputs", _structures, *INPUTS, suffix=".inp"),
        text("structures .coord", _structures, TURBOMOLE, suffix=".coord"),
        Target("structures of outputs", "text", ".out", _structures, outputs),
        *(_as_format(folder, name, _molecule(0)) for name in (".pdb", ".json", ".traj")),
        *(_as_format(folder, name, bulk("NaCl", "rocksalt", 5.6)) for name in (".cif", "-POSCAR")),
        Target("vibrations", "text", ".out", _vibrations, vibrations),
        Target("dataset of npz", "npz", ".npz", _converted("npz", **npz), [packed.getvalue()]),
        Target(
            "dataset of ASE db",
            "sqlite",
            ".db",
            _converted("ase", **rows),
            [database.read_bytes()],
        ),
        own("dataset", "hdf5", _dataset),
        own("trajectory", "hdf5", _trajectory),
        own("spectrum.h5", "hdf5", _spectrum),
        own("raman", "hdf5", _raman),
        own("model", "safetensors", _model, sealed=False),
        own("checkpoint", "safetensors", _checkpoint, sealed=False),
        own("spectrum.csv", "text", _spectrum, sealed=False),
        own("spectrum.jdx", "text", _spectrum, sealed=False),
        Target("measured text", "text", ".txt", _measured, _measured_texts()),
        text("bands", _measured, *BANDS),
        Target("JCAMP-DX", "text", ".jdx", _measured, _jdx()),
        text("columns", _series("columns", [1, 2, 3]), columns, comma, xvg),
        text("columns of alpha", _series("columns", [1, 2, 3, 4, 5, 6]), _table(six, step)),
        text("cp2k", _series("cp2k"), _cp2k(dipole)),
        text("gpumd", _series("gpumd"), _table(dipole, step), _table(six, step)),
        text("i-pi", _series("i-pi"), _ipi(dipole)),
        text("vasp", _series("vasp"), _outcar(dipole)),
        text("extxyz series", _series("extxyz", "mu"), _xyz_frames(dipole)),
        Target("schnetpack", "hdf5", ".hdf5", _series("schnetpack", "mu"), [other.read_bytes()]),
        Target("training settings", "yaml", ".yaml", _settings, [SETTINGS.encode()]),
        Target("sweep", "yaml", ".yaml", _sweep, [SWEEP.encode()]),
        Target("i-PI input", "xml", ".xml", _ipi_input, [IPI_INPUT.encode()]),
        Target("i-PI checkpoint", "xml", ".xml", _ipi_input, [RESTART.encode()]),
        Target("matrices of GLE", "xml", ".xml", _matrices, [MATRICES.encode()]),
        text("i-PI properties", _ipi_properties, properties),
        text("i-PI frames", _ipi_frames, frames),
        text("i-PI extras", _ipi_extras, _ipi(dipole)),
        Target("journal of labels", "json", ".journal", _journal, [journal.encode()]),
    ]
