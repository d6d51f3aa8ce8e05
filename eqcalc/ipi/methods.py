# SPDX-License-Identifier: MIT
"""Kinds of dynamics in the words of i-PI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np

from eqcalc.ipi.description import FREE_CENTROID, InputError


@dataclass(frozen=True)
class IPIMethod:
    """A kind of dynamics."""

    name: ClassVar[str]
    #: Ring polymers, or classical nuclei.
    ring_polymer: ClassVar[bool] = True
    #: ``<dynamics mode=...>``.
    ensemble: ClassVar[str] = "nvt"
    #: Dipole and polarizability are those of the centroid, not the mean over the beads.
    at_centroid: ClassVar[bool] = False
    #: Internal modes have other masses than the atoms, and so other momenta.
    fictitious_masses: ClassVar[bool] = False

    def check(self, beads: int) -> None:
        """Raise InputError unless the number of beads fits the method."""
        if self.ring_polymer and beads < 2:
            raise InputError(f"{self.name} needs at least 2 beads, got {beads}")
        if not self.ring_polymer and beads != 1:
            raise InputError(f"{self.name} is of classical nuclei: 1 bead, got {beads}")

    def thermostat(self) -> list[str]:
        """Return the thermostat, as lines of XML."""
        return []

    def normal_modes(self) -> list[str]:
        """Return the treatment of the ring polymer, as lines of XML."""
        return []


@dataclass(frozen=True)
class NVE(IPIMethod):
    """Classical dynamics at constant energy."""

    name: ClassVar[str] = "NVE"
    ring_polymer: ClassVar[bool] = False
    ensemble: ClassVar[str] = "nve"


@dataclass(frozen=True)
class Langevin(IPIMethod):
    """Classical dynamics with white noise of friction 1/`time_constant` [fs]."""

    time_constant: float = 100.0

    name: ClassVar[str] = "Langevin"
    ring_polymer: ClassVar[bool] = False

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        return _white_noise("langevin", self.time_constant)


@dataclass(frozen=True)
class SVR(IPIMethod):
    """Classical dynamics with stochastic velocity rescaling in `time_constant` [fs]."""

    time_constant: float = 100.0

    name: ClassVar[str] = "SVR"
    ring_polymer: ClassVar[bool] = False

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        return _white_noise("svr", self.time_constant)


@dataclass(frozen=True)
class RPMD(IPIMethod):
    """Ring-polymer dynamics at constant energy, to be started from equilibrated checkpoints."""

    name: ClassVar[str] = "RPMD"
    ensemble: ClassVar[str] = "nve"


@dataclass(frozen=True)
class TRPMD(IPIMethod):
    """Thermostatted RPMD: friction 2λω_k on the internal modes, λ = `damping`, centroid free.

    Rossi, Ceriotti and Manolopoulos, J. Chem. Phys. 140, 234116 (2014).
    """

    damping: float = 0.5

    name: ClassVar[str] = "T-RPMD"

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        return _free_centroid(self.damping)


@dataclass(frozen=True)
class PILEL(IPIMethod):
    """Path-integral Langevin, `time_constant` [fs] on the centroid; samples the ensemble.

    Ceriotti, Parrinello, Markland and Manolopoulos, J. Chem. Phys. 133, 124104 (2010).
    """

    time_constant: float = 100.0
    damping: float = 1.0

    name: ClassVar[str] = "PILE-L"

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        return _white_noise("pile_l", self.time_constant, self.damping)


@dataclass(frozen=True)
class PILEG(IPIMethod):
    """As PILE-L, with velocity rescaling of the centroid; λ = 1/2 is i-PI's T-RPMD example."""

    time_constant: float = 100.0
    damping: float = 1.0

    name: ClassVar[str] = "PILE-G"

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        return _white_noise("pile_g", self.time_constant, self.damping)


