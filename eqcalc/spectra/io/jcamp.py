# SPDX-License-Identifier: MIT
"""JCAMP-DX, the exchange format of spectroscopy.

Reads the uncompressed form (AFFN) and the compressed ones (PAC, SQZ, DIF, DUP) of McDonald and
Wilks, Appl. Spectrosc. 42, 151 (1988). Writes AFFN in full precision, with everything beyond the
format in private labels.

The package jcamp is not used: of the 86 infrared and Raman files in its collection, it
fails on 4 and returns too few points for 2.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eqcalc.spectra.io.text import averaged
from eqcalc.spectra.provenance import molecular_formula, provenance_facts, title
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import SPEED_OF_LIGHT_CM_PER_FS, WAVENUMBER_PER_EV
from eqcalc.validation import InvalidFileError, number_in, numbers_in

_LINE = 78


# --- writing ----------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Return text in the character set of JCAMP-DX."""
    replaced = text.replace("Å", "A").replace("⁻¹", "^-1").replace("⁴", "^4").replace("²", "^2")
    return replaced.encode("ascii", "replace").decode()


def _labelled(label: str, text: str) -> list[str]:
    """Return a labelled record wrapped to the line length of JCAMP-DX."""
    # these begin a label and a comment there
    plain = _plain(text).replace("##", "# #").replace("$$", "$ $")
    return textwrap.wrap(f"##{label}= {plain}", _LINE, break_on_hyphens=False)


def write_jcamp(spectrum: Spectrum, record: dict[str, Any]) -> str:
    """Return a spectrum as the text of a JCAMP-DX file.

    The record, JSON-able, is kept in the private label ``$EQCALC``.

    Raises
    ------
    InvalidFileError
        A value is not finite.
    """
    x, y = spectrum.wavenumber, spectrum.values
    if not np.isfinite(y).all():
        raise InvalidFileError(
            f"JCAMP-DX has no undefined values, as there are in the {spectrum.label}",
            advice="write .h5 or .csv, or cut the range with between()",
        )
    # avoid characters that are special in JCAMP-DX or lost at the end of a line: blanks then remain
    # in strings only, where they are escaped
    compact = json.dumps(record, separators=(",", ":"))
    escaped = compact.translate({ord(c): f"\\u{ord(c):04x}" for c in " $#="})
    molecule = molecular_formula(spectrum.provenance)
    kind = "RAMAN SPECTRUM" if "Raman" in spectrum.label else "INFRARED SPECTRUM"
    lines = [
        *_labelled("TITLE", title(spectrum.label, spectrum.provenance)),
        "##JCAMP-DX= 4.24",
        f"##DATA TYPE= {kind}",
        "##ORIGIN= eqcalc",
        "##OWNER= see $EQCALC",
        *([] if molecule is None else _labelled("MOLFORM", molecule)),
        f"##RESOLUTION= {spectrum.provenance.get('resolution_cm-1', 'not stated')}",
        "##XUNITS= 1/CM",
        f"##YUNITS= {_plain(spectrum.unit).upper()}",
        "##XFACTOR= 1",
        "##YFACTOR= 1",
        f"##FIRSTX= {float(x[0])!r}",
        f"##LASTX= {float(x[-1])!r}",
        f"##FIRSTY= {float(y[0])!r}",
        f"##MAXY= {float(y.max())!r}",
        f"##MINY= {float(y.min())!r}",
        f"##NPOINTS= {len(x)}",
        *(
            line
            for name, fact in provenance_facts(spectrum.provenance).items()
            for line in _labelled(f"${name.upper()}", fact)
        ),
        "##$EQCALC=",
        *(escaped[i : i + _LINE] for i in range(0, len(escaped), _LINE)),
    ]
    if spectrum.standard_error is not None:
        lines.append("##$STANDARD ERROR=")
        lines += [repr(float(e)) for e in spectrum.standard_error]
    # as ##XYPOINTS=, which the standard has for uneven abscissae, fewer programs read it
    lines.append("##XYDATA= (XY..XY)")
    lines += [f"{float(a)!r}, {float(b)!r}" for a, b in zip(x, y, strict=True)]
    return "\n".join([*lines, "##END=", ""])


