# SPDX-License-Identifier: MIT
"""The anharmonic spectrum of a molecule as a chemist reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from eqcalc.anharmonic.analysis import Treatment, anharmonic_spectrum, treated_modes
from eqcalc.anharmonic.modal_basis import oscillator_nodes
from eqcalc.anharmonic.perturbation import perturbed_fundamentals
from eqcalc.anharmonic.separation import motion_table, separated_motions, with_motions
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.anharmonic.taylor import force_field
from eqcalc.facts import Column, aligned, column, rows_of
from eqcalc.files import write_record
from eqcalc.harmonic import harmonic_spectrum, mode_smoothness, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.models.derivatives import differentiable_pairs
from eqcalc.models.last_layers import last_layer, last_layer_factors, parameter_columns
from eqcalc.models.potential import Potential
from eqcalc.molecules import total_charge
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime import evaluator_for
from eqcalc.structures import Structures
from eqcalc.units import WAVENUMBER_PER_EV

#: Largest spread of a mode whose grid is known, in parts of the energy. Of the general model it is
#: 3 to 12 % for most modes of small molecules, up to 27 % for twists and inversions, and 77 % in
#: ozone.
KNOWN = 0.2


def write_anharmonic(
    atoms: Atoms,
    model: str | Path,
    *,
    name: str = "",
    output: str | Path | None = None,
    progress: bool = False,
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
    progress
        Show the progress of the evaluations.
    choices
        Fields of :class:`~eqcalc.anharmonic.analysis.Treatment` other than its defaults.
    """
    potential = load_model(model, dtype=torch.float64)
    relaxed = relax(potential, atoms)
    modes = harmonic_spectrum(potential, relaxed)
    at_rest, motions = separated_motions(relaxed, modes)
    evaluator = evaluator_for(potential, relaxed.numbers, charge=total_charge(atoms))
    smooth = mode_smoothness(modes, evaluator).trusted
    spread = _spread(modes, potential, relaxed)
    treatment = Treatment.for_modes(len(modes) - len(at_rest), **choices)
    spectrum = anharmonic_spectrum(modes, evaluator, treatment, at_rest=at_rest, progress=progress)
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
    columns: list[Column] = [
        ("mode", "", [f"ν{k + 1}" for k in active]),
        column("harmonic", "cm⁻¹", spectrum.harmonic[active], ".1f"),
        column("GVPT2", "cm⁻¹", second_order, ".1f"),
        column("VCI", "cm⁻¹", spectrum.fundamentals()[active], ".1f"),
    ]
    doubts = {"not smooth": ~smooth}
    if spread is not None:
        columns.append(column("spread", "%", 100.0 * spread[active], ".1f"))
        doubts["not known"] = spread > KNOWN
    notes = [", ".join(text for text, doubtful in doubts.items() if doubtful[k]) for k in active]
    columns.append(("", "", notes))
    parts = [aligned(rows_of(columns), words={0, len(columns) - 1}), spectrum.table(PRINTED)]
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


def grid_uncertainty(
    modes: NormalModes,
    potential: Potential,
    numbers: np.ndarray,
    *,
    charge: float = 0.0,
    nodes: int = 13,
) -> np.ndarray:
    """Return the largest relative spread of the energy on the cut along each mode, ``[n_modes]``.

    It is the standard deviation of E(q) − E(0) by the distribution of the last layer, over E(q) −
    E(0) or a quantum of the mode, whichever is greater. As E is linear in the parameters of that
    layer, with the Jacobian J, the standard deviation is |(J(q) − J(0)) L| for C = L Lᵀ
    (:mod:`eqcalc.models.last_layers`), which is large where features are far from those of the
    training set.

    Parameters
    ----------
    modes
        Normal modes at the minimum of the potential.
    potential
        A model with the distribution of its last layers, in double precision.
    numbers, charge
        Atomic numbers of the molecule, ``[n_atoms]``, and its total charge [e].
    nodes
        Of each cut.

    Raises
    ------
    InvalidInputError
        The model has no such distribution.
    """
    factor = last_layer_factors(potential)["energy"]
    q = oscillator_nodes(nodes)
    cuts = modes.positions + q[:, None, None] * modes.steps[:, None]
    positions = np.concatenate([modes.positions[None], cuts.reshape(-1, *modes.positions.shape)])
    structures = Structures.stack(torch.as_tensor(numbers), torch.from_numpy(positions), charge)
    with torch.no_grad():
        pairs = differentiable_pairs(potential, structures)
        features = potential.representation(structures, pairs)

        def energy() -> torch.Tensor:
            return potential.read_out("energy", features, structures)

        energies = energy()
        jacobian = parameter_columns(last_layer(potential, "energy"), energy)
        spread = ((jacobian[1:] - jacobian[0]) @ factor.to(jacobian)).norm(dim=-1)
        above = torch.maximum(
            (energies[1:] - energies[0]).view(len(modes), nodes),
            torch.as_tensor(modes.wavenumber / WAVENUMBER_PER_EV)[:, None],
        )
    return np.asarray((spread.view(len(modes), nodes) / above).amax(dim=1).numpy())
