"""The state of a training as a file: complete or not there, and read as data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from demos.training.state import Parts, read_state, take_over, write_state


def parts(seed: int) -> Parts:
    torch.manual_seed(seed)
    modules = {"model": nn.Linear(3, 2), "heads": nn.ModuleDict()}
    optimizers = [torch.optim.AdamW(modules["model"].parameters()), torch.optim.SGD(modules["model"].parameters())]
    modules["model"](torch.randn(4, 3)).sum().backward()
    optimizers[0].step()
    return Parts(modules, optimizers, torch.Generator().manual_seed(seed))


def test_everything_comes_back(tmp_path: Path) -> None:
    first, second = parts(1), parts(2)
    path = tmp_path / "folder" / "state.safetensors"
    write_state(path, first, done=7, memory={"captions": ["a"], "latents": torch.ones(2)})
    state = read_state(path, missing="")
    take_over(state, second)
    assert state["done"] == 7 and state["memory"]["captions"] == ["a"] and state["memory"]["latents"].sum() == 2
    for name, weight in first.modules["model"].state_dict().items():
        assert torch.equal(second.modules["model"].state_dict()[name], weight)
    moments = [next(iter(some.optimizers[0].state.values()))["exp_avg"] for some in (first, second)]
    assert torch.equal(*moments)
    assert torch.equal(first.generator.get_state(), second.generator.get_state())


def test_an_interrupted_write_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    write_state(path, parts(1), done=1)

    def broken(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        write_state(path, parts(1), done=2)
    assert read_state(path, missing="")["done"] == 1


def test_no_state_is_an_error_that_helps(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)no training state at .*state\.safetensors.*begin anew"):
        read_state(tmp_path / "state.safetensors", missing="begin anew")
