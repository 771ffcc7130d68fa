"""Wheels for a CUDA machine that has torch and Python 3.12 on Linux, and no index of packages.

    python -m benchmarks.gpu.wheels --out wheels      # or: make gpu-wheels WHEELS=wheels
    make gpu WHEELS=wheels                            # there

All that benchmarks.gpu needs but torch and what torch brings, in the versions of constraints.txt. What each package
needs is read from those that are installed here: run it where the repository's environment is.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from benchmarks.common import ROOT

ROOTS = ("accelerate", "diffusers", "filelock", "hypothesis", "jinja2", "numpy", "platformdirs", "pytest", "rich")
ROOTS += ("safetensors", "transformers", "typer", "cache-dit")
"""What padecast, its lab, the tests of tests/gpu and the scripts import."""
THERE = frozenset(map(canonicalize_name, ("torch", "torchvision", "setuptools", "pip", "hf-xet")))
"""What is on the machine, or serves downloads alone."""
PYTHON, PLATFORMS = "3.12", ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")
PLACE = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "sys_platform": "linux", "extra": ""}
PLACE |= {
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "os_name": "posix",
}
MOST = 60
"""Megabytes (2^20 bytes) that all wheels may take together."""


def main() -> None:
    """Download, and say how large it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("wheels"), help="folder of the wheels (default: wheels)")
    parser.add_argument("--list", action="store_true", help="print what would be downloaded, and download nothing")
    options = parser.parse_args()
    pins = list_pins(ROOTS, read_pins((ROOT / "constraints.txt").read_text(encoding="utf-8")))
    if options.list:
        print("\n".join(pins))
        return
    download(pins, options.out)
    size = sum(path.stat().st_size for path in options.out.glob("*.whl")) / 2**20
    print(f"{len(pins)} wheels, {size:.1f} MiB, in {options.out}", file=sys.stderr)
    if size > MOST:
        raise SystemExit(
            f"the wheels take {size:.1f} MiB, more than {MOST}.\nUsual cause: an older download in {options.out}, or a "
            "package that has grown. Empty the folder; or leave out cache-dit, without which its rows stay empty."
        )


def read_pins(text: str) -> dict[NormalizedName, str]:
    """Return the versions of a constraints file that hold for the machine.

    Example:
        >>> read_pins('numpy==2.4.6; python_version >= "3.11"\\nnumpy==2.2.6; python_version < "3.11"  # old')
        {'numpy': '2.4.6'}
    """
    pins = {}
    for line in text.splitlines():
        words = line.partition("#")[0].strip()
        if words:
            wanted = Requirement(words)
            if wanted.marker is None or wanted.marker.evaluate(PLACE):
                pins[canonicalize_name(wanted.name)] = str(wanted.specifier).removeprefix("==")
    return pins


def list_pins(roots: tuple[str, ...], pins: dict[NormalizedName, str]) -> list[str]:
    """Return the packages with all that they need, each with its version if one is written down.

    A package that is not installed here is taken without what it needs beside the others.
    """
    found: set[NormalizedName] = set()
    waiting = [canonicalize_name(name) for name in roots]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in THERE:
            found.add(name)
            waiting += list_needs(name)
    return [f"{name}=={pins[name]}" if name in pins else name for name in sorted(found)]


def list_needs(name: str) -> list[NormalizedName]:
    """Return what a package needs on the machine, as far as it is installed here."""
    try:
        wanted = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [canonicalize_name(each.name) for each in wanted if each.marker is None or each.marker.evaluate(PLACE)]


def download(pins: list[str], folder: Path) -> None:
    """Download wheels for the machine, and nothing beside them."""
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    kind = ["--python-version", PYTHON, "--implementation", "cp", *platforms, "--only-binary", ":all:", "--no-deps"]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *kind, "--dest", str(folder), *pins], check=True)


if __name__ == "__main__":
    main()
