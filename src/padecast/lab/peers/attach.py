"""Puts a cache of another library around a pipeline, and takes it off without a trace."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from padecast._errors import PadecastError, UnsupportedModel
from padecast._intercept import Intercept
from padecast.handles.handle import check_unused
from padecast.lab.peers.base import Peer, first_line
from padecast.lab.peers.restored import restore
from padecast.lab.peers.tally import Tally
from padecast.targets.pipelines import models_of


class Seen(Tally):
    """What a run under a peer computed, and whether the pipeline said which branch it ran."""

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self.contexts = 0

    def listen(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the pipeline opens a cache context."""
        self.contexts += 1
        return method(*args, **kwargs)


@contextmanager
def switch_on(pipe: Any, peer: Peer, steps: int) -> Iterator[Seen]:
    """Switch a peer on inside the block; everything that it changed is put back, also after an error.

    Raises:
        UnsupportedModel: If it cannot be put on this pipeline, or stops in a run, with what it said.
        AlreadyAccelerated: If padecast accelerates the same models.
    """
    check_unused(pipe)
    with _hush(), _blame(peer, pipe), restore(pipe), ExitStack() as undo:
        peer.enable(pipe, steps)
        undo.callback(peer.disable, pipe)
        seen = Seen(pipe)
        undo.callback(seen.remove)
        for model in models_of(pipe):
            if peer.by_context and hasattr(model, "cache_context"):
                undo.enter_context(_context(model))
                undo.callback(Intercept(model, "cache_context", seen.listen).install().remove)
        yield seen


def _context(model: Any) -> AbstractContextManager[None]:
    """Open a cache context around a whole run, as the errors of diffusers ask where a pipeline opens none."""
    opened: AbstractContextManager[None] = model.cache_context("the only one")
    return opened


def check_branches(peer: Peer, pipe: Any, seen: Seen, evaluations: int) -> None:
    """Raise if a peer that is told branches by contexts was told none and there are several.

    Raises:
        UnsupportedModel: With how often the model is called in a step.
    """
    if peer.by_context and not seen.contexts and len(seen.ran) > evaluations:
        raise UnsupportedModel(
            f"{type(pipe).__name__} calls its model {len(seen.ran)} times in {evaluations} steps and opens no cache "
            f"context, by which {type(peer).__name__} tells the branches.\n"
            "One branch, guidance switched off, is possible."
        )


@contextmanager
def _blame(peer: Peer, pipe: Any) -> Iterator[None]:
    """Turn what another library raises into an error that names it."""
    try:
        yield
    except PadecastError:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"{type(peer).__name__} stopped on {type(pipe).__name__} with {type(error).__name__}: {first_line(error)}"
        ) from error


@contextmanager
def _hush() -> Iterator[None]:
    """Keep the advice of other libraries out of tables; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
