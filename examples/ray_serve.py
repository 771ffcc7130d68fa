"""A deployment of Ray Serve that draws digits: one pipeline a replica, and every request says its own quality.

    serve run examples.ray_serve:app
    python examples/ray_serve.py            # one request, in this process, without a cluster

Needs `ray[serve]`. `max_ongoing_requests=1` has Ray hand a replica one request at a time; the lock does so in local
testing, where Ray does not. More replicas draw more at a time, each with a pipeline and weights of its own.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from ray import serve
from torch import Tensor

import padecast
from padecast import zoo


@serve.deployment(max_ongoing_requests=1)
class Digits:
    """Draws what is asked for.

    Args:
        pipe: The pipeline; the demo model unless given.
        calibrations: What serves runs of their lengths; that of the demo model unless given.
        otherwise: The method of all other runs.
    """

    def __init__(self, pipe: Any = None, calibrations: Any = None, otherwise: str = "tc-pade") -> None:
        self.pipe = zoo.load("digits") if pipe is None else pipe
        self.pipe.set_progress_bar_config(disable=True)
        self.calibrations = [zoo.calibration("digits", "hard")] if calibrations is None else calibrations
        self.otherwise, self.lock = otherwise, threading.Lock()

    def __call__(
        self, labels: list[int], seed: int = 0, steps: int = 20, computed: int = 8, **call: Any
    ) -> tuple[Tensor, str]:
        """Return images, and which steps were computed of them."""
        call = {"guidance_scale": 5.0, "shift": 3.0, **call}
        generator = [torch.Generator().manual_seed(seed + i) for i in range(len(labels))]
        options = {"computed": computed, "otherwise": self.otherwise}
        with self.lock, padecast.accelerate(self.pipe, self.calibrations, **options) as run:
            images = self.pipe(labels, num_inference_steps=steps, generator=generator, output_type="pt", **call).images
        return images, run.report.plan


app = Digits.bind()


if __name__ == "__main__":
    handle = serve.run(app, _local_testing_mode=True)
    print(handle.remote([3]).result()[1])