@dataclass(frozen=True)
class PACMD(IPIMethod):
    """Partially adiabatic centroid molecular dynamics.

    Hone, Rossky and Voth, J. Chem. Phys. 124, 154103 (2006). The internal modes of the ring
    are moved up to one `frequency` [cm⁻¹] by light fictitious masses and thermostatted; the
    centroid moves freely. The time step must resolve that frequency: 0.05 fs at 16 000 cm⁻¹.
    """

    frequency: float = 16000.0
    damping: float = 0.01

    name: ClassVar[str] = "PA-CMD"
    at_centroid: ClassVar[bool] = True
    fictitious_masses: ClassVar[bool] = True

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        return _free_centroid(self.damping)

    def normal_modes(self) -> list[str]:
        """Return the frequency of the internal modes."""
        return [
            "<!-- the internal modes are fast, so that the centroid moves in their mean force -->",
            "<normal_modes> <frequencies style='pa-cmd' units='inversecm'> "
            f"[ {self.frequency:g} ] </frequencies> </normal_modes>",
        ]


@dataclass(frozen=True)
class PIGLET(IPIMethod):
    """Ring polymer with a generalised Langevin equation; few beads sample quantum statistics.

    Ceriotti and Manolopoulos, Phys. Rev. Lett. 109, 100604 (2012).

    Parameters
    ----------
    matrices
        File with the elements ``<A>`` and ``<C>`` for i-PI, ``[n_beads, n + 1, n + 1]`` each,
        as the generator at gle4md.org writes them for a temperature and number of beads.
    """

    matrices: str | Path

    name: ClassVar[str] = "PIGLET"

    def check(self, beads: int) -> None:
        """Raise InputError unless there are matrices for this number of beads."""
        super().check(beads)
        shapes = {tag: _matrix(element, self.matrices).shape for tag, element in self._elements()}
        if len(set(shapes.values())) != 1 or shapes["A"][0] != beads:
            raise InputError(
                f"{self.matrices}: expected <A> and <C> of the same shape with {beads} matrices "
                f"each, found {shapes['A']} and {shapes['C']}"
            )

    def thermostat(self) -> list[str]:
        """Return the thermostat."""
        texts = [ElementTree.tostring(e, encoding="unicode").strip() for _, e in self._elements()]
        return ["<thermostat mode='nm_gle'>", *texts, "</thermostat>"]

    def _elements(self) -> list[tuple[str, ElementTree.Element]]:
        path = Path(self.matrices)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            root = ElementTree.fromstring(f"<all>{path.read_text(encoding='utf-8')}</all>")
        except ElementTree.ParseError as error:
            raise InputError(f"{path} is not XML: {error}") from None
        found = []
        for tag in ("A", "C"):
            element = root.find(f".//{tag}")
            if element is None:
                raise InputError(f"{path}: there is no <{tag}>; choose i-PI as the output format")
            found.append((tag, element))
        return found


def _matrix(element: ElementTree.Element, source: str | Path) -> np.ndarray:
    """Return a matrix of i-PI, ``[n_beads, n, n]``."""
    try:
        shape = tuple(int(word) for word in element.get("shape", "").strip("() ").split(","))
        words = (element.text or "").replace("[", " ").replace("]", " ").replace(",", " ").split()
        matrix = np.array([float(word) for word in words]).reshape(shape)
    except ValueError as error:
        raise InputError(f"{source}: cannot read <{element.tag}>: {error}") from None
    square = matrix.ndim == 3 and len(set(matrix.shape[1:])) == 1
    if not square or not np.isfinite(matrix).all():
        raise InputError(
            f"{source}: <{element.tag}> must hold finite square matrices, shape='(n_beads, n, n)', "
            f"got {matrix.shape}"
        )
    return matrix


def _white_noise(mode: str, time_constant: float, damping: float | None = None) -> list[str]:
    if not time_constant > 0.0:
        raise InputError(f"the time constant must be positive, got {time_constant}")
    scale = "" if damping is None else f" <pile_lambda> {damping:g} </pile_lambda>"
    return [
        f"<thermostat mode='{mode}'> <tau units='femtosecond'> {time_constant:g} </tau>{scale} "
        "</thermostat>"
    ]


def _free_centroid(damping: float) -> list[str]:
    return [
        "<!-- a time constant without end: nothing acts on the centroid -->",
        *_white_noise("pile_l", 1e6 * FREE_CENTROID, damping),
    ]


#: Every method that needs no matrices, by name.
METHODS: dict[str, type[IPIMethod]] = {
    m.name: m for m in (NVE, Langevin, SVR, RPMD, TRPMD, PILEL, PILEG, PACMD)
}