#: Labels that are read into the provenance of a spectrum.
_KEPT = (
    *("TITLE", "DATATYPE", "ORIGIN", "OWNER", "DATE", "STATE", "RESOLUTION", "PATHLENGTH"),
    *("TEMPERATURE", "PRESSURE", "CONCENTRATIONS", "CASREGISTRYNO", "MOLFORM"),
)

# --- reading ----------------------------------------------------------------------------

_SQZ = {c: str(i) for i, c in enumerate("@ABCDEFGHI")} | {
    c: f"-{i}" for i, c in enumerate("abcdefghi", 1)
}
_DIF = {c: str(i) for i, c in enumerate("%JKLMNOPQR")} | {
    c: f"-{i}" for i, c in enumerate("jklmnopqr", 1)
}
_DUP = {c: str(i) for i, c in enumerate("STUVWXYZs", 1)}
_MANTISSA = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBER = _MANTISSA + r"(?:[Ee][+-]?\d+)?"
#: No spectrum reaches this far [cm⁻¹].
LARGEST_WAVENUMBER = 1e7

_TOKEN = re.compile(rf"([@A-Ia-i%J-Rj-rS-Zs])(\d*(?:\.\d*)?)|({_NUMBER})|(\?)|[\s,;]+|(.)")
#: Labels of tables of values: curves first, then lists of bands.
_CURVES, _PEAKS = ("XYDATA", "XYPOINTS"), ("PEAKTABLE", "PEAKASSIGNMENTS")
#: Points to which repetitions (DUP) may expand a table, or twice its characters if these are more.
_MOST_POINTS = 1_000_000
#: Largest distance of the abscissa of a line from the even grid, in spacings: the lines of some
#: programs begin with the abscissa of the point before or after.
_TOLERANCE = 1.1
#: cm⁻¹/THz
_TERAHERTZ = 1e-3 / SPEED_OF_LIGHT_CM_PER_FS
#: Units of the abscissa: wavenumber [cm⁻¹] of one unit, and its power, −1 for wavelengths.
_WAVENUMBERS = r"(?:1?/|PER|RECIPROCAL|INVERSE)(?:CM|CENTIMET(?:ER|RE)S?)|CM-1|KAYSERS?"
_AXES = {
    rf"(?:WAVENUMBERS?|RAMANSHIFT|SHIFT|DELTA)?(?:IN|,|/)?(?:{_WAVENUMBERS})(?:RAMANSHIFT)?": (
        1.0,
        1,
    ),
    r"(?:WAVENUMBERS?)?(?:IN)?(?:1/M|M-1)": (0.01, 1),
    r"(?:WAVENUMBERS?)?(?:IN)?(?:1/MM|MM-1)": (10.0, 1),
    r"(?:WAVENUMBERS?)?(?:IN)?(?:1/UM|UM-1)": (1e4, 1),
    r"(?:WAVENUMBERS?)?(?:IN)?(?:1/NM|NM-1)": (1e7, 1),
    r"WAVENUMBERS?|RAMANSHIFT": (1.0, 1),
    r"(?:WAVELENGTHS?)?(?:IN)?(?:MICROMET(?:ER|RE)S?|MICRONS?|UM)": (1e4, -1),
    r"(?:WAVELENGTHS?)?(?:IN)?(?:NANOMET(?:ER|RE)S?|NM)": (1e7, -1),
    r"(?:FREQUENCY)?(?:IN)?(?:TERAHERTZ|THZ)": (_TERAHERTZ, 1),
    r"(?:FREQUENCY)?(?:IN)?(?:GIGAHERTZ|GHZ)": (1e-3 * _TERAHERTZ, 1),
    r"(?:WAVENUMBERS?)?(?:IN)?(?:KK|KILOKAYSERS?)": (1e3, 1),
    r"(?:(?:PHOTON)?ENERGY)?(?:IN)?(?:EV|ELECTRONVOLTS?)": (WAVENUMBER_PER_EV, 1),
    r"(?:(?:PHOTON)?ENERGY)?(?:IN)?(?:MEV|MILLIELECTRONVOLTS?)": (1e-3 * WAVENUMBER_PER_EV, 1),
}


