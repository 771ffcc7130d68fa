"""Every command that draws, with every bundled model: sizes, further arguments, calibrations, offloading."""

from __future__ import annotations

import functools
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.calibration.tiny import sparing
from tests.lab.tiny import digits
from tests.representative import representative
from typer.testing import CliRunner, Result

import padecast
from padecast import zoo
from padecast.cli import app

CAPTIONS = {
    "digits": (),
    "scenes": ("--prompt", "a large red circle"),
    "motion": ("--prompt", "a large red star moving left"),
}
FEW = ("--seeds", "0", "--batch", "1")


def run(*arguments: str, width: int = 120) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """Load every bundled model once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", functools.cache(zoo.load))
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    digits().save_pretrained(folder)
    return str(folder)


# Every bundled model through every command ---------------------------------------------------------------------------

every_model = pytest.mark.parametrize("model", list(CAPTIONS))
digits_alone = pytest.mark.parametrize("model", representative(CAPTIONS, ["digits"]))


@pytest.mark.fault("sizes")
@every_model
def test_generate_draws_with_every_bundled_model(model: str, tmp_path: Path) -> None:
    result = run("generate", model, *CAPTIONS[model], *FEW, "--steps", "2", "--method", "none", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "seed-0000-none.png") as image:
        assert image.size == ((16, 16) if model == "digits" else (64, 64))
        assert getattr(image, "n_frames", 1) == (17 if model == "motion" else 1)


@pytest.mark.fault("sizes")
@digits_alone
def test_compare_draws_with_every_bundled_model(model: str) -> None:
    result = run("compare", model, *CAPTIONS[model], *FEW, "--steps", "2", "--methods", "fora:every=2", "--json")
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in json.loads(result.stdout)["results"]] == ["uncached", "fewer-steps", "fora:every=2"]


@pytest.mark.fault("sizes")
@digits_alone
def test_calibrate_draws_with_every_bundled_model(model: str, tmp_path: Path) -> None:
    out = ("--budgets", "1", "--steps", "2", "--dry-run", "--out", str(tmp_path / "c.json"))
    result = run("calibrate", model, *CAPTIONS[model], *FEW, *out)
    assert result.exit_code == 0 and "images' worth of steps" in result.stderr, result.output


@pytest.mark.fault("sizes")
@digits_alone
def test_an_experiment_draws_with_every_bundled_model(model: str, tmp_path: Path) -> None:
    prompts = f"prompts = {json.dumps(list(CAPTIONS[model][1:]))}" if CAPTIONS[model] else ""
    (tmp_path / "lab.toml").write_text(
        f'methods = ["fora:every=2"]\nseeds = "0-1"\nbatch = 2\ntimed = false\nflops = false\n'
        f'[[pipelines]]\nname = "it"\nsource = "{model}"\n[[settings]]\nname = "all"\nsteps = 3\n{prompts}\n'
    )
    result = run("lab", "run", str(tmp_path / "lab.toml"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output


@pytest.mark.fault("sizes")
@pytest.mark.parametrize("copy", ["from_pipe", "deepcopy"])
@pytest.mark.parametrize("model", ["scenes", "motion"])
def test_a_bundled_pipeline_and_its_copies_know_their_size(model: str, copy: str) -> None:
    import copy as copying

    pipe = zoo.load(model)
    made = {
        "from_pipe": lambda: type(pipe).from_pipe(pipe, scheduler=copying.deepcopy(pipe.scheduler)),
        "deepcopy": lambda: copying.deepcopy(pipe),
    }[copy]()
    made.set_progress_bar_config(disable=True)
    output = made(CAPTIONS[model][1], num_inference_steps=1, output_type="pt")
    images = getattr(output, "images", None)
    assert (output.frames if images is None else images).shape[-3:] == (3, 64, 64)


@pytest.mark.fault("sizes")
@pytest.mark.parametrize("model", ["scenes", "motion"])
def test_a_size_that_is_said_is_the_size_that_is_drawn(model: str) -> None:
    pipe = zoo.load(model)
    pipe.set_progress_bar_config(disable=True)
    output = pipe(CAPTIONS[model][1], height=32, width=48, num_inference_steps=1, output_type="pt")
    images = getattr(output, "images", None)
    assert (output.frames if images is None else images).shape[-2:] == (32, 48)
    assert type(pipe).__name__ in ("FluxPipeline", "WanPipeline")


# Arguments -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("arguments")
@pytest.mark.parametrize(
    ("model", "arguments", "size", "frames"),
    [
        ("scenes", ("--size", "32x48"), (48, 32), 1),
        ("scenes", ("--set", "height=32"), (64, 32), 1),
        ("scenes", ("--size", "32 x 32", "--set", "max_sequence_length=24"), (32, 32), 1),
        ("motion", ("--size", "32x48", "--frames", "5"), (48, 32), 5),
        ("motion", ("--frames", "1"), (64, 64), 1),
        ("motion", ("--set", "num_frames=5", "--negative-prompt", "a small blue square"), (64, 64), 5),
        ("scenes", ("--set", "true_cfg_scale=2.0", "--negative-prompt", "a small blue square"), (64, 64), 1),
    ],
)
def test_any_argument_of_the_pipeline_can_be_said(
    model: str, arguments: tuple[str, ...], size: tuple[int, int], frames: int, tmp_path: Path
) -> None:
    fixed = ("--steps", "1", "--method", "none", "--out", str(tmp_path))
    result = run("generate", model, *CAPTIONS[model], *FEW, *fixed, *arguments)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "seed-0000-none.png") as image:
        assert image.size == size and getattr(image, "n_frames", 1) == frames


@pytest.mark.fault("arguments")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "480"), "--size '480' cannot be read"),
        (("--size", "480x"), "cannot be read"),
        (("--size", "0x64"), "cannot be read"),
        (("--size", "-64x64"), "cannot be read"),
        (("--size", "64x64x64"), "cannot be read"),
        (("--size", "big"), "--size 480x832"),
        (("--frames", "0"), "--frames"),
        (("--set", "height"), "Write name=value"),
        (("--set", "=3"), "Write name=value"),
        (("--set", "a b=3"), "Write name=value"),
        (("--set", "prompt=a fox"), "--prompt"),
        (("--set", "num_inference_steps=3"), "--steps"),
        (("--set", "guidance_scale=3"), "--guidance"),
        (("--set", "generator=3"), "--seeds"),
        (("--set", "output_type=pil"), "tensors"),
        (("--size", "64x64", "--set", "height=32"), "height is given twice"),
        (("--set", "eta=1", "--set", "eta=2"), "eta is given twice"),
        (("--set", "nonesuch=3"), "takes no nonesuch"),
        (("--size", "16x16"), "takes no height"),
        (("--negative-prompt", "a fox"), "takes no negative_prompt"),
        (("--offload", "all"), "unknown --offload 'all'"),
        (("--offload", "model", "--device", "cpu"), "--device is the host"),
        (("--offload", "group", "--device", "cpu"), "--device is the host"),
    ],
)
def test_an_argument_that_cannot_be_had_is_said_before_anything_is_drawn(
    saved: str, arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("generate", "compare", "calibrate")[len("".join(arguments)) % 3]
    result = run(command, saved, "--seeds", "0", "--steps", "2", *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.output


@pytest.mark.fault("arguments")
@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        (("--size", "32x48"), {"height": 32, "width": 48}),
        (("--set", "height=32", "--set", "true_cfg_scale=2"), {"height": 32, "true_cfg_scale": 2}),
        ((), {"height": 16}),
    ],
)
def test_an_experiment_takes_arguments_over_those_of_its_file(
    arguments: tuple[str, ...], drawn: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from padecast.cli import lab

    seen: list[Any] = []
    monkeypatch.setattr(lab, "cells", lambda experiment: seen.append(experiment) or [])
    (tmp_path / "lab.toml").write_text(
        'methods = ["fora"]\n[[pipelines]]\nname = "it"\nsource = "scenes"\n'
        '[[settings]]\nname = "a"\nprompts = ["x"]\narguments = {height = 16}\n'
    )
    assert run("lab", "run", str(tmp_path / "lab.toml"), "--out", str(tmp_path / "o"), *arguments).exit_code == 0
    assert {**{"height": 16}, **drawn} == seen[0].settings[0].arguments


# Offloading ----------------------------------------------------------------------------------------------------------


class Offloaded:
    """A pipeline that writes down where it is put."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def enable_model_cpu_offload(self, device: Any) -> None:
        self.calls.append(("model", str(device)))

    def enable_group_offload(self, onload_device: Any, **options: Any) -> None:
        self.calls.append(("group", str(onload_device)))

    def to(self, device: Any) -> Offloaded:
        self.calls.append(("to", str(device)))
        return self


