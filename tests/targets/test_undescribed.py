"""Every class of the installed diffusers that denoises is described, or said not to be, with the reason."""

from __future__ import annotations

from benchmarks.models.undescribed import REASONS, denoisers

from padecast.targets import REGISTRY


def test_every_class_that_denoises_is_described_or_said_not_to_be() -> None:
    described = {name for name, target in REGISTRY.items() if target.library == "diffusers"}
    assert described | set(REASONS) == set(denoisers())


def test_what_pipelines_sample_with_is_looked_for_under_all_its_names_public_or_not() -> None:
    names = set(denoisers())
    assert {
        "WuerstchenPrior",
        "UNetFlatConditionModel",
        "LTX2VideoDiffusionDecoderModel",
        "WanTransformer3DModel",
    } <= names
    assert not {"AutoencoderKL", "UniDiffuserTextDecoder", "DiffusionPipeline"} & names


def test_no_class_is_both() -> None:
    assert set(REASONS) & set(REGISTRY) == set()
