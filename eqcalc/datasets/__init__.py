# SPDX-License-Identifier: MIT
"""Labelled structures: the native HDF5 store, readers of other formats, checks, splits.

The native store, format version 1
----------------------------------
Arrays of all structures are concatenated. ``n`` is the number of structures and ``N`` the
total number of atoms; the atoms of structure ``i`` start at ``sum(atom_counts[:i])``::

    /                              attributes format = "eqcalc dataset", format_version = 1
    /atom_counts                   [n]       int32
    /numbers                       [N]       uint8, atomic numbers
    /positions                     [N, 3]    attribute unit
    /charge                        [n]       attribute unit
    /unpaired_electrons            [n]       int32, -1 where it is not known; only if some is
    /source                        [n]       int32, index into the attribute names (a JSON list)
    /cell, /pbc                    [n, 3, 3], [n, 3]; only if some structure is periodic
    /labels/<quantity>/values      [n, ...], forces [N, 3]; attributes unit, level_of_theory;
                                   NaN where the label is unknown
    /labels/<quantity>/present     [n]       bool, whether the label is known
    /splits/<name>/<part>          [...]     int64, indices of structures
    /provenance                    a JSON text: method, version, settings, sampling

Quantities are those of :data:`eqcalc.quantities.QUANTITIES`; eqcalc writes internal units
and reads any unit of the right dimension. Real arrays are float32 or float64. Uncompressed
files are contiguous and memory-mapped; compressed ones (shuffle and gzip) are read into
memory. Files are written under a temporary name and renamed, so that readers never see a
partial file.
"""

from eqcalc.datasets.agreement import (
    Agreement,
    check_forces,
    compare_labels,
    compare_with_reference,
)
from eqcalc.datasets.checks import Problem, ValidationReport, validate
from eqcalc.datasets.conversion import ConversionError, ConversionReport, convert, open_reader
from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.export import export_dataset
from eqcalc.datasets.label_statistics import LabelStatistics, statistics
from eqcalc.datasets.record import Record
from eqcalc.datasets.splits import check_split, random_split, store_split
from eqcalc.datasets.writer import DatasetWriter

__all__ = [
    "Agreement",
    "ConversionError",
    "ConversionReport",
    "Dataset",
    "DatasetWriter",
    "LabelStatistics",
    "Problem",
    "Record",
    "ValidationReport",
    "check_forces",
    "check_split",
    "compare_labels",
    "compare_with_reference",
    "convert",
    "export_dataset",
    "open_reader",
    "random_split",
    "statistics",
    "store_split",
    "validate",
]
