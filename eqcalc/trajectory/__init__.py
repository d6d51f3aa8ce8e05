# SPDX-License-Identifier: MIT
"""The trajectory file: crash-safe, and readable at any time.

Layout
------
A trajectory is an HDF5 file::

    /                   attributes: format, version, method, temperature, ... (see Header)
    /numbers, /masses   [n_atoms]
    /observables/NAME   [n_replicas, n_frames, ...] float64,
                        attributes unit, interval (fs), start (fs), stride (steps)
    /checksums/NAME     [n_replicas, n_frames] uint32, of each frame
    /frames/NAME        [1] uint64, how many frames of NAME are written so far, in the lower
                        40 bits, and a checksum of it in the upper ones
    /frames/wall_time_ms  [1] uint64, the same for the wall time of the run; not in old files

The rest of the file is sealed (:mod:`eqcalc.hdf5`). Version 1 had no checksums and no seal.

Crash safety
------------
The length of a run is known at its start, so the complete file, with contiguous datasets, is
created under a temporary name and renamed. HDF5 metadata are never written again: each frame
is written to its fixed offset, followed by an update of the frame count, one aligned 8-byte
word. The file is therefore valid at any time, even if the process is killed, and other
processes may read it while it grows. Unwritten frames occupy no space on file systems with
sparse files. Compressed chunks have no fixed offsets and would save little: gzip with shuffle
reduces dipole and polarizability to 0.8 (measured on ethanol) and bead positions not at all.
"""

from eqcalc.trajectory.layout import Header, Layout, TimeSeries
from eqcalc.trajectory.reader import Trajectory, steps_written
from eqcalc.trajectory.writer import TrajectoryWriter

__all__ = [
    "Header",
    "Layout",
    "TimeSeries",
    "Trajectory",
    "TrajectoryWriter",
    "steps_written",
]