class Ordinates(NamedTuple):
    """An ``(X++(Y..Y))`` table, unscaled."""

    starts: np.ndarray  #: ``[n_lines]``, abscissa at the start of each line
    rounding: np.ndarray  #: ``[n_lines]``, half a unit of the last digit of each
    indices: np.ndarray  #: ``[n_lines]``, of the first ordinate of each line
    values: np.ndarray  #: ``[n_points]``


def decode_ordinates(lines: list[str]) -> Ordinates:
    """Decode the lines of an ``(X++(Y..Y))`` table.

    Raises
    ------
    InvalidFileError
        A character is invalid, a line does not continue the previous one, or repetitions expand
        a short table to more than a million points.
    """
    starts: list[tuple[float, float, int]] = []
    values: list[float] = []
    most = max(_MOST_POINTS, 2 * sum(map(len, lines)))
    differences = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        # "1E5" at the head could be 1 and the SQZ ordinate 55; exponents there are AFFN only
        head = re.match(rf"{_NUMBER}(?=[\s,])", text) or re.match(_MANTISSA, text)
        if head is None:
            raise _error(number, f"no abscissa: {line[:40]!r}")
        decoded, ended = _decode_line(text[head.end() :], number, most - len(values))
        if differences:
            # the first ordinate repeats the last one of the line before
            if not decoded or not np.isclose(decoded[0], values[-1], rtol=1e-6, atol=0.5):
                problem = "does not continue the line before it: the file is damaged or truncated"
                raise _error(number, problem)
            values.pop()
        if decoded:
            written, _, exponent = head.group().upper().partition("E")
            last_digit = int(exponent or 0) - len(written.partition(".")[2])
            starts.append((float(head.group()), 0.5 * 10.0 ** min(last_digit, 300), len(values)))
        values.extend(decoded)
        differences = ended
    columns = np.array(starts, dtype=float).reshape(-1, 3).T
    if np.isinf(ordinates := np.array(values)).any() or not np.isfinite(columns).all():
        raise InvalidFileError("a number is too large", key="##XYDATA")
    return Ordinates(columns[0], columns[1], columns[2].astype(int), ordinates)


def _decode_line(text: str, number: int, most: int) -> tuple[list[float], bool]:
    """Return the ordinates of one line and whether it ended in a difference."""
    values: list[float] = []
    step: float | None = None
    for match in _TOKEN.finditer(text):
        code, digits, plain, unknown, bad = match.groups()
        if bad is not None:
            raise _error(number, f"unexpected character {bad!r}")
        if code is None:
            if plain is not None or unknown is not None:
                values.append(float(plain or "nan"))
                step = None
        elif code in _SQZ:
            values.append(float(_SQZ[code] + digits))
            step = None
        elif not values:
            raise _error(number, f"starts with the difference {code!r}")
        elif code in _DIF:
            step = float(_DIF[code] + digits)
            values.append(values[-1] + step)
        else:
            # total number of occurrences of the previous item
            repeats = float(_DUP[code] + digits) - 1.0
            if not repeats <= most - len(values):
                raise _error(number, f"{match.group()[:20]!r} repeats a value too often")
            last, change = values[-1], step or 0.0
            values.extend(last + change * k for k in range(1, int(repeats) + 1))
    return values, step is not None


def _error(number: int, problem: str) -> InvalidFileError:
    return InvalidFileError(problem, key=f"line {number} of the table")


