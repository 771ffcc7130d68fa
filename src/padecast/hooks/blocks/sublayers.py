"""Attentions and feed-forward networks of blocks, each forecast by itself, and computed for chosen tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from padecast._errors import InvalidOption, UnsupportedModel
from padecast.forecasters.tokens import grid_of
from padecast.hooks.blocks.attention import Attention
from padecast.hooks.call import Call, Pass
from padecast.hooks.outputs import Opaque
from padecast.hooks.rows import matching
from padecast.memory.arithmetic import Streams
from padecast.targets import MODULES, BlockOutput, Target
from padecast.targets.parts import lookup, parameters_of

ATTENTION = re.compile(r"((self_|cross_)?(attn|attention)\d*)$")
FEED_FORWARD = re.compile(r"((\w+_)?(ff|ffn|mlp)(_\w+)?|feed_forward)$")
TEXT = re.compile(r"context|encoder|text|txt")
"""What attentions and feed-forward networks are called in the blocks of diffusers, and those of the text."""


class Module(Opaque):
    """One attention or feed-forward network of a block.

    Args:
        part: The module.
        block: In which block it lies, counted through the model.
        attends: Whether it is an attention: it then shows something of the block's tokens, and treats each by itself
            only if it was seen to look at a text.
        text: Whether it belongs to the text. Default false.
        second: Whether samples lie in the second dimension of what it returns. Default false.
        captions: Whether some of its tokens are of captions, whose number says nothing of a grid. Default false.
    """

    def __init__(
        self,
        part: nn.Module,
        block: int,
        attends: bool,
        text: bool = False,
        second: bool = False,
        captions: bool = False,
    ) -> None:
        super().__init__([part], text=text, second=second)
        self.block, self.attends, self._captions = block, attends, captions

    watches = True

    def run(self, call: Call, way: Pass, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Run the module whole; if it is an attention whose tokens are to be told apart, note what it shows."""
        renewal = call.session.renewal
        if not self.attends or not renewal.watches:
            return forward(*args, **kwargs)
        with Attention(call.stream_rows) as seen:
            output = forward(*args, **kwargs)
        renewal.note((way.branch, self.block), seen.influence, seen.control)
        x, others = self._take_apart(args, kwargs)
        if x is not None and any(y.ndim == 3 and y.shape[1] in seen.texts for y in others):
            renewal.one_by_one.add(way.key)
        return output

    def renew(
        self, call: Call, way: Pass, forecast: Streams, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Streams:
        """Return a forecast with chosen tokens computed.

        Args:
            call: The model's call.
            way: How it goes through this module.
            forecast: What was remembered.
            forward: Runs the module.
            args: What it is given.
            kwargs: What it is given by name.
        """
        renewal = call.session.renewal
        if not renewal.share:
            return forecast
        if renewal.share >= 1:
            return self.learnt((), forward(*args, **kwargs))[1]
        x, others = self._take_apart(args, kwargs)
        alone = not self.attends or way.key in renewal.one_by_one
        if x is None or not alone or len(forecast) != 1 or forecast[0].shape[:2] != x.shape[:2]:
            return forecast
        if any(x.shape[1] in y.shape for y in others):
            return forecast  # something else is given for every token, and cannot be chosen from by rule
        rows = matching(call.stream_rows, (x,), self._text) if call.stream_rows else None
        grid = (x.shape[1],) if self._captions else grid_of(x.shape[1], call.latents)
        tokens = renewal.choose(way.key, (way.branch, self.block), x, grid, None if rows is None else rows[0])
        some = x.gather(1, tokens[..., None].expand(-1, -1, x.shape[2]))
        args, kwargs = self._replace_input(some, args, kwargs)
        output = forward(*args, **kwargs)
        places = tokens[..., None].expand(-1, -1, output.shape[2])
        return (forecast[0].scatter(1, places, output.to(forecast[0].dtype)),)

    def _take_apart(self, args: Any, kwargs: dict[str, Any]) -> tuple[Tensor | None, list[Tensor]]:
        """Return the input whose tokens are computed, ``(B, N, D)``, if it is such, and all other tensors."""
        x = args[0] if args else kwargs.get(parameters_of(self.parts[0])[0])
        others = [y for y in tree_leaves((args, kwargs)) if isinstance(y, Tensor) and y is not x]
        plain = isinstance(x, Tensor) and x.ndim == 3 and x.is_floating_point() and x.shape[1] > 0
        return (x if plain else None), others

    def _replace_input(self, x: Tensor, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, parameters_of(self.parts[0])[0]: x})


def modules_of(model: nn.Module, target: Target) -> list[Module]:
    """Return the attentions and feed-forward networks of a model's blocks, by the names that they have.

    Raises:
        UnsupportedModel: If there are none.
    """
    blocks = [(block, target.returns(path)) for path in target.lists("full") for block in lookup(model, path)]
    parts = [
        _module(part, name, number, target, returns)
        for number, (block, returns) in enumerate(blocks)
        for name, part in block.named_children()
        if ATTENTION.match(name) or FEED_FORWARD.match(name)
    ]
    if not parts:
        raise UnsupportedModel(
            f"no attention and no feed-forward network is known in the blocks of this {target.model}.\n"
            'Usual cause: other names than attn, attn1, ff, ffn or mlp. Forecast whole stacks: span="full"'
        )
    return parts


def _module(part: nn.Module, name: str, block: int, target: Target, returns: BlockOutput) -> Module:
    attends, text = bool(ATTENTION.match(name)), bool(TEXT.search(name))
    captions = bool(target.masks) and (text or len(returns.names) == 1)
    return Module(part, block, attends, text, target.samples == 1 and not attends, captions)


def check_tokens(stacks: Sequence[Any], target: Target, span: str) -> None:
    """Raise if no tokens of these stacks can be computed by themselves.

    Raises:
        InvalidOption: If the span is another than that of modules.
        UnsupportedModel: If the model has no feed-forward networks, or its tokens do not lie behind its samples.
    """
    if span != MODULES:
        raise InvalidOption(
            f"span={span!r} has no modules of which some tokens could be computed, as this method does.\n"
            f'Leave the span out, which is span="{MODULES}", or take a method that forecasts all tokens, such as fora.'
        )
    if target.opaque or target.samples != 0 or all(getattr(stack, "attends", True) for stack in stacks):
        raise UnsupportedModel(
            f"no feed-forward network over tokens is known in this {target.model}, so that none can be computed.\n"
            "Usual cause: a U-Net, other names than ff, ffn, mlp or feed_forward, or tokens that do not lie in the "
            'second dimension. Take a method that forecasts all tokens, such as fora:span="full".'
        )
