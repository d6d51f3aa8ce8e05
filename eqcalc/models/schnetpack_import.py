# SPDX-License-Identifier: MIT
"""Import PaiNN models trained with SchNetPack 2.

In SchNetPack's environment, where the pickled model and its settings can be
read, write the parameters and the resolved model section of ``config.yaml``::

    model = torch.load("best_model", map_location="cpu", weights_only=False)
    torch.save(model.state_dict(), "state.pt")
    config = OmegaConf.load("config.yaml")
    json.dump(OmegaConf.to_container(config.model, resolve=True), open("model.json", "w"))

and here, with the elements and units of the training data::

    import json
    from pathlib import Path

    import torch
    from eqcalc.models import save_model
    from eqcalc.models.schnetpack_import import import_schnetpack

    potential = import_schnetpack(
        torch.load("state.pt", weights_only=True),
        json.loads(Path("model.json").read_text()),
        elements=(1, 6, 8),
        units={"energy": "kcal/mol"},
    )
    save_model(potential, "model.eqc")

Results agree to rounding, with three intended differences:

- the polarizability is relative to the centre of mass of the structure, while SchNetPack uses the
positions as given and agrees only if they are centred as in training (`SubtractCenterOfMass`);
- the dipole of a charged molecule is relative to its centre of mass;
- forces are always the gradient of the energy.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqcalc.models.networks.painn import PaiNNConfig
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.models.radial import radial_basis
from eqcalc.quantities import quantity
from eqcalc.validation import InvalidInputError

#: SchNetPack's vector norms have no constant under the square root; this one leaves them unchanged
#: but keeps the derivative at zero finite.
_NO_EPSILON = 1e-24

_HEADS = {
    "Atomwise": "energy",
    "DipoleMoment": "dipole",
    "Polarizability": "polarizability",
}
_BASES = {"GaussianRBF": ("gaussian", "offsets"), "BesselRBF": ("sinc", "freqs")}


def import_schnetpack(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    elements: Sequence[int],
    units: Mapping[str, str],
    polarizability_origin: str = "center_of_mass",
) -> Potential:
    """Build a potential from a PaiNN model of SchNetPack 2.

    Parameters
    ----------
    state
        State dict of the model, or of the training task.
    config
        Resolved settings of the model, nested mappings with ``_target_``:
        ``representation``, ``output_modules`` and, if any, ``postprocessors``.
    elements
        Atomic numbers of the training data, which the model does not contain.
    units
        Unit in which the model predicts, by quantity: ``energy``, ``dipole``,
        ``polarizability``, for those it predicts. Positions must be in Å.
    polarizability_origin
        Origin of the positions in the training data: ``"center_of_mass"`` or
        ``"centroid"``.

    Returns
    -------
    Potential
        The model, in the precision of the parameters.

    Raises
    ------
    InvalidInputError
        The model has a part that eqcalc's PaiNN lacks, a parameter or setting is missing or
        unknown, or a unit is missing or unknown.
    """
    _check_arguments(state, config, elements, units)
    state = {name.removeprefix("model."): value.detach() for name, value in state.items()}
    left = dict(state)
    representation = _representation(config.get("representation", {}), state)
    if max(elements) >= representation.embeddings:
        raise InvalidInputError(
            f"{max(elements)} does not fit the embedding, which has "
            f"{representation.embeddings} rows",
            key="elements",
        )
    heads: dict[str, int] = {}
    read_outs: dict[str, dict[str, Any]] = {}
    for index, module in enumerate(config.get("output_modules", ())):
        name, options = _head(module)
        if name is None:
            continue
        if name in heads:
            raise InvalidInputError(f"a second {name}", key=f"output_modules.{index}")
        heads[name] = index
        if name == "polarizability":
            options["origin"] = polarizability_origin
        if options:
            read_outs[name] = options
    if not heads:
        raise InvalidInputError(
            "there is no energy, dipole or polarizability", key="output_modules"
        )

    names = {}
    for name in heads:
        if name not in units:
            example = f"{name}={quantity(name).unit!r}"
            raise InvalidInputError(
                f"give the unit of the {name}, for example {example}", key="units"
            )
        names[name] = quantity(name).factor_from(units[name])
    tables = _tables(config.get("postprocessors") or (), state, elements)
    energy = {z: names["energy"] * value for z, value in tables.items()} if tables else {}
    with torch.random.fork_rng(devices=[]):
        potential = Potential(
            PotentialConfig(representation, tuple(heads), read_outs),
            References(tuple(elements), {"energy": energy}, names),
        )
    dtype = state["representation.embedding.weight"].dtype
    parameters = _renamed(left, representation, heads)
    try:
        potential.to(dtype).load_state_dict(parameters)
    except RuntimeError as error:
        raise InvalidInputError(f"the parameters do not fit: {error}") from None
    unknown = [name for name in left if not name.startswith(("postprocessors.", "input_modules."))]
    if unknown:
        raise InvalidInputError(f"parameters without a counterpart in eqcalc: {', '.join(unknown)}")
    potential.metadata = {"training": {"imported_from": "SchNetPack"}}
    return potential.eval()


def _check_arguments(state: Any, config: Any, elements: Any, units: Any) -> None:
    """Check the types of the arguments of :func:`import_schnetpack`."""
    tensors = isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())
    if not tensors:
        raise InvalidInputError(
            "expected the tensors that torch.load('state.pt', weights_only=True) returns, "
            f"got {_short(state)}",
            key="state",
        )
    if not isinstance(config, Mapping):
        raise InvalidInputError(
            f"expected the mapping that json.loads returns for model.json, got {config!r:.60}",
            key="config",
        )
    if not isinstance(config.get("representation"), Mapping):
        hint = "; pass the section `model` only" if "model" in config else ""
        raise InvalidInputError(f"it has no representation{hint}", key="config")
    try:
        numbers = [operator.index(z) for z in elements]
    except TypeError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise InvalidInputError(
            f"expected atomic numbers such as (1, 6, 8), got {elements!r}",
            key="elements",
        )
    for name in units:
        if name not in _HEADS.values():
            known = ", ".join(_HEADS.values())
            raise InvalidInputError(f"expected some of {known}, got {name!r}", key="units")


def _short(value: Any) -> str:
    return repr(value) if isinstance(value, str | Path) else f"a {type(value).__name__}"


def _setting(settings: Mapping[str, Any], key: str, where: str) -> Any:
    """Return a setting; an error if it is missing."""
    if settings.get(key) is None:
        raise InvalidInputError("missing in the settings", key=f"{where}.{key}")
    return settings[key]


def _kind(settings: Mapping[str, Any]) -> str:
    """Return the name of the class in `_target_`."""
    return str(settings.get("_target_", "")).rsplit(".", 1)[-1]


def _representation(settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> PaiNNConfig:
    if _kind(settings) != "PaiNN":
        raise InvalidInputError(f"expected PaiNN, got {_kind(settings)!r}", key="representation")
    basis, cutoff = settings.get("radial_basis", {}), settings.get("cutoff_fn", {})
    if _kind(basis) not in _BASES:
        known = " or ".join(_BASES)
        raise InvalidInputError(
            f"expected {known}, got {_kind(basis)!r}",
            key="representation.radial_basis",
        )
    if _kind(cutoff) != "CosineCutoff":
        raise InvalidInputError(
            f"expected CosineCutoff, got {_kind(cutoff)!r}",
            key="representation.cutoff_fn",
        )
    _require_silu(settings, "representation")
    for key in ("nuclear_embedding", "electronic_embeddings"):
        if settings.get(key):
            raise InvalidInputError(
                "eqcalc has only the plain embedding", key=f"representation.{key}"
            )
    name, buffer = _BASES[_kind(basis)]
    size = int(_setting(basis, "n_rbf", "representation.radial_basis"))
    radius = float(_setting(cutoff, "cutoff", "representation.cutoff_fn"))
    spanned = float(_setting(basis, "cutoff", "representation.radial_basis"))
    if spanned != radius or float(basis.get("start", 0.0)) != 0.0:
        raise InvalidInputError("it must span 0 to the cutoff", key="representation.radial_basis")
    stored = state.get(f"representation.radial_basis.{buffer}")
    return PaiNNConfig(
        features=int(_setting(settings, "n_atom_basis", "representation")),
        layers=int(_setting(settings, "n_interactions", "representation")),
        cutoff=radius,
        radial_basis=_rounding(name, size, radius, stored),
        radial_functions=size,
        embeddings=len(_parameter(state, "representation.embedding.weight")),
        norm_epsilon=float(settings.get("epsilon", 1e-8)),
    )


def _rounding(name: str, size: int, cutoff: float, stored: Tensor | None) -> str:
    """Return the basis with the stored constants: exact, or in single precision."""
    if stored is None:
        return name
    for candidate in (name, f"{name}_single"):
        basis = radial_basis(candidate, size, cutoff)
        constants = basis.get_buffer("centers" if name == "gaussian" else "wavenumbers")
        if torch.equal(constants, stored.to(torch.float64)):
            return candidate
    raise InvalidInputError(
        "its constants are not those of its settings; a trained radial basis cannot be imported",
        key="representation.radial_basis",
    )


def _require_silu(settings: Mapping[str, Any], where: str) -> None:
    activation = settings.get("activation", "silu")
    if isinstance(activation, Mapping):
        activation = activation.get("path", _kind(activation))
    if str(getattr(activation, "__name__", activation)).rsplit(".", 1)[-1] not in {"silu", "SiLU"}:
        raise InvalidInputError(f"expected silu, got {activation!r}", key=f"{where}.activation")


def _head(settings: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the quantity of an output module, None for derivatives, and its options."""
    kind = _kind(settings)
    if kind in {"Forces", "Strain"}:
        return None, {}
    if kind not in _HEADS:
        raise InvalidInputError(f"{kind!r} has no counterpart in eqcalc", key="output_modules")
    _require_silu(settings, f"output_modules: {kind}")
    if int(settings.get("n_layers", 2)) != 2 or settings.get("n_hidden") is not None:
        raise InvalidInputError(
            f"{kind}: expected two layers of default width", key="output_modules"
        )
    if kind == "Atomwise":
        if settings.get("aggregation_mode", "sum") != "sum" or int(settings.get("n_out", 1)) != 1:
            raise InvalidInputError(
                "Atomwise: expected one energy, summed over atoms",
                key="output_modules",
            )
        return "energy", {}
    if kind == "Polarizability":
        return "polarizability", {"norm_epsilon": _NO_EPSILON}
    if not settings.get("correct_charges", True) or settings.get("predict_magnitude", False):
        raise InvalidInputError(
            "DipoleMoment: expected a vector from charges that add up to the "
            "total charge (correct_charges, not predict_magnitude)",
            key="output_modules",
        )
    if settings.get("use_vector_representation", False):
        return "dipole", {"norm_epsilon": _NO_EPSILON}
    return "dipole", {"atomic_dipoles": False}