def _blocks(text: str) -> list[dict[str, str]]:
    """Return the labelled data records of each block; keys without blanks and in upper case."""
    blocks: list[dict[str, str]] = []
    opened: list[dict[str, str]] = []
    for chunk in re.split(r"^[ \t]*##", text, flags=re.MULTILINE)[1:]:
        label, _, value = chunk.partition("=")
        key = re.sub(r"[\s\-_/]", "", label).upper()
        if key == "END":
            for block in opened[-1:]:
                block["END"] = ""
            opened = opened[:-1]
        elif key:
            if key == "TITLE" or not opened:
                opened.append({})
                blocks.append(opened[-1])
            kept = value if key.startswith("$") else re.sub(r"\$\$.*", "", value)
            opened[-1].setdefault(key, kept)
    return blocks


def _spectrum_block(blocks: list[dict[str, str]]) -> dict[str, str]:
    """Return the block of the only spectrum; in a compound file others may describe the sample."""
    curves = [block for block in blocks if any(label in block for label in _CURVES)]
    found = curves or [block for block in blocks if any(label in block for label in _PEAKS)]
    found = [b for b in found if _is_vibrational(b)] or found
    if len(found) == 1:
        return found[0]
    if found:
        titles = ", ".join(repr(block.get("TITLE", "").strip()[:30]) for block in found[:5])
        raise InvalidFileError(
            f"{len(found)} spectra in one file ({titles}{', …' if len(found) > 5 else ''})",
            expected="one",
            advice="write each block, from ##TITLE= to ##END=, to a file of its own",
        )
    for block in blocks:
        if "NTUPLES" in block:
            kind = " ".join(block["NTUPLES"].split()[:4])
            raise InvalidFileError(
                key="##NTUPLES", value=kind, expected="one spectrum with a table ##XYDATA="
            )
    raise InvalidFileError(
        expected="a JCAMP-DX file, with a table ##XYDATA=, ##XYPOINTS=, ##PEAK TABLE= or ##PEAK "
        "ASSIGNMENTS="
    )


def _is_vibrational(records: dict[str, str]) -> bool:
    """Return whether a block is said to be an infrared or Raman spectrum."""
    return bool(re.search("INFRARED|RAMAN|FT-?IR", records.get("DATATYPE", "").upper()))


def _number(records: dict[str, str], key: str, default: float | None = None) -> float:
    text = records.get(key, "").strip().replace(",", ".")
    if not text and default is not None:
        return default
    number = number_in(text.split()[0]) if text else None
    if number is None:
        raise InvalidFileError(key=f"##{key}", expected="a number", value=text[:60])
    return number


def _factor(records: dict[str, str], key: str) -> float:
    """Return the factor of a column, which is 1 if it is not stated."""
    factor = _number(records, key, 1.0)
    if factor == 0.0 or not np.isfinite(factor):
        raise InvalidFileError(key=f"##{key}", value=factor, expected="a factor other than zero")
    return factor


