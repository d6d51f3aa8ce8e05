# SPDX-License-Identifier: MIT
"""The anharmonic spectrum of a molecule as a chemist reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from eqcalc.anharmonic.analysis import Treatment, anharmonic_spectrum, treated_modes
from eqcalc.anharmonic.last_layer_spread import KNOWN, grid_uncertainty
from eqcalc.anharmonic.perturbation import perturbed_fundamentals
from eqcalc.anharmonic.separation import motion_table, separated_motions, with_motions
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.anharmonic.taylor import force_field
from eqcalc.facts import aligned
from eqcalc.files import write_record
from eqcalc.harmonic import evaluator_smoothness, harmonic_spectrum, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.models.potential import Potential
from eqcalc.molecules import total_charge
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime import evaluator_for


def write_anharmonic(
    atoms: Atoms,
    model: str | Path,
    *,
    name: str = "",
    output: str | Path | None = None,
    **choices: Any,
) -> str:
    """Write the anharmonic spectrum of a molecule; return its tables.

    Torsions and inversions are treated in one dimension, everything else by VCI; fundamentals
    also by second-order perturbation theory.

    Parameters
    ----------
    atoms
        The molecule, with its masses; it is relaxed.
    model
        Model file; it is evaluated in float64.
    name
        Name of the molecule in `output`.
    output
        File for levels, transitions and assignments (JSON).
    choices
        Fields of :class:`~eqcalc.anharmonic.analysis.Treatment` other than its defaults.
    """
    potential = load_model(model, dtype=torch.float64)
    relaxed = relax(potential, atoms)
    modes = harmonic_spectrum(potential, relaxed)
    at_rest, motions = separated_motions(relaxed, modes)
    evaluator = evaluator_for(potential, relaxed.numbers, charge=total_charge(atoms))
    smooth = evaluator_smoothness(modes, evaluator).trusted
    spread = _spread(modes, potential, relaxed)
    treatment = Treatment.for_modes(len(modes) - len(at_rest), **choices)
    spectrum = anharmonic_spectrum(modes, evaluator, treatment, at_rest=at_rest)
    spectrum = with_motions(spectrum, at_rest, motions, modes, evaluator)
    if output is not None:
        record = {"molecule": name, **spectrum.to_dict()}
        record["motions"] = [
            {
                "name": motion.name,
                "barrier_cm-1": motion.barrier,
                "fundamental_cm-1": motion.states.fundamental,
                "levels_cm-1": motion.levels[:20].tolist(),
            }
            for motion in motions
        ]
        write_record(Path(output), record)
    active = [k for k in range(len(modes)) if k not in at_rest]
    second_order = perturbed_fundamentals(force_field(treated_modes(modes, at_rest), evaluator))
    heads, units = ["mode", "harmonic", "GVPT2", "VCI"], ["", *["cm⁻¹"] * 3]
    if spread is not None:
        heads.append("spread")
        units.append("%")
    rows = [[*heads, ""], [*units, ""]]
    fundamentals = spectrum.fundamentals()
    for k, perturbed in zip(active, second_order, strict=True):
        three = (spectrum.harmonic[k], perturbed, fundamentals[k])
        shown = [f"{nu:.1f}" for nu in three]
        notes = [] if smooth[k] else ["not smooth"]
        if spread is not None:
            shown.append(f"{100.0 * spread[k]:.1f}")
            notes += ["not known"] if spread[k] > KNOWN else []
        rows.append([f"ν{k + 1}", *shown, ", ".join(notes)])
    parts = [aligned(rows, words={0, len(heads)}), spectrum.table(PRINTED)]
    if not smooth[active].all():
        parts.append(
            "not smooth: derivatives of the energy at the minimum are not those over the range of "
            "the vibration (eqcalc evaluate --smoothness); GVPT2 is not to be trusted there"
        )
    if spread is not None:
        parts.append(
            "spread: largest standard deviation of the energy along the mode that the model "
            f"states of itself, in parts of the energy; above {KNOWN:.0%} (not known) the "
            "vibration leaves the training data: label structures along it"
        )
    if motions:
        numbers = ", ".join(f"ν{k + 1}" for k in at_rest)
        parts += [f"motions of large amplitude, in place of {numbers}:", motion_table(motions)]
    return "\n\n".join(parts)


def _spread(modes: NormalModes, potential: Potential, relaxed: Atoms) -> np.ndarray | None:
    """Return the spread along each mode, ``[n_modes]``; None if the model does not know it."""
    if potential.last_layers is None:
        return None
    return grid_uncertainty(modes, potential, relaxed.numbers, charge=total_charge(relaxed))
