# SPDX-License-Identifier: MIT
"""What an i-PI input, checkpoint or RESTART says about its simulation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol

from eqcalc.ipi import atomic_units

#: Time constant of the centroid beyond which it is free [fs]; i-PI has no other way to say so.
FREE_CENTROID = 1e6

_TEMPERATURE = {"": atomic_units.TEMPERATURE, "kelvin": 1.0, "k": 1.0}
_TIME = {
    "": atomic_units.TIME,
    "femtosecond": 1.0,
    "picosecond": 1e3,
    "attosecond": 1e-3,
    "second": 1e15,
}
_ISOTOPE = re.compile(r"\d+$")
_CHARGE = re.compile(r"\bcharge\s*:\s*([-+.\deE]+)")


class InputError(ValueError):
    """An input or checkpoint of i-PI cannot be used."""


@dataclass(frozen=True)
class OutputFile:
    """One element of ``<output>``.

    Parameters
    ----------
    kind
        ``"properties"``, ``"trajectory"`` or ``"checkpoint"``.
    filename
        Without prefix.
    stride
        [steps].
    what
        Of a trajectory: ``"positions{ase}"``, ``"extras"``, …
    format
        Of a trajectory: ``"ase"``, ``"xyz"``, …
    extra_type
        Of extras: names joined by commas.
    overwrite
        Of a checkpoint: one file, or a numbered series.
    """

    kind: str
    filename: str
    stride: int
    what: str = ""
    format: str = "xyz"
    extra_type: str = "raw"
    overwrite: bool = True


@dataclass(frozen=True)
class Socket:
    """A force field that waits for clients."""

    name: str
    mode: str
    address: str
    prefix: str

    @property
    def path(self) -> Path | None:
        """The file of a unix socket."""
        return Path(f"{self.prefix}{self.address}") if self.mode in ("unix", "shm") else None


@dataclass(frozen=True)
class System:
    """One system of a checkpoint."""

    prefix: str
    numbers: np.ndarray
    masses: np.ndarray
    n_beads: int
    temperature: float
    timestep: float
    method: str
    time_constant: float | None


class Description:
    """An XML file of i-PI, parsed.

    Parameters
    ----------
    text
        Content of the file.
    source
        Its name, for messages.

    Raises
    ------
    InputError
        It is not an input of i-PI.
    """

    def __init__(self, text: str, source: str | Path) -> None:
        self.source = str(source)
        self.text = text
        try:
            self.root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise InputError(f"{source} is not XML: {error}") from None
        if self.root.tag != "simulation":
            raise InputError(f"{source}: expected <simulation>, found <{self.root.tag}>")

    @classmethod
    def read(cls, path: str | Path) -> Description:
        """Read a file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        return cls(path.read_text(encoding="utf-8"), path)

    @property
    def prefix(self) -> str:
        """Prefix of the outputs."""
        output = self.root.find("output")
        return "i-pi" if output is None else output.get("prefix", "i-pi").strip()

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._number("step", 0.0))

    @property
    def total_steps(self) -> int:
        """Length of the run."""
        return int(self._number("total_steps", 1000.0))

    @property
    def is_checkpoint(self) -> bool:
        """Whether it holds a state, not only the way to make one."""
        return self.root.find("system/beads/q") is not None

    def outputs(self) -> list[OutputFile]:
        """Return what is written."""
        defaults = {"properties": "out", "trajectory": "traj", "checkpoint": "restart"}
        return [
            OutputFile(
                kind=element.tag,
                filename=element.get("filename", defaults[element.tag]).strip(),
                stride=int(float(element.get("stride", "1"))),
                what=" ".join((element.text or "").split()),
                format=element.get("format", "xyz").strip(),
                extra_type=element.get("extra_type", "raw").strip(),
                overwrite=element.get("overwrite", "true").strip().lower() == "true",
            )
            for element in self.root.findall("output/*")
            if element.tag in defaults
        ]

    def sockets(self) -> list[Socket]:
        """Return the force fields that wait for clients."""
        prefix = self.root.get("sockets_prefix", "/tmp/ipi_").strip()
        return [
            Socket(
                name=element.get("name", "").strip(),
                mode=element.get("mode", "inet").strip(),
                address=(element.findtext("address") or "localhost").strip(),
                prefix=prefix,
            )
            for element in self.root.findall("ffsocket")
        ]

    def is_of_molecules(self) -> bool:
        """Return whether the potential is eqcalc's, of isolated molecules and in known units."""
        return any("symbols" in text for text in self._parameters())

    def charges(self) -> set[float]:
        """Return the total charges [e] that the parameters of eqcalc's potential state."""
        found = [_CHARGE.search(text) for text in self._parameters() if "symbols" in text]
        return {float(match.group(1)) for match in found if match is not None}

    def _parameters(self) -> list[str]:
        elements = [
            *self.root.findall("ffdirect/parameters"),
            *self.root.findall("ffsocket/parameters"),
        ]
        return [element.text or "" for element in elements]

    def systems(self, method: str | None = None) -> list[System]:
        """Return the systems of a checkpoint.

        Parameters
        ----------
        method
            Name of the dynamics, if it is none of those that are recognised.

        Raises
        ------
        InputError
            It is no checkpoint, or its dynamics is none that eqcalc knows.
        """
        if not self.is_checkpoint:
            raise InputError(f"{self.source} holds no beads; it is an input, not a checkpoint")
        return [self._system(element, method) for element in self.root.findall("system")]

    def _system(self, element: ElementTree.Element, stated: str | None) -> System:
        beads = element.find("beads")
        assert beads is not None
        names = _words(beads.findtext("names") or "")
        masses = numbers_in(beads.findtext("m") or "")
        motion = element.find("motion")
        kind = "nothing" if motion is None else motion.get("mode", "nothing").strip()
        dynamics = element.find("motion/dynamics")
        if dynamics is None or kind != "dynamics":
            raise InputError(f"{self.source}: expected <motion mode='dynamics'>, found {kind!r}")
        n_beads = int(beads.get("nbeads", "1"))
        method, time_constant = (
            _method(element, dynamics, n_beads) if stated is None else (stated, None)
        )
        try:
            numbers = [numbers_by_symbol[symbol(name)] for name in names]
        except KeyError as error:
            raise InputError(f"{self.source}: {error} is not an element") from None
        return System(
            prefix=element.get("prefix", "").strip(),
            numbers=np.array(numbers),
            masses=masses * atomic_units.MASS,
            n_beads=n_beads,
            temperature=_quantity(element.find("ensemble/temperature"), _TEMPERATURE, 1.0),
            timestep=_quantity(dynamics.find("timestep"), _TIME, 1.0),
            method=method,
            time_constant=time_constant,
        )

    def _number(self, tag: str, default: float) -> float:
        text = self.root.findtext(tag)
        try:
            return default if text is None or not text.strip() else float(text)
        except ValueError:
            raise InputError(f"{self.source}: <{tag}> must be a number, got {text!r}") from None

    def with_total_steps(self, steps: int) -> str:
        """Return the text with another length of the run."""
        element = self.root.find("total_steps")
        if element is None:
            element = ElementTree.SubElement(self.root, "total_steps")
        element.text = str(steps)
        return ElementTree.tostring(self.root, encoding="unicode")

    def physics(self) -> str:
        """Return the text without comments, layout and the length of the run."""
        root = ElementTree.fromstring(self.text)
        for element in root.findall("total_steps"):
            root.remove(element)
        return ElementTree.canonicalize(
            ElementTree.tostring(root, encoding="unicode"), strip_text=True
        )