def read_jcamp(text: str, path: Path) -> tuple[Spectrum, str | None, np.ndarray | None]:
    """Return the spectrum in the text of a JCAMP-DX file; the name is for the provenance.

    The abscissa becomes a wavenumber in cm⁻¹, ascending; the ordinate keeps the unit of the file.
    A list of bands (``##PEAK TABLE=``) is marked in the provenance. If eqcalc wrote the file, its
    JSON record and standard error are returned too.
    """
    records = _spectrum_block(_blocks("\n".join(text.splitlines())))
    label = next(key for key in (*_CURVES, *_PEAKS) if key in records)
    form, *lines = records[label].strip().split("\n")
    form = re.sub(r"\s", "", form).upper()
    if re.search(r"^\s*[+-]?\d+,\d+\s*$", records.get("FIRSTX", "") or records.get("MAXX", "")):
        lines = [line.replace(",", ".") for line in lines]  # decimal commas
    warnings: tuple[str, ...] = ()
    names: list[str] = []
    if form.startswith("(X++(Y..Y)"):
        x, y, warnings = _evenly_spaced(records, [line for line in lines if line.strip()])
    elif label == _PEAKS[1]:
        x, y, names = _assigned(form, lines)
        x = x * _factor(records, "XFACTOR")
    elif tuple_form := re.fullmatch(r"\((XY[A-Z]?)\.*(?:XY[A-Z]?)?\)", form):
        x, y = _pairs(f"##{label}", lines, len(tuple_form.group(1)))
        if len(x) == 2.0 * _number(records, "NPOINTS", 0.0) and len(tuple_form.group(1)) == 2:
            lines = [re.sub(r"(\d),(\d)", r"\1.\2", line) for line in lines]  # decimal commas
            x, y = _pairs(f"##{label}", lines, 2)
        x = x * _factor(records, "XFACTOR")
        if label in _CURVES:
            _check_ends(records, x)
    else:
        raise InvalidFileError(
            key=f"##{label}", expected="(X++(Y..Y)) or (XY..XY)", value=form[:40]
        )
    warnings += (*_stated_end(records), *_stated_ordinates(records, y)) if label in _CURVES else ()
    y = y * _factor(records, "YFACTOR")
    n_points = _number(records, "NPOINTS", float(len(x)))
    if n_points != len(x):
        raise InvalidFileError(
            f"the table has {len(x)} points: the file is damaged or truncated",
            key="##NPOINTS",
            value=n_points,
        )
    if "XUNITS" not in records and not _is_vibrational(records):
        raise InvalidFileError(
            "missing, and not said to be an infrared or Raman spectrum", key="##XUNITS"
        )
    axis = records.get("XUNITS", "1/CM")
    x = to_wavenumber(x, axis, records.get("DATATYPE", ""), "##XUNITS")
    by_position = dict(zip(x.tolist(), names, strict=False))
    x, y = averaged(x, y)
    record = records.get("$EQCALC")
    error = None
    if "$STANDARDERROR" in records:
        error = np.array(numbers_in(records["$STANDARDERROR"], "##$STANDARD ERROR"))
    provenance: dict[str, Any] = {
        k: records[k].strip() for k in _KEPT if records.get(k, "").strip()
    }
    if label in _PEAKS:
        provenance["table"] = "peak table"
    if by_position:
        provenance["assignments"] = [by_position.get(float(position), "") for position in x]
    spectrum = Spectrum(
        wavenumber=x,
        values=y,
        unit=records.get("YUNITS", "ARBITRARY UNITS").strip(),
        label=records.get("TITLE", "").strip() or path.stem,
        provenance={"file": path.name, **provenance},
        warnings=warnings,
    )
    joined = None if record is None else "".join(record.split())
    return spectrum, joined, error


def _check_ends(records: dict[str, str], x: np.ndarray) -> None:
    """Raise an error unless a table of pairs has the ends that the labels state, in any order."""
    stated = {key: number_in(records.get(key, "").strip()) for key in ("FIRSTX", "LASTX")}
    ends = sorted((value, key) for key, value in stated.items() if value is not None)
    if len(ends) < 2 or not len(x):
        return
    spacing = np.abs(np.diff(x)).max(initial=0.0)
    for (value, key), found in zip(ends, (x.min(), x.max()), strict=True):
        if not abs(value - found) <= _TOLERANCE * spacing + 1e-4 * abs(value):
            raise InvalidFileError(
                f"the table ends at {found:g}: is ##XFACTOR right, is it whole?",
                key=f"##{key}",
                value=value,
            )


def _stated_end(records: dict[str, str]) -> tuple[str, ...]:
    """Return a warning if nothing says where the table ends."""
    if "NPOINTS" in records or "END" in records:
        return ()
    return ("neither ##NPOINTS= nor ##END= tells whether the file is complete",)


def _stated_ordinates(records: dict[str, str], y: np.ndarray) -> tuple[str, ...]:
    """Return a warning if labels state other ordinates than the table has, before its factor.

    Many programs state them without the factor, too, of integers.
    """
    factor = _factor(records, "YFACTOR")
    y = y[np.isfinite(y)]
    if not len(y):
        return ()
    scaled = factor * y
    found = {"FIRSTY": scaled[0], "MAXY": scaled.max(), "MINY": scaled.min()}
    allowed = [1.0, factor] if np.array_equal(y, np.rint(y)) else [1.0]
    for key, value in found.items():
        stated = number_in(records.get(key, "").strip())
        if stated is None:
            continue
        rounding = max(0.01 * abs(value), 2.0 * abs(factor), 1e-3 * float(np.abs(scaled).max()))
        if min(abs(stated * by - value) for by in allowed) > rounding:
            what = {"FIRSTY": "first", "MAXY": "largest", "MINY": "smallest"}[key]
            return (f"##{key} is {stated:g}, the {what} ordinate {value:g}: is ##YFACTOR right?",)
    return ()


