"""ComfyUI's own page in a Chromium without a screen."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.comfy import workflows
from tests.comfy.serve import SITE, Server, wait_for

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = (2000, 1100)
ABSENT = ("/userdata", "/user.css", "/templates/", "/docs/Padecast/en.md")
"""Parts of addresses that a new server has nothing at, and at which the page looks in vain, or looks first."""
OWN = ("core workflow templates", "fuse options", "graph accessed before initialization")
"""What the page says of itself: ComfyUI's own examples are not installed, and it looks at its graph too early."""

READY = "return !!(window.app?.canvas?.graph && app.extensionManager?.command)"
BOX = """
const place = document.querySelector('#graph-canvas').getBoundingClientRect(), {scale, offset} = app.canvas.ds;
const [left, top, right, bottom] = [[], [], [], []];
for (const {pos, size} of app.graph.nodes) {
  left.push(pos[0]); top.push(pos[1] - 54); right.push(pos[0] + size[0]); bottom.push(pos[1] + size[1]);
}
return [
  place.x + (Math.min(...left) - 20 + offset[0]) * scale, place.y + (Math.min(...top) + offset[1]) * scale,
  place.x + (Math.max(...right) + 20 + offset[0]) * scale, place.y + (Math.max(...bottom) + 20 + offset[1]) * scale,
];
"""
"""The edges of all nodes, with their titles and badges, in pixels of the page."""


def demand() -> None:
    """Skip where Chromium is absent, or fail where PADECAST_COMFY demands it."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if absent:
        missing = f"no {' and no '.join(absent)}: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("PADECAST_COMFY") else pytest.skip)(missing)


class Page:
    """The page of a server.

    Args:
        driver: Selenium's.
        server: Whose it is.
    """

    def __init__(self, driver: Any, server: Server) -> None:
        self.driver, self.server = driver, server

    def run_script(self, script: str, *values: Any) -> Any:
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script, *values)

    def open(self, example: str = "") -> None:
        """Open the page, and an example of the pack if one is named, and see all of it."""
        address = f"?template={example}&source=padecast" if example else ""
        self.driver.get(f"{self.server.url}/{address}")
        wanted = [node["type"] for node in workflows.read(example)["nodes"]] if example else []
        look = "return app.canvas.graph.nodes.map(n => n.type)"
        wait_for(lambda: self.run_script(READY), "the page")
        # At first there is the page's own workflow.
        wait_for(lambda: not wanted or sorted(self.run_script(look)) == sorted(wanted), f"the example {example}")
        self.show_all()

    def show_all(self) -> list[float]:
        """Bring all nodes into view, and return their edges in pixels of the page."""
        self.command("Comfy.Canvas.FitView")
        edges: list[float] = self.run_script(BOX)

        def rests() -> bool:  # the view glides there
            nonlocal edges
            time.sleep(1)
            before, edges = edges, self.run_script(BOX)
            return edges == before and edges[2] <= self.run_script("return innerWidth")

        wait_for(rests, "a view of all nodes")
        return edges

    def command(self, name: str) -> None:
        """Run a command of the page's menu."""
        self.run_script("app.extensionManager.command.execute(arguments[0])", name)

    def click(self, where: str) -> None:
        """Click what a CSS selector or, with // before it, an XPath names."""
        by = "xpath" if where.startswith("//") else "css selector"
        wait_for(lambda: self.driver.find_elements(by, where), where)[0].click()

    def ended(self) -> list[dict[str, Any]]:
        """Return the history of what was run, oldest first."""
        return list(self.server.read("/history").values())

    def shoot(self, path: Path, width: int = 1200) -> None:
        """Keep a picture of the canvas, without the bars around it."""
        from PIL import Image

        box = self.show_all()
        picture = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        picture = picture.crop(tuple(int(edge) for edge in box))
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        picture.save(path, quality=88)

    def errors(self) -> list[str]:
        """Return what the page's console has of errors, but for what a bare server has none of."""
        said = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        known = (*ABSENT, *OWN)
        return [message for message in said if not any(word in message for word in known)]


@contextmanager
def browse(server: Server, profile: Path) -> Iterator[Page]:
    """Open a browser with a profile of its own."""
    sys.path.append(str(SITE))  # of selenium, which imports its parts when they are used
    try:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for option in (*OPTIONS, f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield Page(driver, server)
        finally:
            driver.quit()
    finally:
        sys.path.remove(str(SITE))
