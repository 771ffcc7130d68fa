"""padecast: diffusion transformers that forecast what they would have computed.

A pipeline or a transformer is accelerated by one line::

    with padecast.accelerate(pipe) as run:
        image = pipe("a red fox", num_inference_steps=20).images[0]
    print(run.report)
"""

import importlib
import typing

from padecast import _distribution, forecasters, lessons, policies, targets
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

__version__ = "0.1.0"

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
if typing.TYPE_CHECKING:
    from padecast import lab as lab
    from padecast import zoo as zoo
else:

    def __getattr__(name: str) -> typing.Any:
        """Import ``padecast.lab`` and ``padecast.zoo`` when they are first named: a server may have neither."""
        if name in ("lab", "zoo"):
            return importlib.import_module(f"padecast.{name}")
        raise AttributeError(f"module 'padecast' has no attribute {name!r}")
