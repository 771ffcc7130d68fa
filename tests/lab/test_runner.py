"""One call: what is drawn, what is timed, and that the pipeline is left as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import padecast
from padecast.hooks.quiet import quiet
from padecast.lab import UNCACHED, Entry, Sampling, Task, draw
from padecast.lab.calls import images_of
from padecast.lab.timing import time_call
from padecast.zoo.digits import DigitsPipeline


def test_an_uncached_call_is_the_pipeline_itself(task: Task) -> None:
    drawn = draw(task, UNCACHED, [0, 1])
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    with quiet(task.pipe):
        direct = task.pipe([0, 1], 10, 3.0, 2.0, generators, output_type="pt").images
    assert torch.equal(drawn.images, direct)
    assert (drawn.nfe, drawn.plan, len(drawn.path), drawn.samples) == (10, "C" * 10, 10, 2)


def test_a_method_is_attached_for_its_call_only(task: Task) -> None:
    drawn = draw(task, Entry.of("fora:every=3"), [0, 1])
    assert (drawn.nfe, drawn.plan) == (4, "C..C..C..C")
    assert drawn.history_bytes > 0 and len(drawn.path) == 10
    assert torch.equal(draw(task, UNCACHED, [0, 1]).images, draw(task, Entry.of("none"), [0, 1]).images)
    assert not torch.equal(draw(task, UNCACHED, [0, 1]).images, drawn.images)


def test_fewer_steps_are_another_schedule(task: Task) -> None:
    drawn = draw(task, Entry.fewer(4), [0])
    assert (drawn.nfe, drawn.plan, len(drawn.path)) == (4, "CCCC", 4)


def test_a_seed_means_the_same_in_every_batch(task: Task) -> None:
    together, alone = draw(task, UNCACHED, [3, 5]), draw(task, UNCACHED, [5])
    torch.testing.assert_close(together.images[1], alone.images[0])


def test_the_denoiser_is_part_of_the_call_and_its_hooks_go(task: Task) -> None:
    model = task.pipe.transformer
    before = (len(model._forward_hooks), len(model._forward_pre_hooks))
    drawn = draw(task, UNCACHED, [0])
    assert 0 < drawn.denoiser_seconds < drawn.seconds
    assert (len(model._forward_hooks), len(model._forward_pre_hooks)) == before


def test_hooks_go_after_an_error_too(pipe: DigitsPipeline) -> None:
    with pytest.raises(RuntimeError, match="middle"), time_call(pipe):
        raise RuntimeError("in the middle")
    assert not pipe.transformer._forward_hooks and not pipe.transformer._forward_pre_hooks


def test_a_scheduler_that_evaluates_twice_counts_evaluations(task: Task) -> None:
    from diffusers import FlowMatchHeunDiscreteScheduler
    from tests.lab.tiny import digits

    pipe = digits()
    pipe.scheduler = FlowMatchHeunDiscreteScheduler()
    heun = Task(pipe, Sampling(), steps=4, seeds=[0])
    assert draw(heun, UNCACHED, [0]).nfe == 7
    assert draw(heun, Entry.of("none"), [0]).nfe == 7


def test_a_call_that_returns_no_images_is_named(task: Task) -> None:
    def pictures(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Any:
        return [None for _ in seeds]

    with pytest.raises(padecast.InvalidOption, match="list for 2 seeds"):
        draw(Task(task.pipe, pictures), UNCACHED, [0, 1])


def test_a_pipeline_without_callbacks_has_no_path(task: Task) -> None:
    class Plain:
        transformer, scheduler = task.pipe.transformer, task.pipe.scheduler

        def __call__(self, num_inference_steps: int) -> Any:
            return task.pipe([0], num_inference_steps, output_type="pt")

    def call(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Any:
        return pipe(**arguments).images

    with quiet(task.pipe):
        assert draw(Task(Plain(), call, steps=3), UNCACHED, [0]).path == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps=0"),
        ({"batch": 0}, "batch=0"),
        ({"seeds": []}, "one seed or more"),
        ({"seeds": [1, 1]}, "each once"),
        ({"development": [2, 3, 9]}, "seeds 2, 3 are both"),
    ],
)
def test_a_wrong_task_is_named(pipe: DigitsPipeline, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(padecast.InvalidOption, match=said):
        Task(pipe, Sampling(), **{"seeds": range(4), **wrong})


def test_batches_and_tuning_seeds(pipe: DigitsPipeline) -> None:
    task = Task(pipe, Sampling(), seeds=range(9_998, 10_003), batch=2)
    assert task.batches() == [(9_998, 9_999), (10_000, 10_001), (10_002,)]
    assert task.tuning().seeds == (10_003, 10_004)
    assert Task(pipe, Sampling(), development=[77]).tuning().seeds == (77,)


# Sampling ------------------------------------------------------------------------------------------------------------


class Painter:
    """Has a prompt instead of a class."""

    def __call__(self, prompt: list[str], num_inference_steps: int = 2, guidance_scale: float = 1.0) -> None: ...


def test_seeds_take_classes_and_prompts_in_turn(pipe: DigitsPipeline) -> None:
    assert Sampling().conditions(pipe, [0, 13])["class_labels"] == [0, 3]
    assert Sampling(classes=(7, 8)).conditions(pipe, [0, 3])["class_labels"] == [7, 8]
    asked = Sampling(prompts=("a fox", "a hen"), guidance=2.0).conditions(Painter(), [4, 5, 6])
    assert asked == {"prompt": ["a fox", "a hen", "a fox"], "guidance_scale": 2.0}


@pytest.mark.parametrize(
    ("sampling", "pipe_class", "said"),
    [
        (Sampling(prompts=("a fox",)), None, "takes no prompt"),
        (Sampling(arguments={"height": 512}), None, "takes no height, and 512"),
        (Sampling(prompts=("a fox",), shift=3.0), Painter, "takes no shift, and 3.0"),
        (Sampling(prompts=("a fox",), classes=(1,)), Painter, "takes no class_labels"),
        (Sampling(), Painter, "draws from a prompt, and none was given"),
    ],
)
def test_what_a_pipeline_does_not_take_is_named(
    pipe: DigitsPipeline, sampling: Sampling, pipe_class: Any, said: str
) -> None:
    with pytest.raises(padecast.InvalidOption, match=said):
        sampling.conditions(pipe_class() if pipe_class else pipe, [0])


def test_images_are_found_in_every_kind_of_output() -> None:
    class Output:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(fields)

    assert images_of(Output(images=torch.zeros(2, 3, 8, 8))).shape == (2, 3, 8, 8)
    assert images_of(Output(images=np.zeros((2, 8, 8, 3), np.float32))).shape == (2, 3, 8, 8)
    assert images_of(Output(frames=np.zeros((2, 5, 8, 8, 3), np.float32))).shape == (2, 5, 3, 8, 8)


def test_quiet_puts_the_progress_bar_back() -> None:
    from tests.lab.tiny import digits

    pipe = digits()
    pipe.set_progress_bar_config(desc="mine")
    with quiet(pipe):
        assert pipe._progress_bar_config == {"desc": "mine", "disable": True}
    assert pipe._progress_bar_config == {"desc": "mine"}
