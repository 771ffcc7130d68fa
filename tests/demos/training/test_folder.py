"""The pipeline folder: float16, small enough, and the same for every version of its libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import nn

from demos.training import folder as folders


class Pipeline:
    """Writes what a pipeline writes, and notes how."""

    def __init__(self, parts: nn.ModuleDict) -> None:
        self.parts = parts

    def save_pretrained(self, folder: Path) -> None:
        assert not diffusers.utils.logging.is_progress_bar_enabled()
        torch.save(self.parts.state_dict(), folder / "weights.pt")
        files: dict[str, dict[str, Any]] = {
            "text_encoder_2/config.json": {"dtype": "float16", "width": 8},
            "tokenizer_2/tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"},
            "transformer/config.json": {"dtype": "float16"},
            "model_index.json": {"tokenizer_2": ["transformers", "TokenizersBackend"], "vae": ["diffusers", "VAE"]},
        }
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(content))


def test_components_are_written_in_float16_and_stay_as_they_are(tmp_path: Path) -> None:
    parts = nn.ModuleDict({"only": nn.Linear(2, 2)}).train()
    drawing = diffusers.utils.logging.is_progress_bar_enabled()
    folders.export(parts, tmp_path, Pipeline, fewer="")
    assert diffusers.utils.logging.is_progress_bar_enabled() == drawing
    for name, weight in torch.load(tmp_path / "weights.pt", weights_only=True).items():
        assert torch.equal(weight, parts.state_dict()[name].half()), name
    assert {weight.dtype for weight in parts.parameters()} == {torch.float32} and parts.training


def test_every_version_loads_the_same(tmp_path: Path) -> None:
    folders.export(nn.ModuleDict(), tmp_path, Pipeline, fewer="")
    read = lambda name: json.loads((tmp_path / name).read_text())  # noqa: E731
    assert read("text_encoder_2/config.json") == {"dtype": "float32", "width": 8}
    assert read("transformer/config.json") == {"dtype": "float16"}
    assert read("tokenizer_2/tokenizer_config.json") == {"tokenizer_class": "PreTrainedTokenizerFast"}
    assert read("model_index.json") == {
        "tokenizer_2": ["transformers", "PreTrainedTokenizerFast"],
        "vae": ["diffusers", "VAE"],
    }


def test_a_folder_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"(?s)a demo model may take 1000.*Recipe\(layers=1\)"):
        folders.export(nn.ModuleDict({"only": nn.Linear(99, 99)}), tmp_path, Pipeline, fewer="Recipe(layers=1)")
