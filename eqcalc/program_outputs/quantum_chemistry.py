# SPDX-License-Identifier: MIT
"""What CP2K, Gaussian, ORCA, Psi4 and Q-Chem print, and in which axes and units."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.data import atomic_numbers

from eqcalc.program_outputs.steps import REAL, Output, Step, real
from eqcalc.units import conversion_factor

_GPA = conversion_factor("GPa", "hartree/bohr^3")
_BEGINNING = 2**16  # bytes in which a program names itself
#: Methods whose energy is not that of the self-consistent field.
_CORRELATED = re.compile(r"MP[2-5]|CC|CI|CEPA|B2|DSD|RPA|ADC|%casscf")
#: Words of inputs, in lower case, that change neither the energy nor its derivatives.
_TASKS = {
    "ORCA": r"[ru]ks|(very|extreme)?(tight|loose|normal)(opt|scf)|opt|sp|energy|engrad|"
    r"(num|an)?(freq|grad)|raman|nmr|(no)?(usesym|autostart|trah|soscf)|pal\d+|xyzfile|md|"
    r"(mini|small|large|normal)?print|keepdens|moread|slowconv|nopop|noprintmos",
    # options that set parameters of a functional begin with 3/7
    "Gaussian": r"iop\((?!.*3/7).*\)|(opt|freq|force|pop|geom|guess|scf|polar|density|scan|bomd|"
    r"gfinput|nmr|punch|output|formcheck|(no)?symm?(etry)?|prop|sp|test|units|maxdisk)([=(].*)?",
    "Q-Chem": r"job_?type|gui|symmetry|sym_ignore|no_reorient|thresh|unrestricted|time_step|"
    r"i?print.*|(mem|scf|max|geom_opt|molden|moprop|iqmol|aimd|lowdin|r?esp|hirshfeld)_?.*|"
    r"chelpg|cm5|doraman|anhar",
}
#: Words beside the name of a method in an input of ORCA.
_ORCA_MODIFIERS = re.compile(
    r"d[34](bj|zero)?|ri(jcosx|jonx|jk)?|no(ri|cosx)|autoaux|.*/(j|jk|c)|(no)?frozencore|"
    r"defgrid\d|(cpcm|smd|alpb|ddcosmo).*|zora|dkh2?|gcp.*"
)
#: Blocks of an input of ORCA that belong to the level of theory.
_ORCA_BLOCKS = r"%(?:basis|cpcm|method|rel|tddft|cis|rocis|casscf)\b.*?\bend\b"


def _without_tasks(words: list[str], program: str) -> list[str]:
    return [word for word in words if not re.fullmatch(_TASKS[program], word.lower())]


class Orca(Output):
    """ORCA: axes as in the input, moments about the centre of mass."""

    name = "ORCA"
    signature = "* O   R   C   A *"
    finished = "ORCA TERMINATED NORMALLY"
    _density = "SCF"  # versions before 6 do not print of which one moments are
    _origin: np.ndarray | None = None

    def _read_input(self, at: int) -> None:
        lines = [self._line(at)]
        for line in self._lines(at):
            if "END OF INPUT" in line:
                break
            lines.append(re.sub(r"^\|\s*\d+> ?", "", line))
        lines = [line.split("#")[0].strip() for line in lines]
        words = " ".join(line[1:] for line in lines if line.startswith("!")).split()
        words = [word for word in words if word.lower() != self.basis.lower()]
        words = _without_tasks(words, self.name)
        named = [word for word in words if not _ORCA_MODIFIERS.fullmatch(word.lower())]
        self.method = named[0].upper() if named else "HF"
        blocks = re.findall(_ORCA_BLOCKS, " ".join(lines), re.IGNORECASE)
        self.details = [word.upper() for word in words if word not in named[:1]]
        self.details += [" ".join(block.lower().split()) for block in blocks]

    def _read_basis(self, at: int) -> None:
        self.basis = self._line(at).strip()

    def _read_geometry(self, at: int) -> None:
        rows, positions = self._table(at)
        self._open([atomic_numbers[row[0]] for row in rows], positions)

    def _read_energy(self, at: int) -> None:
        super()._read_energy(at)
        if "not fully converged" in self._line(at):
            self._read_failure(at)

    def _read_charge(self, at: int) -> None:
        self.charge = self.step.charge = int(self._line(at).split()[-1])

    def _read_multiplicity(self, at: int) -> None:
        self.multiplicity = self.step.multiplicity = int(self._line(at).split()[-1])

    def _read_density(self, at: int) -> None:
        self._density = self._line(at).strip()

    def _read_origin(self, at: int) -> None:
        self._origin = self._reals(at, 3)

    def _is_of_other_method(self) -> bool:
        named = " ".join([self.method, *self.details])
        if "(T)" in self.method:  # its moments are those of CCSD
            return True
        return self._density == "SCF" and bool(_CORRELATED.search(named))

    def _read_dipole(self, at: int) -> None:
        if not self._is_of_other_method():
            self.step.dipole, self.step.origin = self._reals(at, 3), self._origin

    def _read_polarizability(self, at: int) -> None:
        if "Quad" not in self._line(at) and not self._is_of_other_method():
            tensor = self.text.index("raw cartesian tensor", at)
            self.step.polarizability = self._reals(tensor, 9).reshape(3, 3)

    headings: ClassVar[dict[str, Callable[..., None]]] = {
        r"\| +1> ": _read_input,
        r"Your calculation utilizes the basis:": _read_basis,
        r"CARTESIAN COORDINATES \(ANGSTROEM\)": _read_geometry,
        r"FINAL SINGLE POINT ENERGY": _read_energy,
        r"CARTESIAN GRADIENT|The final MP2 gradient": Output._read_gradient,
        r" Total Charge  ": _read_charge,
        r" Multiplicity  ": _read_multiplicity,
        r"Method +:": _read_density,
        r"The origin for moment calculation is|Position of electric origin": _read_origin,
        r"Total Dipole Moment +:": _read_dipole,
        r"(?:THE|STATIC) POLARIZABILITY TENSOR": _read_polarizability,
        r"[ *]+SCF NOT CONVERGED": Output._read_failure,
    }


class Gaussian(Output):
    """Gaussian: moments in the axes of the standard orientation, about its origin."""

    name = "Gaussian"
    signature = "Gaussian, Inc."
    finished = "Normal termination of Gaussian"
    _density = "SCF"

    def _read_route(self, at: int) -> None:
        route = self._line(at)
        for line in self._lines(at):
            if line.startswith(" --"):
                break
            route += line[1:]  # broken at a column, inside of words as well
        route = re.sub(r"^ ?#[pnt]?\b", "", route, flags=re.IGNORECASE).replace("#", " ")
        words = _without_tasks(re.findall(r"(?:\([^)]*\)|[^\s(])+", route), self.name)
        chosen = next((word for word in words if "/" in word), words[0] if words else "")
        self.method, _, self.basis = chosen.partition("/")
        self.details = [word.lower() for word in words if word != chosen]

    def _read_charge(self, at: int) -> None:
        words = self._line(at).split()
        self.charge, self.multiplicity = int(words[0]), int(words[-1])

    def _read_input_orientation(self, at: int) -> None:
        rows, positions = self._table(at)
        self._open([int(row[1]) for row in rows], positions)

    def _read_standard_orientation(self, at: int) -> None:
        if not self.steps or self.step.energy is not None:
            self._read_input_orientation(at)
        self.step.oriented, self.step.origin = self._table(at)[1], np.zeros(3)

    def _read_scf_energy(self, at: int) -> None:
        name = self._line(at).split(")")[0]  # such as RB3LYP or UHF
        if self.method.upper() == name.upper():
            self.method = re.sub(r"^(RO|R|U)", "", name)
        self.method = self.method.upper()
        self._density = "SCF"
        if _CORRELATED.search(self.method):
            self.step.fault = f"its energy at {self.method} is not found"
        else:
            self._read_energy(self.text.index("=", at))

    def _read_correlated_energy(self, at: int) -> None:
        if any(
            self.method == method and self.text.endswith(printed, 0, at)
            for method, printed in (("MP2", "EUMP2 ="), ("CCSD", "E(CORR)="), ("CCSD(T)", "(T)="))
        ):
            self._read_energy(at)
            self.step.fault = ""

    def _read_density(self, at: int) -> None:
        self._density = self._line(at).split()[0].upper()

    def _is_of_other_method(self) -> bool:
        return self._density == "SCF" and bool(_CORRELATED.search(self.method))

    def _read_dipole(self, at: int) -> None:
        # printed with more digits before, where there are derivatives
        if self.step.dipole is None and not self._is_of_other_method():
            self._read_dipole_debye(at)

    def _read_precise_dipole(self, at: int) -> None:
        self.step.dipole = self._reals(at, 3)

    def _read_polarizability(self, at: int) -> None:
        xx, xy, yy, xz, yz, zz = self._reals(at, 6)
        self.step.polarizability = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    def _read_forces(self, at: int) -> None:
        self._set_forces(self._table(at)[1])

    headings: ClassVar[dict[str, Callable[..., None]]] = {
        r"(?<=-\n) (?=#)": _read_route,
        r" Charge = ": _read_charge,
        r" +(?:Input|Z-Matrix) orientation:": _read_input_orientation,
        r" +Standard orientation:": _read_standard_orientation,
        r" SCF Done:  E\(": _read_scf_energy,
        r" E2 = .* EUMP2 =| DE\(Corr\)=.* E\(CORR\)=| CCSD\(T\)=": _read_correlated_energy,
        r" +Population analysis using the": _read_density,
        r" Dipole moment \(field-independent basis, Debye\):": _read_dipole,
        r" Dipole  +=": _read_precise_dipole,
        r" +Exact polarizability:| Polarizability=": _read_polarizability,
        r".*Forces \(Hartrees/Bohr\)": _read_forces,
    }


class QChem(Output):
    """Q-Chem: everything in the axes of the standard orientation, moments about its origin."""

    name = "Q-Chem"
    signature = "Welcome to Q-Chem"
    finished = "Thank you very much for using Q-Chem"

    def _read_settings(self, at: int) -> None:
        settings: dict[str, str] = {}
        for words in self._section(at):
            settings |= {words[0]: " ".join(words[1:])} if len(words) > 1 else {}
        self.basis = settings.pop("basis", "").upper()
        exchange = settings.pop("exchange", "")
        correlation = settings.pop("correlation", "")
        method = settings.pop("method", "") or correlation or exchange
        self.method = method.upper()
        kept = _without_tasks([*settings], self.name)
        self.details = [word for word in self.details if word.startswith("$")]
        self.details += [f"{key}={settings[key]}" for key in kept]
        if exchange and correlation:
            self.details.append(f"exchange={exchange}")

    def _section(self, at: int) -> Iterator[list[str]]:
        """Yield the words of the lines of a section of the input."""
        for line in self._lines(at):
            words = line.split("!")[0].replace("=", " ").lower().split()
            if words[:1] == ["$end"]:
                return
            yield words

    def _read_solvent(self, at: int) -> None:
        text = "$" + " ".join(" ".join(words) for words in self._section(at))
        self.details += [text] if text not in self.details else []

    def _read_molecule(self, at: int) -> None:
        words = next(self._lines(at), "").split()
        if len(words) == 2 and words[1].isdigit():
            self.charge, self.multiplicity = int(words[0]), int(words[1])

    def _read_geometry(self, at: int) -> None:
        rows, positions = self._table(at)
        self._open([atomic_numbers[row[1]] for row in rows], positions)
        self.step.origin = np.zeros(3)

    def _read_scf_energy(self, at: int) -> None:
        if _CORRELATED.search(self.method):
            self.step.fault = f"its energy at {self.method} is not found"
        else:
            self._read_energy(at)

    def _read_correlated_energy(self, at: int) -> None:
        name = self.text[self.text.rindex("\n", 0, at) : at].split()[0]
        if name == self.method.removeprefix("RI"):
            self._read_energy(at)
            self.step.fault = ""

    def _read_gradient(self, at: int) -> None:
        columns: list[np.ndarray] = []
        rows: list[list[float]] = []
        for line in self._lines(at):  # x, y and z of six atoms at a time
            words = line.split()
            if not words or not all(word.isdigit() for word in words[:1]):
                break
            if all(map(REAL.fullmatch, words[1:])) and len(words) > 1:
                rows.append([real(word) for word in words[1:]])
            if len(rows) == 3:
                columns.append(np.array(rows))
                rows = []
        self._set_forces(-np.concatenate(columns, axis=1).T)

    def _read_dipole(self, at: int) -> None:
        if not _CORRELATED.search(self.method):
            self._read_dipole_debye(at)

    def _read_polarizability(self, at: int) -> None:
        tensor = self._reals(at, 9).reshape(3, 3)
        # calculations of frequencies print the second derivative of the energy, which is negative
        self.step.polarizability = np.sign(np.trace(tensor)) * tensor

    headings: ClassVar[dict[str, Callable[..., None]]] = {
        r"\$rem": _read_settings,
        r"\$molecule": _read_molecule,
        r"\$(?:pcm|smx|solvent|chem_sol)": _read_solvent,
        r" +Standard Nuclear Orientation \(Angstroms\)": _read_geometry,
        r" Total energy in the final basis set =": _read_scf_energy,
        r" *\S+ +total energy +=": _read_correlated_energy,
        r" Gradient of SCF Energy": _read_gradient,
        r" +Dipole Moment \(Debye\)": _read_dipole,
        r" Polarizability Matrix \(a\.u\.\)| +Full Tensor:": _read_polarizability,
        r".*(?:Convergence failure|SCF failed to converge)": Output._read_failure,
    }


class Psi4(Output):
    """Psi4: axes of the printed geometry, moments about a printed origin."""

    name = "Psi4"
    signature = "Psi4: An Open-Source Ab Initio"
    finished = "Psi4 exiting successfully"
    _requested = _functional = ""
    _origin: np.ndarray | None = None

    def _read_request(self, at: int) -> None:
        self._requested = re.split("['\"]", self._line(at))[0].upper()

    def _read_functional(self, at: int) -> None:
        self._functional = self._line(at).split("<=")[0].strip().upper()

    def _read_basis(self, at: int) -> None:
        name = self._line(at).strip()
        self.basis = (
            name if not name.startswith("(") else self.basis
        )  # those in brackets are auxiliary

    def _read_geometry(self, at: int) -> None:
        charge, multiplicity = re.findall(r"-?\d+", self._line(at))
        self.charge, self.multiplicity = int(charge), int(multiplicity)
        rows, positions = self._table(at, slice(1, 4))
        self._open([atomic_numbers[row[0].capitalize()] for row in rows], positions)

    def _read_scf_energy(self, at: int) -> None:
        asked = self._requested if self._requested not in ("", "SCF") else ""
        self.method = asked or self._functional or "HF"
        if _CORRELATED.search(self.method):
            self.step.fault = f"its energy at {self.method} is not found"
        else:
            self._read_energy(at)

    def _read_correlated_energy(self, at: int) -> None:
        printed = self.text[self.text.rindex("\n", 0, at) : at]
        name = next((word for word in re.findall(r"[A-Z][A-Z\d()]+", printed)), "MP2")
        if name == self.method:
            self._read_energy(at)
            self.step.fault = ""

    def _read_origin(self, at: int) -> None:
        self._origin = self._reals(at, 3)

    def _read_moments(self, at: int) -> None:
        lines = [self._line(at), *(line for line, _ in zip(self._lines(at), "YZ", strict=False))]
        self._set_dipole(np.array([float(line.split()[-1]) for line in lines]))

    def _read_dipole(self, at: int) -> None:
        self._set_dipole(self._reals(at, 3))

    def _set_dipole(self, dipole: np.ndarray) -> None:
        if not _CORRELATED.search(self.method):
            self.step.dipole, self.step.origin = dipole, self._origin

    headings: ClassVar[dict[str, Callable[..., None]]] = {
        r"(?:.*= *)?(?:energy|gradient|opt\w*|freq\w*|hessian|prop\w*)\(['\"]": _read_request,
        r" +=> Composite Functional:": _read_functional,
        r" +Basis Set:": _read_basis,
        r" +Geometry \(in Angstrom\), charge =": _read_geometry,
        r" +@\S+ Final Energy:": _read_scf_energy,
        r"[ \t]+\* \S+ total energy += |\t Total Energy +=": _read_correlated_energy,
        r" +-Total (?:G|g)radient:": Output._read_gradient,
        r" ?Properties (?:will be|are) evaluated at": _read_origin,
        r" Dipole X +:": _read_moments,
        r" +Dipole Moment: \[e a0\]": _read_dipole,
        r".*Could not converge SCF": Output._read_failure,
    }


class Cp2k(Output):
    """CP2K: one geometry a calculation, unless it prints coordinates at every step."""

    name = "CP2K"
    signature = "CP2K|"
    finished = "PROGRAM ENDED AT"
    _cell = np.zeros((3, 3))
    _periodic = "XYZ"
    _origin: np.ndarray | None = None

    def _read_cell(self, at: int) -> None:
        row = "abc".index(self.text[at : at + 1])
        x, y, z, length = self._reals(self.text.index(":", at), 4)
        vector = np.array([x, y, z])
        # the length has more digits than the components
        self._cell = self._cell.copy()
        self._cell[row] = vector * length / np.linalg.norm(vector)

    def _read_periodicity(self, at: int) -> None:
        self._periodic = self._line(at).split()[-1]
        if self.steps:
            self._set_cell()

    def _set_cell(self) -> None:
        self.step.pbc = np.array([axis in self._periodic for axis in "XYZ"])
        self.step.cell = self._cell if self.step.pbc.any() else None

    def _read_charge(self, at: int) -> None:
        self.charge = int(self._line(at).split()[-1])

    def _read_multiplicity(self, at: int) -> None:
        self.multiplicity = int(self._line(at).split()[-1])

    def _read_functional(self, at: int) -> None:
        name = self._line(at).split(":")[0].strip()
        if name not in self.method.split("+"):
            self.method = "+".join(filter(None, [self.method, name]))

    def _read_xtb(self, _: int) -> None:
        self.method = "xTB"

    def _read_basis(self, at: int) -> None:
        name = re.sub(r"-q\d+$", "", self._line(at).split()[-1])
        names = {*self.basis.split("+"), name} - {""}
        self.basis = "" if self.method == "xTB" else "+".join(sorted(names))

    def _read_dispersion(self, at: int) -> None:
        word = re.split(r"[\s:]", self.text[:at].rsplit("|", 1)[-1].strip())[0]
        self.details += [word] if word not in self.details else []

    def _read_exchange(self, at: int) -> None:
        self.details.append(f"exchange={self._line(at).split()[-1]}")

    def _read_geometry(self, at: int) -> None:
        rows, positions = self._table(at, slice(4, 7))
        self._open([atomic_numbers[row[2]] for row in rows], positions)
        self._set_cell()

    def _read_energy(self, at: int) -> None:
        if self.step.energy is not None:  # of a geometry that is in another file
            self.steps.append(Step(fault="the positions of its later steps are in another file"))
        super()._read_energy(self.text.index(":", at))

    def _read_forces(self, at: int) -> None:
        self._set_forces(self._table(at)[1])

    def _read_forces_and_norms(self, at: int) -> None:
        self._set_forces(self._table(at, slice(2, 5))[1])

    def _read_stress(self, at: int) -> None:
        self.step.stress = -_GPA * self._table(at)[1]  # positive under compression

    def _read_dipole(self, at: int) -> None:
        self._read_dipole_debye(at)
        self.step.origin = self._origin

    def _read_origin(self, at: int) -> None:
        self._origin = self._reals(at, 3)

    def _read_polarizability(self, at: int) -> None:
        xx, yy, zz, xy, xz, yz, yx, zx, zy = self._reals(at, 9)
        self.step.polarizability = np.array([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])

    headings: ClassVar[dict[str, Callable[..., None]]] = {
        r" CELL\| Vector (?=[abc] \[angstrom)": _read_cell,
        r" POISSON\| Periodicity": _read_periodicity,
        r" DFT\| Charge": _read_charge,
        r" DFT\| Multiplicity": _read_multiplicity,
        r" FUNCTIONAL\| (?=[A-Z][\w-]+:$)": _read_functional,
        r" +Orbital Basis Set": _read_basis,
        r" vdW POTENTIAL\| +(?:DFT-D\d|Zero|BJ)": _read_dispersion,
        r" HFX_INFO\| FRACTION": _read_exchange,
        r" xTB\| Parameter": _read_xtb,
        r" MODULE QUICKSTEP: +ATOMIC COORDINATES IN (?:angstrom|ANGSTROM)": _read_geometry,
        r" ENERGY\| Total FORCE_EVAL": _read_energy,
        r" ATOMIC FORCES in \[a\.u\.\]": _read_forces,
        r" FORCES\| Atomic forces \[hartree/bohr\]": _read_forces_and_norms,
        r" STRESS TENSOR \[GPa\]| STRESS\| Analytical stress tensor \[GPa\]": _read_stress,
        r" +Dipole moment \[Debye\]": _read_dipole,
        r" +Reference Point \[Bohr\]": _read_origin,
        r" POLAR\| Polarizability tensor \[a\.u\.\]": _read_polarizability,
        r".*SCF run NOT converged": Output._read_failure,
    }


#: Programs whose outputs are recognised.
PROGRAMS: tuple[type[Output], ...] = (Cp2k, Gaussian, Orca, Psi4, QChem)


def program_of(path: Path) -> type[Output] | None:
    """Return the program whose output a file is; None if it is not one of :data:`PROGRAMS`."""
    with path.open("rb") as stream:
        beginning = stream.read(_BEGINNING).decode(errors="replace")
    return next((program for program in PROGRAMS if program.signature in beginning), None)
