"""Where the stack of blocks lies in a model class, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BlockOutput:
    """What a block returns, in the names of its own arguments.

    Args:
        names: The arguments whose next value it returns, in the order it returns them.
        bare: Whether it returns a tensor instead of a tuple.
        joins: Arguments of the list before whose tokens the model concatenates, in this order, into this list's
            stream. Default none: the streams go on as they are.

    Example:
        >>> BlockOutput(("encoder_hidden_states", "hidden_states"))
        BlockOutput(names=('encoder_hidden_states', 'hidden_states'), bare=False, joins=())
    """

    names: tuple[str, ...]
    bare: bool = False
    joins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """Where the stack of a model class lies.

    Args:
        model: Name of the model class.
        blocks: Block list attributes in the order in which the model runs them, and what their blocks return.
        spans: Named runs of those lists. ``"full"`` (all of them) is always there.
        main: The stream, or streams, that the model goes on with after its last block. A span that ends earlier
            remembers every stream that its blocks return.
        timestep: The argument of the model's forward that holds the timestep.
        levels: Whether that argument lists the noise levels of several streams, each with a schedule of its own. The
            pipeline's scheduler then says which of them a run follows. Default false.
        pipelines: Where the class occurs, for the table of models.
        tested: On what it is tested, for the same table.
        samples: Which dimension of a stream counts the samples; ``None`` if it holds one sample and none does.
        opaque: Whether the output of the span's last part is remembered as it is, in place of a residual, because
            input and output differ in shape. ``blocks`` then holds any parts of the model, also slices of lists
            (``"down_blocks[1:]"``).
        modulated: Path of the module that gives the first block's modulated input, or the embedding of the timestep
            that modulates it, for policies that decide by it. Default unknown.
        aside: Arguments of its forward, and their values, by which a call only fills a cache of keys and values for the
            steps to come: such a call is no step, and is left alone. A dot leads into a dictionary. Default none.
        fills: The same of a call that is a step besides: it is computed, whatever was decided. Default none.
        library: Package that the class comes from: a class of the same name in another one has blocks of its own, for
            which this says nothing. Default any, and so a description of your own serves whoever has the name.
        masks: Arguments of its blocks that say which rows are a sample's and which fill up a batch of unequal captions,
            and the streams whose rows, one stream after the other, each covers: ``{"attention_mask":
            ("hidden_states",)}``. A dot leads into a dictionary: ``"joint_attention_kwargs.attention_mask"``. Default
            none: all rows count.

    Example:
        >>> dit = Target("DiTTransformer2DModel", {"transformer_blocks": HIDDEN})
        >>> dit.spans
        {'full': ('transformer_blocks',)}
        >>> dit.streams("full")
        ('hidden_states',)
    """

    model: str
    blocks: Mapping[str, BlockOutput]
    spans: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    main: str | tuple[str, ...] = "hidden_states"
    timestep: str = "timestep"
    levels: bool = False
    pipelines: tuple[str, ...] = ()
    tested: str = ""
    samples: int | None = 0
    opaque: bool = False
    modulated: str = ""
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    library: str = ""
    aside: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    fills: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", {"full": tuple(self.blocks), **self.spans})

    def is_aside(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call of the model with such arguments is no step, and only fills a cache.

        Example:
            >>> target = Target("Video", {"blocks": HIDDEN}, aside={"cache.mode": ("write",)})
            >>> target.is_aside({"cache": {"mode": "write"}}), target.is_aside({"cache": None}), target.is_aside({})
            (True, False, False)
        """
        return _any_is(self.aside, arguments)

    def is_filling(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call of the model with such arguments is a step that fills a cache besides."""
        return _any_is(self.fills, arguments)

    def lists(self, span: str) -> tuple[str, ...]:
        """Return the paths that a span runs through; ``"rest"`` is all but the model's first block."""
        if span != REST:
            return self.spans[span]
        first, *others = self.spans["full"]
        return (f"{first}[1:]", *others)

    def returns(self, path: str) -> BlockOutput:
        """Return what the blocks of a list, or of a slice of it, return."""
        return self.blocks[path] if path in self.blocks else self.blocks[path.partition("[")[0]]

    def streams(self, span: str) -> tuple[str, ...]:
        """Return the names of the streams that a span remembers."""
        return self.streams_of(self.lists(span))

    def streams_of(self, lists: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the streams that a run of lists remembers."""
        name, _, part = lists[-1].partition("[")
        main = (self.main,) if isinstance(self.main, str) else self.main
        ends = lists[-1] == tuple(self.blocks)[-1] or (name == tuple(self.blocks)[-1] and part.endswith(":]"))
        return main if ends else self.returns(lists[-1]).names


def _any_is(marks: Mapping[str, tuple[Any, ...]], arguments: Mapping[str, Any]) -> bool:
    return any(_read(arguments, path.split(".")) in values for path, values in marks.items())


def _read(value: Any, path: Sequence[str]) -> Any:
    """Return what lies at the end of a path through dictionaries, lists and objects; ``None`` if nothing does."""
    for name in path:
        try:
            value = value[int(name) if name.isdigit() else name]
        except (KeyError, IndexError, TypeError):
            value = getattr(value, name, None)
    return value


REST = "rest"
"""The span of policies that decide by the first block: all blocks but that one."""
HALVES = "halves"
"""The span of which the policy leaves out either half of the blocks."""
MODULES = "modules"
"""The span in which every attention and every feed-forward network of every block is forecast by itself."""
WHOLE = {"output": False, "difference": True}
"""Spans that every model has, described or not: what it returns, and that less the latents that it is given."""
HIDDEN = BlockOutput(("hidden_states",), bare=True)
TEXT_IMAGE = BlockOutput(("encoder_hidden_states", "hidden_states"))
IMAGE_TEXT = BlockOutput(("hidden_states", "encoder_hidden_states"))
