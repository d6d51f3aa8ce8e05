# SPDX-License-Identifier: MIT
"""JCAMP-DX, the exchange format of spectroscopists.

Read are the uncompressed form (AFFN) and the compressed ones (PAC, SQZ, DIF,
DUP) of McDonald and Wilks, Appl. Spectrosc. 42, 151 (1988). Written is AFFN
with every digit, and what the format has no place for in private labels.

The package jcamp is not used: of the 86 infrared and Raman files in its own
collection that are read here, it gives the same for 80, fails on 4, and returns
too few points for 2.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.spectra.io.text import averaged
from eqcalc.spectra.provenance import molecular_formula, source_facts, title
from eqcalc.spectra.spectrum import Spectrum

_LINE = 78


class JcampError(ValueError):
    """A JCAMP-DX file is damaged or of a kind that is not read."""


# --- writing ----------------------------------------------------------------------------


def _wrapped(text: str) -> list[str]:
    return [text[i : i + _LINE] for i in range(0, len(text), _LINE)]


def _plain(text: str) -> str:
    """Return text in the characters that JCAMP-DX allows."""
    replaced = text.replace("Å", "A").replace("⁻¹", "^-1").replace("⁴", "^4").replace("²", "^2")
    return replaced.encode("ascii", "replace").decode()


def _labelled(label: str, text: str) -> list[str]:
    """Return a labelled record in lines of a length that JCAMP-DX allows."""
    # these begin a label and a comment there
    plain = _plain(text).replace("##", "# #").replace("$$", "$ $")
    return textwrap.wrap(f"##{label}= {plain}", _LINE, break_on_hyphens=False)


def write_jcamp(spectrum: Spectrum, record: str) -> str:
    """Return a spectrum as the text of a JCAMP-DX file.

    Parameters
    ----------
    spectrum
        What to write.
    record
        ASCII JSON that is kept in the private label ``$EQCALC``.

    Raises
    ------
    JcampError
        A value is not finite.
    """
    x, y = spectrum.wavenumber, spectrum.values
    if not np.isfinite(y).all():
        raise JcampError(
            f"{spectrum.label}: JCAMP-DX has no undefined values; write .h5 or .csv, or cut the "
            "range with between()"
        )
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
            for name, fact in source_facts(spectrum.provenance).items()
            for line in _labelled(f"${name.upper()}", fact)
        ),
        "##$EQCALC=",
        # no character that means something to JCAMP-DX or is lost at the end of a line
        *_wrapped(_escaped(record)),
    ]
    if spectrum.standard_error is not None:
        lines.append("##$STANDARD ERROR=")
        lines += [repr(float(e)) for e in spectrum.standard_error]
    lines.append("##XYPOINTS= (XY..XY)")
    lines += [f"{float(a)!r}, {float(b)!r}" for a, b in zip(x, y, strict=True)]
    return "\n".join([*lines, "##END=", ""])


def _escaped(record: str) -> str:
    # blanks are then left in texts only, where the escapes keep them
    compact = json.dumps(json.loads(record), separators=(",", ":"))
    return compact.translate({ord(c): f"\\u{ord(c):04x}" for c in " $#="})


# --- reading ----------------------------------------------------------------------------

_SQZ = {c: str(i) for i, c in enumerate("@ABCDEFGHI")} | {
    c: f"-{i}" for i, c in enumerate("abcdefghi", 1)
}
_DIF = {c: str(i) for i, c in enumerate("%JKLMNOPQR")} | {
    c: f"-{i}" for i, c in enumerate("jklmnopqr", 1)
}
_DUP = {c: str(i) for i, c in enumerate("STUVWXYZs", 1)}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?"
_TOKEN = re.compile(rf"([@A-Ia-i%J-Rj-rS-Zs])(\d*\.?\d*)|({_NUMBER})|(\?)|[\s,;]+|(.)")
_PLAIN_NUMBER = re.compile(_NUMBER)


def decode_ordinates(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Decode the lines of an ``(X++(Y..Y))`` table.

    Returns
    -------
    first
        ``[n_lines]``, the abscissa at the start of each line, unscaled.
    ordinates
        ``[n_points]``, unscaled.

    Raises
    ------
    JcampError
        A character has no meaning, or a line does not continue the last one.
    """
    first: list[float] = []
    values: list[float] = []
    differences = False
    for number, line in enumerate(lines, 1):
        head = _PLAIN_NUMBER.match(line.strip())
        if head is None:
            raise JcampError(f"line {number} of the table has no abscissa: {line[:40]!r}")
        # "1E5" at the head could be 1 and the SQZ ordinate 55; exponents there are AFFN only
        text = line.strip()
        abscissa = re.match(r"[+-]?(?:\d+\.?\d*|\.\d+)", text)
        assert abscissa is not None
        exponent = re.match(rf"{_NUMBER}(?=[\s,])", text)
        start = exponent if exponent is not None else abscissa
        first.append(float(start.group()))
        decoded, ended = _decode_line(text[start.end() :], number)
        if differences:
            # the first ordinate repeats the last one of the line before
            if not decoded or not np.isclose(decoded[0], values[-1], rtol=1e-6, atol=0.5):
                raise JcampError(
                    f"line {number} of the table does not continue the line before it: the file "
                    "is damaged or cut"
                )
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
            raise JcampError(f"line {number} of the table: unexpected character {bad!r}")
        if code is None:
            if plain is not None:
                values.append(float(plain))
                step = None
            elif unknown is not None:
                values.append(float("nan"))
                step = None
        elif code in _SQZ:
            values.append(float(_SQZ[code] + digits))
            step = None
        elif not values:
            raise JcampError(f"line {number} of the table starts with the difference {code!r}")
        elif code in _DIF:
            step = float(_DIF[code] + digits)
            values.append(values[-1] + step)
        else:
            # the item before is there this many times in all
            for _ in range(int(_DUP[code] + digits) - 1):
                values.append(values[-1] + (step or 0.0))
    return values, step is not None


