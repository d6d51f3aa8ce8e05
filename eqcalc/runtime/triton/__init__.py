# SPDX-License-Identifier: MIT
"""Kernels of PaiNN for GPUs, in Triton."""
