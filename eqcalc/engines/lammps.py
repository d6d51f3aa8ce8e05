# SPDX-License-Identifier: MIT
"""A model as the forces of LAMMPS, by its ``fix external``; dipole moments are recorded on the way.

LAMMPS calls the model in every step, in the same process and with its own arrays (its manual, ``fix
external``, style ``pf/callback``). Nothing is imported from LAMMPS, so that any build with its
Python interface will do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from eqcalc.calculator import EqCalculator, refuse_overlap
from eqcalc.dynamics.observables import Observable, default_observables, strides_of
from eqcalc.methods import method as method_named
from eqcalc.molecules import periodic_cell
from eqcalc.quantities import quantity
from eqcalc.runtime import MoleculeEvaluator, to_numpy
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError, count, one_of, positive

#: Units of energies and times in the styles of LAMMPS whose lengths are Å and masses amu.
UNIT_STYLES = {"metal": ("eV", "ps"), "real": ("kcal/mol", "fs")}
#: Where LAMMPS's order of the components of a symmetric tensor is in a matrix.
_ROWS, _COLUMNS = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])
#: Relative difference from the standard mass of an element within which a mass is its.
_SAME_MASS = 0.02
#: Observables that are not quantities of the model.
_OF_LAMMPS = ("positions", "potential_energy")


class ModelFix:
    """A fix of LAMMPS that applies the forces of a model to all atoms.

    The fix contributes the energy, and in periodic boxes the virial, as pair styles do. Components
    of its vector are the dipole moment x, y, z [e Å] (``f_eqcalc[1]`` to ``f_eqcalc[3]``) and the
    polarizability xx, yy, zz, xy, xz, yz [e²Å²/eV] (``f_eqcalc[4]`` to ``f_eqcalc[9]``), for
    ``thermo_style custom``, ``fix ave/time`` and the like.

    An error in the model, an interrupt too, stops LAMMPS at the next step; :meth:`run`, or
    :meth:`check` after a command of your own, raises it.

    Parameters
    ----------
    lmp
        A LAMMPS instance (``lammps.lammps()``) with a box and atoms, of one process, in the units
        ``metal`` or ``real``.
    calculator
        The model.
    elements
        The elements of the atom types, in order.
    charge
        Total charge [e]. Charges of atoms in LAMMPS do not count.
    name
        Name of the fix.
    every
        Steps between evaluations of dipole moment and polarizability for the vector, in steps of
        LAMMPS that are multiples; :meth:`run` evaluates what it records besides.

    Attributes
    ----------
    values : dict
        Latest values in the units of eqcalc, atoms in the order of their IDs.

    Raises
    ------
    InvalidInputError
        Another style of units, several processes, no box or atoms, a box that is periodic in one or
        two directions only, or elements that are not those of the types.
    UnknownElementError
        The model does not know an element.

    Examples
    --------
    >>> fix = ModelFix(lmp, EqCalculator("ethanol"), ["C", "O", "H"])  # doctest: +SKIP
    >>> trajectory = fix.run(40_000, output="run.h5", temperature=300.0)  # doctest: +SKIP
    """

    def __init__(
        self,
        lmp: Any,
        calculator: EqCalculator,
        elements: Sequence[str],
        *,
        charge: float = 0.0,
        name: str = "eqcalc",
        every: int = 1,
    ) -> None:
        self.lmp = lmp
        self.name = name
        self.values: dict[str, np.ndarray] = {}
        style = one_of("units", lmp.extract_global("units"), UNIT_STYLES)
        energy, time = UNIT_STYLES[style]
        self._energy, self._time = conversion_factor("eV", energy), conversion_factor(time, "fs")
        self._every = count("every", every)
        processes = lmp.extract_setting("world_size")
        if processes != 1:
            raise InvalidInputError(
                key="processes", value=processes, expected="1, as the model takes all atoms at once"
            )
        order = self._order()
        numbers, masses = self._atoms(elements, order)
        cell, pbc = self._box()
        atoms = Atoms(numbers, cell=cell, pbc=pbc)
        self._periodic = periodic_cell(atoms) is not None
        self._evaluator = MoleculeEvaluator(
            calculator.execution,
            torch.from_numpy(numbers),
            charge=charge,
            cell=cell if self._periodic else None,
        )
        self._evaluator.potential.require_outputs(["energy"])
        self._responses = {"dipole", "polarizability"}.intersection(self._evaluator.quantities)
        self._masses = masses
        # shift law: the model uses standard masses, but the atoms may be isotopes
        standard = atomic_masses[numbers]
        self._shift = charge * (standard / standard.sum() - masses / masses.sum())
        self._recording: _Recording | None = None
        self._error: BaseException | None = None
        lmp.command(f"fix {name} all external pf/callback 1 1")
        lmp.command(f"fix_modify {name} energy yes virial {'yes' if self._periodic else 'no'}")
        lmp.fix_external_set_vector_length(name, 9)
        lmp.set_fix_external_callback(name, self._callback)

    def run(
        self,
        steps: int,
        *,
        output: str | Path | None = None,
        temperature: float | None = None,
        method: str = "NVE",
        observables: Mapping[str, int] | Sequence[str] | None = None,
    ) -> Trajectory | None:
        """Run LAMMPS, raise errors of the model, and record a trajectory for ``eqcalc spectra``.

        Parameters
        ----------
        steps
            Number of steps; the first frame is that before them.
        output
            Trajectory file (HDF5), of one replica; none by default.
        temperature
            Of the initial conditions, or of the thermostat [K]; stated, not read from LAMMPS.
        method
            What the fixes of LAMMPS amount to, one of :data:`eqcalc.methods.METHODS` with classical
            nuclei: ``"NVE"``, ``"NHC"``, ``"Langevin"``, …
        observables
            Steps between frames by name, or names: quantities of the model, ``"positions"`` (not
            wrapped into the box), and ``"potential_energy"``, which is that of the model alone. By
            default dipole, polarizability and positions every 1 fs, the energy every 10 fs.

        Returns
        -------
        Trajectory
            None without an output.

        Raises
        ------
        InvalidInputError
            An argument is invalid, or the box or the time step changes, which a trajectory of
            constant cell and interval cannot hold.
        ExistingFileError
            The output exists.
        FloatingPointError
            The model returned non-finite values.
        """
        self.check()
        count("steps", steps)
        recording = None
        if output is not None:
            header = self._header(steps, temperature, method)
            recording = _Recording(Path(output), header, self._chosen(header, observables))
        try:
            self._recording = recording
            self.lmp.command(f"run {steps}")
        finally:
            self._recording = None
            if recording is not None:
                recording.writer.close()
            self.check()
        return None if output is None else Trajectory.open(output)

    def check(self) -> None:
        """Raise the error that has stopped LAMMPS, if there is one."""
        error, self._error = self._error, None
        if error is not None:
            self.lmp.command("timer timeout off")
            raise error

    def detach(self) -> None:
        """Remove the fix from LAMMPS."""
        self.lmp.command(f"unfix {self.name}")

    # --- in every step ---

    def _callback(
        self, _: Any, step: int, n: int, ids: np.ndarray, x: np.ndarray, f: np.ndarray
    ) -> None:
        # exceptions do not pass through LAMMPS, which would go on
        try:
            self._apply(step, ids, x, f)
        except BaseException as error:
            f[:] = 0.0
            self._error = self._error or error
            self.lmp.force_timeout()

    def _apply(self, step: int, ids: np.ndarray, x: np.ndarray, f: np.ndarray) -> None:
        if len(ids) != len(self._masses):
            raise InvalidInputError(
                key="atoms",
                value=len(ids),
                expected=f"{len(self._masses)}, as when it was attached",
            )
        order = np.argsort(ids.ravel())
        cell = self._box()[0] if self._periodic else None
        positions = self._unwrapped(x[order], order, cell)
        recording = self._recording
        due = [] if recording is None else recording.due(step)
        names = {"energy", "forces", *(o.evaluated for o in due if o.evaluated is not None)}
        if step % self._every == 0:
            names |= self._responses
        if self._periodic:
            names.add("stress")
        values = self.values = self._evaluated(positions, cell, names)
        f[order] = values["forces"] * self._energy
        self.lmp.fix_external_set_energy_global(self.name, float(values["energy"]) * self._energy)
        if cell is not None:
            virial = -abs(np.linalg.det(cell)) * self._energy * values["stress"]
            self.lmp.fix_external_set_virial_global(self.name, virial[_ROWS, _COLUMNS].tolist())
        for first, name in ((1, "dipole"), (4, "polarizability")):
            if name in values:
                value = values[name]
                components = value if value.ndim == 1 else value[_ROWS, _COLUMNS]
                for index, component in enumerate(components, first):
                    self.lmp.fix_external_set_vector(self.name, index, component)
        if recording is not None and due:
            recording.require_same(self._timestep(), cell)
            found = {**values, "positions": positions, "potential_energy": values["energy"]}
            for observable in due:
                recording.writer.write(observable.name, found[observable.name][None, None])

    def _evaluated(
        self, positions: np.ndarray, cell: np.ndarray | None, names: set[str]
    ) -> dict[str, np.ndarray]:
        """Return quantities of the atoms at positions ``[n_atoms, 3]`` Å."""
        evaluator = self._evaluator
        structures = evaluator.stack(torch.from_numpy(positions[None]).to(evaluator.device))
        if cell is not None:
            lattice = torch.from_numpy(cell[None]).to(evaluator.device)
            structures = structures.with_positions(structures.positions, lattice)
        values = {
            name: np.asarray(value if quantity(name).per_atom else value[0], dtype=np.float64)
            for name, value in to_numpy(evaluator.execution.evaluate(structures, names)).items()
        }
        refuse_overlap(evaluator.execution.closest_pair(structures))
        for name, value in values.items():
            if not math.isfinite(value.sum()):
                raise FloatingPointError(
                    f"the model returned a non-finite {name}; the structure is probably far from "
                    "anything the model was trained on"
                )
        if "dipole" in values:
            values["dipole"] = values["dipole"] + self._shift @ positions
        return values

    # --- what LAMMPS says ---

    def _order(self) -> np.ndarray:
        """Return the local index of each atom, in the order of IDs."""
        if not self.lmp.extract_setting("box_exist") or not self.lmp.get_natoms():
            raise InvalidInputError(key="atoms", value=0, expected="a box with atoms")
        return np.argsort(self.lmp.numpy.extract_atom("id"))

    def _atoms(self, elements: Sequence[str], order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return atomic numbers and masses [amu] ``[n_atoms]`` in the order of IDs."""
        n_types = self.lmp.extract_setting("ntypes")
        if isinstance(elements, str) or len(elements) != n_types:
            raise InvalidInputError(
                key="elements", value=elements, expected=f"a list of {n_types}, one for each type"
            )
        of_types = np.array(
            [atomic_numbers[one_of("elements", e, atomic_numbers)] for e in elements]
        )
        types = self.lmp.numpy.extract_atom("type")[order] - 1
        numbers = of_types[types].astype(np.int64)
        if self.lmp.extract_setting("rmass_flag"):
            return numbers, self.lmp.numpy.extract_atom("rmass")[order].copy()
        masses = self.lmp.numpy.extract_atom("mass")[1:].copy()
        for index, (mass, number) in enumerate(zip(masses, of_types, strict=True)):
            near = of_types[np.abs(atomic_masses[of_types] - mass).argmin()]
            if near != number and abs(mass / atomic_masses[near] - 1.0) < _SAME_MASS:
                raise InvalidInputError(
                    key=f"elements[{index}]",
                    value=elements[index],
                    expected=f"{chemical_symbols[near]}, as type {index + 1} has the mass {mass:g}",
                )
        return numbers, masses[types]

    def _box(self) -> tuple[np.ndarray, list[bool]]:
        """Return the cell vectors as rows [Å], and the periodic directions."""
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        a, b, c = np.subtract(high, low)
        cell = np.array([[a, 0.0, 0.0], [xy, b, 0.0], [xz, yz, c]])
        return cell, [bool(along) for along in periodic]

    def _unwrapped(
        self, positions: np.ndarray, order: np.ndarray, cell: np.ndarray | None
    ) -> np.ndarray:
        """Return positions on the paths of the atoms through a periodic box."""
        if cell is None:
            return positions
        flags = self.lmp.numpy.extract_atom("image")[order].astype(np.int64)
        bits = 10 if self.lmp.extract_setting("imageint") == 4 else 21
        fields = flags[:, None] >> np.array([0, bits, 2 * bits])
        # a copy of fewer than 2 ** bits boxes is stored with an offset of half of them
        crossed = (fields & 2**bits - 1) - 2 ** (bits - 1)
        return positions + crossed @ cell

    def _timestep(self) -> float:
        return float(self.lmp.extract_global("dt")) * self._time

    # --- the trajectory ---

    def _header(self, steps: int, temperature: float | None, method: str) -> Header:
        row = method_named(method)
        row.checked_beads(1)
        evaluator = self._evaluator
        return Header(
            method=row.name,
            temperature=positive("temperature", temperature, unit="K"),
            timestep=self._timestep(),
            steps=steps,
            n_replicas=1,
            n_beads=1,
            numbers=evaluator.numbers.cpu().numpy(),
            masses=self._masses,
            settings={"engine": "LAMMPS", "method": {"name": row.name}},
            provenance={**evaluator.provenance, "engine": f"LAMMPS {self.lmp.version()}"},
            cell=self._box()[0] if self._periodic else None,
        )

    def _chosen(
        self, header: Header, observables: Mapping[str, int] | Sequence[str] | None
    ) -> dict[Observable, int]:
        """Return the observables to be recorded, and steps between frames."""
        available = [*self._evaluator.quantities, *_OF_LAMMPS]
        if observables is None:
            default = default_observables(header.timestep, self._evaluator.quantities)
            observables = {name: stride for name, stride in default.items() if name in available}
        for name in observables:
            one_of("observables", name, available)
        return strides_of(observables, header.timestep)


