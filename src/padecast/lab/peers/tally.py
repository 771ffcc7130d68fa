"""Which calls of a model really ran its last block, whatever library decides it."""

from __future__ import annotations

from typing import Any

from torch import nn

from padecast import targets
from padecast._errors import UnsupportedModel
from padecast.hooks.blocks.spans import stack_of
from padecast.targets.pipelines import models_of

QUERIES = ("to_q", "to_qkv", "to_qkv_mlp_proj", "qkv")


class Tally:
    """Counts the calls of a pipeline's models in which the attention of the last block ran.

    Args:
        pipe: The pipeline, of a described model class.
    """

    def __init__(self, pipe: Any) -> None:
        self.ran: list[bool] = []
        self._hooks: list[Any] = []
        for model in models_of(pipe):
            self._hooks.append(model.register_forward_pre_hook(self._enter, prepend=True))
            self._hooks.append(last_attention(model).register_forward_hook(self._count))

    def remove(self) -> None:
        """Stop counting."""
        for hook in self._hooks:
            hook.remove()

    def branches(self, evaluations: int) -> int:
        """Return how often the model is called in a step; 0 if not equally often in all."""
        calls = len(self.ran)
        return calls // evaluations if evaluations and calls % evaluations == 0 else 0

    def nfe(self, evaluations: int) -> float:
        """Return computed steps: computed calls over calls a step."""
        return sum(self.ran) * evaluations / max(len(self.ran), 1)

    def plan(self, evaluations: int) -> str:
        """Return ``C`` for a computed step, ``c`` for one of which some branches were, a dot for another.

        By calls where steps have different numbers of them.
        """
        width = self.branches(evaluations) or 1
        steps = [self.ran[at : at + width] for at in range(0, len(self.ran), width)]
        return "".join("C" if all(step) else "c" if any(step) else "." for step in steps)

    def _enter(self, *_: Any) -> None:
        self.ran.append(False)

    def _count(self, *_: Any) -> None:
        if self.ran:
            self.ran[-1] = True


def last_attention(model: nn.Module) -> nn.Module:
    """Return the query projection of a model's last block, or the block if it has none of a known name.

    Raises:
        UnsupportedModel: If no stack of blocks is known in the model.
    """
    target = targets.find(model)
    if target.opaque:
        raise UnsupportedModel(
            f"{target.model} has no stack of like blocks whose last one could be watched.\n"
            "Computed steps of other libraries are counted on transformers."
        )
    last = stack_of(model, target, "full").parts[-1]
    named = [part for name, part in last.named_modules() if name.rpartition(".")[2] in QUERIES]
    return named[0] if named else last
