"""How something is put around a pipeline's models: by an acceleration, by a calibration, or to listen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from padecast import targets
from padecast._intercept import Layer, Switch
from padecast.forecasters.extras import Extra
from padecast.hooks.attachment import Attachment, Listener, MakeSession
from padecast.hooks.blocks.spans import span_of
from padecast.hooks.schedule import Clock
from padecast.session.session import Session
from padecast.targets.pipelines import models_of


def attach(
    model: nn.Module,
    span: str,
    clock: Clock,
    make_session: MakeSession,
    listener: Listener | None = None,
    probe: str = "",
    extra: Extra | None = None,
    switch: Switch | None = None,
) -> Attachment:
    """Return what puts sessions around a span of a model, once it is installed and its switch is on.

    Args:
        model: The transformer or U-Net.
        span: What of it is forecast, by name.
        clock: Places calls in runs and schedules.
        make_session: Builds the session of a run of so many steps.
        listener: Is told of runs that end and of calls that are left alone. Default nobody.
        probe: What a policy wants to see. Default nothing.
        extra: What a forecaster does besides weights. Default nothing.
        switch: Whether it acts, together with others. Default one of its own.

    Raises:
        UnknownName: If the model has no such span.
        UnsupportedModel: If the class is not described, or the span has no blocks.
        InvalidOption: If the span is not one for such a policy or forecaster.
    """
    target = targets.find(model, span)
    parts = span_of(model, target, span, probe, extra)
    return Attachment(model, target, parts, clock, make_session, listener, probe, switch)


@contextlib.contextmanager
def around(
    pipe: Any, span: str, make_session: Callable[[int], Session], layers: Sequence[Layer] = ()
) -> Iterator[list[Session]]:
    """Put sessions around a pipeline's first model inside the block; gives those that were begun.

    Args:
        pipe: A diffusers pipeline.
        span: What of the model is forecast.
        make_session: Builds the session of a run of so many steps.
        layers: What else is put on the pipeline or its parts. Default nothing.

    Raises:
        UnsupportedModel: If the pipeline has no model, or no such span is known in it.
    """
    begun: list[Session] = []

    def begin(total: int) -> Session:
        begun.append(make_session(total))
        return begun[-1]

    with contextlib.ExitStack() as undo:
        undo.enter_context(attach(models_of(pipe)[0], span, Clock(pipe, strides=True), begin))
        for layer in layers:
            undo.callback(layer.remove)
            layer.install()
        yield begun
