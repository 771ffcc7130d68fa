"""Plans that searches on real models found, with their sources: ``published:flux-50-9``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from padecast import files
from padecast._errors import UnknownName, nearest, unknown
from padecast.policies.plan import Plan

DATA = Path(__file__).with_suffix(".json")
WORD = "published"
"""What the name of a method begins with that follows such a plan."""
LONGEST = 100  # characters of a name that are compared with those known
OFFERED = 3  # plans of one model and one length, at most


@dataclass(frozen=True)
class Published:
    """A plan that a search found, and where it is published.

    Args:
        name: Model, steps of the schedule and computed steps, and the search where another plan computes as many.
        model: On which it was searched, with the settings that are known.
        steps: Steps of the schedule.
        plan: Which of them are computed.
        search: Whose search found it.
        source: Where it is published: a repository with its commit and file, and the paper.

    Example:
        >>> plan = list_published()["flux-50-9"]
        >>> plan.plan.indices, plan.written
        ((0, 1, 2, 4, 6, 11, 24, 41, 49), 'published:flux-50-9')
    """

    name: str
    model: str
    steps: int
    plan: Plan
    search: str
    source: str

    @property
    def written(self) -> str:
        """Name of the method that follows it."""
        return f"{WORD}:{self.name}"


def list_published() -> dict[str, Published]:
    """Return the published plans by name; of each model, those of the best-founded search come first.

    Raises:
        DamagedFile: If the file with them is not what was installed.

    Example:
        >>> list_published()["wan-50-13"].search
        'BudCache'
    """
    return dict(_read()[1])


def find(name: str) -> Published:
    """Return the published plan of a name.

    Args:
        name: Such as ``"flux-50-9"``.

    Raises:
        UnknownName: If there is none; the message names the nearest, and says where all are listed.

    Example:
        >>> find("flux-50-13").plan.nfe
        13
        >>> find("flux-50-99")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown published plan 'flux-50-99'; the nearest is 'flux-50-9', and padecast \
methods published lists all.
        Known: flux-50-10, ...
    """
    plans = _read()[1]
    if name not in plans:
        raise _unknown(name)
    return plans[name]


def offers(model: str, steps: int) -> tuple[str, ...]:
    """Return the methods that follow published plans of a model, those of the best-founded search first.

    Args:
        model: Name of the transformer's class.
        steps: Steps of the schedule.

    Returns:
        At most three names, each with another number of computed steps; none where nothing is published.

    Example:
        >>> offers("FluxTransformer2DModel", 50)
        ('published:flux-50-9', 'published:flux-50-13', 'published:flux-50-21')
        >>> offers("FluxTransformer2DModel", 49)
        ()
    """
    classes, plans = _read()
    if model not in classes:
        return ()
    names = {f"{classes[model]}-{steps}-{plan.plan.nfe}" for plan in plans.values()}
    return tuple(plan.written for name, plan in plans.items() if name in names)[:OFFERED]


def follows(policy: object) -> bool:
    """Return whether a policy is a published plan.

    Example:
        >>> follows(find("flux-50-9").plan), follows(Plan("CC..C"))
        (True, False)
    """
    return any(policy == plan.plan for plan in _read()[1].values())


@cache
def _read() -> tuple[dict[str, str], dict[str, Published]]:
    """Read which class belongs to which model, and the plans by name."""
    document = files.read_json(DATA)
    try:
        plans = [_plan(entry) for entry in document["plans"]]
        return dict(document["classes"]), {plan.name: plan for plan in plans}
    except (KeyError, TypeError, ValueError) as error:
        raise files.damaged(DATA, f"it holds no plans: {type(error).__name__}: {error}") from error


def _plan(entry: dict[str, Any]) -> Published:
    fields = {key: entry[key] for key in ("name", "model", "steps", "search", "source")}
    return Published(plan=Plan.at(entry["plan"], entry["steps"]), **fields)


def _unknown(name: str) -> UnknownName:
    names = _read()[1]
    if not name:
        hint = f"it is followed by the name of a plan, {WORD}:NAME, and padecast methods {WORD} lists all"
        return unknown("method", WORD, names, hint)
    near = nearest(name[:LONGEST], names)
    where = f"padecast methods {WORD} lists all"
    return unknown(f"{WORD} plan", name, names, f"the nearest is {near!r}, and {where}" if near else where)