class _Recording:
    """A trajectory that is being written."""

    def __init__(self, path: Path, header: Header, strides: dict[Observable, int]) -> None:
        n_atoms = len(header.numbers)
        layouts = {o.name: Layout(o.shape(1, n_atoms), o.unit, n) for o, n in strides.items()}
        self.header, self.strides = header, strides
        self.writer = TrajectoryWriter.create(path, header, layouts)
        self.first: int | None = None

    def due(self, step: int) -> list[Observable]:
        """Return the observables of a step of LAMMPS."""
        if self.first is None:
            self.first = step
        return [o for o, stride in self.strides.items() if (step - self.first) % stride == 0]

    def require_same(self, timestep: float, cell: np.ndarray | None) -> None:
        """Refuse another time step [fs] or cell [Å] than that of the header."""
        pairs = {"timestep": (timestep, self.header.timestep), "cell": (cell, self.header.cell)}
        for key, (value, expected) in pairs.items():
            if value is None or expected is None:
                continue
            if not np.allclose(value, expected, rtol=1e-9, atol=0.0):
                raise InvalidInputError(
                    key=key,
                    value=np.asarray(value).tolist(),
                    expected=f"{np.asarray(expected).tolist()}, as a trajectory has only one",
                    advice="print the components of the vector of the fix instead",
                )