@pytest.mark.fault("offload")
@pytest.mark.parametrize("offload", ["none", "model", "group"])
@pytest.mark.parametrize("source", ["a hub", "a folder", "a demo model"])
def test_offloading_is_that_of_the_pipeline_and_weights_are_never_all_on_the_accelerator(
    offload: str, source: str, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from padecast.cli import _pipelines

    pipe, places = Offloaded(), []
    monkeypatch.setattr(_pipelines, "_load_saved", lambda *_: pipe)
    monkeypatch.setattr(_pipelines, "_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(zoo, "load", lambda name, dtype, device: places.append(device.type) or pipe)
    name = {"a hub": "someone/something", "a folder": saved, "a demo model": "scenes"}[source]
    _pipelines.load(name, offload=offload)
    put = [*places, *(place for how, place in pipe.calls if how == "to")]
    assert put == (["cuda"] if offload == "none" else ["cpu"])
    assert [call for call in pipe.calls if call[0] != "to"] == ([] if offload == "none" else [(offload, "cuda")])


# A calibration is used -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibrated(saved: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Result]:
    """A calibration of the tiny pipeline by the command line, and what that said."""
    out = tmp_path_factory.mktemp("calibrated") / "c.json"
    arguments = ("--steps", "3", "--budgets", "2", "--seeds", "0-1", "--effort", "quick")
    with sparing():
        return str(out), run("calibrate", saved, *arguments, "--out", str(out))


@pytest.mark.fault("calibration used")
@pytest.mark.parametrize("wish", [("--computed", "2"), ("--speedup", "1.5"), ("--db", "1"), ("--decibels", "0")])
def test_generate_draws_by_a_calibration(
    saved: str, calibrated: tuple[str, Result], wish: tuple[str, str], tmp_path: Path
) -> None:
    arguments = ("--steps", "3", "--calibration", calibrated[0], *wish, "--out", str(tmp_path))
    result = run("generate", saved, *FEW, *arguments)
    assert result.exit_code == 0 and "3 steps, 2 computed" in result.stdout, result.output
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["report-calibrated-2.json", "seed-0000-calibrated-2.png"]


@pytest.mark.fault("calibration used")
@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (("--computed", "2"), ["calibrated", "fora"]),
        (("--speedup", "1.5"), ["calibrated", "fora"]),
        (("--nfe", "2"), ["fewer-steps", "calibrated", "fora"]),
    ],
)
def test_compare_measures_a_calibration(
    saved: str, calibrated: tuple[str, Result], arguments: tuple[str, ...], rows: list[str]
) -> None:
    setting = ("--steps", "3", "--methods", "fora", "--calibration", calibrated[0], "--json")
    result = run("compare", saved, *FEW, *setting, *arguments)
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)["results"]
    assert [row["name"] for row in results if row["name"] in rows] == rows
    row = next(row for row in results if row["name"] == "calibrated")
    assert row["nfe"] == row["plans"][0].count("C") == 2


