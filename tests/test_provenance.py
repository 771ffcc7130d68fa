"""Measurements say where they come from."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch

import padecast
from padecast.calibration.provenance import Provenance, commit, device_name


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_versions_machine_and_date_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/padecast", "demo", "--seeds", "4"])
    known = Provenance.of()
    assert known.versions["padecast"] == padecast.__version__ and known.versions["torch"]
    assert known.command == "padecast demo --seeds 4"
    assert known.threads == torch.get_num_threads() and known.device.startswith("CPU, ")
    age = datetime.now(timezone.utc) - datetime.fromisoformat(known.date)
    assert 0 <= age.total_seconds() < 60


def test_the_commit_is_that_of_the_checkout_the_file_is_tracked_in(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("one = 1\n")
    assert commit(tmp_path) is None  # installed inside somebody else's repository
    git(tmp_path, "add", "__init__.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    found = commit(tmp_path)
    assert found is not None and len(found) == 40
    (tmp_path / "__init__.py").write_text("one = 2\n")
    assert commit(tmp_path) == f"{found}+"


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) is None


def test_the_device_is_named_in_words() -> None:
    assert device_name() == device_name("cpu") and len(device_name()) > len("CPU, ")


ROOT = Path(__file__).parent.parent
ABSOLUTE = re.compile(r"(?<![\w.:/*<>~)\]}-])/(?!/)(?:[\w.+-]+/)*[\w.+-]+")
"""A path from the root of a machine: no address, no fraction, no path below something else."""


@pytest.mark.parametrize("text", ["run --out /somewhere/runs", '"/home/a.json"', "--out=/runs", "(/a/b)"])
def test_a_path_of_a_machine_is_noticed(text: str) -> None:
    assert ABSOLUTE.search(text)


@pytest.mark.parametrize("text", ["https://arxiv.org/abs/1", "runs/a", "a/b", "1 / 2", "../a", "s/step"])
def test_what_is_no_path_of_a_machine_is_left_alone(text: str) -> None:
    assert not ABSOLUTE.search(text)


@pytest.mark.parametrize("folder", ["benchmarks/results", "src/padecast/zoo"])
def test_no_result_and_no_calibration_names_a_path_of_a_machine(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.json"))
    assert files
    named = {path.name: match[0] for path in files if (match := ABSOLUTE.search(path.read_text(encoding="utf-8")))}
    assert not named


def test_a_command_is_told_without_the_folders_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = [
        "/opt/bin/padecast",
        "lab",
        "run",
        str(tmp_path / "runs" / "a.toml"),
        "--out=/elsewhere/b",
        "--seeds",
        "0-3",
    ]
    monkeypatch.setattr(sys, "argv", given)
    assert Provenance.of().command == "padecast lab run runs/a.toml --out=b --seeds 0-3"
