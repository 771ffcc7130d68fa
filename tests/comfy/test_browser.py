"""ComfyUI's own page in a browser: examples open, run, are interrupted, and show what was done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.comfy import workflows
from tests.comfy.browser import Page, browse, demand
from tests.comfy.serve import PACK, Server, wait_for

KEPT = os.environ.get("PADECAST_COMFY_PICTURES")
"""Whether pictures are kept as those of the examples."""
TEXT = "return app.graph.nodes.filter(n => n.type == arguments[0]).map(n => n.widgets?.at(-1)?.value ?? '')"
SEED = "app.graph.nodes.find(n => n.title == 'With padecast').widgets.find(w => w.name == 'seed').value = arguments[0]"


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser that has no page open yet."""
    demand()
    workflows.touch_files(server.folder)
    with browse(server, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def run(page: Page) -> str:
    """Press the button, and return how the run ended."""
    count = len(page.ended())
    page.click("[data-testid=queue-button]")
    wait_for(lambda: len(page.ended()) > count, "the run")
    return str(page.ended()[-1]["status"]["status_str"])


@pytest.mark.parametrize("name", workflows.NAMES)
def test_32_an_example_opens_and_those_without_a_download_run(page: Page, tmp_path: Path, name: str) -> None:
    page.open(name)
    assert not page.run_script("return app.graph.nodes.filter(n => n.has_errors).map(n => n.type)")
    if name in workflows.DEMOS:
        assert run(page) == "success"
        (report,) = wait_for(lambda: [text for text in page.run_script(TEXT, "PadecastReport") if text], "the report")
        assert "computed" in report
    path = (PACK / "example_workflows" if KEPT else tmp_path) / f"{name}.jpg"
    page.shoot(path)
    assert path.stat().st_size > 10_000 and not page.errors()


def test_32_a_run_may_be_interrupted_and_started_again(page: Page) -> None:
    page.open("demo_text_to_image")
    page.run_script(SEED, 11)
    count, heard = len(page.ended()), page.server.log.stat().st_size
    page.click("[data-testid=queue-button]")
    wait_for(lambda: b"/20 [" in page.server.log.read_bytes()[heard:], "the first step")
    page.command("Comfy.Interrupt")
    wait_for(lambda: len(page.ended()) > count, "the end of the interrupted run")
    assert page.ended()[-1]["status"]["status_str"] == "error"
    assert run(page) == "success"
    (compared,) = wait_for(lambda: [text for text in page.run_script(TEXT, "PadecastCompare") if text], "the PSNR")
    assert "PSNR" in compared and not page.errors()


def test_32_the_templates_of_the_page_list_the_pack(page: Page, tmp_path: Path) -> None:
    page.open("demo_text_to_image")
    page.command("Comfy.BrowseTemplates")
    page.click("//span[normalize-space()='padecast']")
    for name in workflows.NAMES:
        wait_for(lambda name=name: name in page.driver.page_source, name)
    page.driver.save_screenshot(str(tmp_path / "templates.png"))
    assert not page.errors()


def test_32_a_node_shows_its_page_of_help(page: Page) -> None:
    page.open("demo_text_to_image")
    page.run_script("app.canvas.selectNode(app.graph.nodes.find(n => n.type == 'Padecast'))")
    page.click("[data-testid=info-button]")
    heading, text = (PACK / "web" / "docs" / "Padecast.md").read_text(encoding="utf-8").split("\n\n")[:2]
    shown = "return document.body.innerText"
    wait_for(
        lambda: text in page.run_script(shown) and heading.removeprefix("# ") in page.run_script(shown), "its text"
    )
    assert not page.errors()
