"""The command for a CUDA machine starts on any machine, goes on where it was left, and keeps to its time."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.gpu import measure, waits, wheels, work
from benchmarks.gpu.page import write_page
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.store import hide_folders, list_left, read_part, write_part
from torch import nn

from padecast import InvalidOption

ROOT = Path(__file__).parent.parent.parent


def start(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["measure", "--device", "cpu", "--tiny", "--out", str(folder), *words])
    measure.main()


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], Any]]:
    """A part of three items in place of the first: change one to see what becomes of it."""
    items: dict[str, Callable[[], Any]] = {name: lambda name=name: name.upper() for name in ("a", "b", "c")}
    monkeypatch.setitem(PARTS, "machine", Part("three letters", 10, lambda tiny: items))
    return items


def forbid() -> None:
    raise AssertionError("this was measured already")


def results(folder: Path) -> dict[str, Any]:
    return {name: item.get("result") for name, item in read_part(folder, "machine")["items"].items()}


def test_without_a_device_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["measure"])
    with pytest.raises(InvalidOption, match=r"sees no CUDA device[\s\S]*--device cpu --tiny"):
        measure.main()


def test_it_starts_here_and_what_is_done_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run_here(name: str, folder: Path, seconds: float, _device: str, *, tiny: bool) -> None:
        work.measure_part(name, folder, time.time() + seconds, tiny=tiny)

    if not torch.cuda.is_available():  # which a process of its own would have to hide; it would import all again
        monkeypatch.setattr(measure, "run_part", run_here)
    start(monkeypatch, tmp_path, "--part", "lessons", "--minutes", "400")
    assert "all is done" in capfd.readouterr().err
    document = json.loads((tmp_path / "lessons.json").read_text())
    assert set(document["items"]) == set(PARTS["lessons"].items(True))
    assert all("result" in item for item in document["items"].values())
    assert document["provenance"]["command"].endswith("--part lessons --device cpu --tiny")
    monkeypatch.setattr(measure, "run_part", lambda *_, **__: forbid())
    start(monkeypatch, tmp_path, "--part", "lessons")
    assert "done already" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_every_part_runs_through_in_tiny_sizes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, tmp_path, "--part", name, "--minutes", "400")
    items = read_part(tmp_path, name)["items"]
    assert set(items) == set(PARTS[name].items(True))
    assert {key: item["error"] for key, item in items.items() if "error" in item} == {}


def test_a_process_that_ends_in_the_middle_loses_nothing(tmp_path: Path, three: dict[str, Callable[[], Any]]) -> None:
    def end() -> None:
        raise KeyboardInterrupt

    whole = three["b"]
    three["b"] = end
    with pytest.raises(KeyboardInterrupt):
        work.measure_part("machine", tmp_path, time.time() + 60, tiny=True)
    assert results(tmp_path) == {"a": "A", "b": None}
    measure.note_end("machine", tmp_path, "its process ended with -9")
    assert read_part(tmp_path, "machine")["items"]["b"]["error"] == "its process ended with -9"
    three |= {"a": forbid, "b": whole}
    work.measure_part("machine", tmp_path, time.time() + 60, tiny=True)
    assert results(tmp_path) == {"a": "A", "b": "B", "c": "C"}


@pytest.mark.slow
def test_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu.measure", "--device", "cpu", "--tiny", "--part", "dit"]
    process = subprocess.Popen([*command, "--out", str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    first = "8 steps: tc-pade"
    while "result" not in read_part(tmp_path, "dit")["items"].get(first, {}):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    before = read_part(tmp_path, "dit")["items"][first]
    time.sleep(30)  # the part's own process ends with the item that it is in
    start(monkeypatch, tmp_path, "--part", "dit", "--minutes", "400")
    items = read_part(tmp_path, "dit")["items"]
    assert items[first] == before and all("result" in item for item in items.values())


def test_what_fails_is_named_and_tried_again_after_the_others(
    tmp_path: Path, three: dict[str, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA out of memory in /opt/torch/cuda.py\nmore")

    three["a"] = fail
    work.measure_part("machine", tmp_path, time.time() + 60, tiny=True)
    assert results(tmp_path) == {"a": None, "b": "B", "c": "C"}
    monkeypatch.setattr(measure, "run_part", lambda *_, **__: None)
    start(monkeypatch, tmp_path, "--part", "machine")
    assert "left: a: RuntimeError: CUDA out of memory in cuda.py" in capfd.readouterr().err
    document = read_part(tmp_path, "machine")
    del document["items"]["c"]
    device = document["items"]["a"]["device"]
    assert list_left(document, three, device) == ["c", "a"]
    assert list_left(document, three, "another device") == ["a", "b", "c"]


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path, three: dict[str, Callable[[], Any]]) -> None:
    work.measure_part("machine", tmp_path, time.time() - 1, tiny=True)
    assert results(tmp_path) == {}


def test_a_part_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "GRACE", 0.2)
    started = time.perf_counter()
    measure.run_part("dit", tmp_path, 0.0, "cpu", tiny=True)
    assert time.perf_counter() - started < 30 and "dit: its time was over" in capfd.readouterr().err


def test_all_parts_together_keep_to_forty_minutes() -> None:
    assert sum(part.seconds for part in PARTS.values()) <= 60 * measure.MINUTES == 2400
    assert measure.find_folder("cuda", tiny=False) != measure.find_folder("cuda", tiny=True)


def test_waits_are_counted_call_by_call() -> None:
    """A warning stands for a wait, as torch gives one where there is a device."""

    class Model(nn.Module):
        def forward(self, step: int) -> int:
            if step != 1:
                warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
            return step

    model = Model()
    case = SimpleNamespace(model=model)

    def run() -> None:
        for step in range(3):
            model(step)

    class Case(SimpleNamespace):
        __call__ = staticmethod(run)

    with pytest.warns(UserWarning, match="synchronizing"):  # of the first run, which is not looked at
        row = waits.count_waits(Case(**vars(case)))
    assert (row["first_call"], row["later_calls"], row["calls"]) == (1, 1, [1, 0, 1])
    assert not row["checked"] or torch.cuda.is_available()


def test_files_of_the_machine_are_named_without_folders(tmp_path: Path) -> None:
    assert hide_folders({"x": ["/a/b/c.py:3", "1 / 2", "a/b"]}) == {"x": ["c.py:3", "1 / 2", "a/b"]}
    write_part(tmp_path, {"part": "dit", "items": {"/opt/x.py": float("inf")}})
    assert "opt" not in (tmp_path / "dit.json").read_text()


def test_the_page_says_what_was_run(tmp_path: Path) -> None:
    assert "Nothing on this page was run on a GPU yet" in write_page(tmp_path)
    row = {"model": "DiT", "steps": 50, "way": "tc-pade", "nfe": 20, "speedup": 2.0, "ideal": 2.5, "efficiency": 0.8}
    items = {"50 steps: tc-pade": {"device": "NVIDIA X", "result": row}, "memory": {"device": "NVIDIA X", "error": "e"}}
    write_part(tmp_path, {"part": "dit", "items": items})
    page = write_page(tmp_path)
    assert "Measured on NVIDIA X." in page and "not yet run" in page
    assert "| DiT | 50 | tc-pade | 20 | 2.00 | 2.50 | 0.800 |" in page and "1 measured, 1 failed or cut off" in page


def test_versions_of_wheels_are_those_for_the_other_python() -> None:
    text = 'numpy==2.4.6; python_version >= "3.11"\nnumpy==2.2.6; python_version < "3.11"\n# words\ntorch==2.13.0\n'
    pins = wheels.read_pins(text)
    assert pins == {"numpy": "2.4.6", "torch": "2.13.0"}
    found = wheels.list_pins(("numpy", "diffusers"), pins)
    assert "numpy==2.4.6" in found and not any(name.startswith("torch") for name in found)
    assert {"diffusers", "pyyaml", "huggingface-hub"} <= {name.partition("==")[0] for name in found}


SIEVE = """
import importlib.machinery, sys
class Sieve:
    def find_spec(name, path=None, target=None):
        hidden = name.partition(".")[0] in {hidden}
        return None if hidden else importlib.machinery.PathFinder.find_spec(name, path, target)
    find_distributions = importlib.machinery.PathFinder.find_distributions
sys.meta_path = [each for each in sys.meta_path if each is not importlib.machinery.PathFinder] + [Sieve]
import {names}
print(*{{name.partition(".")[0] for name in sys.modules}})
"""


@pytest.mark.slow
def test_what_it_imports_is_among_the_wheels_and_all_else_can_be_absent() -> None:
    """Libraries such as diffusers import what else is installed: everything that is no wheel is out of sight here."""
    names = "benchmarks.gpu.measure, benchmarks.gpu.work, tests.tiny, tests.conftest, padecast.zoo"
    pins = {pin.partition("==")[0] for pin in wheels.list_pins(wheels.ROOTS, {})}
    torch_brings = {"torch", *map(str, wheels.list_needs("torch")), "mpmath"}
    present = pins | torch_brings | {"padecast", "setuptools"}
    owners = importlib.metadata.packages_distributions()
    hidden = {name for name, by in owners.items() if not present & set(map(wheels.canonicalize_name, by))}
    assert {"peft", "scipy"} & set(owners) <= hidden
    source = SIEVE.replace("{hidden}", repr(hidden)).replace("{names}", names).replace("{{", "{").replace("}}", "}")
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not hidden & set(done.stdout.split())
