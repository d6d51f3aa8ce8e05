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
from typing import Any

import numpy as np

from eqcalc.spectra.io.text import averaged
from eqcalc.spectra.provenance import molecular_formula, provenance_facts, title
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidFileError

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
    lines.append("##XYPOINTS= (XY..XY)")
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
_MANTISSA = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_NUMBER = _MANTISSA + r"(?:[Ee][+-]?\d+)?"
_TOKEN = re.compile(rf"([@A-Ia-i%J-Rj-rS-Zs])(\d*\.?\d*)|({_NUMBER})|(\?)|[\s,;]+|(.)")


def decode_ordinates(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Decode the lines of an ``(X++(Y..Y))`` table.

    Returns the abscissa at the start of each line and the ordinates, both unscaled.

    Raises
    ------
    InvalidFileError
        A character is invalid, or a line does not continue the previous one.
    """
    first: list[float] = []
    values: list[float] = []
    differences = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        # "1E5" at the head could be 1 and the SQZ ordinate 55; exponents there are AFFN only
        head = re.match(rf"{_NUMBER}(?=[\s,])", text) or re.match(_MANTISSA, text)
        if head is None:
            raise _error(number, f"no abscissa: {line[:40]!r}")
        first.append(float(head.group()))
        decoded, ended = _decode_line(text[head.end() :], number)
        if differences:
            # the first ordinate repeats the last one of the line before
            if not decoded or not np.isclose(decoded[0], values[-1], rtol=1e-6, atol=0.5):
                problem = "does not continue the line before it: the file is damaged or truncated"
                raise _error(number, problem)
            values.pop()
        values.extend(decoded)
        differences = ended
    return np.array(first), np.array(values)


def _decode_line(text: str, number: int) -> tuple[list[float], bool]:
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
            for _ in range(int(_DUP[code] + digits) - 1):
                values.append(values[-1] + (step or 0.0))
    return values, step is not None


def _error(number: int, problem: str) -> InvalidFileError:
    return InvalidFileError(problem, key=f"line {number} of the table")


def _labels(text: str) -> dict[str, str]:
    """Return the labelled data records; keys without blanks and in upper case."""
    records: dict[str, str] = {}
    for chunk in re.split(r"^\s*##", text, flags=re.MULTILINE)[1:]:
        label, _, value = chunk.partition("=")
        key = re.sub(r"[\s\-_/]", "", label).upper()
        if key == "DATATYPE" and value.strip().upper().startswith("LINK"):
            raise InvalidFileError("a compound (LINK) file", advice="split it into its blocks")
        if key == "END":
            break
        if key and key not in records:
            records[key] = value if key.startswith("$") else re.sub(r"\$\$.*", "", value)
    return records


def _number(records: dict[str, str], key: str, default: float | None = None) -> float:
    text = records.get(key, "").strip().replace(",", ".")
    if not text and default is not None:
        return default
    try:
        number = float(text.split()[0])
    except (ValueError, IndexError):
        number = float("nan")
    if not np.isfinite(number):
        raise InvalidFileError(key=f"##{key}", expected="a number", value=text)
    return number


def read_jcamp(text: str, path: Path) -> tuple[Spectrum, str | None, np.ndarray | None]:
    """Return the spectrum in the text of a JCAMP-DX file; the name is for the provenance.

    The abscissa becomes a wavenumber in cm⁻¹, ascending; the ordinate keeps the unit of the file.
    If eqcalc wrote the file, its JSON record and standard error are returned too.
    """
    records = _labels(text)
    if "JCAMPDX" not in records:
        raise InvalidFileError(expected="a JCAMP-DX file, with a label ##JCAMP-DX=")
    x_factor = _number(records, "XFACTOR", 1.0)
    y_factor = _number(records, "YFACTOR", 1.0)
    if "XYDATA" in records and not _is_pairs(records["XYDATA"]):
        x, y = _evenly_spaced(records)
        y = y * y_factor
    elif found := [key for key in ("XYDATA", "XYPOINTS", "PEAKTABLE") if key in records]:
        table = records[found[0]]
        pairs = re.findall(_NUMBER, table.split("\n", 1)[-1])
        if not pairs or len(pairs) % 2:
            raise InvalidFileError(key=f"##{found[0]}", expected="pairs of numbers")
        points = np.array(pairs, dtype=float).reshape(-1, 2)
        x, y = points[:, 0] * x_factor, points[:, 1] * y_factor
    else:
        raise InvalidFileError(expected="a table ##XYDATA= or ##XYPOINTS=")
    n_points = int(_number(records, "NPOINTS", float(len(x))))
    if n_points != len(x):
        raise InvalidFileError(
            f"the table has {len(x)} points: the file is damaged or truncated",
            key="##NPOINTS",
            value=n_points,
        )
    optical = re.search("INFRARED|RAMAN", records.get("DATATYPE", "").upper())
    if "XUNITS" not in records and not optical:
        raise InvalidFileError(
            "missing, and not said to be an infrared or Raman spectrum", key="##XUNITS"
        )
    x, y = averaged(_to_wavenumber(x, records.get("XUNITS", "1/CM")), y)
    record = records.get("$EQCALC")
    error = None
    if "$STANDARDERROR" in records:
        try:
            error = np.array(records["$STANDARDERROR"].split(), dtype=float)
        except ValueError as problem:
            raise InvalidFileError(str(problem), key="##$STANDARD ERROR") from None
    provenance = {k: records[k].strip() for k in _KEPT if records.get(k, "").strip()}
    spectrum = Spectrum(
        wavenumber=x,
        values=y,
        unit=records.get("YUNITS", "ARBITRARY UNITS").strip(),
        label=records.get("TITLE", "").strip() or path.stem,
        provenance={"file": path.name, **provenance},
    )
    joined = None if record is None else "".join(record.split())
    return spectrum, joined, error


def _is_pairs(table: str) -> bool:
    """Return whether a table consists of pairs of abscissa and ordinate."""
    return re.sub(r"\s", "", table.strip().split("\n", 1)[0]).upper() == "(XY..XY)"


def _evenly_spaced(records: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the abscissa, scaled, and the ordinate, unscaled, of an XYDATA table."""
    form, *lines = records["XYDATA"].strip().split("\n")
    if re.sub(r"\s", "", form).upper() != "(X++(Y..Y))":
        raise InvalidFileError(
            key="##XYDATA", expected="(X++(Y..Y)) or (XY..XY)", value=form.strip()
        )
    starts, y = decode_ordinates([line for line in lines if line.strip()])
    if not len(y):
        raise InvalidFileError("the table is empty", key="##XYDATA")
    first, last = _number(records, "FIRSTX"), _number(records, "LASTX")
    x = np.linspace(first, last, len(y))
    scaled = starts[0] * _number(records, "XFACTOR", 1.0)
    spacing = abs(last - first) / max(len(y) - 1, 1)
    if abs(scaled - first) > max(spacing, 1e-3 * abs(first)):
        raise InvalidFileError(f"the table starts at {scaled:g}", key="##FIRSTX", value=first)
    return x, y


def _to_wavenumber(x: np.ndarray, unit: str) -> np.ndarray:
    name = re.sub(r"[\s^]", "", unit).upper()
    if name in ("1/CM", "CM-1", "CM**-1"):
        return x
    scale = {"MICROMETERS": 1e4, "MICRONS": 1e4, "UM": 1e4, "NANOMETERS": 1e7, "NM": 1e7}
    if name not in scale:
        expected = f"1/CM, {', '.join(scale)}"
        raise InvalidFileError(key="##XUNITS", value=unit.strip(), expected=expected)
    if np.any(x <= 0.0):
        raise InvalidFileError("a wavelength that is not positive")
    return scale[name] / x
