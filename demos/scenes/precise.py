"""What a FLUX transformer computes in float32, also where the rest is bfloat16."""

from __future__ import annotations

from typing import Any

from torch import nn

from demos.training.precision import keep_wide


def prepare(transformer: Any) -> None:
    """Make a FLUX transformer compute in float32, also under autocast, what has to be precise.

    The two layers that begin the residual streams, so that these are float32; and, on a GPU too, the normalisation of
    queries and keys, whose float32 weights have no fast kernel for bfloat16 inputs.
    """
    for layer in (transformer.x_embedder, transformer.context_embedder):
        keep_wide(layer)
    for module in transformer.modules():
        if isinstance(module, nn.RMSNorm):
            module.register_forward_pre_hook(lambda _, args: (args[0].float(),))
