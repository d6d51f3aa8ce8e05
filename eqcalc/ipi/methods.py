# SPDX-License-Identifier: MIT
"""Dynamics methods as elements of an input of i-PI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from eqcalc.ipi.description import FREE_CENTROID, InputError
from eqcalc.methods import DynamicsMethod
from eqcalc.validation import existing_file, finite, located, shape


def thermostat(method: DynamicsMethod, parameters: Mapping[str, Any]) -> list[str]:
    """Return the thermostat of a method, as lines of XML.

    Parameters
    ----------
    method
        One that is written for i-PI.
    parameters
        All of its parameters; of PIGLET, the ``matrices`` are the elements of
        :func:`read_matrices`.
    """
    assert method.ipi is not None
    if not method.ipi.thermostats:
        return []
    mode = method.ipi.thermostats[0]
    if "matrices" in parameters:
        return [f"<thermostat mode='{mode}'>", *parameters["matrices"], "</thermostat>"]
    free = method.ipi.free_centroid
    time_constant = 1e6 * FREE_CENTROID if free else parameters["time_constant"]
    damping = parameters.get("damping")
    scale = "" if damping is None else f" <pile_lambda> {damping:g} </pile_lambda>"
    return [
        *(["<!-- a time constant without end: nothing acts on the centroid -->"] if free else []),
        f"<thermostat mode='{mode}'> <tau units='femtosecond'> {time_constant:g} </tau>{scale} "
        "</thermostat>",
    ]


def normal_modes(method: DynamicsMethod, parameters: Mapping[str, Any]) -> list[str]:
    """Return the frequencies of the ring polymer, if the method changes them, as lines of XML."""
    assert method.ipi is not None
    if not method.ipi.frequencies:
        return []
    return [
        "<!-- the internal modes are fast, so that the centroid moves in their mean force -->",
        f"<normal_modes> <frequencies style='{method.ipi.frequencies[0]}' units='inversecm'> "
        f"[ {parameters['frequency']:g} ] </frequencies> </normal_modes>",
    ]


def read_matrices(path: str | Path, n_beads: int) -> list[str]:
    """Read the matrices of a generalised Langevin equation for i-PI.

    Parameters
    ----------
    path
        File with the elements ``<A>`` and ``<C>``, ``[n_beads, n + 1, n + 1]`` each, as the
        generator at gle4md.org writes them for a temperature and number of beads.
    n_beads
        Number of beads.

    Returns
    -------
    list of str
        Both elements, as XML.

    Raises
    ------
    InvalidInputError
        There is no such file, or it does not hold such matrices for so many beads.
    """
    path = existing_file(path, "matrices of gle4md.org in the format of i-PI")
    try:
        root = ElementTree.fromstring(f"<all>{path.read_text(encoding='utf-8')}</all>")
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"is not XML ({error})", file=path) from None
    texts, size = [], 0
    for tag in ("A", "C"):
        element = root.find(f".//{tag}")
        if element is None:
            raise InputError(
                file=path, key=tag, expected="this element", advice="is it in the format of i-PI?"
            )
        with located(file=path):
            matrix = shape(tag, finite(tag, _matrix(element)), (n_beads, size or "n", size or "n"))
        size = matrix.shape[1]
        texts.append(ElementTree.tostring(element, encoding="unicode").strip())
    return texts


def _matrix(element: ElementTree.Element) -> np.ndarray:
    """Return an array of i-PI in its stated shape."""
    text = (element.text or "").replace("[", " ").replace("]", " ").replace(",", " ")
    try:
        lengths = tuple(int(word) for word in element.get("shape", "").strip("() ").split(","))
        return np.array([float(word) for word in text.split()]).reshape(lengths)
    except ValueError as error:
        raise InputError(f"cannot be read ({error})", key=element.tag) from None