def _tables(
    postprocessors: Sequence[Mapping[str, Any]],
    state: Mapping[str, Tensor],
    elements: Sequence[int],
) -> dict[int, float]:
    """Return the energy of each element in the unit of the model."""
    for name in state:
        # without their settings, an offset would be lost
        if name.startswith("postprocessors.") and not int(name.split(".")[1]) < len(postprocessors):
            raise InvalidInputError(
                f"the state has {name}, but the settings have {len(postprocessors)} postprocessors",
                key="postprocessors",
            )
    table: dict[int, float] = {}
    for index, settings in enumerate(postprocessors):
        kind = _kind(settings)
        if kind.startswith("Cast"):
            continue
        if kind != "AddOffsets" or not settings.get("is_extensive", True):
            raise InvalidInputError(
                f"{kind!r} has no counterpart in eqcalc", key=f"postprocessors.{index}"
            )
        mean = float(_parameter(state, f"postprocessors.{index}.mean").reshape(-1)[0])
        atomic = _parameter(state, f"postprocessors.{index}.atomref").reshape(-1)
        for z in elements:
            table[z] = table.get(z, 0.0)
            table[z] += mean if settings.get("add_mean", False) else 0.0
            table[z] += float(atomic[z]) if settings.get("add_atomrefs", False) else 0.0
    return table


