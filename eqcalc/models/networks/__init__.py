# SPDX-License-Identifier: MIT
"""The networks, one per file: each maps atoms and pairs to atomic features."""
