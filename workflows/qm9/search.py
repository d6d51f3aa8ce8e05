# SPDX-License-Identifier: MIT
"""Random search of hyperparameters of L1Net on all twelve targets of QM9 at once.

    pip install 'eqcalc[workflows]'
    python workflows/qm9/search.py data/qm9/subset.h5 --output runs/search --trials 40 --epochs 10

The search of Miller et al. (arXiv:2008.08461): the configuration of lowest mean normalised
error after a few epochs wins. Ranges are those of their search script where it is known (widths,
layers, batch size, β); number and range of the radial functions are chosen here. The same command
goes on where it was stopped, and more --trials add to those that are done. ``trials.csv`` in the
folder ranks them all.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import optuna

from eqcalc.quantities import MOLECULAR_SCALARS
from eqcalc.training import train
from eqcalc.training.sweeps import how_made


def settings(trial: optuna.Trial, options: argparse.Namespace) -> dict[str, Any]:
    """Draw the settings of one training."""
    total = trial.suggest_int("total", 80, 143)
    scalar_share = trial.suggest_float("scalar_share", 0.0, 1.0)
    vectors = round((1.0 - scalar_share) * total / 3.0)
    representation = {
        "name": "lnet",
        "hidden_vectors": vectors,
        "scalars": max(total - 3 * vectors, 1),
        "embedding": trial.suggest_int("embedding", 80, 143),
        "radial_width": trial.suggest_int("radial_width", 80, 143),
        "radial_layers": trial.suggest_int("radial_layers", 1, 2),
        "radial_functions": trial.suggest_int("radial_functions", 25, 150),
        "cutoff": trial.suggest_float("cutoff", 3.0, 15.0),
        "radial_basis": trial.suggest_categorical(
            "radial_basis", ["cosine_squared", "gaussian", "sinc"]
        ),
        "output_features": trial.suggest_int("output_features", 64, 127),
        "read_out_layers": trial.suggest_int("read_out_layers", 1, 2),
        "beta": trial.suggest_float("beta", 0.5, 10.5),
        "residual": trial.suggest_categorical("residual", [False, True]),
    }
    if options.small:  # for trying the command out
        for key in ("embedding", "radial_width", "output_features", "scalars", "hidden_vectors"):
            smallest = 0 if key == "hidden_vectors" else 1
            representation[key] = max(representation[key] // 8, smallest)
    return {
        "output": str((options.output / f"trial-{trial.number:03d}").resolve()),
        "seed": trial.number,
        "data": {
            "path": str(options.dataset.resolve()),
            "training": options.training,
            "validation": 500,
            "test": 0,
        },
        "loss": {scalar.name: 1.0 for scalar in MOLECULAR_SCALARS},
        "model": {
            "representation": representation,
            "read_outs": {
                "dipole_magnitude": {"form": "scalar"},
                "electronic_spatial_extent": {"form": "scalar"},
            },
        },
        "optimizer": {
            "batch_size": trial.suggest_int("batch_size", 8, 24),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "weight_decay": 0.0,
        },
        "schedule": {"name": "plateau", "factor": 0.5, "patience": 5, "smoothing": 0.0},
        "stopping": {"epochs": options.epochs, "patience": None},
        "ema": {"decay": 0.0},
    }


def write_table(path: Path, trials: list[optuna.trial.FrozenTrial]) -> None:
    """Write the configurations and their errors, the best first."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# {how_made()}; the seed of a trial is its number\n")
        writer = csv.writer(stream, lineterminator="\n")
        parameters = sorted({key for trial in trials for key in trial.params})
        writer.writerow(["trial", "mean normalised error", *parameters])
        for trial in trials:
            values = [
                f"{trial.params[key]:.6g}"
                if isinstance(trial.params[key], float)
                else trial.params[key]
                for key in parameters
            ]
            writer.writerow([trial.number, f"{trial.value:.4f}", *values])


def main() -> None:
    """Search, and print the best configurations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=40, help="in all, those that are done too")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--training", type=int, default=10000)
    parser.add_argument("--small", action="store_true", help="networks of an eighth of the width")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="L1Net",
        storage=f"sqlite:///{options.output / 'search.db'}",
        load_if_exists=True,
    )
    # a call that goes on must not draw again what was drawn before
    study.sampler = optuna.samplers.RandomSampler(seed=len(study.trials))

    def objective(trial: optuna.Trial) -> float:
        try:
            result = train(settings(trial, options))
        except FloatingPointError:  # too large a learning rate
            raise optuna.TrialPruned from None
        return float(result.record["validation"]["validation loss"]) / len(MOLECULAR_SCALARS)

    stopped = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(states=(stopped,)):  # of a call that was killed
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    left = options.trials - len(study.get_trials(states=finished))
    study.optimize(objective, n_trials=max(left, 0))
    ranked = sorted(
        (trial for trial in study.trials if trial.value is not None), key=lambda trial: trial.value
    )
    write_table(options.output / "trials.csv", ranked)
    for trial in ranked[:5]:
        print(f"trial {trial.number}: mean normalised error {trial.value:.4f}: {trial.params}")


if __name__ == "__main__":
    main()