def _parameter(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise InvalidInputError(f"the state has no {name}")
    return state[name]


def _renamed(
    left: dict[str, Tensor], config: PaiNNConfig, heads: Mapping[str, int]
) -> dict[str, Tensor]:
    """Move parameters out of `left`, under their names in eqcalc."""
    found: dict[str, Tensor] = {}

    def take(new: str, old: str, *, bias: bool = True) -> None:
        for kind in ("weight", "bias") if bias else ("weight",):
            if f"{old}.{kind}" not in left:
                raise InvalidInputError(f"the state has no {old}.{kind}")
            found[f"{new}.{kind}"] = left.pop(f"{old}.{kind}")

    take("representation.embedding", "representation.embedding", bias=False)
    take("representation.filters", "representation.filter_net")
    if len(found["representation.filters.weight"]) == 3 * config.features:  # shared filters
        for kind in ("weight", "bias"):
            one = found[f"representation.filters.{kind}"]
            found[f"representation.filters.{kind}"] = torch.cat([one] * config.layers)
    for layer in range(config.layers):
        for part in (0, 1):
            new, old = f"representation.messages.{layer}", f"representation.interactions.{layer}"
            take(f"{new}.context.{2 * part}", f"{old}.interatomic_context_net.{part}")
            new, old = f"representation.updates.{layer}", f"representation.mixing.{layer}"
            take(f"{new}.context.{2 * part}", f"{old}.intraatomic_context_net.{part}")
        take(f"{new}.mix", f"{old}.mu_channel_mix", bias=False)
    for name, index in heads.items():
        old = f"output_modules.{index}.outnet"
        for part in (0, 1):
            if f"{old}.{part}.mix_vectors.weight" in left:
                new = f"heads.{name}.blocks.{part}"
                take(f"{new}.mix", f"{old}.{part}.mix_vectors", bias=False)
                for layer in (0, 1):
                    take(f"{new}.gate.{2 * layer}", f"{old}.{part}.scalar_net.{layer}")
            else:
                take(f"heads.{name}.atomwise.{2 * part}", f"{old}.{part}")
    constants = ("radial_basis.offsets", "radial_basis.widths", "radial_basis.freqs")
    for name in (*constants, "cutoff_fn.cutoff", "cutoff"):
        left.pop(f"representation.{name}", None)
    return found
