"""Every class of the installed diffusers that denoises is described, or said not to be, with the reason."""

from __future__ import annotations

from benchmarks.models.undescribed import REASONS, denoisers

from padecast.targets import REGISTRY


def test_every_class_that_denoises_is_described_or_said_not_to_be() -> None:
    described = {name for name, target in REGISTRY.items() if target.library == "diffusers"}
    assert described | set(REASONS) == set(denoisers())


def test_no_class_is_both() -> None:
    assert set(REASONS) & set(REGISTRY) == set()
