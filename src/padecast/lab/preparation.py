"""Lets a method or a peer learn what it has to from runs before it can be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from padecast._errors import InvalidOption
from padecast._registry import parse
from padecast.lab.magnitudes import magnitudes
from padecast.lab.peer_tuning import prepare_peer
from padecast.lab.published import fit_weights, measure_risks, search_plan
from padecast.lab.runner import Entry, Task, draw
from padecast.lessons import Library
from padecast.methods import Method
from padecast.policies import Learned
from padecast.policies.base import SupportsPreparation


def prepare(task: Task, entry: Entry) -> Entry:
    """Let a method or a peer learn what it has to from runs before it can be used; the others are left as they are.

    Args:
        task: What to sample, on seeds kept for this.
        entry: What is entered.

    Raises:
        InvalidOption: If fewer seeds are kept than it needs.
    """
    if not isinstance(entry.method, Method):
        return prepare_peer(task, entry)
    for part in (entry.method.policy, entry.method.forecaster):
        way = part.preparation if isinstance(part, SupportsPreparation) else ""
        entry = WAYS[way](task, entry) if way else entry
    return entry


def measure_ratios(task: Task, entry: Entry) -> Entry:
    """Give a rule of magnitudes the ratios of the task's first batch, unless ratios were written down."""
    assert isinstance(entry.method, Method)
    span = entry.method.span
    if "ratios" in parse(entry.written)[1]:
        return entry
    seeds, steps = task.batches()[0], entry.steps or task.steps
    ratios = task.once(
        ("magnitudes", span, seeds, steps),
        lambda: magnitudes(task.pipe, task.call, seeds, span, num_inference_steps=steps),
    )
    return set_options(entry, {"ratios": tuple(float(f"{ratio:.5g}") for ratio in ratios)})


def teach(task: Task, entry: Entry) -> Entry:
    """Have a method that learns taught by as many runs of one seed as it wants, in a library of its own, in memory.

    What is measured then is planned from the first run on. Nothing is read from the lessons of the user, or added.
    """
    assert isinstance(entry.method, Method) and isinstance(entry.method.policy, Learned)
    policy, span, steps = entry.method.policy, entry.method.span, entry.steps or task.steps
    seeds = tuple(task.seeds)[: policy.runs]
    if len(seeds) < policy.runs:
        raise InvalidOption(
            f"runs={policy.runs} of {entry.name!r} are taught by as many seeds, and {len(seeds)} are kept for tuning.\n"
            'Keep more: padecast compare --tune-seeds 1000-1007, or development = "1000-1007" in an experiment'
        )

    def learn() -> Library:
        library = Library(False)
        for seed in seeds:
            draw(task, dataclasses.replace(entry, lessons=library), (seed,))
        return library

    library = task.once(("lessons", span, policy.first, seeds, steps), learn)
    entry = dataclasses.replace(entry, lessons=library, teaching=len(seeds))
    if library.list():
        return entry
    return dataclasses.replace(entry, refusal="uncached runs of this pipeline taught it nothing")


WAYS: dict[str, Callable[[Task, Entry], Entry]] = {
    "ratios": measure_ratios,
    "lessons": teach,
    "gram": fit_weights,
    "guided": measure_risks,
    "search": search_plan,
}
"""How methods are prepared, by what their policies say; a plugin whose policy says something else adds its own."""


def set_options(entry: Entry, options: dict[str, object]) -> Entry:
    """Set options of an entry's policy, and write them into the method's text."""
    method = entry.method
    if not isinstance(method, Method) or not options:
        return entry
    name, arguments = parse(entry.written)
    written = {**arguments, **{option: str(value).lower() for option, value in options.items()}}
    policy = dataclasses.replace(method.policy, **options)
    return dataclasses.replace(
        entry,
        method=dataclasses.replace(method, policy=policy),
        written=f"{name}:{','.join(f'{option}={value}' for option, value in written.items())}",
    )
