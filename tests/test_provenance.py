"""Measurements say where they come from."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch

import padecast
from padecast._provenance import Provenance, commit, device_name


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