def _assigned(form: str, lines: list[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return positions, intensities (nan where there are none) and names of assigned bands.

    They are groups in parentheses, ``(X, Y, <name>)``, of the form ``(XYA)`` or without the Y.
    """
    n_numbers = 2 if form.startswith("(XY") else 1
    x: list[float] = []
    y: list[float] = []
    names: list[str] = []
    for group, name in re.findall(r"\(([^()<>]*)<([^>]*)>[^()]*\)", "\n".join(lines)):
        words = [word for word in re.split(r"[\s,;]+", group) if word][:n_numbers]
        numbers = numbers_in(" ".join(words), "##PEAK ASSIGNMENTS")
        if len(numbers) < n_numbers:
            raise InvalidFileError(
                key="##PEAK ASSIGNMENTS", value=group.strip()[:60], expected=f"groups of {form}"
            )
        x.append(numbers[0])
        y.append(numbers[1] if n_numbers > 1 else np.nan)
        names.append(name.strip())
    if not x:
        expected = "groups such as (1746, 0.5, <C=O stretch>)"
        raise InvalidFileError(key="##PEAK ASSIGNMENTS", value=form, expected=expected)
    return np.array(x), np.array(y), names


def _pairs(key: str, lines: list[str], n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two columns of a table of groups of numbers, such as ``(XY..XY)``."""
    x: list[float] = []
    y: list[float] = []
    position = 0
    for line in lines:
        for word in re.split(r"[\s,;()]+", line):
            if not word:
                continue
            if position < 2:
                number = number_in(word)
                if number is None:
                    raise InvalidFileError(
                        key=key, value=line.strip()[:60], expected="pairs of numbers"
                    )
                (y if position else x).append(number)
            position = (position + 1) % n_columns
    if position or not x:
        what = "pairs of numbers" if n_columns == 2 else f"groups of {n_columns} columns"
        raise InvalidFileError(key=key, expected=what)
    return np.array(x), np.array(y)


def _evenly_spaced(
    records: dict[str, str], lines: list[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the abscissa, scaled, and the ordinate, unscaled, of an XYDATA table, and warnings.

    The labels of the abscissa are checked against the line starts and each other. A label that
    contradicts all others is not used, and said; other contradictions are errors.
    """
    table = decode_ordinates(lines)
    n = len(table.values)
    if not n:
        raise InvalidFileError("the table is empty", key="##XYDATA")
    factor = _factor(records, "XFACTOR")
    starts, rounding = table.starts * factor, table.rounding * abs(factor)
    first = _number(records, "FIRSTX", float(starts[0]))
    gaps = max(n - 1, 1)
    grids: dict[str, float] = {}
    if records.get("LASTX", "").strip():
        grids["##LASTX"] = (_number(records, "LASTX") - first) / gaps
    if records.get("DELTAX", "").strip():
        step = abs(_number(records, "DELTAX"))
        direction = grids.get("##LASTX", starts[-1] - starts[0]) or _number(records, "DELTAX")
        grids["##DELTAX"] = float(np.copysign(step, direction))
    if not grids and len(starts) > 1:
        grids["the lines"] = float((starts[-1] - first) / table.indices[-1])
    if not grids:
        raise InvalidFileError("missing", key="##LASTX", expected="the last abscissa")

    def off(step: float) -> np.ndarray:
        """Return whether each line starts too far from the even grid of a spacing."""
        allowed = _TOLERANCE * abs(step) + rounding + 1e-6 * abs(first)
        return np.asarray(np.abs(first + step * table.indices - starts) > allowed)

    name, step = next(iter(grids.items()))
    if n == len(starts) and not off(step)[[0, -1]].any():
        # one point in each line: pairs, which may be uneven
        exact = np.abs(first + step * table.indices - starts) <= 1.01 * rounding
        return first + step * table.indices if exact.all() else starts, table.values, ()
    agreeing = {name: step for name, step in grids.items() if not off(step).any()}
    if not agreeing:
        raise _contradiction(records, table, factor, first, name, step)
    used, step = next(iter(agreeing.items()))
    apart = np.ptp(np.abs(list(grids.values())))
    # DELTAX is rounded in many files
    differ = gaps * apart > max(_TOLERANCE, 0.01 * gaps) * abs(step)
    if differ and len(agreeing) > 1:
        raise InvalidFileError(
            f"contradicts ##LASTX and ##NPOINTS, which give {abs(step):g}",
            key="##DELTAX",
            value=grids["##DELTAX"],
        )
    if "NPOINTS" not in records and len(starts) == 1 and len(grids) == 1:
        raise InvalidFileError("missing: nothing says whether the table is whole", key="##NPOINTS")
    other = next((name for name in grids if name != used), "")
    note = f"{other} contradicts the table and {used}, and is not used"
    return np.linspace(first, first + step * gaps, n), table.values, (note,) if differ else ()


def _contradiction(
    records: dict[str, str],
    table: Ordinates,
    factor: float,
    first: float,
    name: str,
    step: float,
) -> InvalidFileError:
    """Return the error for lines that are not on the grid of FIRSTX and another label."""
    starts = table.starts * factor
    if abs(starts[0] - first) > _TOLERANCE * abs(step):
        return InvalidFileError(f"the table starts at {starts[0]:g}", key="##FIRSTX", value=first)
    # points are lost where the spacing of the lines changes
    points, distances = np.diff(table.indices), np.diff(starts)
    usual = float(np.median(distances / points))
    surplus = np.abs(distances - usual * points)
    if surplus.max() <= _TOLERANCE * abs(usual):
        end = first + usual * (len(table.values) - 1)
        return InvalidFileError(
            f"contradicts the table, which goes on to {end:g}",
            key=name,
            value=records[name.strip("#")].strip(),
        )
    line = int(np.argmax(surplus)) + 1
    return InvalidFileError(
        f"starts at {starts[line]:g} instead of {starts[line - 1] + usual * points[line - 1]:g}: "
        "points were lost or added",
        key=f"line {line + 1} of the table",
    )


def to_wavenumber(x: np.ndarray, unit: str, data_type: str, key: str) -> np.ndarray:
    """Return wavenumbers [cm⁻¹] of abscissae in wavenumbers, wavelengths or frequencies.

    The key is that of errors about the unit.

    Raises
    ------
    InvalidFileError
        The unit is none of these; a wavelength is not positive, or one of scattered light.
    """
    name = unit.upper().replace("⁻¹", "-1").replace("−", "-")
    name = re.sub(r"[\s^*(){}\[\].]", "", name.replace("\N{MICRO SIGN}", "U").replace("Μ", "U"))
    found = next((found for form, found in _AXES.items() if re.fullmatch(form, name)), None)
    if found is None:
        expected = "1/CM, MICROMETERS, NANOMETERS, THZ or EV"
        raise InvalidFileError(key=key, value=unit.strip()[:60], expected=expected)
    scale, power = found
    if power == 1:
        x = scale * x
        if np.abs(x).max(initial=0.0) > LARGEST_WAVENUMBER:
            raise InvalidFileError(
                key="abscissae",
                value=float(x[np.argmax(np.abs(x))]),
                expected=f"wavenumbers up to {LARGEST_WAVENUMBER:g} cm⁻¹",
            )
        return x
    if "RAMAN" in data_type.upper():
        raise InvalidFileError(
            "a wavelength of scattered light",
            key=key,
            value=unit.strip()[:60],
            expected="the Raman shift in 1/CM",
        )
    if np.any(x <= 0.0):
        raise InvalidFileError("a wavelength that is not positive")
    return scale / x
