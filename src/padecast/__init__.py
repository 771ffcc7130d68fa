"""padecast: diffusion transformers that forecast what they would have computed.

A pipeline or a transformer is accelerated by one line::

    with padecast.accelerate(pipe) as run:
        image = pipe("a red fox", num_inference_steps=20).images[0]
    print(run.report)
"""

import importlib
import sys
import types
import typing

from padecast import _distribution
from padecast._errors import (
    AlreadyAccelerated,
    CalibrationMismatch,
    ConcurrentRun,
    DamagedFile,
    FeatureChanged,
    HubError,
    InvalidOption,
    InvalidPlan,
    MissingFile,
    MissingPackage,
    MissingWeights,
    PadecastError,
    PadecastWarning,
    UnknownName,
    UnsupportedModel,
    UnwritableFile,
)

if typing.TYPE_CHECKING:
    from padecast import forecasters, lessons, policies, targets
    from padecast import lab as lab
    from padecast import zoo as zoo
    from padecast._geometry import Geometry
    from padecast._steps import Position, Trace
    from padecast.calibration import Calibration, calibrate
    from padecast.handles.accelerate import accelerate, disable, enable
    from padecast.handles.gains import measure_gains
    from padecast.handles.handle import Handle
    from padecast.methods import Method, method, methods
    from padecast.methods.citations import cite
    from padecast.report import Report
    from padecast.session.grid import Grid
    from padecast.session.rehearsal import Rehearsal, rehearse
    from padecast.session.session import Session

__version__ = "0.2.0"

__all__ = [
    "AlreadyAccelerated",
    "Calibration",
    "CalibrationMismatch",
    "ConcurrentRun",
    "DamagedFile",
    "FeatureChanged",
    "Geometry",
    "Grid",
    "Handle",
    "HubError",
    "InvalidOption",
    "InvalidPlan",
    "Method",
    "MissingFile",
    "MissingPackage",
    "MissingWeights",
    "PadecastError",
    "PadecastWarning",
    "Position",
    "Rehearsal",
    "Report",
    "Session",
    "Trace",
    "UnknownName",
    "UnsupportedModel",
    "UnwritableFile",
    "accelerate",
    "calibrate",
    "cite",
    "disable",
    "enable",
    "forecasters",
    "lessons",
    "measure_gains",
    "method",
    "methods",
    "policies",
    "rehearse",
    "targets",
]

_distribution.watch()

_ROOMS = ("forecasters", "lab", "lessons", "policies", "targets", "zoo")
_PLACES = {
    "Calibration": "padecast.calibration",
    "Geometry": "padecast._geometry",
    "Grid": "padecast.session.grid",
    "Handle": "padecast.handles.handle",
    "Method": "padecast.methods",
    "Position": "padecast._steps",
    "Rehearsal": "padecast.session.rehearsal",
    "Report": "padecast.report",
    "Session": "padecast.session.session",
    "Trace": "padecast._steps",
    "accelerate": "padecast.handles.accelerate",
    "calibrate": "padecast.calibration",
    "cite": "padecast.methods.citations",
    "disable": "padecast.handles.accelerate",
    "enable": "padecast.handles.accelerate",
    "measure_gains": "padecast.handles.gains",
    "method": "padecast.methods",
    "rehearse": "padecast.session.rehearsal",
}
"""Where every other public name is made. It is imported when it is first asked for: torch takes seconds."""


class _Package(types.ModuleType):
    """This package, whose function ``methods`` the room of that name does not replace once it is imported."""

    @property
    def methods(self) -> typing.Any:
        """The function of that name."""
        return importlib.import_module("padecast.methods").methods

    @methods.setter
    def methods(self, room: types.ModuleType) -> None:
        """Leave the function where it is: this is how the import system names a room."""


if not typing.TYPE_CHECKING:  # type checkers read the imports above, and miss names that are misspelt

    def __getattr__(name: str) -> typing.Any:
        """Import a public name's place when it is first asked for."""
        if name in _ROOMS:
            return importlib.import_module(f"padecast.{name}")
        if name not in _PLACES:
            raise AttributeError(f"module 'padecast' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_ROOMS, *_PLACES, "methods"})


sys.modules[__name__].__class__ = _Package
