"""ComfyUI's own server with the pack: what it lists, what it runs, and what an interruption leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.comfy import workflows
from tests.comfy.serve import PACK, Server, wait_for

IDS = json.loads((PACK / "ids.json").read_text(encoding="utf-8"))
STEPS = 20


def draw(steps: int = STEPS, plan: str = "") -> dict[str, Any]:
    """Return a prompt that draws a picture of the demo model, with a plan or without a node of ours."""
    model = ["plan", 0] if plan else ["demo", 0]
    sampler = {"seed": 5, "steps": steps, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    joined = {"model": model, "positive": ["demo", 1], "negative": ["demo", 3], "latent_image": ["demo", 2]}
    demo = {"caption": "a large red circle left of a small blue square", "batch_size": 1, "name": "scenes"}
    window = {"start": 0.0, "end": 1.0, "most_in_a_row": 0, "history_on_host": False, "verbose": False}
    prompt = {
        "demo": {"class_type": "PadecastDemoModel", "inputs": demo},
        "sampler": {"class_type": "KSampler", "inputs": {**sampler, **joined}},
        "decode": {"class_type": "PadecastDemoDecode", "inputs": {"latent": ["sampler", 0], "scale": 1}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "test"}},
    }
    if plan:
        inputs = {"model": ["demo", 0], "plan": plan, "forecaster": "line", **window}
        prompt["plan"] = {"class_type": "PadecastPlan", "inputs": inputs}
        report = {"model": ["plan", 0], "latent": ["sampler", 0]}
        prompt["report"] = {"class_type": "PadecastReport", "inputs": report}
    return prompt


@pytest.fixture(scope="module")
def plain(server: Server) -> list[bytes]:
    """The picture that no node of ours had a part in."""
    return server.images(server.run(draw()), "save")


def test_31_the_server_offers_every_node_under_its_id(server: Server) -> None:
    offered = server.read("/object_info")
    for name, inputs in IDS.items():
        entry = offered[name]
        assert entry["category"] == "padecast" and entry["python_module"] == "custom_nodes.padecast"
        assert [*entry["input"]["required"], *entry["input"].get("optional", {})] == inputs
        assert all(entry["output_tooltips"])


def test_31_the_server_lists_the_examples_and_serves_them_with_pictures(server: Server) -> None:
    assert sorted(server.read("/workflow_templates")["padecast"]) == workflows.NAMES
    for name in workflows.NAMES:
        assert server.read(f"/api/workflow_templates/padecast/{name}.json") == workflows.read(name)
        assert server.get(f"/api/workflow_templates/padecast/{name}.jpg").startswith(b"\xff\xd8")


def test_31_the_server_serves_translations_and_pages_of_help(server: Server) -> None:
    texts = server.read("/i18n")
    for language in ("en", "zh", "ja", "ko"):
        assert {*IDS} <= {*texts[language]["nodeDefs"]} and "padecast" in texts[language]["nodeCategories"]
    for name in IDS:
        page = server.get(f"/extensions/padecast/docs/{name}.md").decode()
        assert page == (PACK / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_31_all_computed_is_the_same_file(server: Server, plain: list[bytes]) -> None:
    assert server.images(server.run(draw(plan="C" * STEPS)), "save") == plain


def test_31_a_plan_leaves_steps_out_and_the_report_says_which(server: Server, plain: list[bytes]) -> None:
    plan = "CCC.C..C...C...C...C"
    outputs = server.run(draw(plan=plan))
    assert server.images(outputs, "save") != plain
    (text,) = outputs["report"]["text"]
    assert plan in text and "20 steps, 8 computed" in text.replace("\n", " ")


def test_31_a_prompt_after_an_interrupted_one_is_as_if_there_had_been_none(server: Server) -> None:
    steps = 400
    prompt = draw(steps, "CC" + "C." * (steps // 2 - 1))
    heard = server.log.stat().st_size
    queued = server.queue(prompt)
    wait_for(lambda: f"/{steps} [" in server.log.read_bytes()[heard:].decode(errors="replace"), "the first step")
    server.post("/interrupt", {})
    status = server.wait(queued)["status"]
    assert "execution_interrupted" in [name for name, _ in status["messages"]]
    assert "save" not in server.read(f"/history/{queued}")[queued]["outputs"]
    after = server.images(server.run(prompt), "save")
    assert after == server.images(server.run(prompt), "save")


def test_a_plan_of_another_length_is_an_error_on_its_way_to_the_page(server: Server) -> None:
    status = server.wait(server.queue(draw(12, "CC.C")))["status"]
    (error,) = [message for name, message in status["messages"] if name == "execution_error"]
    assert "this run has 12 steps, the plan 4" in error["exception_message"] and error["node_id"] == "sampler"


@pytest.mark.parametrize("name", workflows.NAMES)
def test_33_examples_have_what_their_nodes_ask_for(server: Server, name: str) -> None:
    workflows.touch_files(server.folder)
    offered = server.read("/object_info")
    for number, node in workflows.prompt_of(workflows.read(name)).items():
        asked = offered[node["class_type"]]["input"]
        wanted = {**asked["required"], **asked.get("optional", {})}
        assert {*asked["required"]} <= {*node["inputs"]} <= {*wanted}, (number, node)
        for key, value in node["inputs"].items():
            kind, options = wanted[key][0], wanted[key][1] if len(wanted[key]) > 1 else {}
            choices = kind if isinstance(kind, list) else options.get("options") if kind == "COMBO" else None
            assert isinstance(value, list) or choices is None or value in choices, (number, key, value)


@pytest.mark.parametrize("name", workflows.DEMOS)
def test_examples_of_the_demo_models_run(server: Server, name: str) -> None:
    outputs = server.run(workflows.prompt_of(workflows.read(name)))
    texts = [text for output in outputs.values() for text in output.get("text", [])]
    report = next(text for text in texts if "computed" in text)
    assert "20" in report
    pictures = [node for node, output in outputs.items() if output.get("images")]
    assert pictures and all(server.images(outputs, node) for node in pictures)


def test_the_log_has_no_error_of_ours(server: Server) -> None:
    text = server.log.read_text(errors="replace")
    failures = text.split("IMPORT FAILED")
    assert not any("padecast" in part.splitlines()[0] for part in failures[1:])
    assert Path(server.folder / "custom_nodes" / "padecast").is_dir()
