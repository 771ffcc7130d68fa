"""The demo pipeline: its samples, its arguments, and its manners as a diffusers pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from demos.digits.check import sample, share_read
from padecast.zoo.digits import DigitsPipeline
from padecast.zoo.schedule import set_schedule


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def tiny() -> DigitsPipeline:
    """A pipeline with random weights, fast and without meaning."""
    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=1,
        num_layers=2,
        sample_size=16,
        num_embeds_ada_norm=10,
    ).eval()
    pipe = DigitsPipeline(transformer, FlowMatchEulerDiscreteScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def calls_of(pipe: DigitsPipeline, **arguments: Any) -> list[dict[str, Any]]:
    """The transformer's arguments in every call of one run."""
    seen: list[dict[str, Any]] = []

    def note(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append({"hidden_states": args[0], **kwargs})

    handle = pipe.transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        pipe(**arguments)
    finally:
        handle.remove()
    return seen


# samples


@pytest.mark.slow
@pytest.mark.parametrize(("guidance", "shift"), [pytest.param(3.0, 1.0, marks=pytest.mark.slow), (5.0, 3.0)])
def test_samples_are_read_as_their_label(shipped: DigitsPipeline, guidance: float, shift: float) -> None:
    images, labels = sample(shipped, 10, steps=6, guidance=guidance, shift=shift, batch=5)
    assert images.shape == (10, 1, 16, 16) and images.dtype == torch.float32
    assert share_read(images, labels) >= 0.95


@pytest.mark.slow
def test_background_is_dark(shipped: DigitsPipeline) -> None:
    images = shipped([0, 1, 2, 3], 8, generator=seeded(), output_type="pt").images
    assert images[:, :, :, [0, -1]].mean() < 0.02
    assert images.amax(dim=(1, 2, 3)).min() > 0.9


@pytest.mark.parametrize("first", [920, 500, 80])
def test_velocity_is_smooth_in_time(shipped: DigitsPipeline, first: int) -> None:
    latents = torch.randn((1, 1, 16, 16), generator=seeded(1)).expand(8, 1, 16, 16)
    times = torch.arange(first, first + 32, 4, dtype=torch.float32)
    with torch.no_grad():
        velocity = shipped.transformer(latents, timestep=times, class_labels=torch.full((8,), 3)).sample.flatten(1)
    slope = velocity.diff(dim=0)
    assert slope.diff(dim=0).norm() < 0.5 * slope.norm()  # white noise would give 1.7


# randomness


def test_same_seed_same_image(tiny: DigitsPipeline) -> None:
    first, second = (tiny([3, 7], 3, generator=seeded(5), output_type="pt").images for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, tiny([3, 7], 3, generator=seeded(6), output_type="pt").images)


def test_a_generator_per_sample_makes_samples_independent_of_the_batch(tiny: DigitsPipeline) -> None:
    batch = tiny([3, 7, 1], 3, generator=[seeded(0), seeded(1), seeded(2)], output_type="pt").images
    for index, label in enumerate([3, 7, 1]):
        alone = tiny([label], 3, generator=[seeded(index)], output_type="pt").images
        torch.testing.assert_close(batch[index : index + 1], alone)


def test_latents_replace_the_drawn_noise(tiny: DigitsPipeline) -> None:
    noise = torch.randn((2, 1, 16, 16), generator=seeded(3))
    given = tiny([3, 7], 3, latents=noise, output_type="pt").images
    assert torch.equal(given, tiny([3, 7], 3, generator=seeded(3), output_type="pt").images)


# guidance and schedule


def test_guidance_evaluates_labelled_and_empty_halves_in_one_call(tiny: DigitsPipeline) -> None:
    seen = calls_of(tiny, class_labels=[3, 7], num_inference_steps=2, guidance_scale=3.0)
    assert len(seen) == 2
    for call in seen:
        assert call["class_labels"].tolist() == [3, 7, 10, 10]
        assert torch.equal(*call["hidden_states"].chunk(2))


def test_without_guidance_there_is_no_empty_half(tiny: DigitsPipeline) -> None:
    seen = calls_of(tiny, class_labels=[3, 7], num_inference_steps=2, guidance_scale=1.0)
    assert [call["class_labels"].tolist() for call in seen] == [[3, 7]] * 2


def test_guidance_extrapolates_from_the_empty_label(tiny: DigitsPipeline) -> None:
    latents, time = torch.randn(1, 1, 16, 16, generator=seeded()), torch.tensor(500.0)
    tiny._guidance_scale = 1.0
    labelled, empty = (tiny.velocity(latents, time, torch.tensor([label])) for label in (3, 10))
    tiny._guidance_scale = 4.0
    guided = tiny.velocity(latents, time, torch.tensor([3, 10]))
    torch.testing.assert_close(guided, empty + 4 * (labelled - empty))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_timesteps_are_the_shifted_levels(tiny: DigitsPipeline, shift: float) -> None:
    seen = calls_of(tiny, class_labels=[3], num_inference_steps=5, shift=shift)
    sigmas = torch.linspace(1, 1 / 5, 5)
    expected = 1000 * shift * sigmas / (1 + (shift - 1) * sigmas)
    torch.testing.assert_close(torch.stack([call["timestep"][0] for call in seen]), expected)


@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchEulerDiscreteScheduler(shift=2.0),
        FlowMatchHeunDiscreteScheduler(shift=2.0),
        UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=2.0),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_a_run_leaves_the_schedulers_shift_alone(tiny: DigitsPipeline, scheduler: Any) -> None:
    tiny.scheduler = scheduler
    config, shift = dict(scheduler.config), getattr(scheduler, "_shift", None)
    images = tiny([3], 4, shift=3.0, generator=seeded(), output_type="pt").images
    assert images.isfinite().all()
    assert dict(scheduler.config) == config and getattr(scheduler, "_shift", None) == shift


