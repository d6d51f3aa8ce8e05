# SPDX-License-Identifier: MIT
"""Models in the programs of others: LAMMPS, torch-sim and the engines of metatomic.

Their modules are imported one by one, as each needs its program: ``eqcalc.engines.lammps``,
``eqcalc.engines.metatomic``, ``eqcalc.engines.ml_iap``, ``eqcalc.engines.torch_sim``.
"""
