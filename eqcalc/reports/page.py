# SPDX-License-Identifier: MIT
"""One self-contained HTML page: spectra that can be zoomed, lines whose motion is shown, tables.

A page needs no network and no library; what it shows is JSON in it, drawn by the scripts in
``assets``. Its content security policy forbids every request. Text is escaped here, and the
scripts set text, never markup.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors

from eqcalc._version import __version__
from eqcalc.molecules import bonds
from eqcalc.normal_modes import NormalModes, centred, principal_axes
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.infrared_absorption import INFRARED_QUANTITIES
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import (
    AVOGADRO,
    GAS_CONSTANT,
    RAMAN_CROSS_SECTION,
    SECOND_RADIATION_CONSTANT,
)
from eqcalc.validation import one_of

_ASSETS = Path(__file__).parent / "assets"
#: Scripts in the order in which they need each other.
_SCRIPTS = ("chart.js", "molecule.js", "page.js")
#: Points of a curve for each width of a line.
_POINTS_PER_WIDTH = 8
#: Atoms nearer than this multiple of the sum of their covalent radii are joined.
_BONDED = 1.2


@dataclass(frozen=True)
class Line:
    """A line in the lane of a treatment.

    Parameters
    ----------
    wavenumber, error
        cm⁻¹; the error nan if unknown.
    label
        Its state.
    infrared, raman, ratio
        km/mol, Å⁴/amu and depolarization ratio; nan if unknown.
    quanta
        Of the modes whose motion is shown, from zero.
    conformer
        Number of the molecule, from zero.
    facts
        What else is told about it.
    expected
        Where it is expected without the bias of its level, cm⁻¹: the centre of its error; nan if
        that is not known.
    """

    wavenumber: float
    label: str
    quanta: Mapping[int, int]
    error: float = math.nan
    infrared: float = math.nan
    raman: float = math.nan
    ratio: float = math.nan
    conformer: int = 0
    facts: Sequence[tuple[str, str]] = ()
    expected: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return what the script draws."""
        return {
            "x": _number(self.wavenumber, 7),
            "label": self.label,
            "quanta": {str(k): int(n) for k, n in self.quanta.items()},
            "error": _number(self.error),
            "expected": _number(self.expected, 7),
            "infrared": _number(self.infrared),
            "raman": _number(self.raman),
            "ratio": _number(self.ratio),
            "conformer": self.conformer,
            "facts": [list(fact) for fact in self.facts],
        }


