"""The nodes in ComfyUI's engine, called as its executor does."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.comfy import engine
from tests.comfy.models import FLUX, WAN, Run, sample
from tests.files import loopback

from padecast import InvalidOption, InvalidPlan, PadecastError, PadecastWarning, zoo
from padecast.integrations import comfy as ours

PACK = Path(__file__).resolve().parents[2] / "comfyui"


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Any]]:
    """The nodes of the pack by their ids, loaded as ComfyUI loads a folder of custom_nodes."""
    engine.nodes("nodes_slg")  # which brings comfy_api along
    spec = importlib.util.spec_from_file_location("pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    assert spec is not None and spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pack", pack)
        spec.loader.exec_module(pack)
        extension = asyncio.run(pack.comfy_entrypoint())
        yield {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
        for name in ("pack.nodes", "pack.demo"):
            patch.delitem(sys.modules, name, raising=False)


def call(node: Any, **values: Any) -> tuple[Any, ...]:
    """Run a node with the values of a new one's widgets, but for those given."""
    usual = {each.id: each.default for each in node.GET_SCHEMA().inputs if getattr(each, "default", None) is not None}
    return node.execute(**{**usual, **values}).args  # type: ignore[no-any-return]


def test_33_nodes_take_what_they_ask_for(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        asked = {each.id for each in node.GET_SCHEMA().inputs}
        parameters = inspect.signature(node.execute).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        named = {key for key, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
        assert named <= asked and (takes_any or named == asked), name


@pytest.mark.parametrize(
    ("name", "values", "computed"),
    [
        ("Padecast", {"mode": "fixed", "number": 2.0}, 7),
        ("Padecast", {"mode": "adaptive", "number": 0.2}, None),
        ("PadecastPlan", {"plan": " CCC.C.C.C.C. ", "forecaster": "line"}, 7),
        ("PadecastPlan", {"plan": "CCC.C.C.C.C.", "forecaster": "damped line"}, 7),
        ("PadecastLearned", {}, 12),
        ("Padecast", {"mode": "fixed", "number": 2.0, "start": 0.5, "most_in_a_row": 1, "history_on_host": True}, None),
    ],
)
def test_a_node_attaches_what_it_says(
    nodes: dict[str, Any], flux: Any, name: str, values: dict[str, Any], computed: int | None
) -> None:
    (model,) = call(nodes[name], model=flux, **values)
    latent = {"samples": sample(model, Run(FLUX, steps=12))}
    report = ours.report_of(model)
    assert report is not None and len(report.plan) == 12
    assert report.computed == computed or (computed is None and report.forecast > 0)
    passed, text = call(nodes["PadecastReport"], model=model, latent=latent)
    assert passed is latent and text == str(report)


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")  # ComfyUI's own, in dpm_adaptive
@pytest.mark.parametrize(
    ("steps", "sampler", "cache", "told", "reported"),
    [
        (4, "euler", "", "nothing was forecast in a run of 4 steps", "4 steps, 4 computed, 0 forecast: CCCC"),
        (8, "dpm_adaptive", "", "does nothing in this run", "nothing was done in this run: .*chooses its noise levels"),
        (
            8,
            "euler",
            "EasyCache",
            "does nothing in this run",
            "nothing was done in this run: EasyCache is on this model",
        ),
    ],
)
def test_a_node_that_can_do_nothing_says_so_and_changes_nothing(
    nodes: dict[str, Any], flux: Any, steps: int, sampler: str, cache: str, told: str, reported: str
) -> None:
    base, run = flux, Run(FLUX, sampler, steps=steps)
    if cache:
        base = engine.nodes("nodes_easycache").EasyCacheNode.execute(flux, 0.2, 0.15, 0.95, False).args[0]
    (model,) = call(nodes["Padecast"], model=base)
    with pytest.warns(PadecastWarning, match=told):
        result = sample(model, run)
    assert torch.equal(result, sample(base, run))
    assert re.match(reported, call(nodes["PadecastReport"], model=model, latent={})[1])


def test_what_a_node_says_is_shown_on_it(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []
    instance = types.SimpleNamespace(send_progress_text=lambda text, node: shown.append((text, node)))
    server = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=instance))
    monkeypatch.setitem(sys.modules, "server", server)  # type: ignore[arg-type]
    node = nodes["PadecastCompare"]
    monkeypatch.setattr(node, "hidden", types.SimpleNamespace(unique_id="7"), raising=False)
    image = torch.zeros(1, 4, 4, 3)
    text = call(node, reference=image, image=image + 0.1)[1]
    ((lines, number),) = shown
    assert " ".join(lines.split()) == text and "20.0 dB" in text and number == "7"
    assert max(map(len, lines.splitlines())) <= 46


def test_the_report_of_another_model_says_that_there_is_none(nodes: dict[str, Any], flux: Any) -> None:
    assert "No padecast node" in call(nodes["PadecastReport"], model=flux, latent={})[1]


def test_the_demo_model_samples_with_a_calibration_of_its_folder(
    nodes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.calibration("scenes", "20").save(tmp_path / "scenes.json")
    folders = importlib.import_module("folder_paths")
    monkeypatch.setitem(folders.folder_names_and_paths, "padecast", ([str(tmp_path)], {".json"}))
    folders.filename_list_cache.pop("padecast", None)
    combo = next(each for each in nodes["PadecastCalibration"].define_schema().inputs if each.id == "file")
    assert combo.options == ["", "scenes.json"]
    model, text, empty, _ = call(nodes["PadecastDemoModel"])
    (attached,) = call(nodes["PadecastCalibration"], model=model, file="scenes.json", computed=8)
    noise = torch.randn(empty["samples"].shape, generator=torch.Generator().manual_seed(0))
    run = Run(FLUX, steps=20, cfg=1.0, positive=text, negative=text, noise=noise, latent=empty["samples"])
    pictures = [
        call(nodes["PadecastDemoDecode"], latent={"samples": sample(each, run)})[0] for each in (model, attached)
    ]
    report = ours.report_of(attached)
    assert report is not None and report.computed == 8
    decibels, text = call(nodes["PadecastCompare"], reference=pictures[0], image=pictures[1])
    assert pictures[0].shape == (1, 256, 256, 3) and decibels > 45 and f"PSNR {decibels:.1f} dB" in text


def test_the_demo_model_of_clips_samples_with_guidance(nodes: dict[str, Any]) -> None:
    model, text, empty, nothing = call(nodes["PadecastDemoModel"], name="motion", caption="a red circle moving left")
    (attached,) = call(nodes["PadecastPlan"], model=model, plan="CC.C")
    noise = torch.randn(empty["samples"].shape, generator=torch.Generator().manual_seed(0))
    run = Run(WAN, steps=4, cfg=3.0, positive=text, negative=nothing, noise=noise, latent=empty["samples"])
    (frames,) = call(nodes["PadecastDemoDecode"], latent={"samples": sample(attached, run)}, scale=1)
    assert frames.shape == (17, 64, 64, 3) and frames.min() >= 0 and frames.max() <= 1
    # The decoder makes something of any latents; of a clip that was drawn, a circle that is red and moves.
    red = (frames[..., 0] - frames[..., 1:].amax(-1)) > 0.3
    columns = [float(each.nonzero()[:, 1].float().mean()) for each in (red[0], red[-1])]
    assert columns[0] > columns[1] + 8


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Hub]:
    """A Hub on this machine, which huggingface_hub asks."""
    with loopback.serve() as served:
        loopback.direct(monkeypatch, served.url, tmp_path / "cache")
        yield served


def test_a_calibration_of_the_hub_is_fetched_once_and_of_its_revision(
    nodes: dict[str, Any], flux: Any, hub: loopback.Hub, tmp_path: Path
) -> None:
    twenty, fifty = (zoo.calibration("scenes", steps).save(tmp_path / f"{steps}.json") for steps in ("20", "50"))
    repository = hub.new("org/scenes", {"scenes-20.json": twenty.read_bytes()})
    first = repository.refs["main"]
    repository.commit({"scenes-50.json": fifty.read_bytes()})
    node = nodes["PadecastCalibration"]
    (model,) = call(node, model=flux, hub=f" hub:org/scenes@{first} ", computed=8)
    with pytest.raises(InvalidPlan, match="this run has 8 steps, the plan 20"):
        sample(model, Run(FLUX))
    with pytest.raises(InvalidOption, match=r"scenes-20\.json.*scenes-50\.json"):
        call(node, model=flux, hub="org/scenes", computed=10)
    call(node, model=flux, hub="org/scenes", hub_file="scenes-50.json", computed=10)
    asked = len(hub.asked)
    call(node, model=flux, hub=f"org/scenes@{first}", computed=8)
    assert not [path for method, path, _ in hub.asked[asked:] if method == "GET" and "/resolve/" in path]


def test_what_is_not_on_the_hub_is_said_in_one_line(nodes: dict[str, Any], flux: Any, hub: loopback.Hub) -> None:
    with pytest.raises(PadecastError, match="org/absent") as raised:
        call(nodes["PadecastCalibration"], model=flux, hub="org/absent")
    assert "Traceback" not in str(raised.value)


def test_a_calibration_node_without_a_file_says_where_files_go(nodes: dict[str, Any], flux: Any) -> None:
    with pytest.raises(ValueError, match="models/padecast"):
        call(nodes["PadecastCalibration"], model=flux)


def test_equal_images_and_others(nodes: dict[str, Any]) -> None:
    image = torch.zeros(1, 4, 4, 3)
    assert call(nodes["PadecastCompare"], reference=image, image=image)[0] == pytest.approx(100)
    assert call(nodes["PadecastCompare"], reference=image, image=image + 0.1)[0] == pytest.approx(20)
    with pytest.raises(ValueError, match="different sizes"):
        call(nodes["PadecastCompare"], reference=image, image=image[:, :2])
