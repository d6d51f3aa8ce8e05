# SPDX-License-Identifier: MIT
"""Thermostats, each with the symbols of its equations."""
