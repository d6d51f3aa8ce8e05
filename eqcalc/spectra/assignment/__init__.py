# SPDX-License-Identifier: MIT
"""Which modes and atoms a band comes from."""
