"""Loading a demo model: by name, quietly, and with errors that help."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

import padecast
from padecast import zoo
from padecast._errors import MissingPackage, UnknownName
from padecast.zoo.worlds import WORLDS


@pytest.mark.parametrize("name", zoo.NAMES)
def test_weights_fit_the_wheel(name: str) -> None:
    total = sum(path.stat().st_size for path in (zoo.WEIGHTS / name).rglob("*") if path.is_file())
    assert total <= 16 * 2**20


@pytest.mark.parametrize("name", zoo.NAMES)
def test_weights_are_stored_in_float16(name: str) -> None:
    from safetensors import safe_open

    for path in (zoo.WEIGHTS / name).glob("*/*.safetensors"):
        with safe_open(path, "pt") as stored:
            kinds = {stored.get_tensor(key).dtype for key in stored.keys()}  # noqa: SIM118
            assert {kind for kind in kinds if kind.is_floating_point} == {torch.float16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_load_gives_the_dtype_asked_for(dtype: torch.dtype) -> None:
    transformer = zoo.load("digits", dtype=dtype).transformer
    assert {weight.dtype for weight in transformer.parameters()} == {dtype}
    assert not transformer.training


@pytest.mark.parametrize("name", zoo.NAMES)
def test_load_is_quiet(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    zoo.load(name)
    assert capfd.readouterr() == ("", "")


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="nearest is 'digits'"):
        zoo.load("digit")


def test_missing_diffusers_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "padecast.zoo.digits", raising=False)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingPackage, match="pip install"):
        zoo.load("digits")


def test_all_that_is_listed_ships() -> None:
    assert all((zoo.WEIGHTS / name / "model_index.json").is_file() for name in zoo.NAMES)


@pytest.mark.parametrize("path", sorted(zoo.CALIBRATIONS.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_calibration_fits_its_model(path: Path) -> None:
    name, _, setting = path.stem.partition("-")
    world = f"{name}:{setting}"
    found, pipe = zoo.calibration(name, setting), zoo.load(world if world in WORLDS else name)
    assert set(found.budgets) >= ({10, 14} if setting == "50" else {6, 8, 10})
    for budget in found.budgets:
        with padecast.accelerate(pipe, found, computed=budget):  # another model or configuration is an error
            assert found.method(computed=budget).policy.nfe == budget
        assert len(found.method(computed=budget).policy.steps) == found.schedule.steps


@pytest.mark.parametrize("world", ["digits:matched", "scenes:as-flux", "motion:as-wan"])
def test_what_ships_for_a_world_is_what_was_measured(world: str) -> None:
    name = world.replace(":", "-")
    measured = (Path(__file__).parents[2] / "benchmarks" / "calibrations").glob(f"{name}-20-*.json")
    assert (zoo.CALIBRATIONS / f"{name}.json").read_bytes() in [path.read_bytes() for path in measured]


@pytest.mark.parametrize("name", ["scenes", "motion"])
def test_a_model_whose_weights_ship_loads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = importlib.import_module(f"demos.{name}.build")
    build.export(build.build(0, 1 if name == "motion" else (1, 1), 1), tmp_path / name)
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    pipe = zoo.load(name, dtype=torch.bfloat16)
    assert type(pipe).__name__ == {"scenes": "FluxPipeline", "motion": "WanPipeline"}[name]
    assert {weight.dtype for weight in pipe.transformer.parameters()} == {torch.bfloat16}


def test_a_calibration_that_does_not_ship_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "CALIBRATIONS", tmp_path)
    with pytest.raises(UnknownName, match=r"ship --model scenes --setting 50 --budgets 10,14"):
        zoo.calibration("scenes", "50")
    with pytest.raises(UnknownName, match="setting of scenes"):
        zoo.calibration("scenes", "30")