@pytest.mark.fault("calibration used")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--computed", "8"), 2, "--calibration FILE"),
        (("--db", "40"), 2, "--calibration FILE"),
        (("--calibration", "digits:hard"), 2, "0 wishes given"),
        (("--calibration", "digits:hard", "--computed", "8", "--db", "40"), 2, "2 wishes given"),
        (("--calibration", "digits:hard", "--computed", "19"), 2, "computed=19"),
        (("--calibration", "digits:hrad", "--computed", "8"), 2, "'hard'"),
        (("--calibration", "nonesuch.json", "--computed", "8"), 1, "nonesuch.json"),
        (("--calibration", "digits:hard", "--computed", "8", "--steps", "10"), 1, "steps: this run has 10"),
        (("--calibration", "digits:hard", "--computed", "8", "--guidance", "2"), 1, "was not made for this run"),
        (("--calibration", "scenes:20", "--computed", "8"), 1, "was not made for this run"),
    ],
)
def test_a_calibration_that_cannot_serve_is_refused(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("generate", "compare")[len("".join(arguments)) % 2]
    result = run(command, "digits", "--seeds", "0", *arguments)
    assert result.exit_code == code and said in result.stderr and "Traceback" not in result.output


@pytest.mark.fault("calibration used")
def test_a_wish_and_numbers_of_computed_steps_are_not_both_given() -> None:
    arguments = ("--calibration", "digits:hard", "--computed", "8", "--nfe", "6,8")
    result = run("compare", "digits", *FEW, *arguments)
    assert result.exit_code == 2 and "Leave the wish out" in result.stderr


@pytest.mark.fault("calibration used")
def test_calibrate_ends_with_the_lines_that_use_it(saved: str, calibrated: tuple[str, Result]) -> None:
    file, result = calibrated
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("use it:")]
    code = line.removeprefix("use it:").strip().replace("...", "pipe([3], num_inference_steps=3)")
    pipe = digits()
    pipe.set_progress_bar_config(disable=True)
    names: dict[str, Any] = {"pipe": pipe, "padecast": padecast}
    exec(code, names)
    assert names["run"].report.computed == 2
    assert f"padecast generate {saved} --calibration {file} --computed 2" in result.stderr