def _labels(text: str, path: Path) -> dict[str, str]:
    """Return the labelled data records; keys without blanks and in upper case."""
    records: dict[str, str] = {}
    for chunk in re.split(r"^\s*##", text, flags=re.MULTILINE)[1:]:
        label, _, value = chunk.partition("=")
        key = re.sub(r"[\s\-_/]", "", label).upper()
        if key == "DATATYPE" and value.strip().upper().startswith("LINK"):
            raise JcampError(f"{path}: a compound (LINK) file; split it into its blocks")
        if key == "END":
            break
        if key and key not in records:
            records[key] = value if key.startswith("$") else re.sub(r"\$\$.*", "", value)
    return records


def _number(records: dict[str, str], key: str, path: Path, default: float | None = None) -> float:
    text = records.get(key, "").strip().replace(",", ".")
    if not text and default is not None:
        return default
    try:
        number = float(text.split()[0])
    except (ValueError, IndexError):
        number = float("nan")
    if not np.isfinite(number):
        raise JcampError(f"{path}: ##{key}= expected a number, got {text!r}")
    return number


def read_jcamp(text: str, path: Path) -> tuple[Spectrum, str | None, np.ndarray | None]:
    """Return the spectrum in the text of a JCAMP-DX file.

    The abscissa becomes a wavenumber in cm⁻¹, ascending; the ordinate keeps the
    unit of the file.

    Parameters
    ----------
    text
        Content of the file.
    path
        Its name, for messages.

    Returns
    -------
    The spectrum, and if eqcalc wrote the file its record as JSON and its
    standard error.
    """
    records = _labels(text, path)
    if "JCAMPDX" not in records:
        raise JcampError(f"{path}: not a JCAMP-DX file (no ##JCAMP-DX= label)")
    x_factor = _number(records, "XFACTOR", path, 1.0)
    y_factor = _number(records, "YFACTOR", path, 1.0)
    if "XYDATA" in records and not _is_pairs(records["XYDATA"]):
        x, y = _evenly_spaced(records, path)
        y = y * y_factor
    elif found := [key for key in ("XYDATA", "XYPOINTS", "PEAKTABLE") if key in records]:
        table = records[found[0]]
        pairs = _PLAIN_NUMBER.findall(table.split("\n", 1)[-1])
        if not pairs or len(pairs) % 2:
            raise JcampError(f"{path}: the table does not consist of pairs of numbers")
        points = np.array(pairs, dtype=float).reshape(-1, 2)
        x, y = points[:, 0] * x_factor, points[:, 1] * y_factor
    else:
        raise JcampError(f"{path}: no ##XYDATA= and no ##XYPOINTS= table")
    n_points = int(_number(records, "NPOINTS", path, float(len(x))))
    if n_points != len(x):
        raise JcampError(
            f"{path}: ##NPOINTS= says {n_points}, but the table has {len(x)} points; the file is "
            "damaged or cut"
        )
    optical = re.search("INFRARED|RAMAN", records.get("DATATYPE", "").upper())
    if "XUNITS" not in records and not optical:
        raise JcampError(f"{path}: no ##XUNITS=, and not said to be an infrared or Raman spectrum")
    x, y = averaged(_to_wavenumber(x, records.get("XUNITS", "1/CM"), path), y)
    record = records.get("$EQCALC")
    error = None
    if "$STANDARDERROR" in records:
        try:
            error = np.array(records["$STANDARDERROR"].split(), dtype=float)
        except ValueError as problem:
            raise JcampError(f"{path}: ##$STANDARD ERROR= {problem}") from None
    keys = (
        "TITLE",
        "DATATYPE",
        "ORIGIN",
        "OWNER",
        "DATE",
        "STATE",
        "RESOLUTION",
        "PATHLENGTH",
        "TEMPERATURE",
        "PRESSURE",
        "CONCENTRATIONS",
        "CASREGISTRYNO",
        "MOLFORM",
    )
    provenance: dict[str, Any] = {k: records[k].strip() for k in keys if records.get(k, "").strip()}
    unit = records.get("YUNITS", "ARBITRARY UNITS").strip()
    try:
        spectrum = Spectrum(
            wavenumber=x,
            values=y,
            unit=unit,
            label=records.get("TITLE", "").strip() or path.stem,
            provenance={"file": path.name, **provenance},
        )
    except ValueError as problem:
        raise JcampError(f"{path}: {problem}") from None
    joined = None if record is None else "".join(record.split())
    return spectrum, joined, error


