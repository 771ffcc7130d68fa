"""Whose a lesson is: what of a pipeline makes another lesson, as a key that the same pipeline always has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from padecast.targets.pipelines import fingerprint, guidance_of, is_bare, models_of

FEW, VALUES = 4, 64
"""How many numbers are looked at of every matrix, and of one of LoRA."""
NEAR, FACTOR = ("guidance", "guidance_scale", "guidance_scale_2", "true_cfg_scale"), 2.0
"""Scales that may be others than those of a lesson, and by which factor at most."""


@dataclass(frozen=True)
class Identity:
    """What a lesson belongs to. Any part that differs makes another lesson.

    Number of steps, shift, strength and size of the image are no part of it: they are properties of what was seen,
    which is read at other noise levels. Neither are prompts and seeds, the device, or attention kernels.

    Args:
        model: Class of the transformer.
        config: Hash of its configuration.
        weights: Hash of a few numbers of a few of its weights, and of all their names and shapes: another checkpoint,
            or another precision of its weights.
        adapters: Scales of adapters (LoRA) that act, by name.
        quantization: How its weights are stored, if not as numbers.
        pipeline: Class of the pipeline.
        guidance: Guidance scale, to three digits; ``None`` where the pipeline has none.
        span: What of the model is forecast.
        prediction: What the model predicts, as its scheduler says.
        scales: Guidance scales that the pipeline was called with, by the names of its arguments.

    Example:
        >>> Identity("DiT").key == Identity("DiT", guidance=3.0).key
        False
    """

    model: str
    config: str = ""
    weights: str = ""
    adapters: tuple[tuple[str, float], ...] = ()
    quantization: str = ""
    pipeline: str = ""
    guidance: float | None = None
    span: str = "output"
    prediction: str = ""
    scales: tuple[tuple[str, float], ...] = ()

    @property
    def key(self) -> str:
        """Twenty hexadecimal digits that stand for it, as the name of a file."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]

    def distance(self, other: Identity) -> float:
        """Return how far another is away of which a lesson may be used here until there is one; infinite for all else.

        Alone the guidance scales may differ, by a factor of 2 at most, and on the same side of 1, where guidance is
        switched off: a change that lost nothing where it was measured, on digits and scenes (docs/lessons.md).

        Example:
            >>> one, other = Identity("DiT", guidance=3.0), Identity("DiT", guidance=6.0)
            >>> round(one.distance(other), 2), one.distance(Identity("DiT", guidance=1.0))
            (0.69, inf)
        """
        if replace(self, guidance=None, scales=()) != replace(other, guidance=None, scales=()):
            return math.inf
        ours, others = ({"guidance": each.guidance, **dict(each.scales)} for each in (self, other))
        if {*ours} != {*others}:
            return math.inf
        return sum(_distance(name, ours[name], others[name]) for name in ours)

    def __str__(self) -> str:
        guidance = "" if self.guidance is None else f"at guidance {self.guidance:g}"
        return " ".join(filter(None, (self.model, self.weights[:6], guidance, f"({self.key[:6]})")))

    @classmethod
    def of(
        cls,
        pipe: Any,
        model: nn.Module | None = None,
        span: str = "output",
        scales: tuple[tuple[str, float], ...] = (),
    ) -> Identity:
        """Read the identity of a pipeline, or of a bare model, as it is now.

        Args:
            pipe: A pipeline that has run, so that its guidance is known, or a model.
            model: Which of its models; the first by default.
            span: What of the model is forecast.
            scales: Guidance scales of the call, where they are known.
        """
        model = models_of(pipe)[0] if model is None else model
        scheduler, plain = getattr(pipe, "scheduler", None), is_bare(pipe)
        guidance = None if plain else guidance_of(pipe)
        return cls(
            model=type(model).__name__,
            config=fingerprint(model),
            weights=hash_weights(model),
            adapters=scales_of(model),
            quantization=quantization_of(model),
            pipeline="" if plain else type(pipe).__name__,
            guidance=None if guidance is None else float(f"{guidance:.3g}"),
            scales=scales,
            span=span,
            prediction=str(getattr(scheduler, "config", {}).get("prediction_type") or ""),
        )


def _distance(name: str, ours: float | None, others: float | None) -> float:
    if ours == others:
        return 0.0
    if name not in NEAR or ours is None or others is None or min(ours, others) <= 0 or (ours > 1) != (others > 1):
        return math.inf
    distance = abs(math.log(ours / others))
    return distance if distance <= math.log(FACTOR) + 1e-9 else math.inf


def hash_weights(model: nn.Module) -> str:
    """Return a hash of all names and shapes of weights, and of a few numbers of every matrix and of all of LoRA.

    Numbers are gathered where they lie and read at once: some thousands, in milliseconds. They are read before every
    run, since a weight that is changed through its ``data``, as an adapter is fused, says nothing of it. Weights that
    are not here (on no device) count by name alone.
    """
    return hash_tensors(dict(model.named_parameters()))


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of :func:`hash_weights` of tensors by name."""
    digest, parts = hashlib.sha256(), dict[torch.device, list[Tensor]]()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        if tensor.ndim >= 2 or "lora_" in name:
            with contextlib.suppress(RuntimeError, NotImplementedError, AttributeError, TypeError), torch.no_grad():
                flat = tensor.detach().reshape(-1)
                count = VALUES if "lora_" in name else FEW
                parts.setdefault(tensor.device, []).append(flat[:: max(flat.numel() // count, 1)][:count].float())
    for device, numbers in parts.items():
        if device.type != "meta":
            digest.update(torch.cat(numbers).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def scales_of(model: nn.Module) -> tuple[tuple[str, float], ...]:
    """Return the scales of the adapters that act in a model, largest of each: of peft's layers."""
    scales: dict[str, float] = {}
    for module in model.modules():
        scaling, active = getattr(module, "scaling", None), getattr(module, "active_adapters", ())
        if not isinstance(scaling, dict) or getattr(module, "disable_adapters", False) is True:
            continue
        for name in [active] if isinstance(active, str) else list(active):
            if isinstance(scaling.get(name), (int, float)):
                scales[name] = max(scales.get(name, 0.0), float(scaling[name]))
    return tuple((name, float(f"{scales[name]:.6g}")) for name in sorted(scales))


def quantization_of(model: nn.Module) -> str:
    """Return how the weights of a model are stored, in a word; nothing if they are plain numbers."""
    method = getattr(getattr(model, "config", None), "quantization_config", None)
    if isinstance(method, dict):
        return str(method.get("quant_method", "quantized"))
    if method is not None:
        return str(getattr(method, "quant_method", type(method).__name__))
    kinds = {type(p.data).__name__ for p in model.parameters()} - {"Tensor", "Parameter"}
    return " ".join(sorted(kinds))
