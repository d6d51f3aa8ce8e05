# SPDX-License-Identifier: MIT
"""Training and evaluation of potentials.

The settings of a training, here with their defaults where they have one::

    output: runs/first              # folder of the run; an existing one is resumed
    seed: 0
    data:
      path: molecules.h5            # relative to the folder of this file
      training: 950                 # numbers of structures; or split: <name>, stored in the data
      validation: 50
      test: null                    # all remaining structures
      seed: 0
    model:
      representation: {name: smooth_painn, features: 128, layers: 3, cutoff: 5.0}
      read_outs: {}                 # options, for example {dipole: {atomic_dipoles: false}}
      # or start_from: model.eqc, optionally with reset_heads: [dipole]
    loss:                           # one or more, as a list or with weights
      energy: 0.05                  # or {weight: 0.05, scale: 0.01, linear_beyond: 0.02}
      forces: 0.95
      dipole: 0.02
      polarizability: 0.05          # or scalars of molecules, for example homo_lumo_gap: 1.0
    optimizer: {batch_size: 10, learning_rate: 0.001, weight_decay: 0.01, max_gradient_norm: 1.0}
    # or {name: gauss_newton}, for few labels of one molecule with start_from; without what follows
    schedule: {name: plateau, factor: 0.5, patience: 50, smoothing: 0.9, minimum: 1.0e-6}
    # or {name: cosine, warm_up: 0.0, minimum: 1.0e-6}
    stopping: {epochs: 1000, patience: 150, hours: null}
    ema: {decay: 0.995}
    trainer: {accelerator: auto, devices: 1, num_nodes: 1, strategy: auto, precision: 32-true}
    # and kernels: triton, to train a PaiNN on a GPU with fused kernels
"""

from eqcalc.training.config import TOLERATED, TrainingConfig
from eqcalc.training.evaluation import evaluate
from eqcalc.training.evaluation_table import EvaluationTable
from eqcalc.training.few_labels import TangentFit, tangent_fit
from eqcalc.training.fit import TrainingResult, train
from eqcalc.training.uncertainty import Calibration, calibrated_last_layers, calibration

__all__ = [
    "TOLERATED",
    "Calibration",
    "EvaluationTable",
    "TangentFit",
    "TrainingConfig",
    "TrainingResult",
    "calibrated_last_layers",
    "calibration",
    "evaluate",
    "tangent_fit",
    "train",
]
