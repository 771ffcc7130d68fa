"""ComfyUI's own server in a process of its own, with the pack among its nodes, and what is asked of it.

python -m tests.comfy.serve --port 8188 ...    # with ComfyUI's own options
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.comfy import engine

ROOT = Path(__file__).resolve().parents[2]
PACK, SITE = ROOT / "comfyui", engine.FOLDER / "server"
OPTIONS = ("--cpu", "--disable-api-nodes", "--disable-metadata")
"""Pictures without metadata: their bytes are the same where their pixels are."""
START, PATIENCE = 600.0, 600.0
"""Seconds that the server may take to start, and a prompt to end."""
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # which else opens the templates at once
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # text also where the whole graph is in view
}


def demand() -> None:
    """Skip where the server's packages are absent, or fail where PADECAST_COMFY demands them."""
    engine.demand()
    if not SITE.is_dir():
        missing = f"no packages of ComfyUI's server in {SITE}: python tools/comfy.py server"
        (pytest.fail if os.environ.get("PADECAST_COMFY") else pytest.skip)(missing)


@dataclass
class Server:
    """A server that runs.

    Args:
        url: Where.
        folder: Its base directory.
        log: What it says.
    """

    url: str
    folder: Path
    log: Path

    def get(self, path: str) -> bytes:
        """Return what is at a path."""
        with urlopen(self.url + path, timeout=PATIENCE) as answer:
            return bytes(answer.read())

    def read(self, path: str) -> Any:
        """Return the document at a path."""
        return json.loads(self.get(path))

    def post(self, path: str, document: Any) -> Any:
        """Send a document; an answer that refuses it is returned too."""
        body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
        try:
            with urlopen(Request(self.url + path, body, headers), timeout=PATIENCE) as answer:
                text = answer.read()
        except HTTPError as error:
            text = error.read()
        return json.loads(text) if text else None

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt, and return its id."""
        answer = self.post("/prompt", {"prompt": prompt})
        assert "prompt_id" in answer, answer
        return str(answer["prompt_id"])

    def wait(self, prompt: str) -> dict[str, Any]:
        """Wait until a prompt ended, and return its history."""
        return wait_for(lambda: self.read(f"/history/{prompt}").get(prompt), f"the prompt {prompt}")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Run a prompt anew, nothing of it cached, and return what its nodes put out."""
        self.post("/free", {"unload_models": True, "free_memory": True})
        history = self.wait(self.queue(prompt))
        assert history["status"]["status_str"] == "success", history["status"]
        outputs: dict[str, Any] = history["outputs"]
        return outputs

    def images(self, outputs: dict[str, Any], node: str) -> list[bytes]:
        """Return the files of pictures that a node put out."""
        return [
            self.get(f"/view?filename={each['filename']}&subfolder={each['subfolder']}&type={each['type']}")
            for each in outputs[node]["images"]
        ]


def wait_for(look: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Look until there is something.

    Raises:
        TimeoutError: If there is nothing after so many seconds.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{what} did not come in {seconds:.0f} s")


def prepare(folder: Path) -> None:
    """Make a base directory as a user has it: the pack copied, settings, a picture; and files that only have names."""
    shutil.copytree(PACK, folder / "custom_nodes" / "padecast", ignore=shutil.ignore_patterns("__pycache__"))
    user = folder / "user" / "default"
    user.mkdir(parents=True)
    (user / "comfy.settings.json").write_text(json.dumps(SETTINGS))
    (folder / "input").mkdir()
    draw_picture(folder / "input" / "example.png")


def draw_picture(path: Path) -> None:
    """Draw what examples load: ComfyUI's own picture of that name would be in pictures of ours."""
    from PIL import Image, ImageDraw

    picture = Image.linear_gradient("L").resize((512, 512)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 400, 512, 512), "#23405c")
    pen.polygon([(230, 400), (245, 150), (285, 150), (300, 400)], "#f2efe6")
    pen.polygon([(240, 150), (265, 110), (290, 150)], "#b8402f")
    pen.ellipse((255, 160, 275, 180), "#ffb454")
    picture.save(path)


def find_port() -> int:
    """Return a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server on a base directory that :func:`prepare` made."""
    port, log = find_port(), folder / "log.txt"
    database = f"sqlite:///{folder / 'comfy.db'}"
    places = ("--port", str(port), "--base-directory", str(folder), "--database-url", database)
    paths = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.comfy.serve", *OPTIONS, *places]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        server = Server(f"http://127.0.0.1:{port}", folder, log)
        try:
            wait_for(lambda: answers(server, process), "ComfyUI's server", START)
            yield server
        finally:
            process.terminate()
            process.wait(20)


def answers(server: Server, process: subprocess.Popen[bytes]) -> bool:
    """Whether a server answers.

    Raises:
        RuntimeError: If it ended.
    """
    if process.poll() is not None:
        raise RuntimeError(f"ComfyUI's server ended:\n{server.log.read_text(errors='replace')[-4000:]}")
    try:
        return bool(server.get("/system_stats"))
    except OSError:
        return False


def main() -> None:
    """Be ComfyUI's server, with what is absent and not needed as empty modules."""
    tree = engine.tree()
    sys.path.insert(0, str(tree))
    sys.path.extend(str(place) for place in (engine.FOLDER / "site", SITE) if place.is_dir())
    sys.argv[0] = str(tree / "main.py")
    with engine.stand_ins(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
