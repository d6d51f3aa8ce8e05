# SPDX-License-Identifier: MIT
"""Parse inputs, checkpoints and RESTART files of i-PI."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol

from eqcalc.ipi.units import BOHR, ELECTRON_MASS, TEMPERATURES, TIMES, unit_factor
from eqcalc.methods import METHODS, DynamicsMethod
from eqcalc.validation import InvalidInputError, existing_file, located, number_in, numbers_in

#: Time constant beyond which the centroid counts as not thermostatted [fs].
FREE_CENTROID = 1e6

#: ``<dynamics mode=...>`` with a barostat that eqcalc writes, and all of them.
CONSTANT_PRESSURE = "npt"
CONSTANT_PRESSURES = (CONSTANT_PRESSURE, "nst", "scnpt")

#: Longest path of a unix socket [bytes], that of Linux and macOS.
_LONGEST_SOCKET = 103
#: Longest prefix of outputs, which have names of at most 255 bytes.
_LONGEST_PREFIX = 150
#: Ports are 16 bits.
LAST_PORT = 65535
#: Default of ``sockets_prefix``.
SOCKETS_PREFIX = "/tmp/ipi_"
_ISOTOPE = re.compile(r"\d+$")
_CHARGE = re.compile(r"\bcharge\s*:\s*([-+.\deE]+)")
_PERIODIC = re.compile(r"\bperiodic\s*:\s*True\b", re.IGNORECASE)
_CORRECTED = re.compile(r"\bcorrection\s*:\s*\S")


#: Beyond any position [bohr] or momentum of an atom.
_LARGEST = 1e6


class InputError(InvalidInputError):
    """An input or checkpoint of i-PI cannot be used."""


def check_socket(prefix: str, name: str) -> Path:
    """Return the path of a unix socket.

    Raises
    ------
    InputError
        It is longer than operating systems allow.
    """
    path = f"{prefix}{name}"
    room = _LONGEST_SOCKET - len(os.fsencode(prefix))
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise InputError(
            "the name of a socket is limited by the operating system",
            key="address",
            value=name,
            expected=f"at most {max(room, 0)} letters after the prefix {prefix}",
        )
    return Path(path)


@dataclass(frozen=True)
class OutputFile:
    """One element of ``<output>``.

    `filename` has no prefix, `stride` is in steps. `what` and `format` are those of a trajectory,
    such as ``"positions{ase}"`` and ``"ase"``; a checkpoint is overwritten or numbered.
    """

    kind: str
    filename: str
    stride: int
    what: str = ""
    format: str = "xyz"
    overwrite: bool = True


@dataclass(frozen=True, eq=False)
class System:
    """A system of a checkpoint; masses in amu, temperature in K, times in fs.

    The cell has its vectors as rows ``[3, 3]`` [Å], also that around a molecule.
    """

    prefix: str
    numbers: np.ndarray
    masses: np.ndarray
    n_beads: int
    temperature: float
    timestep: float
    method: str
    time_constant: float | None
    cell: np.ndarray


class Description:
    """A parsed XML file of i-PI; `file` is its name, for errors."""

    def __init__(self, text: str, file: str | Path) -> None:
        self.file = Path(file)
        self.text = text
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # which could grow without bounds
            raise InputError(
                "has a document type", file=file, expected="plain XML without entities"
            )
        try:
            self.root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise InputError(f"is not XML ({error})", file=file) from None
        if self.root.tag != "simulation":
            raise InputError(file=file, expected="<simulation>", value=f"<{self.root.tag}>")

    @classmethod
    def read(cls, path: str | Path) -> Description:
        """Read a file; raises MissingFileError, or InputError if it is not an input of i-PI."""
        path = existing_file(path, "an input or checkpoint of i-PI")
        try:
            return cls(path.read_text(encoding="utf-8"), path)
        except UnicodeDecodeError as error:
            place = f"byte {error.start} is none"
            raise InputError(f"is not text in UTF-8 ({place})", file=path) from None

    @property
    def prefix(self) -> str:
        """Prefix of the outputs."""
        output = self.root.find("output")
        return "i-pi" if output is None else output.get("prefix", "i-pi").strip()

    @property
    def file_prefix(self) -> str:
        """Prefix of the output names, after the prefix of a system."""
        return f"{self.prefix}." if self.prefix else ""

    @property
    def step(self) -> int:
        """Steps done."""
        return self._integer("step", 0)

    @property
    def total_steps(self) -> int:
        """Length of the run."""
        return self._integer("total_steps", 1000)

    @property
    def constant_pressure(self) -> bool:
        """Whether the cell of a system fluctuates."""
        modes = (element.get("mode", "nve").strip() for element in self.root.iter("dynamics"))
        return any(mode in CONSTANT_PRESSURES for mode in modes)

    @property
    def is_checkpoint(self) -> bool:
        """Whether it contains a state, not only instructions to initialise one."""
        return self.root.find("system/beads/q") is not None

    def outputs(self) -> list[OutputFile]:
        """Return the outputs."""
        defaults = {"properties": "out", "trajectory": "traj", "checkpoint": "restart"}
        return [
            OutputFile(
                kind=element.tag,
                filename=element.get("filename", defaults[element.tag]).strip(),
                stride=_whole(f"{element.tag}.stride", element.get("stride", "1"), self.file, 1),
                what=" ".join((element.text or "").split()),
                format=element.get("format", "xyz").strip(),
                overwrite=element.get("overwrite", "true").strip().lower() == "true",
            )
            for element in self.root.findall("output/*")
            if element.tag in defaults
        ]

    def check(self) -> None:
        """Check what i-PI would use without end, not at all, or in another folder.

        Raises
        ------
        InputError
            A stride, the length of the run or a batch size is not a positive integer, the
            prefix not a name, or a molecule is at constant pressure.
        """
        if self.constant_pressure and self.is_of_eqcalc() and not self.is_periodic():
            raise InputError(
                "a molecule has no pressure",
                file=self.file,
                key="dynamics.mode",
                value=CONSTANT_PRESSURE,
                expected="nve or nvt",
                advice="add {periodic: True} to the <parameters> if the atoms fill the cell",
            )
        self.outputs()
        if "/" in self.prefix or len(os.fsencode(self.prefix)) > _LONGEST_PREFIX:
            expected = f"a name without folders of at most {_LONGEST_PREFIX} letters"
            raise InputError(
                file=self.file, key="output.prefix", value=self.prefix, expected=expected
            )
        _whole("total_steps", str(self.total_steps), self.file)
        _whole("safe_stride", self.root.get("safe_stride", "1"), self.file, 1)
        for element in self.root.findall("*"):
            if (text := element.findtext("batch_size")) is not None:
                _whole(f"{element.tag}.batch_size", text, self.file, 1)

    def sockets(self) -> list[Path]:
        """Return the paths of the unix sockets on which i-PI listens."""
        prefix = self.root.get("sockets_prefix", SOCKETS_PREFIX).strip()
        with located(file=self.file):
            return [
                check_socket(prefix, (element.findtext("address") or "localhost").strip())
                for element in self.root.findall("ffsocket")
                if element.get("mode", "inet").strip() in ("unix", "shm")
            ]

    def ports(self) -> list[tuple[str, int]]:
        """Return the hosts and ports on which i-PI listens."""
        found = []
        for element in self.root.findall("ffsocket"):
            if element.get("mode", "inet").strip() == "inet":
                port = self._integer("port", 65535, element)
                if port > LAST_PORT:
                    raise InputError(
                        file=self.file, key="port", value=port, expected=f"at most {LAST_PORT}"
                    )
                found.append(((element.findtext("address") or "localhost").strip(), port))
        return found

    def is_of_eqcalc(self) -> bool:
        """Return whether the potential is eqcalc's, with known units."""
        return any("symbols" in text for text in self._parameters())

    def is_periodic(self) -> bool:
        """Return whether eqcalc's potential is of the contents of the cell."""
        return any(_PERIODIC.search(text) for text in self._parameters())

    def is_corrected(self) -> bool:
        """Return whether eqcalc's potential contains the correction of Te PIGS."""
        return any(_CORRECTED.search(text) for text in self._parameters())

    def charges(self) -> set[float]:
        """Return the total charges [e] in the parameters of eqcalc's potentials."""
        found = [_CHARGE.search(text) for text in self._parameters() if "symbols" in text]
        return {float(match.group(1)) for match in found if match is not None}

    def _parameters(self) -> list[str]:
        paths = ("ffdirect/parameters", "ffsocket/parameters")
        return [element.text or "" for path in paths for element in self.root.findall(path)]

    def systems(self, method: str | None = None) -> list[System]:
        """Return the systems of a checkpoint.

        `method` is the name of the dynamics if it is not recognised. Raises InputError for an
        input without beads and for unknown dynamics.
        """
        if not self.is_checkpoint:
            raise InputError(
                "holds no beads", file=self.file, expected="a checkpoint of i-PI, not an input"
            )
        with located(file=self.file):
            corrected = self.is_corrected()
            elements = self.root.findall("system")
            return [_system(element, method, corrected) for element in elements]

    def beads(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return positions and momenta of each system, ``[n_beads, n_atoms, 3]`` [atomic units]."""
        found = []
        for element, system in zip(
            self.root.findall("system"), self.systems(method="any"), strict=True
        ):
            shape = (system.n_beads, len(system.numbers), 3)
            with located(file=self.file, section="beads"):
                arrays = [
                    array_in(tag, element.findtext(f"beads/{tag}") or "") for tag in ("q", "p")
                ]
            for tag, array in zip(("q", "p"), arrays, strict=True):
                if array.size != np.prod(shape):
                    raise InputError(
                        file=self.file,
                        key=f"beads.{tag}",
                        value=array.size,
                        expected=f"{np.prod(shape)} numbers",
                    )
                if (largest := float(np.abs(array).max(initial=0.0))) >= _LARGEST:
                    raise InputError(
                        file=self.file,
                        key=f"beads.{tag}",
                        value=largest,
                        expected=f"numbers below {_LARGEST:g} atomic units",
                    )
            found.append((arrays[0].reshape(shape), arrays[1].reshape(shape)))
        return found

    def _integer(self, tag: str, default: int, root: ElementTree.Element | None = None) -> int:
        text = ((self.root if root is None else root).findtext(tag) or "").strip()
        return _whole(tag, text, self.file) if text else default

    def with_total_steps(self, steps: int) -> str:
        """Return the text with another length of the run."""
        element = self.root.find("total_steps")
        if element is None:
            element = ElementTree.SubElement(self.root, "total_steps")
        element.text = str(steps)
        return ElementTree.tostring(self.root, encoding="unicode")

    def physics(self) -> str:
        """Return the text without comments, white space and the length of the run."""
        root = ElementTree.fromstring(self.text)
        for element in root.findall("total_steps"):
            root.remove(element)
        return ElementTree.canonicalize(
            ElementTree.tostring(root, encoding="unicode"), strip_text=True
        )


def _whole(key: str, text: str, file: Path | None = None, least: int = 0) -> int:
    """Return an integer of at least `least`, which may be written as 1e3."""
    value = number_in(text.strip())
    if value is None or not least <= value < 2**53 or not value.is_integer():
        expected = f"an integer of at least {least}"
        raise InputError(file=file, key=key, value=text.strip(), expected=expected)
    return int(value)


# --- parts of it ----------------------------------------------------------------------


def symbol(name: str) -> str:
    """Return the element of an atom of i-PI, which writes isotopes as ``C13``."""
    return _ISOTOPE.sub("", name)


def _system(element: ElementTree.Element, stated: str | None, corrected: bool) -> System:
    beads = element.find("beads")
    assert beads is not None
    motion = element.find("motion")
    kind = "nothing" if motion is None else motion.get("mode", "nothing").strip()
    dynamics = element.find("motion/dynamics")
    if dynamics is None or kind != "dynamics":
        raise InputError(key="motion", value=kind, expected="mode='dynamics'")
    n_beads = _whole("beads.nbeads", beads.get("nbeads", "1"), least=1)
    recognised: tuple[str, float | None] = (stated or "", None)
    if stated is None:
        recognised = _method(element, dynamics, n_beads, corrected)
    names = [symbol(name) for name in _words(beads.findtext("names") or "")]
    for name in names:
        if name not in numbers_by_symbol:
            raise InputError(key="names", value=name, expected="elements")
    return System(
        prefix=element.get("prefix", "").strip(),
        numbers=np.array([numbers_by_symbol[name] for name in names]),
        masses=array_in("beads.m", beads.findtext("m") or "") * ELECTRON_MASS,
        n_beads=n_beads,
        temperature=_quantity(element.find("ensemble/temperature"), TEMPERATURES, 1.0),
        timestep=_quantity(dynamics.find("timestep"), TIMES, 1.0),
        method=recognised[0],
        time_constant=recognised[1],
        cell=_cell(element.findtext("cell") or ""),
    )


def _cell(text: str) -> np.ndarray:
    """Return the vectors of a cell as rows [Å], zeros if there is none."""
    numbers = array_in("cell", text)
    if numbers.size not in (0, 9):
        raise InputError(key="cell", value=numbers.size, expected="9 numbers")
    return (numbers.reshape(3, 3).T if numbers.size else np.zeros((3, 3))) * BOHR


def array_in(key: str, text: str) -> np.ndarray:
    """Return the numbers of an array of i-PI, ``[ 1.0, 2.0 ]``."""
    return np.array(numbers_in(" ".join(_words(text)), key))


def _words(text: str) -> list[str]:
    return re.sub(r"[\[\],]", " ", text).split()


def _quantity(
    element: ElementTree.Element | None, table: Mapping[str, float], default: float
) -> float:
    if element is None:
        return default
    factor = unit_factor(f"units of {element.tag}", element.get("units", ""), table)
    value = number_in((element.text or "").strip())
    if value is None:
        raise InputError(key=element.tag, value=element.text, expected="a number")
    return value * factor


def method_of_ipi(
    mode: str,
    thermostat: str,
    *,
    n_beads: int,
    free_centroid: bool = False,
    frequencies: str = "",
    corrected: bool = False,
) -> DynamicsMethod | None:
    """Return the method that i-PI input describes, or None if it is not in the table.

    The arguments are those of :class:`~eqcalc.methods.IPIDynamics`; `thermostat` is ignored at
    constant energy and at constant pressure, `frequencies` is empty for those of the ring polymer,
    and a `corrected` potential contains the quantum statistics.
    """
    found = None
    for row in METHODS.values():
        ipi = row.ipi
        if (
            ipi is not None
            and row.ring_polymer is (n_beads > 1)
            and ipi.mode == mode
            and row.effective_potential is corrected
            and (not ipi.thermostats or thermostat in ipi.thermostats)
            and ipi.free_centroid is free_centroid
            and (not ipi.frequencies or frequencies in ipi.frequencies)
            and (found is None or ipi.frequencies)  # a match with frequencies is more specific
        ):
            found = row
    return found


def _method(
    system: ElementTree.Element, dynamics: ElementTree.Element, n_beads: int, corrected: bool
) -> tuple[str, float | None]:
    """Return the name of the dynamics and the time constant of its friction [fs]."""
    mode = dynamics.get("mode", "nve").strip()
    style = system.find("normal_modes/frequencies")
    thermostat = dynamics.find("thermostat")
    kind = "" if thermostat is None else thermostat.get("mode", "").strip()
    tau = None if thermostat is None else thermostat.find("tau")
    time_constant = _quantity(tau, TIMES, float("nan"))
    method = method_of_ipi(
        CONSTANT_PRESSURE if mode in CONSTANT_PRESSURES else mode,
        kind,
        n_beads=n_beads,
        free_centroid=n_beads > 1 and kind == "pile_l" and time_constant >= FREE_CENTROID,
        frequencies="" if style is None else style.get("style", ""),
        corrected=corrected,
    )
    if method is None:
        raise InputError(
            f"<dynamics mode={mode!r}> with <thermostat mode={kind!r}> and {n_beads} beads is "
            "none of the methods eqcalc knows",
            key="dynamics",
            value=(mode, kind, n_beads),
            advice="state its method",
        )
    if method.name == "GLE" and thermostat is not None and _is_quantum(system, thermostat):
        method = METHODS["QT"]
    has_friction = method.thermostats_centroid and method.thermostat != "memory"
    return method.name, time_constant if has_friction else None


def _is_quantum(system: ElementTree.Element, thermostat: ElementTree.Element) -> bool:
    """Return whether the covariance C of a GLE thermostat is not the canonical T."""
    covariance = thermostat.find("C")
    matrix = array_in("thermostat.C", "" if covariance is None else covariance.text or "")
    if covariance is None or matrix.size < 1:
        return False
    size = round(math.sqrt(matrix.size))
    if size * size != matrix.size:
        raise InputError(key="thermostat.C", value=matrix.size, expected="a square matrix")
    unit = unit_factor("units of C", covariance.get("units", ""), TEMPERATURES)
    temperature = _quantity(system.find("ensemble/temperature"), TEMPERATURES, 1.0)
    excess = matrix.reshape(size, size) * unit / temperature - np.eye(size)
    return bool(np.abs(excess).max() > 1e-4)


# --- checkpoints ----------------------------------------------------------------------


def find_checkpoints(
    description: Description,
) -> tuple[list[Description], list[InvalidInputError]]:
    """Return the checkpoints of a run, latest first, and the errors of damaged ones."""
    folder = description.file.parent
    paths = [folder / "RESTART"]
    for output in description.outputs():
        if output.kind == "checkpoint":
            stem = f"{description.file_prefix}{output.filename}"
            paths += [folder / stem] if output.overwrite else sorted(folder.glob(f"{stem}_*"))
    found: list[Description] = []
    broken: list[InvalidInputError] = []
    for path in (path for path in paths if path.is_file()):
        try:
            candidate = Description.read(path)
            if not candidate.is_checkpoint:
                raise InputError("holds no beads", file=path)
        except InvalidInputError as error:
            broken.append(error)
            continue
        if candidate.prefix == description.prefix:
            found.append(candidate)
    return sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True), broken


def unstable_structure_file(prefix: str) -> str:
    """Return the file name for a system that exceeded the stability limits."""
    return f"{prefix}.failed.extxyz" if prefix else "failed.extxyz"
