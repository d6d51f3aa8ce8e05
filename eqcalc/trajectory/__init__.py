# SPDX-License-Identifier: MIT
"""The trajectory file: written crash-safe, readable at any time.

Layout
------
A trajectory is an HDF5 file::

    /                   attributes: format, version, method, temperature, ... (see Header)
    /numbers, /masses   [n_atoms]
    /observables/NAME   [n_replicas, n_frames, ...] float64,
                        attributes unit, interval (fs), start (fs), stride (steps)
    /frames/NAME        [1] int64, how many frames of NAME are written so far

How it survives a kill
----------------------
The length of a run is known when it starts, so the complete file is laid out then, with
contiguous datasets, under a temporary name, and renamed. From there on nobody writes
HDF5 metadata again: a frame goes to its known place in the file by a positioned write
and the frame count, one aligned 8-byte word, is updated after it. Whenever the process
dies the file is a valid HDF5 file whose frame counts tell the truth, and other
processes may read it while it grows. Unwritten frames occupy no disk space on
file systems with sparse files. Compressed chunks have no place that is known beforehand,
and would save little: gzip with shuffled bytes leaves 0.8 of dipole and polarizability
(measured on ethanol) and all of the bead positions.
"""

from eqcalc.trajectory.layout import Header, Layout, TimeSeries, TrajectoryError
from eqcalc.trajectory.reader import Trajectory
from eqcalc.trajectory.writer import TrajectoryWriter

__all__ = [
    "Header",
    "Layout",
    "TimeSeries",
    "Trajectory",
    "TrajectoryError",
    "TrajectoryWriter",
]
