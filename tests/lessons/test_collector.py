"""The collector: bounded memory, the same projection in every run, inner products that are nearly exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import padecast.lessons.collector as collector_module
from padecast.lessons import Collector, Look
from padecast.lessons.analytic import make_noise
from padecast.lessons.collector import SIZE
from padecast.lessons.look import GUIDED, SINGLES

STEPS, NUMEL = 6, 50_000


def outputs(samples: int = 2, seed: int = 0, numel: int = NUMEL) -> torch.Tensor:
    """Smooth in the step, ``(T, B, n)``."""
    generator = torch.Generator().manual_seed(seed)
    base, slope, bend = (torch.randn(samples, numel, generator=generator) for _ in range(3))
    return torch.stack([base + 0.1 * t * slope + 0.01 * t * t * bend for t in range(STEPS)])


def watch(features: torch.Tensor, branch: str = "guided") -> Collector:
    collector = Collector(STEPS)
    for index, output in enumerate(features):
        collector.note(index, branch, output)
    return collector


def look_of(collector: Collector) -> Look | None:
    return collector.look(make_noise(STEPS), tuple(range(STEPS)))


def test_small_outputs_are_exact() -> None:
    features = outputs(numel=300)
    look = look_of(watch(features))
    assert look is not None
    expected = torch.einsum("tbn,ubn->btu", features.double(), features.double()) / 300
    np.testing.assert_allclose(look.singles, expected.numpy(), rtol=1e-12)
    np.testing.assert_allclose(look.mean(), expected.mean(0).numpy())


def test_projected_outputs_keep_the_errors_of_forecasts() -> None:
    features = outputs()
    look = look_of(watch(features))
    assert look is not None
    for mixture in ([1, -2, 1, 0, 0, 0], [0, 1, -1, 0, 0, 0], [1, 0, 0, -3, 0, 2]):
        weights = np.array(mixture, dtype=np.float64)
        exact = (torch.tensor(weights) @ features.double().flatten(1)).square().sum().item() / NUMEL / 2
        assert weights @ look.mean() @ weights == pytest.approx(exact, rel=5 * (2 / SIZE) ** 0.5)


@pytest.mark.parametrize("numel", [NUMEL, 2 * NUMEL])
def test_of_outputs_memory_holds_projections_and_signs_as_large_as_one_output(numel: int) -> None:
    assert watch(outputs(samples=1, numel=numel)).nbytes == STEPS * SIZE * 4 + 4 * numel
    assert watch(outputs(samples=1, numel=64)).nbytes == STEPS * 64 * 4


def test_few_samples_of_a_large_batch_are_looked_at_and_others_in_another_run() -> None:
    features = outputs(samples=SINGLES + 8, numel=64)
    seen = set[int]()
    for run in range(12):
        collector = Collector(STEPS, seed=run)
        for index, output in enumerate(features):
            collector.note(index, "guided", output)
        look = look_of(collector)
        assert look is not None and look.samples == SINGLES
        sizes = look.singles[:, 0, 0]
        exact = features[0].double().square().mean(1).numpy()
        seen |= {int(np.abs(exact - size).argmin()) for size in sizes}
        np.testing.assert_allclose(np.sort(sizes), np.sort(exact[[np.abs(exact - s).argmin() for s in sizes]]))
    assert seen == set(range(SINGLES + 8))


def test_two_runs_are_projected_alike() -> None:
    first, second = look_of(watch(outputs())), look_of(watch(outputs()))
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.mean(), second.mean())
    assert (first + second).samples == 4


def test_a_run_of_which_little_was_seen_teaches_nothing() -> None:
    assert look_of(watch(outputs(numel=32)[:2])) is None
    assert look_of(Collector(STEPS)) is None


def test_steps_that_are_missing_are_read_between_the_others() -> None:
    whole, some = watch(outputs(numel=32)), Collector(STEPS)
    for index, output in enumerate(outputs(numel=32)):
        if index != 2:
            some.note(index, "guided", output)
    look, filled = look_of(whole), look_of(some)
    assert look is not None and filled is not None
    others = [index for index in range(STEPS) if index != 2]
    exact, near = look.mean("guided" if "guided" in look.grams else ""), filled.mean("guided")
    np.testing.assert_allclose(near[np.ix_(others, others)], exact[np.ix_(others, others)], rtol=1e-6)
    assert np.isfinite(near).all()


def test_a_run_that_is_not_finite_teaches_nothing() -> None:
    features = outputs(numel=32)
    features[2, 0, 3] = float("nan")
    assert look_of(watch(features)) is None


def test_what_is_noted_is_not_changed_by_who_changes_the_output_later() -> None:
    output = torch.ones(1, 8)
    collector = Collector(1)
    collector.note(0, "cond", output)
    output.zero_()
    look = collector.look(make_noise(1), (0.0,))
    assert look is not None and look.mean().tolist() == [[1.0]]


def test_branches_have_matrices_of_their_own() -> None:
    collector = watch(outputs(numel=32))
    for index, output in enumerate(outputs(numel=32, seed=1)):
        collector.note(index, "cond", output)
    look = look_of(collector)
    assert look is not None and {*look.grams} == {"guided", "cond"} and look.kind == "guided"
    assert not np.allclose(look.mean(), look.mean("cond"))


def test_a_branch_that_is_what_the_sampler_is_given_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without guidance both are one tensor; another tensor, or this one after a change, is folded for itself."""
    folded: list[int] = []
    fold = collector_module.sketch
    monkeypatch.setattr(collector_module, "sketch", lambda *args: folded.append(1) or fold(*args))
    collector = Collector(2, size=7)
    outputs = torch.randn(2, 1, 64)
    for index in range(2):
        collector.note(index, "cond", outputs[index])
        if index:
            outputs[index].mul_(2)
        collector.note(index, GUIDED, outputs[index])
    assert len(folded) == 3
    look = collector.look(make_noise(2), (1000.0, 500.0))
    assert look is not None
    assert look.mean(GUIDED)[1, 1] == pytest.approx(4 * look.mean("cond")[1, 1])
    assert look.mean(GUIDED)[0, 0] == look.mean("cond")[0, 0]
