"""Draws the same seeds by several methods in turn, and measures them against the uncached run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch

from padecast._errors import check
from padecast.calibration.provenance import Provenance
from padecast.lab.flops import count_operations, flops_share
from padecast.lab.ledger import SHOWN, Ledger
from padecast.lab.peer_tuning import REFUSALS, refuse
from padecast.lab.peers import Peer
from padecast.lab.preparation import prepare
from padecast.lab.results import Comparison, Refusal
from padecast.lab.runner import UNCACHED, Drawn, Entry, Task, draw
from padecast.lab.tuning import tune
from padecast.methods import Method

Progress = Callable[[str], None]
ONCE = "once"
"""How an uncached run is timed that is drawn a single time: see :func:`measure`."""


def measure(
    task: Task,
    entries: Sequence[Entry],
    *,
    repeats: int = 1,
    paired: bool = False,
    flops: bool = False,
    timed: bool | str = True,
    progress: Progress | None = None,
) -> Comparison:
    """Draw every batch uncached and under every entry, in turn, and compare.

    Args:
        task: What to sample.
        entries: How, besides uncached.
        repeats: How often every batch is drawn by each, at least 1. Default 1: batches are rounds already.
        paired: Whether an uncached call precedes every single one (A B A C ...) instead of every round (A B C ...).
        flops: Whether operations are counted too, in one more batch of each; in every call if it is not timed.
        timed: Whether times are wanted. Without them every batch is drawn once, and the uncached one is taken from the
            task's memory where it is there. ``"once"`` draws as rarely and takes times all the same, so that a speedup
            is over an uncached run of earlier: for models of which a run is dear, on a machine that does nothing else.
        progress: Told the name of the entry after every call; see :func:`calls`.

    Returns:
        The uncached result first, then one per entry; a peer that cannot be put on the pipeline is among the refusals.
    """
    check(repeats >= 1, "repeats", repeats, "1 or more")
    check_timed(timed)
    first, ledgers = Ledger(UNCACHED), [Ledger(entry) for entry in entries]
    if timed == ONCE:
        task.once("warm", lambda: warm_up(task))
        _draw_once(task, first, ledgers, False, progress)  # operations are counted apart: counting takes time
        if flops:
            _count_flops(task, ledgers)
        return _sum_up(task, first, ledgers, timed=True)
    if not timed:
        _draw_once(task, first, ledgers, flops, progress)
        return _sum_up(task, first, ledgers, timed=False)
    warm_up(task)
    for seeds in task.batches():
        for repeat in range(repeats):
            reference = _draw(task, first, seeds, progress)
            first.book(task, seeds, reference, reference, score=repeat == 0)
            for place, ledger in enumerate(ledgers):
                if paired and place > 0:
                    reference = _draw(task, first, seeds, progress)
                _try(task, ledger, seeds, reference, progress, score=repeat == 0)
    if flops:
        _count_flops(task, ledgers)
    return _sum_up(task, first, ledgers, timed=True)


def check_timed(timed: bool | str) -> None:
    """Raise unless it says whether times are taken, or that they are of uncached runs drawn once.

    Raises:
        InvalidOption: If it does not.
    """
    check(isinstance(timed, bool) or timed == ONCE, "timed", timed, f"true, false or {ONCE!r}")


def warm_up(task: Task) -> bool:
    """Draw two steps, so that what is made at the first call is not in the first time."""
    draw(task, dataclasses.replace(UNCACHED, steps=2), task.batches()[0])
    return True


def _draw_once(task: Task, first: Ledger, ledgers: Sequence[Ledger], flops: bool, progress: Progress | None) -> None:
    """Draw every batch once, and count operations as it is drawn."""

    def draw_uncached(seeds: Sequence[int]) -> Drawn:
        return task.once((UNCACHED.name, seeds, flops), lambda: _rest(_draw(task, first, seeds, None, flops=flops)))

    for seeds in task.batches():
        reference = draw_uncached(seeds)
        if progress is not None:
            progress(UNCACHED.name)
        first.book(task, seeds, reference, reference, score=True)
        for ledger in ledgers:
            _try(task, ledger, seeds, reference, progress, score=True, flops=flops)


def _rest(drawn: Drawn) -> Drawn:
    """Return what was drawn with its latents on the host: what is remembered takes no memory of a GPU."""
    return dataclasses.replace(drawn, path=tuple(latents.cpu() for latents in drawn.path))


def calls(task: Task, entries: int, *, repeats: int = 1, paired: bool = False) -> int:
    """How many calls :func:`measure` reports to ``progress``.

    Example:
        >>> calls(Task(None, print, seeds=range(16), batch=8), 3), calls(Task(None, print, seeds=[1]), 3, paired=True)
        (8, 6)
    """
    return len(task.batches()) * repeats * (max(2 * entries, 1) if paired else entries + 1)


def compare(
    task: Task,
    methods: Sequence[str | Method],
    nfe: Sequence[int] = (),
    *,
    repeats: int = 1,
    paired: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare methods, at given numbers of computed steps if any are given, and always with fewer sampler steps.

    Args:
        task: What to sample.
        methods: Registered methods with their options, or methods put together.
        nfe: Numbers of computed steps; every method is tuned to each on the task's ``development`` seeds. By default
            methods run as they are written.
        repeats: See :func:`measure`.
        paired: See :func:`measure`.
        progress: See :func:`measure`; tuning is not reported.

    Raises:
        InvalidOption: If a number of computed steps is above the task's steps.
    """
    entries = entered(task, methods, nfe)
    measured = measure(task, entries, repeats=repeats, paired=paired, progress=progress)
    return measured if nfe else with_fewer_steps(task, measured, repeats=repeats, paired=paired, progress=progress)


