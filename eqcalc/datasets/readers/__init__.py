# SPDX-License-Identifier: MIT
"""Readers of labelled structures in the formats of other programs."""
