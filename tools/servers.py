"""Gets SGLang and vLLM-Omni for the tests of tests/servers, without what they need a GPU for, into .servers/.

python tools/servers.py             # fetch what is not there yet (90 MB, and some small packages)

Of vLLM, which vLLM-Omni is built on, that is the Python code of its source package. What they import besides is stood
for by stubs: tests/servers/stubs.py.
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
FOLDER = TOOLS.parent / ".servers"
OMNI = FOLDER / "omni"  # apart, since SGLang takes other ways where it finds vLLM
PYTHON = (3, 11)  # for which SGLang has a wheel
REQUIREMENTS, WHEEL, SOURCE, BUILD = (
    TOOLS / f"servers-{name}.txt" for name in ("requirements", "omni", "vllm-source", "vllm-build")
)
BARE = {"VLLM_TARGET_DEVICE": "empty", "VLLM_VERSION_OVERRIDE": "0.30.0"}
"""What vLLM's source package is told: that nothing of it will be compiled, and its version, which it cannot ask git."""


def pip(*arguments: str, **variables: str) -> None:
    """Run pip with the index that it is configured for."""
    command = [sys.executable, "-m", "pip", *arguments, "-q", "--disable-pip-version-check"]
    subprocess.run(command, check=True, env={**os.environ, **variables})


def install(requirements: Path, target: Path) -> None:
    """Install packages beside the environment rather than into it, without what they need."""
    pip("install", "--no-deps", "--target", str(target), "-r", str(requirements))


def fetch_vllm(target: Path) -> None:
    """Download vLLM's source package, and unpack its Python code.

    pip asks a source package for its metadata, for which vLLM wants some packages of its build.
    """
    with tempfile.TemporaryDirectory() as place:
        build = Path(place) / "build"
        install(BUILD, build)
        options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes")
        pip("download", *options, "-r", str(SOURCE), "-d", place, PYTHONPATH=str(build), **BARE)
        (archive,) = Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            top = archive.name.removesuffix(".tar.gz")
            packed.extractall(place, [each for each in packed if each.name.startswith(f"{top}/vllm/")], filter="data")
        shutil.move(str(Path(place) / top / "vllm"), target / "vllm")


def main() -> None:
    """Fetch what is not there yet.

    Raises:
        SystemExit: On another Python.
    """
    if sys.version_info[:2] != PYTHON:
        raise SystemExit(f"SGLang's wheel is for Python {PYTHON[0]}.{PYTHON[1]}: make servers PYTHON=python3.11")
    pins = "".join(path.read_text() for path in (REQUIREMENTS, WHEEL, SOURCE))
    stamp = FOLDER / "requirements.txt"
    if stamp.is_file() and stamp.read_text() == pins:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    install(REQUIREMENTS, FOLDER)
    install(WHEEL, OMNI)
    fetch_vllm(OMNI)
    stamp.write_text(pins)


if __name__ == "__main__":
    main()
