"""Training of the demo model: one label drop per sample, exact resumption, a usable export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from demos.digits.flow import NO_LABEL, Recipe, slow
from demos.digits.train import Training, main, train
from padecast.zoo.digits import DigitsPipeline

TINY = Recipe(steps=4, batch=8, warmup=2, layers=2, heads=1, bfloat16=False)


def weights(training: Training) -> dict[str, torch.Tensor]:
    average = {f"average.{name}": weight for name, weight in training.average.state_dict().items()}
    return {**training.model.state_dict(), **average}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Training:
    """A finished training, whose files are in `folder`; tests leave it as it is."""
    return train(TINY, folder, quiet=True)


def test_a_resumed_run_equals_an_uninterrupted_one(trained: Training, tmp_path: Path) -> None:
    first = Training(TINY)
    for _ in range(2):
        first.step()
    first.save(tmp_path / "resumed" / "state.safetensors")
    resumed = train(TINY, tmp_path / "resumed", resume=True, quiet=True)
    assert trained.done == resumed.done == 4
    assert weights(trained).keys() == weights(resumed).keys()
    for name, weight in weights(trained).items():
        assert torch.equal(weight, weights(resumed)[name]), name
    assert torch.equal(trained.generator.get_state(), resumed.generator.get_state())


def test_resuming_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no training state"):
        train(TINY, tmp_path, resume=True, quiet=True)


def test_export_holds_the_average_in_float16(trained: Training, folder: Path) -> None:
    pipe = DigitsPipeline.from_pretrained(folder / "pipeline")
    for name, weight in trained.average.state_dict().items():
        assert torch.equal(pipe.transformer.state_dict()[name], weight.half().float()), name


@pytest.mark.slow
def test_training_lowers_the_loss() -> None:
    training = Training(Recipe(steps=40, batch=16, warmup=5, rate=3e-3, layers=2, heads=1, bfloat16=False))
    losses = [training.step() for _ in range(40)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_labels_are_dropped_once_per_sample_by_us_alone() -> None:
    training = Training(Recipe(batch=512, drop=0.25, layers=1, heads=1))
    _, labels, _, _ = training.batch()
    assert 0.15 < (labels == NO_LABEL).double().mean() < 0.35
    inputs = torch.randn(4, 1, 16, 16), torch.rand(4) * 1000, torch.arange(4)
    training.model.transformer_blocks[0].norm1.linear.weight.data.normal_()
    training.model.proj_out_2.weight.data.normal_()
    first, second = (training.model(*inputs, return_dict=False)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_fast_channels_of_the_timestep_embedding_stay_disconnected(trained: Training) -> None:
    fast = slow(TINY.fastest) == 0
    assert 0 < fast.sum() < 256
    for block in trained.average.transformer_blocks:
        weight = block.norm1.emb.timestep_embedder.linear_1.weight
        assert weight[:, fast].eq(0).all()
        assert weight[:, ~fast].ne(0).any()


def test_a_run_may_start_from_a_pipeline(trained: Training, folder: Path) -> None:
    after = Training(TINY)
    after.start(folder / "pipeline")
    assert after.done == 0
    for name, weight in trained.average.state_dict().items():
        assert torch.equal(after.model.state_dict()[name], weight.half().float()), name
        assert torch.equal(after.average.state_dict()[name], weight.half().float()), name


def test_learning_rate_warms_up_and_decays() -> None:
    training = Training(Recipe(steps=100, warmup=10, rate=1.0, layers=1, heads=1))
    rates = []
    for training.done in range(100):
        rates.append(training.rate())
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02


def test_command_line(tmp_path: Path) -> None:
    arguments = ["--steps", "2", "--batch", "4", "--layers", "1", "--heads", "1", "--out", str(tmp_path)]
    arguments += ["--threads", str(torch.get_num_threads())]
    main(arguments)
    main([*arguments, "--resume"])
    assert (tmp_path / "state.safetensors").is_file() and (tmp_path / "pipeline" / "model_index.json").is_file()


def test_bfloat16_leaves_weights_and_residual_stream_in_float32() -> None:
    training = Training(Recipe(batch=2, layers=1, heads=1, bfloat16=True))
    seen: list[torch.dtype] = []
    note = lambda module, args, kwargs: seen.append(kwargs.get("hidden_states", *args[:1]).dtype)  # noqa: E731
    training.model.transformer_blocks[0].register_forward_pre_hook(note, with_kwargs=True)
    assert torch.tensor(training.step()).isfinite()
    assert seen == [torch.float32]
    assert {weight.dtype for weight in training.model.parameters()} == {torch.float32}