@pytest.mark.parametrize(
    "kind", [pytest.param(FlowMatchHeunDiscreteScheduler, marks=pytest.mark.slow), UniPCMultistepScheduler]
)
def test_other_schedulers_draw_digits_too(shipped: DigitsPipeline, kind: type) -> None:
    unipc = kind is UniPCMultistepScheduler
    scheduler = kind(prediction_type="flow_prediction", use_flow_sigmas=True) if unipc else kind()
    pipe = DigitsPipeline(shipped.transformer, scheduler)
    pipe.set_progress_bar_config(disable=True)
    labels = torch.arange(0, 10, 2)
    images = pipe(labels, 6 if unipc else 5, shift=2.0, generator=seeded(), output_type="pt").images
    assert share_read(images, labels) >= 0.9


def test_heun_evaluates_twice_per_step(tiny: DigitsPipeline) -> None:
    tiny.scheduler = FlowMatchHeunDiscreteScheduler()
    assert len(calls_of(tiny, class_labels=[3], num_inference_steps=4)) == tiny.num_timesteps == 7


def test_the_shift_decides_the_schedule_of_every_scheduler() -> None:
    for scheduler in (FlowMatchEulerDiscreteScheduler(shift=9.0), FlowMatchHeunDiscreteScheduler(shift=9.0)):
        set_schedule(scheduler, 8, 1.0, torch.device("cpu"))
        plain = scheduler.timesteps
        set_schedule(scheduler, 8, 3.0, torch.device("cpu"))
        inner = slice(1, -1)
        assert (scheduler.timesteps[inner] > plain[inner]).all()


# manners


def test_output_types_agree(tiny: DigitsPipeline) -> None:
    tensor, array, pictures = (
        tiny([3, 7], 2, generator=seeded(), output_type=kind).images for kind in ("pt", "np", "pil")
    )
    assert tensor.shape == (2, 1, 16, 16) and tensor.min() >= 0 and tensor.max() <= 1
    np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    assert all(isinstance(picture, Image.Image) and picture.size == (16, 16) for picture in pictures)
    np.testing.assert_array_equal(np.asarray(pictures[1]), (array[1, :, :, 0] * 255).round().astype(np.uint8))