def _is_pairs(table: str) -> bool:
    """Return whether a table says that it consists of pairs of abscissa and ordinate."""
    return re.sub(r"\s", "", table.strip().split("\n", 1)[0]).upper() == "(XY..XY)"


def _evenly_spaced(records: dict[str, str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the abscissa, scaled, and the ordinate, unscaled, of an XYDATA table."""
    form, *lines = records["XYDATA"].strip().split("\n")
    if re.sub(r"\s", "", form).upper() != "(X++(Y..Y))":
        raise JcampError(f"{path}: ##XYDATA= of the form {form.strip()!r} is not read")
    try:
        starts, y = decode_ordinates([line for line in lines if line.strip()])
    except JcampError as error:
        raise JcampError(f"{path}: {error}") from None
    if not len(y):
        raise JcampError(f"{path}: the table of ##XYDATA= is empty")
    first, last = _number(records, "FIRSTX", path), _number(records, "LASTX", path)
    x = np.linspace(first, last, len(y))
    scaled = starts[0] * _number(records, "XFACTOR", path, 1.0)
    spacing = abs(last - first) / max(len(y) - 1, 1)
    if abs(scaled - first) > max(spacing, 1e-3 * abs(first)):
        raise JcampError(f"{path}: the table starts at {scaled:g}, but ##FIRSTX= says {first:g}")
    return x, y


def _to_wavenumber(x: np.ndarray, unit: str, path: Path) -> np.ndarray:
    name = re.sub(r"[\s^]", "", unit).upper()
    if name in ("1/CM", "CM-1", "CM**-1"):
        return x
    scale = {"MICROMETERS": 1e4, "MICRONS": 1e4, "UM": 1e4, "NANOMETERS": 1e7, "NM": 1e7}
    if name not in scale:
        raise JcampError(f"{path}: unknown ##XUNITS= {unit.strip()!r}")
    if np.any(x <= 0.0):
        raise JcampError(f"{path}: a wavelength that is not positive")
    return scale[name] / x
