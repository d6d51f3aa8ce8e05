# SPDX-License-Identifier: MIT
"""Readers of labelled structures in the formats of other programs, one file each.

A reader of your own is a class like :class:`~eqcalc.datasets.readers.frames.Reader`, which
:func:`~eqcalc.datasets.convert` takes as the format ``"package.module:Class"``, or by its
entry point of the group ``eqcalc.readers``.
"""

from eqcalc.datasets.readers.frames import Frame, FrameError, Reader

__all__ = ["Frame", "FrameError", "Reader"]
