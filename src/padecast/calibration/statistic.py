"""How the residuals of a run lie to one another, as a small matrix: everything a planner needs to know of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from padecast._errors import InvalidOption
from padecast._geometry import precise

POOLED, GUIDED, OUTPUT = "residual", "guided residual", "guided output"


@dataclass(frozen=True)
class Statistic:
    r"""Mean inner products of what a model's span added at every step, summed over calibration samples.

    With P branches (conditionings of one step) and T steps, ``joint[p T + i, q T + j]`` is the sum over samples of
    ``<R_i of branch p, R_j of branch q> / numel``.

    Args:
        branches: Names of the P branches.
        samples: How many samples are summed.
        joint: ``(P T, P T)`` float64.
        output: ``(T, T)`` float64, the same of the output that the sampler was given; zero where none was seen.
        shares: ``(P,)`` how the branches make up that output, summed over samples: ``(g, 1 - g)`` under guidance g.

    Example:
        >>> single = Statistic(("cond",), 1, torch.eye(2).double(), torch.eye(2).double(), torch.ones(1).double())
        >>> (single + single).samples, (single + single).gram().tolist()
        (2, [[1.0, 0.0], [0.0, 1.0]])
    """

    branches: tuple[str, ...]
    samples: int
    joint: Tensor
    output: Tensor
    shares: Tensor

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return len(self.output)

    def __add__(self, other: Statistic) -> Statistic:
        if other.branches != self.branches or other.steps != self.steps:
            raise InvalidOption(
                f"runs of {self.steps} steps with branches {', '.join(self.branches)} and of {other.steps} steps with "
                f"{', '.join(other.branches)} cannot be taken together.\n"
                "Usual cause: a call that changes the number of steps or the guidance with the seed."
            )
        return Statistic(
            self.branches,
            self.samples + other.samples,
            self.joint + other.joint,
            self.output + other.output,
            self.shares + other.shares,
        )

    def gram(self, kind: str = POOLED) -> Tensor:
        """Return the ``(T, T)`` mean matrix of one kind.

        Args:
            kind: ``"residual"``, the mean over branches (default); ``"guided residual"``, of the mixture of branches
                that guidance makes; ``"guided output"``, of what the sampler was given.

        Raises:
            InvalidOption: If there is no such matrix.
        """
        blocks = self.joint.reshape(len(self.branches), self.steps, len(self.branches), self.steps) / self.samples
        if kind == POOLED:
            return torch.stack([blocks[p, :, p] for p in range(len(self.branches))]).mean(0)
        if kind == GUIDED:
            shares = self.shares / self.samples
            return torch.einsum("p,piqj,q->ij", shares, blocks, shares)
        if kind == OUTPUT:
            return self.output / self.samples
        raise InvalidOption(f"kind={kind!r} is no matrix of a calibration: expected {', '.join(KINDS)}.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The matrices that say something: without guidance the guided ones are left out."""
        names = [POOLED]
        if len(self.branches) > 1 and bool(self.shares.abs().sum() > 0):
            names.append(GUIDED)
        if bool(self.output.diagonal().abs().sum() > 0):
            names.append(OUTPUT)
        return tuple(names)

    def to_dict(self, digits: int = 8) -> dict[str, object]:
        """Return plain data: means, rounded to so many digits."""
        tensors = {"joint": self.joint, "output": self.output, "shares": self.shares}
        means = {name: _round(tensor / self.samples, digits) for name, tensor in tensors.items()}
        return {"branches": list(self.branches), "samples": self.samples, **means}

    @classmethod
    def from_dict(cls, document: dict[str, object]) -> Statistic:
        """Read what :meth:`to_dict` wrote."""
        samples = int(str(document["samples"]))
        tensors = {
            name: torch.tensor(document[name], dtype=torch.float64) * samples for name in ("joint", "output", "shares")
        }
        branches = document["branches"]
        assert isinstance(branches, list)
        return cls(tuple(map(str, branches)), samples, **tensors)


KINDS = (POOLED, GUIDED, OUTPUT)
DIGITS = 14
"""Of inner products while they are planned with."""


def measure(residuals: dict[str, list[Tensor]], outputs: list[Tensor], numel: int, shares: Tensor) -> Statistic:
    """Take the inner products of one call's features.

    Args:
        residuals: Per branch, T tensors ``(B, m)``.
        outputs: What the sampler was given, T tensors ``(B, m)``; empty if it was not seen.
        numel: Elements of a residual before it was projected.
        shares: ``(P,)`` of every sample alike.
    """
    rows = torch.stack([step for steps in residuals.values() for step in steps], dim=1)  # (B, P T, m)
    joint = gram_sum(rows) / numel
    total = len(next(iter(residuals.values())))
    output = torch.zeros(total, total, dtype=torch.float64)
    if outputs:
        output = gram_sum(torch.stack(outputs, dim=1)) / outputs[0].shape[1]
    return Statistic(tuple(residuals), len(rows), joint, output, shares.double() * len(rows))


def gram_sum(rows: Tensor) -> Tensor:
    """Return ``sum_b X_b X_b^T`` of ``(B, n, m)``, in float64: a planner lives on small differences of it."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for sample in rows:
        for part in sample.split(CHUNK, dim=1):
            wide = part.double()
            total += (wide @ wide.T).cpu()
    return total


CHUNK = 65_536


def mixture(parts: Sequence[Tensor], whole: Tensor) -> Tensor:
    """Return the shares that make up ``whole`` from ``parts`` in least squares: guidance, read off a run."""
    columns = torch.stack([precise(part.flatten()) for part in parts], dim=1)
    gram, right = (columns.T @ columns).cpu().double(), (columns.T @ precise(whole.flatten())).cpu().double()
    shares: Tensor = torch.linalg.pinv(gram, hermitian=True, rtol=1e-10) @ right
    return shares


def _round(tensor: Tensor, digits: int) -> list[object]:
    def read(value: object) -> object:
        return [read(v) for v in value] if isinstance(value, list) else float(f"{value:.{digits}g}")

    result = read(tensor.tolist())
    assert isinstance(result, list)
    return result
