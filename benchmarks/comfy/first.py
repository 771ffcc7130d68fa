"""How long it takes from an empty folder to a first picture with the node in ComfyUI: results/comfy-first.json.

    python -m benchmarks.comfy.first             # four minutes on two cores, and what has to be fetched

Every stage is done as a user does it, in a new environment of Python: this repository cloned and installed, ComfyUI and
what it needs installed, the pack copied into its custom_nodes, its server started, and the example demo_text_to_image
run over HTTP: one picture with all steps computed and one with the node.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, Document, provenance, write

FILE = "comfy-first.json"
DRAW = """
import json, sys, time
from pathlib import Path
from tests.comfy import serve, test_server
folder = Path(sys.argv[1])
serve.prepare(folder)
start = time.monotonic()
with serve.serve(folder) as server:
    started = time.monotonic()
    outputs = server.run(test_server.draw(plan="CCCC.C..C...C....C.."))
    size = len(server.images(outputs, "save")[0])
    end = time.monotonic()
    text = json.dumps(outputs["report"])
print(json.dumps({"server": started - start, "picture": end - started, "bytes": size, "report": text}))
"""


def run(*command: str | Path, folder: Path, seconds: Document, stage: str) -> str:
    """Run a command, note how long it took, and return what it printed."""
    print(stage, file=sys.stderr)
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COMFYUI_PATH")}
    start = time.monotonic()
    done = subprocess.run([str(each) for each in command], cwd=folder, env=clean, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"{stage} failed: {' '.join(map(str, command))}\n{done.stdout[-4000:]}")
    seconds[stage] = round(time.monotonic() - start, 1)
    return done.stdout


def main() -> None:
    """Go from an empty folder to a picture."""
    with tempfile.TemporaryDirectory() as name:
        folder, seconds = Path(name), {}
        clone, python = folder / "padecast", folder / "venv" / "bin" / "python"

        def go(stage: str, *command: str | Path, place: Path = clone) -> str:
            return run(*command, folder=place, seconds=seconds, stage=stage)

        go("clone", "git", "clone", "-q", ROOT, clone, place=folder)
        go("environment", sys.executable, "-m", "venv", folder / "venv", place=folder)
        # scipy and psutil are ComfyUI's own needs; a module of the tests starts the server
        packages = (".", "./packages/lab", "scipy", "psutil", "pytest")
        go("padecast", python, "-m", "pip", "install", "-q", "-c", "constraints.txt", *packages)
        go("ComfyUI", python, "tools/comfy.py", "server")
        (folder / "base").mkdir()
        answer = json.loads(go("first picture", python, "-c", DRAW, folder / "base").splitlines()[-1])
    document = {"kind": "padecast comfy first", "provenance": provenance(), "seconds": seconds}
    print(answer["report"])
    write(FILE, document | {"total": round(sum(seconds.values()), 1), "server": round(answer["server"], 1)})


if __name__ == "__main__":
    main()
