"""What plug-ins of serving systems share: the method that they are told, and whether it can serve there."""

from __future__ import annotations

import logging

import torch.distributed as dist

from padecast._errors import InvalidOption, MissingPackage
from padecast.handles.accelerate import replace_parts
from padecast.methods import Method, method
from padecast.policies import Learned
from padecast.report import Report

LOG = logging.getLogger("padecast")


def read_method(text: object) -> Method:
    """Return the method that a serving system was told; ``plan:steps=CC.C`` is tc-pade's with a plan of one's own.

    Raises:
        UnknownName: If there is none of that name.
        InvalidOption: If it is no text, or a method that learns: a server's workers would each learn by themselves.
    """
    if not isinstance(text, str):
        raise InvalidOption(f'method={text!r} is no name of a method.\nWrite one such as "tc-pade:every=3"')
    is_plan = text.startswith("plan:")
    entrant = replace_parts(method("tc-pade"), text, None, None) if is_plan else method(text)
    if isinstance(entrant.policy, Learned):
        raise InvalidOption(
            f"method={text!r} learns, which every worker of a server would do by itself.\n"
            'Take one that is ready for any run, such as "tc-pade:every=3"'
        )
    return entrant


def check_ranks(entrant: Method) -> None:
    """Raise unless the processes that draw one image together will decide alike.

    Raises:
        InvalidOption: If there are several, and the method decides by what it sees of the image.
    """
    count = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if count > 1 and (entrant.policy.needs_gram or entrant.policy.probe):
        raise InvalidOption(
            f"{entrant.name!r} decides by what it sees, and {count} processes may see different parts of an image.\n"
            'Take a method whose steps are known before a run, such as "tc-pade:every=3"'
        )


def explain_release(package: str, release: str, fact: str) -> MissingPackage:
    """Build the error for a release of a serving system in which what is hooked on is not there.

    Args:
        package: Its name.
        release: For which the plug-in was written.
        fact: What is missing.
    """
    return MissingPackage(
        f"{fact}.\nUsual cause: another release of {package} than {release}, for which this plug-in of padecast was "
        f"written. Install that one, or leave the plug-in out; nothing was changed"
    )


def log_run(report: Report) -> None:
    """Log what a run did, as handles do."""
    LOG.info("%d of %d computed, %.1fx, %s", report.computed, len(report.steps), report.speedup, report.method)