# What is said, and how -----------------------------------------------------------------------------------------------


@pytest.mark.fault("said twice")
@pytest.mark.parametrize("decibels", ["95", "99", "200"])
def test_a_verdict_is_said_once(decibels: str) -> None:
    result = run("plan", "digits:hard", "--db", decibels)
    assert result.exit_code == 2 and result.output.count("Calibrated:") == 1
    assert "not worth it" in result.stdout and f"decibels={decibels}" in result.stderr


@pytest.mark.fault("nothing to measure")
@pytest.mark.parametrize("methods", ["", " ", ",", ", ,", ";"])
def test_no_methods_are_nothing_to_measure(saved: str, methods: str) -> None:
    result = run("compare", saved, "--methods", methods, "--seeds", "0", "--steps", "2")
    assert result.exit_code == 2 and ("names no method" in result.stderr or "unknown method" in result.stderr)


@pytest.mark.fault("nothing to measure")
@pytest.mark.parametrize("command", ["compare", "demo", "lab"])
def test_what_measures_is_asked_for_before_anything_is_drawn(
    saved: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from padecast.cli import compare, demo
    from padecast.cli import lab as cells

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded before it was known whether images can be measured")

    for module in (compare, demo, cells):
        monkeypatch.setattr(module, "load", refuse)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    (tmp_path / "lab.toml").write_text(
        f'methods = ["fora"]\n[[pipelines]]\nname = "it"\nsource = "{saved}"\n[[settings]]\nname = "a"\n'
    )
    arguments = {
        "compare": ("compare", saved, "--seeds", "0"),
        "demo": ("demo", "--out", str(tmp_path / "demo")),
        "lab": ("lab", "run", str(tmp_path / "lab.toml"), "--out", str(tmp_path / "lab")),
    }[command]
    result = run(*arguments)
    assert result.exit_code == 1 and "measuring SSIM needs the package 'torchmetrics'" in result.stderr


@pytest.mark.fault("nothing to measure")
@pytest.mark.parametrize("seeds", [(0,), (7,)])
def test_one_calibration_sample_is_warned_of(seeds: tuple[int, ...]) -> None:
    from padecast.calibration import Effort

    def call(pipe: Any, seed: int) -> Any:
        return pipe([3], 3, generator=torch.Generator().manual_seed(seed), output_type="pt").images

    pipe, quick = digits(), Effort(scouts=1, finalists=1, moves=0, refined=0)
    with sparing(), pytest.warns(padecast.PadecastWarning, match="one calibration sample"):
        padecast.calibrate(pipe, call, [2], seeds, effort=quick)


@pytest.mark.fault("lists that are cut")
@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("command", ["methods", "models", "methods tc-pade", "methods adaptive", "models flux"])
def test_names_and_sources_are_never_cut(command: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.cli import _shell

    monkeypatch.setattr(_shell, "PLAIN_WIDTH", width)
    result = run(*command.split())
    assert result.exit_code == 0 and "…" not in result.stdout
    words = result.stdout.split()
    if command == "methods":
        assert set(padecast.methods()) <= set(words) and "arXiv:2603.02943" in words
    if command == "models":
        assert set(padecast.targets.REGISTRY) <= set(words)


@pytest.mark.fault("lists that are cut")
@pytest.mark.parametrize("name", [*padecast.methods(), "tc-pade:every=3"])
def test_a_method_is_shown_with_its_options_defaults_and_ranges(name: str) -> None:
    import dataclasses

    method = padecast.method(name.partition(":")[0])
    options = [f for part in (method.policy, method.forecaster) for f in dataclasses.fields(part) if f.init]
    rows = json.loads(run("methods", name, "--json").stdout)["options"]
    assert [row["option"] for row in rows] == [field.name for field in options]
    assert all(row["what"] for row in rows)
    for row in rows:
        assert row["default"] is not None and ":class:" not in row["what"] and "``" not in row["what"]


@pytest.mark.fault("lists that are cut")
@pytest.mark.parametrize(
    ("name", "found"),
    [("flux", "FluxTransformer2DModel"), ("WAN", "WanTransformer3DModel"), ("StableDiffusion", "UNet")],
)
def test_models_are_found_by_a_part_of_their_name(name: str, found: str) -> None:
    result = run("models", name)
    assert result.exit_code == 0 and found in result.stdout
    assert len(json.loads(run("models", name, "--json").stdout)) < len(padecast.targets.REGISTRY)


@pytest.mark.fault("lists that are cut")
@pytest.mark.parametrize("arguments", [("methods", "nope"), ("methods", "lagrange"), ("models", "nonesuch")])
def test_what_is_not_listed_is_refused(arguments: tuple[str, str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and arguments[1] in result.stderr


@pytest.mark.fault("help")
@pytest.mark.parametrize(
    "command", ["generate", "compare", "calibrate", "plan", "demo", "report", "lab run", "methods", "models", "cite"]
)
def test_a_flag_takes_nothing_and_every_demo_model_is_named(command: str) -> None:
    text = run(*command.split(), "--help").stdout
    assert "<bool>" not in text and "--help" in text
    if command in ("generate", "compare", "calibrate"):
        assert all(model in text for model in CAPTIONS)


@pytest.mark.fault("help")
@pytest.mark.parametrize("arguments", [["--version"], ["cite", "fora"], ["methods", "fora"], ["models", "flux"]])
def test_the_package_is_a_command_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["padecast", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("padecast", run_name="__main__")
    assert end.value.code in (0, None) and capsys.readouterr().out


@pytest.mark.fault("credit")
@pytest.mark.parametrize("written", ["tc-pade:every=3", "spectrum:span=50", "fora:every=2,warmup=1", "toca:cell=2"])
def test_a_method_with_options_is_cited_as_without(written: str) -> None:
    assert run("cite", written).stdout == run("cite", written.partition(":")[0]).stdout != ""


@pytest.mark.fault("credit")
@pytest.mark.parametrize("name", list(padecast.methods()))
def test_whose_forecaster_it_is_gets_credit(name: str) -> None:
    owners = {"TCPade": "cui2026tcpade", "Pade": "cui2026tcpade", "Chebyshev": "han2026spectrum"}
    more = {"Taylor": "liu2025taylorseer", "Hermite": "feng2025hicache", "FoCa": "zheng2025foca", "ToCa": "zou2025toca"}
    owner = {**owners, **more}.get(type(padecast.method(name).forecaster).__name__)
    assert owner is None or owner in padecast.cite(name)


@pytest.mark.slow
@pytest.mark.fault("noise")
@pytest.mark.parametrize("model", ["scenes", "motion"])
def test_loading_a_bundled_model_says_nothing(model: str) -> None:
    script = f"import padecast; padecast.zoo.load({model!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Progress ------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("progress")
@pytest.mark.parametrize(
    ("total", "done", "ticks", "seconds", "lines"),
    [
        (10, 0, 10, 1.0, 0),
        (10, 0, 10, 10.0, 3),
        (10, 0, 10, 31.0, 10),
        (257, 0, 111, 31.0, 111),
        (136, 100, 36, 31.0, 36),
        (10, 10, 0, 31.0, 0),
        (5, 0, 20, 31.0, 20),
    ],
)
def test_without_a_terminal_a_line_comes_from_time_to_time(
    total: int,
    done: int,
    ticks: int,
    seconds: float,
    lines: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from padecast.cli import _shell

    now = [0.0]
    monkeypatch.setattr(_shell, "clock", lambda: now[0])
    with _shell.progress("calibrating", total, done) as tick:
        for _ in range(ticks):
            now[0] += seconds
            tick("trial")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "calibrating …" and len(said) == 1 + lines
    for line in said[1:]:
        assert f"of {total}" in line and "left" in line
    if lines and not done and seconds == 31.0 and ticks <= total:
        assert f"1 of {total}" in said[1]
    if done and lines:
        assert f"{done + 1} of {total}" in said[1]


@pytest.mark.fault("progress")
@pytest.mark.parametrize(("total", "done", "ticks"), [(257, 0, 111), (136, 51, 5), (10, 0, 0), (3, 3, 0), (5, 0, 9)])
def test_a_bar_begins_where_it_was_and_ends_at_its_end(
    total: int, done: int, ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    from padecast.cli import _shell

    bars: list[Any] = []

    class Watched(Progress):
        def __init__(self, *columns: Any, **options: Any) -> None:
            super().__init__(*columns, **options)
            bars.append((self, columns))

    monkeypatch.setattr(_shell, "Progress", Watched)
    monkeypatch.setattr(_shell, "stderr", lambda: Console(file=io.StringIO(), force_terminal=True, width=100))
    with _shell.progress("calibrating", total, done) as tick:
        (bar, columns) = bars[0]
        assert bar.tasks[0].completed == done
        for _ in range(ticks):
            tick("trial")
    assert bar.tasks[0].completed == total and any(isinstance(c, TimeRemainingColumn) for c in columns)


@pytest.mark.slow
@pytest.mark.fault("progress")
def test_a_calibration_that_goes_on_begins_its_bar_where_it_was(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from padecast.cli import calibrate
    from padecast.lab.calls import Sampling

    bars: list[tuple[int, int]] = []
    usual, calls = Sampling.__call__, [0]
    shown = calibrate.progress

    def counted(self: Sampling, *given: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return usual(self, *given, **more)

    def watched(title: str, total: int, done: int = 0) -> Any:
        bars.append((total, done))
        return shown(title, total, done)

    monkeypatch.setattr(Sampling, "__call__", counted)
    monkeypatch.setattr(calibrate, "progress", watched)
    arguments = ("--steps", "4", "--budgets", "2", "--seeds", "0-2", "--batch", "2", "--effort", "quick")
    codes = [run("calibrate", saved, *arguments, "--out", str(tmp_path / "c.json")).exit_code for _ in range(2)]
    assert codes == [130, 0] and bars[0][1] == 0 < bars[1][1] < bars[1][0]
