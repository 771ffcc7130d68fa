"""Pictures that are rendered and encoded once, and used several times with fresh noise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from demos.scenes.labels import shown
from demos.scenes.layout import arrange
from demos.scenes.render import render
from padecast.zoo.scenes.grammar import Scene, draw

BLOCK = 64  # pictures that come and go together


@dataclass(frozen=True)
class Pictures:
    """A batch: its scenes, its latents (B, 64, 16) as the transformer sees them, and what its tokens show."""

    scenes: list[Scene]
    latents: Tensor
    shown: Tensor


class Gallery:
    """A window of pictures that moves on as training goes, so that each is used about ``reuse`` times.

    Which pictures hang at a step depends on the seed and the step alone, so a resumed run sees the same.

    Args:
        encode: pictures (B, 3, 64, 64) in [-1, 1] to latents (B, 64, 16).
        seed: of the pictures.
        size: pictures that hang at once, a multiple of 64; default 4096.
        reuse: how often each is used, on average, default 8.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], seed: int, size: int = 4096, reuse: int = 8) -> None:
        self.encode, self.seed, self.reuse = encode, seed, reuse
        self.blocks: deque[Pictures] = deque(maxlen=size // BLOCK)
        self.next = 0

    def draw(self, done: int, count: int, generator: torch.Generator) -> Pictures:
        """A random batch.

        Args:
            done: pictures that were drawn before.
            count: how many.
            generator: source of the choice, on the CPU.
        """
        window = self.blocks.maxlen or 0
        first = done // (self.reuse * BLOCK)
        self.next = max(self.next, first)
        while self.next < first + window:
            self.blocks.append(self._block(self.next))
            self.next += 1
        chosen = torch.randint(window * BLOCK, (count,), generator=generator).tolist()
        picked = [(self.blocks[index // BLOCK], index % BLOCK) for index in chosen]
        return Pictures(
            [block.scenes[index] for block, index in picked],
            torch.stack([block.latents[index] for block, index in picked]),
            torch.stack([block.shown[index] for block, index in picked]),
        )

    def _block(self, number: int) -> Pictures:
        """The pictures of a number."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        scenes = [draw(generator) for _ in range(BLOCK)]
        arranged = arrange(scenes, generator)
        return Pictures(scenes, self.encode(render(arranged) * 2 - 1), shown(scenes, arranged))