def with_fewer_steps(
    task: Task,
    measured: Comparison,
    *,
    repeats: int = 1,
    paired: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Add the baseline: the same sampler with as many steps as the methods were found to compute."""
    steps = sorted({max(round(result.nfe), 1) for result in measured.results[1:]})
    fewer = measure(task, [Entry.fewer(n) for n in steps], repeats=repeats, paired=paired, progress=progress)
    return dataclasses.replace(
        measured,
        results=(measured.results[0], *fewer.results[1:], *measured.results[1:]),
        images=(measured.images[0], *fewer.images[1:], *measured.images[1:]),
    )


def entered(
    task: Task, methods: Sequence[str | Method], nfe: Sequence[int], *, progress: Progress | None = None
) -> list[Entry]:
    """Tune every method to every number of computed steps, fewer sampler steps first in each group."""
    tuning = task.tuning()
    tuning = dataclasses.replace(tuning, memory={} if tuning.memory is None else tuning.memory)
    if not nfe:
        return [prepare(tuning, Entry.of(method)) for method in methods]
    entries = []
    for count in nfe:
        check(1 <= count <= task.steps, "nfe", count, f"1 to {task.steps}, the sampler's steps")
        entries.append(Entry.fewer(count, wanted=count))
        for method in methods:
            entries.append(tune(tuning, Entry.of(method, wanted=count), count))
            if progress is not None:
                progress(entries[-1].name)
    return entries


def _draw(task: Task, ledger: Ledger, seeds: Sequence[int], progress: Progress | None, *, flops: bool = False) -> Drawn:
    with count_operations(task.pipe) if flops else nullcontext() as operations:
        drawn = draw(task, ledger.entry, seeds)
    if progress is not None:
        progress(ledger.entry.name)
    return drawn if operations is None else dataclasses.replace(drawn, operations=operations.total)


def _try(
    task: Task,
    ledger: Ledger,
    seeds: Sequence[int],
    reference: Drawn,
    progress: Progress | None,
    *,
    score: bool,
    flops: bool = False,
) -> None:
    """Draw and measure a batch, unless the entry is a peer or a solver that has been refused, or now is."""
    if ledger.entry.refusal:
        return
    try:
        drawn = _draw(task, ledger, seeds, progress, flops=flops)
    except REFUSALS as error:
        if not isinstance(ledger.entry.method, Peer) and not ledger.entry.solver:
            raise
        ledger.entry = refuse(ledger.entry, error)
    else:
        ledger.book(task, seeds, drawn, reference, score=score)


def _count_flops(task: Task, ledgers: Sequence[Ledger]) -> None:
    for ledger in ledgers:
        if not ledger.entry.refusal:
            ledger.flops_share = flops_share(task, ledger.entry)


def _sum_up(task: Task, first: Ledger, ledgers: Sequence[Ledger], *, timed: bool) -> Comparison:
    shown = [first, *(ledger for ledger in ledgers if not ledger.entry.refusal)]
    return Comparison(
        settings=task.settings(),
        results=tuple(ledger.result(task, first, timed=timed) for ledger in shown),
        provenance=Provenance.of(task.pipe),
        images=tuple(torch.cat(ledger.images)[:SHOWN] for ledger in shown),
        refusals=tuple(Refusal.of(ledger.entry) for ledger in ledgers if ledger.entry.refusal),
    )
