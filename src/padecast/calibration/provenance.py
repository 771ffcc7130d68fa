"""Where a measurement comes from: software, machine, date and command."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "diffusers", "torchmetrics", "transformers", "cache-dit")


@dataclass(frozen=True)
class Provenance:
    """What has to be known to repeat a measurement.

    Args:
        commit: Git commit of padecast, with ``+`` if tracked files were changed since; ``None`` outside a checkout.
        versions: Of padecast, Python and the packages that take part; ``None`` for one that is not installed.
        device: The processor or accelerator, in words.
        threads: Threads of a torch operation on the host.
        date: When it was made, UTC.
        command: The command line.
    """

    commit: str | None
    versions: dict[str, str | None]
    device: str
    threads: int
    date: str
    command: str

    @classmethod
    def of(cls, pipe: Any = None) -> Provenance:
        """Gather what is known now, of a run of a pipeline if one is given."""
        return cls(
            commit=commit(Path(__file__).parent),
            versions={
                "padecast": _version("padecast"),
                "python": platform.python_version(),
                **{package: _version(package) for package in PACKAGES},
            },
            device=device_name(place_of(pipe)),
            threads=torch.get_num_threads(),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=" ".join([Path(sys.argv[0]).name, *map(_portable, sys.argv[1:])]),
        )


def _portable(argument: str) -> str:
    """Return an argument of a command without the folders of this machine: as seen from here, or by its name.

    Example:
        >>> _portable("--out=/somewhere/else/runs"), _portable("--seeds"), _portable("benchmarks/digits.toml")
        ('--out=runs', '--seeds', 'benchmarks/digits.toml')
    """
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    path = Path(value)
    if not path.is_absolute():
        return argument
    folder = Path.cwd()
    return f"{option}{equals}{path.relative_to(folder) if path.is_relative_to(folder) else path.name}"


def commit(folder: Path) -> str | None:
    """Return the commit of the checkout that a folder's files are tracked in, ``+`` if any was changed since."""
    if not _git(folder, "ls-files", "__init__.py"):
        return None
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    return f"{head}+" if head and changed else head


def place_of(pipe: Any) -> Any:
    """Return the device that a pipeline runs on, also where its weights are kept elsewhere; ``None`` without one."""
    place = getattr(pipe, "_execution_device", None)
    return getattr(pipe, "device", None) if place is None else place


def device_name(device: Any = None) -> str:
    """Name a torch device in words: the accelerator's name, or the processor's and how many cores it has here."""
    place = torch.device(device or "cpu")
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return _processor() if place.type == "cpu" else f"{place.type} ({platform.machine()})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU, {models[0] if models else platform.processor() or platform.machine()}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, or ``None`` if there is no git, no repository, or nothing to say."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