@dataclass(frozen=True)
class Panel:
    """A spectrum with what is drawn over and below it.

    Parameters
    ----------
    kind
        ``"infrared"`` or ``"raman"``.
    title
        Heading.
    spectrum
        km/mol per cm⁻¹, or Å⁴/amu per cm⁻¹, on an even grid; with its standard error if known.
    measured
        Measured spectra in the same unit, or scaled to it.
    listed
        Lists of bands.
    """

    kind: str
    title: str
    spectrum: Spectrum
    measured: Sequence[Spectrum] = ()
    listed: Sequence[BandList] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what the script draws, with as many points as the width of a line needs."""
        shown = self.spectrum
        step = shown.even_step()
        width = shown.provenance.get("resolution_cm-1", step)
        every = max(1, int(width / _POINTS_PER_WIDTH / step))
        error = shown.standard_error
        return {
            "kind": self.kind,
            "title": self.title,
            "start": float(shown.wavenumber[0]),
            "step": every * step,
            "values": _numbers(shown.values[::every]),
            "error": None if error is None else _numbers(error[::every]),
            "measured": [
                {"name": m.label, "x": _numbers(m.wavenumber, 7), "y": _numbers(m.values)}
                for m in self.measured
            ],
            "listed": [_listed(bands) for bands in self.listed],
        }


@dataclass(frozen=True)
class Section:
    """A part of the page below the spectra; `body` is HTML."""

    title: str
    body: str


@dataclass(frozen=True, repr=False)
class Page:
    """What a page shows.

    Parameters
    ----------
    title, lead
        Heading and the line below it.
    panels
        Spectra.
    treatments
        Lines by treatment; a click into a spectrum selects one of the first treatment, to which
        rows of tables with an attribute ``data-stick`` refer by number.
    molecules
        Structures and normal modes by name.
    temperature
        Of the gas and of Raman cross-sections, K.
    sections
        Tables and text.
    footer
        Last line.
    """

    title: str
    lead: str
    panels: Sequence[Panel]
    treatments: Mapping[str, Sequence[Line]]
    molecules: Mapping[str, tuple[Atoms, NormalModes]]
    temperature: float
    sections: Sequence[Section] = ()
    footer: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r})"

    def _repr_html_(self) -> str:
        frame = "width: 100%; height: 45rem; border: 1px solid #ccc"
        return f'<iframe srcdoc="{escape(self.html())}" style="{frame}"></iframe>'

    def html(self) -> str:
        """Return the page."""
        used = [x.wavenumber for lines in self.treatments.values() for x in lines]
        ends = [panel.spectrum.wavenumber[[0, -1]] for panel in self.panels]
        first, last = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
        lower = 100.0 * math.floor(0.007 * min(used, default=first))
        upper = 100.0 * math.ceil(0.0107 * max(used, default=last))
        data = {
            "range": [max(first, lower), min(last, upper)],
            "constants": {
                **{name: factor for name, (_, _, factor) in INFRARED_QUANTITIES.items()},
                "gas": GAS_CONSTANT,
                "avogadro": AVOGADRO,
                "radiation": SECOND_RADIATION_CONSTANT,
                "raman": RAMAN_CROSS_SECTION,
                "temperature": self.temperature,
            },
            "panels": [panel.to_dict() for panel in self.panels],
            "treatments": [
                {"name": name, "sticks": [line.to_dict() for line in lines]}
                for name, lines in self.treatments.items()
            ],
            "conformers": [
                {"label": name, **_molecule(atoms, modes)}
                for name, (atoms, modes) in self.molecules.items()
            ],
        }
        sections = "".join(
            f"<section><h2>{escape(section.title)}</h2>{section.body}</section>"
            for section in self.sections
        )
        return Template(_asset("page.html")).substitute(
            title=escape(self.title),
            lead=escape(self.lead),
            style=_asset("page.css"),
            sections=sections,
            footer=escape(self.footer),
            data=embedded(data),
            script="\n".join(_asset(name) for name in _SCRIPTS),
        )


# --- HTML -----------------------------------------------------------------------------


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: Sequence[int] = (),
    sticks: Sequence[int | None] = (),
) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    head
        Titles; what follows a line break is set small.
    rows
        Texts.
    words
        Columns that are not numbers.
    sticks
        For each row the number of the line that it selects, or None.
    """

    def cell(tag: str, column: int, text: str) -> str:
        kind = " class='words'" if column in words else ""
        first, _, second = (escape(part) for part in text.partition("\n"))
        return f"<{tag}{kind}>{first}{f'<small>{second}</small>' if second else ''}</{tag}>"

    def line(tag: str, texts: Sequence[str], stick: int | None = None) -> str:
        chosen = "" if stick is None else f" data-stick='{stick}'"
        return f"<tr{chosen}>{''.join(cell(tag, i, text) for i, text in enumerate(texts))}</tr>"

    chosen = sticks or [None] * len(rows)
    body = "".join(line("td", row, stick) for row, stick in zip(rows, chosen, strict=True))
    return (
        f"<div class='scroll'><table><thead>{line('th', head)}</thead><tbody>{body}</tbody>"
        "</table></div>"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph as HTML."""
    return f"<p{f' class={kind!r}' if kind else ''}>{escape(text)}</p>"


def embedded(data: Any) -> str:
    """Return JSON that may stand in a script element of HTML, whatever texts are in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def bibliography(keys: Iterable[str]) -> str:
    """Return the entries of ``assets/citations.bib`` with these keys as BibTeX, each once.

    Raises
    ------
    InvalidInputError
        There is no such entry.
    """
    text = _asset("citations.bib").replace("VERSION", __version__)
    entries = {
        re.match(r"@\w+\{(\w+),", entry)[1]: entry.strip()  # type: ignore[index]
        for entry in re.split(r"\n(?=@)", text)
    }
    return "\n".join(entries[one_of("citation", key, entries)] for key in dict.fromkeys(keys))


# --- data -----------------------------------------------------------------------------


def _molecule(atoms: Atoms, modes: NormalModes) -> dict[str, Any]:
    """Return a structure and its modes in principal axes, the long one to the right."""
    axes = principal_axes(modes.positions, modes.masses)[1]
    axes = axes * np.sign(np.linalg.det(axes))
    numbers = atoms.numbers
    positions = centred(modes.positions, modes.masses) @ axes
    colors = np.rint(255 * jmol_colors[numbers]).astype(int)
    return {
        "symbols": [_isotope(int(z), m) for z, m in zip(numbers, modes.masses, strict=True)],
        "colors": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors.tolist()],
        "radii": _numbers(0.15 + 0.26 * covalent_radii[numbers], 3),
        "positions": [_numbers(row, 6) for row in positions],
        "bonds": bonds(Atoms(numbers, positions), _BONDED).tolist(),
        "modes": [
            {"wavenumber": _number(nu, 6), "vectors": [_numbers(row, 4) for row in vector @ axes]}
            for nu, vector in zip(modes.wavenumber, modes.vectors, strict=True)
        ],
    }


def _isotope(number: int, mass: float) -> str:
    """Return the symbol of an atom, D for heavy hydrogen."""
    return "D" if number == 1 and 1.5 < mass < 2.5 else chemical_symbols[number]


def _listed(bands: BandList) -> dict[str, Any]:
    n = len(bands.position)
    errors = np.full(n, np.nan) if bands.uncertainty is None else bands.uncertainty
    names = bands.names or [""] * n
    return {
        "label": bands.label,
        "bands": [
            {"x": _number(x, 7), "error": _number(u), "name": str(name)}
            for x, u, name in zip(bands.position, errors, names, strict=True)
        ],
    }


def _number(value: float, digits: int = 5) -> float | None:
    """Return a number with so many significant digits, None if it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _numbers(values: np.ndarray, digits: int = 5) -> list[float | None]:
    return [_number(value, digits) for value in np.asarray(values).tolist()]


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
