"""A digits pipeline with random weights: a step takes a millisecond, and the images mean nothing."""

from __future__ import annotations

import torch
from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler

from padecast.zoo.digits import DigitsPipeline


def digits(seed: int = 0) -> DigitsPipeline:
    torch.manual_seed(seed)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=1,
        out_channels=1,
        num_layers=2,
        sample_size=16,
        patch_size=4,
        num_embeds_ada_norm=10,
    )
    for block in transformer.transformer_blocks:  # modulations that follow the timestep, so that residuals change
        torch.nn.init.normal_(block.norm1.linear.weight, std=0.3)
    torch.nn.init.normal_(transformer.proj_out_2.weight, std=0.3)
    return DigitsPipeline(transformer.eval(), FlowMatchEulerDiscreteScheduler())
