# SPDX-License-Identifier: MIT
"""Which measured quantities can be compared with a spectrum, by the names that files give them.

A row of a table is a name and a pattern of the texts that mean it: units (``##YUNITS=``), titles
of columns, kinds of spectra (``##DATA TYPE=``). The first row that matches counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from eqcalc.validation import InvalidInputError


class Ordinate(NamedTuple):
    """A quantity on the ordinate of a spectrum."""

    name: str
    #: ``"infrared"`` or ``"Raman"``; None for an intensity of either
    spectroscopy: str | None
    pattern: str


#: Signals of other kinds, in units and in kinds of spectra.
_SIGNALS = {
    "reflectance": r"refle[cx]|1 ?/ ?R\b|log ?\(?R\b|^%? ?R *(\(?%\)?)?$|specular",
    "the Kubelka–Munk function": r"kubelka|munk|\bK ?[-–/]? ?M\b(?! ?/)|\bF ?\(R",
    "emission": r"emissi|emittance|radian|luminesc|fluoresc|brightness",
    "a photoacoustic signal": r"photo-? ?acoustic",
    "an interferogram or a single beam": r"interferogram|single[- ]?(beam|channel)",
    "a derivative": r"derivative|\bd[2²]? ?A ?/ ?d",
    "dichroism or optical activity": r"dichro|optical (activity|rotation)|\b(VCD|ROA)\b",
    "a difference spectrum": r"differen|([Δ∆]|\bdelta) ?(A|abs\w*|O\.?D|T|trans\w*|R|mO\.?D)\b",
    "neutron scattering": r"neutron|\bS ?\(Q",
    "X-ray scattering": r"x-? ?ray|diffract",
    "a nonlinear signal": r"sum[- ]frequency|\bSFG\b|hyper[- ]?raman|\bCARS\b|second[- ]harmonic",
}
#: Other quantities that are not proportional to absorption or Raman scattering.
_OTHERS = {
    **_SIGNALS,
    "the absorbed fraction 1 − T": r"absorptance|absor\w* *[(\[]? *%|(%|percent) *absorp"
    r"|^1 ?[-−–] ?T\b",
    "the depolarization ratio": r"depolari[sz]",
    "a refractive or absorption index": r"refractive|\bindex\b|^(?-i:[nk])$",
    "the real part of the permittivity": r"real part|\bRe ?\(?ε|^ε'$",
    "no intensity": r"^(temperature|pressure|time|phase|voltage|concentration|angle)\b",
    "a logarithm": r"^log(?!.*1 ?/ ?T)",
}
#: Transmittance, as a fraction or in percent.
TRANSMITTANCE = Ordinate(
    "transmittance",
    "infrared",
    r"tra?n?sm|durchl|(%|percent|pct)[ _]*TR?(rans\.?)?(?!\w)|^T$|\bT *[(\[/]? *%|^I ?/ ?I_?0",
)
#: Quantities that are.
_KNOWN = (
    Ordinate("absorbance", "infrared", r"log.*\bT\b"),
    TRANSMITTANCE,
    Ordinate("Raman intensity", "Raman", r"raman|stokes|cm[2²]? ?/ ?sr|Å(⁴|\^4)|A\^4/amu"),
    Ordinate("imaginary part of the permittivity", "infrared", r"imaginary|\bIm ?\(?ε|^ε(''|″)"),
    Ordinate("absorption cross-section", "infrared", r"cross[- ]?sec|cm(\^?2|²)"),
    Ordinate("molar absorption coefficient", "infrared", r"mol|epsilon|^ε|extinction c|\bM-1|ppm"),
    Ordinate("absorption coefficient", "infrared", r"coeff|alpha|α|cm(\^?-1|⁻¹)|1 ?/ ?cm"),
    Ordinate(
        "absorbance",
        "infrared",
        r"absorb|absorption$|^abs\b|^A( *[(\[].*)?$|optical den|^O\.?D\b|log|extin[ck]tion",
    ),
    Ordinate(
        "intensity",
        None,
        r"^1?$|arb|intens|counts?|\bct?s\b|\bcps\b|signal|scatter|\ba\. ?u\b|^au$|rel|normali"
        r"|unknown|dimensionless|none",
    ),
)
#: Kinds of spectra that are compared, and names that do not say the kind.
_INFRARED = r"infra-?red|\bir\b|ft-?ir"
_VIBRATIONAL = rf"{_INFRARED}|raman|vibration|tera-?hertz|\bthz\b"
_UNSAID = (
    r"(optical|absor\w*|transm\w*|experimental|measured)? *(spectr\w+|peak ?table|data|unknown)?"
)
_KINDS = {
    **_SIGNALS,
    "an electronic spectrum": r"\buv|ultra-?violet|visible|\bvis\b|electronic",
    "a spectrum of spins": r"\bnmr|\bfid\b|\bepr|\besr|magnetic resonance",
    "a mass or mobility spectrum": r"\bmass\b|mobility|chromatogr",
}


def ordinate(text: str, key: str = "unit") -> Ordinate:
    """Return the quantity of a unit or the title of a column.

    Raises
    ------
    InvalidInputError
        It is not proportional to absorption or Raman scattering, or unknown.
    """
    stated = text.strip()
    for name, pattern in _OTHERS.items():
        if re.search(pattern, stated, re.IGNORECASE):
            raise _error(key, stated, f"is {name}, not proportional to absorption or scattering")
    for known in _KNOWN:
        if re.search(known.pattern, stated, re.IGNORECASE):
            return known
    raise _error(key, stated, "is not a known quantity")


def states_quantity(text: str) -> bool:
    """Return whether a text names a quantity, unlike that of a sample or of arbitrary units."""
    try:
        return ordinate(text).spectroscopy is not None
    except InvalidInputError as error:
        return "known" not in error.problem


def is_quantity(text: str) -> bool:
    """Return whether a text names a quantity that can be compared, arbitrary units included."""
    return _known(text) is not None


def is_transmittance(unit: str) -> bool:
    """Return whether a unit is a transmittance, as a fraction or in percent."""
    return _known(unit) is TRANSMITTANCE


def is_absorbance(unit: str) -> bool:
    """Return whether a unit is a decadic absorbance."""
    known = _known(unit)
    return known is not None and known.name == "absorbance"


def is_infrared(unit: str, kind: str) -> bool:
    """Return whether a unit or the kind of a spectrum is of infrared absorption."""
    known = _known(unit)
    of_unit = known is not None and known.spectroscopy == "infrared"
    of_kind = re.search(_INFRARED, kind, re.IGNORECASE) and "raman" not in kind.lower()
    return of_unit or bool(of_kind)


def _known(text: str) -> Ordinate | None:
    """Return the quantity of a unit, None if it cannot be compared."""
    try:
        return ordinate(text)
    except InvalidInputError:
        return None


def check_kind(text: str, key: str) -> None:
    """Raise an error for kinds of spectra that are neither infrared nor Raman.

    Raises
    ------
    InvalidInputError
        It is another kind, or unknown.
    """
    stated = text.strip()
    for name, pattern in _KINDS.items():
        if re.search(pattern, stated, re.IGNORECASE):
            raise _error(key, stated, f"is {name}")
    if not re.search(_VIBRATIONAL, stated, re.I) and not re.fullmatch(_UNSAID, stated, re.I):
        raise _error(key, stated, "is not known to be infrared or Raman")


def _error(key: str, value: str, problem: str) -> InvalidInputError:
    expected = "an infrared absorption (or transmission) or Raman spectrum"
    return InvalidInputError(problem, key=key, value=value[:60], expected=expected)
