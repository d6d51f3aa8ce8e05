# SPDX-License-Identifier: MIT
"""Build the integrator and thermostat of a method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from eqcalc.dynamics.cell_rescaling import Barostat, CellRescaling
from eqcalc.dynamics.integrator import Integrator
from eqcalc.dynamics.ring_polymer import ring_frequencies
from eqcalc.dynamics.thermostats.gle import GLEThermostat
from eqcalc.dynamics.thermostats.langevin import Ensemble, LangevinThermostat, Thermostat
from eqcalc.dynamics.thermostats.nose_hoover import NoseHooverThermostat
from eqcalc.dynamics.thermostats.rescaling import RescalingThermostat
from eqcalc.methods import DynamicsMethod, method, register_method
from eqcalc.plugins import class_at
from eqcalc.units import FEMTOSECOND, wavenumber_to_angular_frequency
from eqcalc.validation import InvalidInputError

_Class = TypeVar("_Class", bound=type)

#: Thermostats of other packages, by the name of their method.
_THERMOSTATS: dict[str, type[Any]] = {}
#: Barostats by the name of their method.
_BAROSTATS: dict[str, type[Any]] = {"NPT": CellRescaling}


def register_thermostat(thermostat: _Class) -> _Class:
    """Register a custom thermostat and its method; usable as a decorator.

    Parameters
    ----------
    thermostat
        A class with the interface of :class:`~eqcalc.dynamics.thermostats.Thermostat`, an
        attribute ``method`` (a :class:`~eqcalc.methods.DynamicsMethod`), and a class method
        ``build(ensemble, **parameters)``, which receives the parameters of the method.

    Returns
    -------
    type
        `thermostat` itself.

    Raises
    ------
    InvalidInputError
        It has no `method`, or another method has its name.
    """
    return _registered(thermostat, _THERMOSTATS)


def register_barostat(barostat: _Class) -> _Class:
    """Register a custom barostat and its method at constant pressure; usable as a decorator.

    Parameters
    ----------
    barostat
        A class with the interface of :class:`~eqcalc.dynamics.cell_rescaling.Barostat`, an
        attribute ``method`` and a class method ``build`` as of :func:`register_thermostat`. Its
        parameter ``time_constant``, if there is one, is that of the thermostat which the row of
        the method names, and is not passed to ``build``.

    Returns
    -------
    type
        `barostat` itself.

    Raises
    ------
    InvalidInputError
        See :func:`register_thermostat`.
    """
    return _registered(barostat, _BAROSTATS)


def _registered(cls: _Class, classes: dict[str, type[Any]]) -> _Class:
    row = getattr(cls, "method", None)
    if not isinstance(row, DynamicsMethod) or not hasattr(cls, "build"):
        raise InvalidInputError(
            key=cls.__qualname__,
            expected="a class with a DynamicsMethod as its attribute 'method', and 'build'",
        )
    if row.constant_pressure is not (classes is _BAROSTATS):
        raise InvalidInputError(
            key=f"{cls.__qualname__}.method.constant_pressure",
            value=row.constant_pressure,
            expected="True of a barostat, False of a thermostat",
        )
    register_method(replace(row, simulated=True))
    classes[row.name] = cls
    return cls


class Method:
    """A dynamics method with its parameters, such as ``Method("T-RPMD", damping=0.5)``.

    Parameters
    ----------
    name
        Name in the table of :mod:`eqcalc.methods` or of a registered thermostat or barostat, or
        ``"package.module:Class"``, whose module is imported.
    parameters
        Parameters of the method; others have their defaults.

    Raises
    ------
    InvalidInputError
        There is no such method or parameter, or a value is invalid.
    """

    def __init__(self, name: str, **parameters: Any) -> None:
        module, is_place, class_name = name.partition(":")
        if is_place:
            own: Any = class_at("method", module, class_name)
            isobaric = getattr(getattr(own, "method", None), "constant_pressure", False)
            name = _registered(own, _BAROSTATS if isobaric else _THERMOSTATS).method.name
        self.row = method(name, engine="eqcalc")
        self.parameters = self.row.settings(**parameters)

    @property
    def name(self) -> str:
        """Name in files and messages."""
        return self.row.name

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name, value in self.parameters.items())
        return f"Method({', '.join([repr(self.name), *given])})"

    def settings(self) -> dict[str, Any]:
        """Return name and parameters, for the record of a run."""
        return {"name": self.name, **self.parameters}

    def thermostat(self, ensemble: Ensemble) -> Thermostat | None:
        """Build the thermostat, None at constant energy.

        White noise acts on ring mode k with γ_k = 2λω_k, or 2λΩ where all internal modes
        are scaled to Ω, and on the centroid with γ_0 = 1/τ if the method has a τ.
        """
        row, values = self.row, self.parameters
        if self.name in _THERMOSTATS:
            built: Thermostat = _THERMOSTATS[self.name].build(ensemble, **values)
            return built
        if row.thermostatted == "none":
            return None
        if row.thermostat == "memory":
            a, c = values["drift"], values["covariance"]
            if not row.ring_polymer:
                a, c = [a], None if c is None else [c]
            return GLEThermostat.build(ensemble, a, c)
        time_constant = values.get("time_constant", float("inf")) * FEMTOSECOND
        if "chain_length" in values:
            return NoseHooverThermostat.build(ensemble, time_constant, values["chain_length"])
        frequencies = ensemble.frequencies
        if row.fictitious_masses:
            common = wavenumber_to_angular_frequency(values["frequency"])
            frequencies = torch.full_like(frequencies, common)
        friction = 2.0 * values.get("damping", 0.0) * frequencies
        friction[0] = 0.0
        if row.thermostat == "global":
            return RescalingThermostat.build(ensemble, time_constant, friction)
        friction[0] = 1.0 / time_constant
        return LangevinThermostat.build(ensemble, friction)

    def barostat(self, ensemble: Ensemble) -> Barostat | None:
        """Build the barostat, None at constant volume."""
        if not self.row.constant_pressure:
            return None
        own = {name: v for name, v in self.parameters.items() if name != "time_constant"}
        built: Barostat = _BAROSTATS[self.name].build(ensemble, **own)
        return built

    def mode_scaling(self, ensemble: Ensemble) -> Tensor | None:
        """Return the factor by which the time of each ring mode is scaled, None if unscaled.

        With internal modes of a common frequency Ω it is Ω/ω_k, and 1 for the centroid. A
        centroid that is held has no time: 0, and 1 for the others.

        Raises
        ------
        InvalidInputError
            The scaled time step of the slowest internal mode would exceed 1 fs.
        """
        scaling = torch.ones_like(ensemble.frequencies)
        if self.row.fixed_centroid:
            scaling[0] = 0.0
            return scaling
        if not self.row.fictitious_masses:
            return None
        frequency = self.parameters["frequency"]
        scaling[1:] = wavenumber_to_angular_frequency(frequency) / ensemble.frequencies[1:]
        longest = FEMTOSECOND / float(scaling.max())
        if ensemble.timestep > longest:
            raise InvalidInputError(
                key="timestep",
                value=ensemble.timestep / FEMTOSECOND,
                expected=f"at most {longest / FEMTOSECOND:.3f} fs for {self.name} with its "
                f"internal modes at {frequency:g} cm⁻¹",
                advice=f'shorten it, or lower the frequency: Method("{self.name}", frequency=…)',
            )
        return scaling

    def integrator(
        self,
        *,
        timestep: float,
        temperature: float,
        n_beads: int,
        masses: Tensor,
        translation: str = "none",
        freedom: int | None = None,
        propagator: str = "cayley",
    ) -> Integrator:
        """Build the integrator of this method.

        Parameters
        ----------
        timestep
            Time step [fs].
        temperature
            Temperature [K].
        n_beads
            Number of beads.
        masses
            ``[n_atoms]`` [amu].
        translation
            ``"none"``: the thermostat does not act on the total momentum.
        freedom
            Degrees of freedom of the centroid; by default all, without translation if that is
            ``"none"``.
        propagator
            ``"cayley"`` or ``"exact"``.

        Raises
        ------
        InvalidInputError
            The number of beads or the time step does not suit the method.
        """
        self.row.checked_beads(n_beads)
        if freedom is None:
            freedom = 3 * len(masses) - (3 if translation == "none" else 0)
        ensemble = Ensemble(
            frequencies=ring_frequencies(n_beads, temperature),
            timestep=timestep * FEMTOSECOND,
            masses=masses.double().view(-1, 1).cpu(),
            temperature=temperature,
            translation=translation,
            freedom=freedom,
        )
        thermostat, barostat = self.thermostat(ensemble), self.barostat(ensemble)
        return Integrator.build(
            timestep=ensemble.timestep,
            temperature=temperature,
            n_beads=n_beads,
            masses=masses,
            thermostat=None if thermostat is None else thermostat.to(masses.device),
            barostat=None if barostat is None else barostat.to(masses.device),
            propagator=propagator,
            mode_scaling=self.mode_scaling(ensemble),
        )


def as_method(name: str | Method) -> Method:
    """Return a :class:`Method`, from its name with default parameters."""
    return name if isinstance(name, Method) else Method(name)
