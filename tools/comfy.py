"""Gets ComfyUI for the tests of tests/comfy, out of source packages on the index, into .comfy/.

python tools/comfy.py             # the engine: fetch what is not there yet
python tools/comfy.py server      # and what its server and a browser's driver import
python tools/comfy.py versions    # and older engines, into .comfy/versions/

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
TREE, SITE, SERVER, VERSIONS = (FOLDER / name for name in ("ComfyUI", "site", "server", "versions"))
LEAST = (3, 11)  # of av, which the engine imports
SOURCE, OLDER = TOOLS / "comfy-source.txt", TOOLS / "comfy-versions.txt"
REQUIREMENTS, SERVED = TOOLS / "comfy-requirements.txt", TOOLS / "comfy-server-requirements.txt"
BROWSER = ("chromium", "chromedriver")
CHOICES = ("server", "versions")


def pip(*arguments: str) -> None:
    """Run pip with the index that it is configured for."""
    subprocess.run([sys.executable, "-m", "pip", *arguments, "-q", "--disable-pip-version-check"], check=True)


def read_version(tree: Path) -> str:
    """Return the version that a ComfyUI says it is."""
    text = (tree / "comfyui_version.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def unpack(archive: Path, target: Path) -> None:
    """Unpack ComfyUI out of a source package, without its own tests.

    Args:
        archive: The package.
        target: Where it lies then; ``{version}`` in it is its own.
    """
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        (tree,) = Path(place).glob("*/vendor/ComfyUI")
        for tests in ("tests", "tests-unit"):
            shutil.rmtree(tree / tests, ignore_errors=True)
        target = Path(str(target).format(version=read_version(tree)))
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            tree.rename(target)


def fetch_trees(source: Path, target: Path) -> None:
    """Download source packages, whose hashes are pinned, and unpack them."""
    with tempfile.TemporaryDirectory() as place:
        options = ("--no-deps", "--no-binary", ":all:", "--ignore-requires-python", "--require-hashes")
        for number, line in enumerate(read_lines(source)):
            # One by one: some are releases of one package.
            pins, folder = Path(place) / f"{number}.txt", Path(place) / str(number)
            pins.write_text(line)
            pip("download", *options, "-r", str(pins), "-d", str(folder))
            (archive,) = folder.glob("*.tar.gz")
            unpack(archive, target)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file of requirements that are none of its comments."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def install(requirements: Path, target: Path) -> None:
    """Install packages beside the environment rather than into it, without what they need."""
    stamp = target / "requirements.txt"
    if stamp.is_file() and stamp.read_text() == requirements.read_text():
        return
    shutil.rmtree(target, ignore_errors=True)
    pip("install", "--no-deps", "--target", str(target), "-r", str(requirements))
    shutil.copy(requirements, stamp)


def main(choice: str = "") -> None:
    """Fetch what is not there yet.

    Args:
        choice: What is wanted besides the engine, of :data:`CHOICES`.
    """
    if choice and choice not in CHOICES:
        raise SystemExit(f"{choice!r} is not known: write {' or '.join(CHOICES)}, or nothing")
    if sys.version_info < LEAST:
        print(f"ComfyUI's engine is tested on Python {LEAST[0]}.{LEAST[1]} and later")
        return
    FOLDER.mkdir(exist_ok=True)
    if not os.environ.get("COMFYUI_PATH") and not TREE.is_dir():
        fetch_trees(SOURCE, TREE)
    install(REQUIREMENTS, SITE)
    if choice == "server":
        install(SERVED, SERVER)
        if absent := [name for name in BROWSER if shutil.which(name) is None]:
            print(f"no {' and no '.join(absent)}: apt-get install chromium chromium-driver")
    if choice == "versions" and len(list(VERSIONS.glob("*/comfyui_version.py"))) < len(read_lines(OLDER)):
        fetch_trees(OLDER, VERSIONS / "{version}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