def test_return_dict_false_gives_a_tuple(tiny: DigitsPipeline) -> None:
    (images,) = tiny([3], 1, generator=seeded(), output_type="pt", return_dict=False)
    assert torch.equal(images, tiny([3], 1, generator=seeded(), output_type="pt").images)


def test_save_and_load_give_the_same_images(tiny: DigitsPipeline, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path)
    again = DigitsPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    first, second = (pipe([3, 7], 3, generator=seeded(), output_type="pt").images for pipe in (tiny, again))
    assert torch.equal(first, second)


def test_shipped_folder_loads_with_from_pretrained(shipped: DigitsPipeline) -> None:
    from padecast import zoo

    folder = Path(zoo.__file__).parent / "weights" / "digits"
    again = DigitsPipeline.from_pretrained(folder)
    for name, weight in again.transformer.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, shipped.transformer.state_dict()[name])


def test_callback_sees_and_replaces_latents(tiny: DigitsPipeline) -> None:
    steps: list[tuple[int, float]] = []

    def blank(pipe: Any, index: int, time: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        assert pipe is tiny
        steps.append((index, float(time)))
        return {"latents": torch.full_like(tensors["latents"], -1.0)} if index == 2 else tensors

    wanted = {"callback_on_step_end": blank, "callback_on_step_end_tensor_inputs": ["latents"]}
    images = tiny([3], 3, output_type="pt", **wanted).images
    assert [index for index, _ in steps] == [0, 1, 2]
    assert [time for _, time in steps] == tiny.scheduler.timesteps.tolist()
    assert images.eq(0).all()


def test_interrupt_skips_the_remaining_steps_of_this_run_only(tiny: DigitsPipeline) -> None:
    def stop(pipe: DigitsPipeline, index: int, time: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = index == 1
        return tensors

    assert len(calls_of(tiny, class_labels=[3], num_inference_steps=5, callback_on_step_end=stop)) == 2
    assert tiny.interrupt
    assert len(calls_of(tiny, class_labels=[3], num_inference_steps=5)) == 5


def test_properties_describe_the_last_call(tiny: DigitsPipeline) -> None:
    tiny([3], 4, guidance_scale=1.0)
    assert (tiny.num_timesteps, tiny.guidance_scale, tiny.do_classifier_free_guidance) == (4, 1.0, False)
    tiny([3], 2, guidance_scale=2.0)
    assert (tiny.num_timesteps, tiny.guidance_scale, tiny.do_classifier_free_guidance) == (2, 2.0, True)


@pytest.mark.parametrize("labels", [3, [3], torch.tensor([3]), np.array([3]), (3,)])
def test_labels_may_be_any_sequence(tiny: DigitsPipeline, labels: Any) -> None:
    assert tiny(labels, 1, output_type="pt").images.shape == (1, 1, 16, 16)


# mistakes


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"class_labels": [3, 10]}, "contains 10"),
        ({"class_labels": [-1]}, "contains -1"),
        ({"class_labels": [2.5]}, "contains 2.5"),
        ({"class_labels": []}, "empty"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"shift": 0.0}, "shift is 0.0"),
        ({"shift": float("nan")}, "shift is nan"),
        ({"output_type": "latent"}, "output_type is 'latent'"),
        ({"generator": [seeded()]}, "1 generators were given for 2"),
        ({"latents": torch.zeros(1, 1, 16, 16)}, "shape \\(1, 1, 16, 16\\)"),
        ({"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}, "'prompt_embeds'"),
    ],
)
def test_a_wrong_argument_is_named(tiny: DigitsPipeline, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny(**{"class_labels": [3, 7], **wrong})


def test_a_scheduler_without_shift_refuses_one(tiny: DigitsPipeline) -> None:
    tiny.scheduler = DDIMScheduler()
    with pytest.raises(ValueError, match="DDIMScheduler, which has no shift"):
        tiny([3], 2, shift=3.0)
