# SPDX-License-Identifier: MIT
"""From correlation functions to spectra with error bars."""
