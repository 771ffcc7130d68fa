"""Checks a release as its users get it: builds both packages, and tries them in empty environments.

python tools/release.py            # into dist/: four minutes

1. Builds the wheels of padecast and padecast-lab, one source archive of both, and the same wheels out of it.
2. Installs padecast's wheel alone in an empty environment, and imports it.
3. Adds padecast-lab: `python -m padecast --version`, and the first block of README that runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PACKAGES = {"padecast": Path(), "padecast_lab": Path("packages", "lab")}
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
ALONE = "import padecast; assert padecast.methods.REGISTRY; print(padecast.__version__)"


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a command, outside the checkout unless a folder is given and without its paths; return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([*map(str, command)], cwd=folder or place, env=clean, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout + done.stderr


def build(target: Path) -> dict[str, Path]:
    """Build the archive and both wheels; return the wheels by package. Those out of the archive hold the same files."""
    wheels = {name: build_wheel(ROOT / place, target) for name, place in PACKAGES.items()}
    run(sys.executable, "-m", "hatchling", "build", "-d", target, "-t", "sdist", folder=ROOT)
    (archive,) = target.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        (source,) = Path(place).iterdir()
        for name, folder in PACKAGES.items():
            first, second = list_files(wheels[name]), list_files(build_wheel(source / folder, Path(place) / name))
            if first != second:
                raise SystemExit(f"{archive.name} builds another {name}: {sorted(first ^ second)[:10]}")
    return wheels


def build_wheel(folder: Path, target: Path) -> Path:
    """Build the wheel of a folder."""
    run(sys.executable, "-m", "hatchling", "build", "-d", target, "-t", "wheel", folder=folder)
    return max(target.glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)


def list_files(wheel: Path) -> set[tuple[str, int]]:
    """Return the names and sizes of what a wheel holds, but for its own record."""
    with zipfile.ZipFile(wheel) as packed:
        return {(each.filename, each.file_size) for each in packed.infolist() if not each.filename.endswith("RECORD")}


def install(python: Path, *packages: str | Path) -> None:
    """Install packages, at the versions that are tested."""
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *packages)


def main() -> None:
    """Build, install and try."""
    shutil.rmtree(DIST, ignore_errors=True)
    wheels = build(DIST)
    for path in sorted(DIST.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 2**20:.2f} MB")
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = Path(place) / ("Scripts" if os.name == "nt" else "bin") / "python"
        install(python, wheels["padecast"])
        print("padecast alone:", run(python, "-c", ALONE).strip())
        install(python, wheels["padecast_lab"])
        print("with padecast-lab:", run(python, "-m", "padecast", "--version").strip())
        block = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
        print(f"README's first block:\n{run(python, '-c', block).strip()}")


if __name__ == "__main__":
    main()