def symbol(name: str) -> str:
    """Return the element of an atom of i-PI, which writes isotopes as ``C13``."""
    return _ISOTOPE.sub("", name)


def numbers_in(text: str) -> np.ndarray:
    """Return the numbers of an array of i-PI, ``[ 1.0, 2.0 ]``."""
    return np.array([float(word) for word in _words(text)])


def _words(text: str) -> list[str]:
    return re.sub(r"[\[\],]", " ", text).split()


def _quantity(
    element: ElementTree.Element | None, table: dict[str, float], default: float
) -> float:
    if element is None:
        return default
    unit = element.get("units", "").strip().lower()
    unit = "" if unit in ("automatic", "atomic_unit") else unit
    if unit not in table:
        raise InputError(f"unknown unit {unit!r} of <{element.tag}>; known: {', '.join(table)}")
    return float(element.text or "nan") * table[unit]


def _method(
    system: ElementTree.Element, dynamics: ElementTree.Element, n_beads: int
) -> tuple[str, float | None]:
    """Return the name of the dynamics and the time constant of its friction [fs]."""
    mode = dynamics.get("mode", "nve").strip()
    style = system.find("normal_modes/frequencies")
    if mode == "nve":
        return ("NVE" if n_beads == 1 else "RPMD"), None
    thermostat = dynamics.find("thermostat")
    kind = "" if thermostat is None else thermostat.get("mode", "").strip()
    constant = _quantity(
        None if thermostat is None else thermostat.find("tau"), _TIME, float("nan")
    )
    classical = {"langevin": "Langevin", "svr": "SVR", "gle": "GLE"}
    classical |= {"pile_l": "Langevin", "pile_g": "SVR", "nm_gle": "GLE"}
    quantum = {"pile_l": "PILE-L", "pile_g": "PILE-G", "nm_gle": "PIGLET", "nm_gle_g": "PIGLET"}
    names = classical if n_beads == 1 else quantum
    if mode != "nvt" or kind not in names:
        raise InputError(
            f"<dynamics mode={mode!r}> with <thermostat mode={kind!r}> and {n_beads} beads is "
            "none of the methods eqcalc knows; state method="
        )
    if kind == "pile_l" and n_beads > 1 and constant >= FREE_CENTROID:
        adiabatic = style is not None and style.get("style", "") in ("pa-cmd", "wmax-cmd")
        return ("PA-CMD" if adiabatic else "T-RPMD"), None
    return names[kind], None if "GLE" in names[kind] else constant
