"""Your forecaster against ours: one class, one method, one table. Runs on a demo model, in seconds.

python examples/own_forecaster.py
"""

from dataclasses import dataclass

import torch

import padecast
from padecast import lab


@dataclass(frozen=True)
class Halfway(padecast.forecasters.Forecaster):
    share: float = 0.5  # a field is an option
    window = 2  # how many residuals it wants remembered

    def weights(self, geometry, at):
        if len(geometry) < 2:
            return torch.ones(1, dtype=torch.float64)
        step = self.share * (at.time - geometry.time[0]) / (geometry.time[0] - geometry.time[1])
        return torch.tensor([1 + step, -step], dtype=torch.float64)  # newest first


mine = padecast.Method("mine", padecast.policies.Spaced(), Halfway(), "half of a line", span="output")

task = lab.Task(
    padecast.zoo.load("digits:matched"),
    lab.Sampling(),
    steps=20,
    seeds=range(4),
    development=range(1000, 1004),  # methods are tuned on other seeds
    name="digits, matched",
)
table = lab.compare(task, ["tc-pade", "spectrum", mine], nfe=[6, 10])
print(table)

print(table.to_markdown())
print(table.to_latex())
table.plot("mine.png")
