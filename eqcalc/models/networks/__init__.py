# SPDX-License-Identifier: MIT
"""The networks, one a file: each turns atoms and pairs into features of every atom."""
