"""The examples run: on demo models where they can, and the others with those models in place of real weights."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from tests.lab.tiny import digits

import padecast

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def load(name: str) -> ModuleType:
    """Import an example without running it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_demo(name: str) -> Any:
    """Load a demo model that shows no progress."""
    pipe = padecast.zoo.load(name)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_flux_with_a_tiny_flux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = load("flux")
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path / "lessons"))
    monkeypatch.setattr(example, "load", lambda name, offload: make_demo("scenes"))
    out = tmp_path / "images"
    words = ["--steps", "6", "--size", "64", "--seeds", "2", "--computed", "3", "--out", str(out)]
    example.main(words)
    assert {path.name for path in out.iterdir()} == {"0.png", "1.png", "1-uncached.png"}
    said = capsys.readouterr().out
    assert "6 steps, 6 computed" in said and "6 steps, 3 computed" in said
    with Image.open(out / "1.png") as image:
        assert image.size == (64, 64)


def test_wan_with_a_tiny_wan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = load("wan")
    clips: dict[str, Any] = {}
    monkeypatch.setattr(example, "load", lambda name, offload: make_demo("motion"))
    monkeypatch.setattr(example, "save", lambda frames, path: clips.update({path.name: frames}))
    example.main(["--steps", "5", "--size", "64x64", "--frames", "5", "--every", "3", "--out", str(tmp_path)])
    assert list(clips) == ["forecast.mp4", "uncached.mp4"]
    assert clips["forecast.mp4"].shape == clips["uncached.mp4"].shape == (5, 64, 64, 3)
    assert (clips["forecast.mp4"] != clips["uncached.mp4"]).any()
    assert "5 steps, 3 computed, 2 forecast" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["flux", "wan"])
def test_what_was_not_run_with_real_weights_says_so(name: str) -> None:
    assert "Not run with real weights" in (load(name).__doc__ or "")


def cells(kind: str) -> list[Any]:
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path))
    names: dict[str, Any] = {}
    said = io.StringIO()
    for place, cell in enumerate(cells("code")):
        with contextlib.redirect_stdout(said):
            exec(compile("".join(cell["source"]), f"cell {place}", "exec", dont_inherit=True), names)
    assert "20 steps, 8 computed" in said.getvalue()
    assert [result.nfe for result in names["table"].results[1:]] == [6.0] * 4 + [10.0] * 4
    for name in ("table", "calibration", "run"):
        assert names[name]._repr_html_().startswith("<div>")


def test_the_notebook_holds_no_output() -> None:
    assert len(cells("code")) >= 6
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells("code"))
    assert all(line for cell in cells("markdown") for line in cell["source"])


def test_the_page_and_the_example_of_an_own_forecaster_are_one() -> None:
    """The page's blocks, in their order, are the lines of the example."""
    page = (ROOT / "docs" / "own-forecaster.md").read_text(encoding="utf-8")
    blocks = page.split("```python\n")[1:-1]  # the last gives it a name, which a script need not
    lines = [line for block in blocks for line in block.partition("```")[0].splitlines() if line]
    text = (EXAMPLES / "own_forecaster.py").read_text(encoding="utf-8")
    example = [line for line in text.split('"""', 2)[2].splitlines() if line]
    assert lines == example
    assert len(lines) <= 40


def test_the_example_of_an_own_forecaster_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With random weights in place of the demo model's, which the notebook has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(padecast.zoo, "load", lambda name: digits())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        example = load("own_forecaster")
    rows = {(result.name, result.wanted): result for result in example.table.results}
    assert rows["mine", 6].nfe == 6 and rows["mine", 10].nfe == 10
    assert rows["mine", 6].psnr.mean != rows["tc-pade", 6].psnr.mean
    assert (tmp_path / "mine.png").is_file() and r"\begin{tabular}" in capsys.readouterr().out
