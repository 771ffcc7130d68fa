"""What images are judged by besides PSNR and SSIM: scores of demo models, and distances of features.

A :class:`Score` is given images, the uncached images of the same seeds, and what each was asked for. A demo model names
its own with one line::

    register("scenes", lambda: {"caption obeyed": Judged(obeyed), "FID-scenes": Distance(features)})
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from padecast._errors import unknown
from padecast.lab.metrics import frechet

Asked = Sequence[Any]
"""What every sample was asked for: its class or its prompt, or its seed where a call does not say."""


class Score(ABC):
    """A figure of many samples, taken batch by batch."""

    @abstractmethod
    def rows(self, images: Tensor, reference: Tensor, requests: Asked) -> Tensor:
        """Return what is kept of a batch.

        Args:
            images: ``(B, C, H, W)``, or clips ``(B, frames, C, H, W)``, in [0, 1].
            reference: The uncached images of the same seeds.
            requests: What each was asked for.

        Returns:
            ``(B,)`` or ``(B, D)``, on the host.
        """

    def value(self, rows: Tensor, reference: Tensor) -> float:
        """Return the figure of all samples.

        Args:
            rows: What was kept of all batches.
            reference: The same of the uncached images.
        """
        return float(rows.double().mean())


@dataclass(frozen=True)
class Judged(Score):
    """The mean of a value that an image has by itself, such as whether it shows what was asked.

    Args:
        of: Returns one value per sample, of images and what they were asked for.

    Example:
        >>> bright = Judged(lambda images, requests: images.flatten(1).mean(1))
        >>> rows = bright.rows(torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), [3, 7])
        >>> bright.value(rows, rows)
        1.0
    """

    of: Callable[[Tensor, Asked], Tensor]

    @torch.no_grad()
    def rows(self, images: Tensor, reference: Tensor, requests: Asked) -> Tensor:
        """See :meth:`Score.rows`."""
        return self.of(images, requests).cpu()


@dataclass(frozen=True)
class Likeness(Score):
    """The mean of a value that an image has beside the uncached one.

    Args:
        of: Returns one value per sample, of images and their references.
    """

    of: Callable[[Tensor, Tensor], Tensor]

    @torch.no_grad()
    def rows(self, images: Tensor, reference: Tensor, requests: Asked) -> Tensor:
        """See :meth:`Score.rows`."""
        return self.of(images, reference).cpu()


@dataclass(frozen=True)
class Distance(Score):
    """The Fréchet distance between the features of all samples and those of the uncached images of the same seeds.

    Less is better, and the uncached run has 0. It is biased upwards when samples are few: compare at equal numbers.

    Args:
        features: Returns ``(B, D)`` of images.

    Example:
        >>> places = Distance(lambda images: images.flatten(1)[:, :2])
        >>> one = places.rows(torch.rand(8, 1, 4, 4), torch.zeros(8, 1, 4, 4), [])
        >>> round(places.value(one, one), 6)
        0.0
    """

    features: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def rows(self, images: Tensor, reference: Tensor, requests: Asked) -> Tensor:
        """See :meth:`Score.rows`."""
        return self.features(images).cpu()

    def value(self, rows: Tensor, reference: Tensor) -> float:
        """Return the distance."""
        return frechet(rows, reference)


Scores = Mapping[str, Score]
"""By the name of a column."""


def digits() -> Scores:
    """Return whether the demo's classifier reads the digit that was asked, and the distance of its features."""
    from padecast.zoo.classifier import load_classifier

    reader = load_classifier()

    def read(images: Tensor, requests: Asked) -> Tensor:
        right: Tensor = reader(images.float()).argmax(1) == torch.tensor(requests)
        return right.double()

    return {"digit read": Judged(read), "FID-digits": Distance(lambda images: reader.features(images.float()))}


def scenes() -> Scores:
    """Return whether all that a caption says is so in its picture, and the distance of features."""
    from padecast.zoo.scenes.grammar import parse
    from padecast.zoo.scenes.judge import obeyed
    from padecast.zoo.scenes.read import read
    from padecast.zoo.scenes.watcher import load_watcher

    watcher = load_watcher()

    def obeys(images: Tensor, requests: Asked) -> Tensor:
        seen = zip(requests, read(images.float()), strict=True)
        return torch.tensor([float(obeyed(parse(caption), reading)["all"]) for caption, reading in seen])

    def features(images: Tensor) -> Tensor:
        return watcher.features(images.float())

    return {"caption obeyed": Judged(obeys), "FID-scenes": Distance(features)}


def motion() -> Scores:
    """Return whether all that a caption says is so in its clip, and the distance of features of its frames.

    The features of FID-motion are those of FID-scenes, of rendered objects too: averaged over the frames, and how they
    differ between the first half of the clip and the second.
    """
    from padecast.zoo.motion.grammar import parse
    from padecast.zoo.motion.judge import obeyed
    from padecast.zoo.motion.read import read
    from padecast.zoo.scenes.watcher import load_watcher

    watcher = load_watcher()

    def obeys(clips: Tensor, requests: Asked) -> Tensor:
        seen = zip(requests, read(clips.float().transpose(1, 2)), strict=True)
        return torch.tensor([float(obeyed(parse(caption), reading)["all"]) for caption, reading in seen])

    def features(clips: Tensor) -> Tensor:
        frames = watcher.features(clips.float().flatten(0, 1)).unflatten(0, clips.shape[:2])
        half = frames.shape[1] // 2
        return torch.cat([frames.mean(1), frames[:, half:].mean(1) - frames[:, :half].mean(1)], 1)

    return {"caption obeyed": Judged(obeys), "FID-motion": Distance(features)}


_MODELS: dict[str, Callable[[], Scores]] = {"digits": digits, "scenes": scenes, "motion": motion}
_PIPELINES = {"DigitsPipeline": "digits"}


def register(model: str, scores: Callable[[], Scores]) -> None:
    """Name what the images of a demo model are judged by.

    Args:
        model: As the ``source`` or the ``scores`` of a pipeline in an experiment names it.
        scores: Returns its scores; asked when they are first needed.
    """
    _MODELS[model] = scores


def scores_of(pipe: Any, source: str = "", scores: str = "") -> Scores:
    """Return what the images of a pipeline are judged by; nothing if it is no demo model.

    Args:
        pipe: The pipeline. One of a class that only a demo model has is known by it.
        source: Where it came from: a demo model's name, or anything else.
        scores: A demo model's name, for one that was loaded from elsewhere.

    Raises:
        UnknownName: If ``scores`` is the name of no demo model.
    """
    if scores:
        check_known(scores)
    model = scores or (source if source in _MODELS else _PIPELINES.get(type(pipe).__name__, ""))
    return _MODELS[model]() if model else {}


def check_known(scores: str) -> None:
    """Raise if no scores go by this name."""
    if scores not in _MODELS:
        raise unknown("scores", scores, _MODELS)
