# SPDX-License-Identifier: MIT
"""Labelled structures."""

from eqcalc.datasets.dataset import Dataset, DatasetError
from eqcalc.datasets.record import Record
from eqcalc.datasets.writer import DatasetWriter

__all__ = ["Dataset", "DatasetError", "DatasetWriter", "Record"]
