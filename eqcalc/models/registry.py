# SPDX-License-Identifier: MIT
"""Names of representations in configurations and model files.

Those of eqcalc have a short name; a new one takes a module with a typed configuration and one line
here. Representations of other packages are named by the import path of their configuration,
``"package.module:ClassName"``, in settings and in the header of model files. A file never triggers
an import by itself: the caller must have registered the class (:func:`register_representation`) or
listed its module in the environment variable ``EQCALC_PLUGINS`` (comma-separated), which child
processes inherit. Listing a module permits running its code; a model file can only choose among the
permitted modules.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Protocol, TypeVar

from torch import nn

from eqcalc.models.networks.cormorant import CormorantConfig
from eqcalc.models.networks.dimenet import DimeNetConfig
from eqcalc.models.networks.irreps_gcn import IrrepsGCNConfig
from eqcalc.models.networks.lnet import LNetConfig
from eqcalc.models.networks.painn import PaiNNConfig, SmoothPaiNNConfig
from eqcalc.models.networks.painn_ablation import AblatedPaiNNConfig
from eqcalc.models.networks.schnet import SchNetConfig
from eqcalc.plugins import PLUGINS, import_plugin, instance, plugin_modules
from eqcalc.validation import InvalidInputError, located, one_of

_Class = TypeVar("_Class", bound=type)


class RepresentationConfig(Protocol):
    """The properties of a representation that the potential uses."""

    @property
    def features(self) -> int:
        """Number of scalar features per atom."""
        ...

    @property
    def vectors(self) -> int:
        """Number of vector features per atom."""
        ...

    @property
    def read_out_layers(self) -> int:
        """Number of linear layers of the perceptrons that read out scalars."""
        ...

    @property
    def read_out_activation(self) -> str:
        """Activation between these layers."""
        ...

    @property
    def cutoff(self) -> float:
        """Distance beyond which atoms do not interact directly [Å]."""
        ...

    @property
    def embeddings(self) -> int:
        """Atomic numbers must be smaller than this."""
        ...

    def build(self) -> nn.Module:
        """Return a representation with random initial parameters."""
        ...


#: Configurations of representations by name.
REPRESENTATIONS: dict[str, type[Any]] = {
    config.name: config
    for config in (
        SmoothPaiNNConfig,
        PaiNNConfig,
        AblatedPaiNNConfig,
        SchNetConfig,
        LNetConfig,
        IrrepsGCNConfig,
        CormorantConfig,
        DimeNetConfig,
    )
}


#: The network of settings that name none.
DEFAULT = SmoothPaiNNConfig.name

#: Configurations of other packages, by import path.
_REGISTERED: dict[str, type[Any]] = {}

#: Required attributes of a configuration besides `build`.
_NEEDED = (
    *("features", "vectors", "read_out_layers", "read_out_activation"),
    *("cutoff", "embeddings"),
)


def register_representation(config: _Class) -> _Class:
    """Register a custom representation for settings and model files; a decorator.

    Its name is ``"package.module:ClassName"``. Files with it can be read wherever the class
    is registered or its module is listed in ``EQCALC_PLUGINS``.

    Parameters
    ----------
    config
        A frozen dataclass that implements :class:`RepresentationConfig`. Its fields, which are
        written to model files, are numbers, strings, booleans, or tuples of them.

    Returns
    -------
    type
        `config` itself.

    Raises
    ------
    InvalidInputError
        An attribute is missing, or other processes could not import the class.
    """
    place = _place(config)
    if not dataclasses.is_dataclass(config):
        raise InvalidInputError(
            key="name", value=place, expected="a dataclass with the settings of a representation"
        )
    fields = {field.name for field in dataclasses.fields(config)}
    for name in ("build", *_NEEDED):
        if name not in fields and not hasattr(config, name):
            raise InvalidInputError(
                f"{place} lacks it; see RepresentationConfig", key=name, value=config
            )
    if "name" in fields:
        raise InvalidInputError(f"is the place of {place}, and cannot be a setting", key="name")
    if config.__module__ == "__main__" or "<locals>" in config.__qualname__:
        raise InvalidInputError(
            "a model file could not name this class",
            key="name",
            value=place,
            expected="a class at the top level of an importable module",
        )
    _REGISTERED[place] = config
    return config


def representation_config(settings: dict[str, Any]) -> RepresentationConfig:
    """Build a typed configuration from a mapping with a ``name`` and settings.

    Raises
    ------
    InvalidInputError
        The name or a setting is unknown, or a value is invalid.
    """
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    with located(section="representation"):
        config: RepresentationConfig = instance("", _class_named(values.pop("name", None)), values)
    return config


def representation_settings(config: RepresentationConfig) -> dict[str, Any]:
    """Return the mapping from which :func:`representation_config` rebuilds `config`."""
    kind = type(config)
    names = {known: name for name, known in REPRESENTATIONS.items()}
    return {"name": names.get(kind, _place(kind)), **dataclasses.asdict(config)}  # type: ignore[call-overload]


def require_registered(config: RepresentationConfig) -> None:
    """Raise InvalidInputError unless a file that names the class of `config` could be read."""
    kind = type(config)
    if kind not in REPRESENTATIONS.values() and _REGISTERED.get(_place(kind)) is not kind:
        raise InvalidInputError(
            "no file with it could be read",
            key="representation",
            value=_place(kind),
            expected="a registered class",
            advice="register it with eqcalc.models.register_representation",
        )


def _place(config: type) -> str:
    return f"{config.__module__}:{config.__qualname__}"


def _class_named(name: Any) -> type[Any]:
    """Return a class of eqcalc, a registered one, or one of a permitted module."""
    if isinstance(name, str) and name in REPRESENTATIONS:
        return REPRESENTATIONS[name]
    module, separator, class_name = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not separator:
        try:
            one_of("name", name, REPRESENTATIONS)
        except InvalidInputError as error:
            error.expected += ", or package.module:ClassName"
            raise
    if name in _REGISTERED:
        return _REGISTERED[name]
    if module not in plugin_modules():
        raise InvalidInputError(
            key="name",
            value=name,
            expected="a network of eqcalc, or a registered class",
            advice=f"to let its module be imported, which runs its code, set {PLUGINS}={module}",
        )
    found = getattr(import_plugin(module), class_name, None)
    if not inspect.isclass(found):
        raise InvalidInputError(key="name", value=name, expected=f"a class of {module}")
    if _place(found) != name:
        raise InvalidInputError(key="name", value=name, expected=repr(_place(found)))
    return register_representation(found)
