# SPDX-License-Identifier: MIT
"""Assignment of bands to modes and atoms."""
