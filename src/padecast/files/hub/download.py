"""Fetches files of a repository into the cache that all libraries of the Hub share."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from padecast.files.hub.address import Address
from padecast.files.hub.failures import explain, is_silence, need_hub

FOREIGN = ("*/*", "*config.json", "*index.json", "tokenizer*.json", "*vocab.json", "*tokens*.json")
"""JSON that other libraries keep in repositories of models, in folders or beside ours: never fetched, never read."""


PATIENCE = 10
"""Seconds for an answer."""


def library() -> dict[str, str]:
    """Return what the Hub is told of who asks."""
    from padecast import __version__

    return {"library_name": "padecast", "library_version": __version__}


@dataclass(frozen=True)
class Source:
    """A repository, and how it is read.

    Args:
        address: Which.
        token: For private ones; by default that of ``hf auth login`` or ``HF_TOKEN``.
        cache_dir: Where files are kept. Default the cache of the Hub.
        force_download: Whether to fetch what is in the cache already.
        local_files_only: Whether to look in the cache alone.
        instead: What else would do where the Hub cannot be reached.
    """

    address: Address
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    force_download: bool = False
    local_files_only: bool = False
    instead: str = "or give a folder with its files, or the cache_dir of an earlier download"

    @property
    def remedy(self) -> str:
        """What would do where the Hub cannot be reached."""
        if self.local_files_only:
            return "leave local_files_only out once, with a network, or give a folder with its files"
        return f"try again with a network, {self.instead}"

    def fetch(self, name: str) -> Path:
        """Return where a file of the repository lies, once it is here.

        Raises:
            HubError: If it cannot be had; the message says why, and what would do.
            MissingPackage: If ``huggingface_hub`` is not installed.
        """
        hub = need_hub()
        options = self._options()
        with explain(self.address, self.remedy, name):
            try:
                self._ask(hub)
            except Exception as error:
                if self.force_download or not is_silence(error):
                    raise
                with contextlib.suppress(importlib.import_module("huggingface_hub.errors").LocalEntryNotFoundError):
                    return Path(hub.hf_hub_download(self.address.repo, name, **{**options, "local_files_only": True}))
                raise
            return Path(hub.hf_hub_download(self.address.repo, name, **options))

    def _ask(self, hub: Any) -> None:
        """Ask the Hub once whether the repository is there: a download would try for half a minute."""
        if not self.local_files_only:
            revision = self.address.revision or hub.constants.DEFAULT_REVISION
            hub.HfApi(token=self.token, **library()).repo_info(self.address.repo, revision=revision, timeout=PATIENCE)

    def fetch_all(self, *patterns: str) -> Path:
        """Return a folder with the files of the repository that match, once they are here.

        Raises:
            HubError: If they cannot be had; the message says why, and what would do.
            MissingPackage: If ``huggingface_hub`` is not installed.
        """
        hub = need_hub()
        choice = {"allow_patterns": list(patterns), "ignore_patterns": list(FOREIGN)}
        with explain(self.address, self.remedy):
            return Path(hub.snapshot_download(self.address.repo, **choice, **self._options()))

    def _options(self) -> dict[str, Any]:
        return {
            "revision": self.address.revision,
            "token": self.token,
            "cache_dir": self.cache_dir,
            "force_download": self.force_download,
            "local_files_only": self.local_files_only,
            **library(),
        }


def is_ours(name: str, pattern: str, without: str = "") -> bool:
    """Whether a file may be ours, by its name.

    Example:
        >>> [is_ours(name, "*.json", "*.lesson.json") for name in ("flux.json", "dit.lesson.json", "config.json")]
        [True, False, False]
    """
    refused = [*FOREIGN, *([without] if without else [])]
    return fnmatch(name, pattern) and not any(fnmatch(name, each) for each in refused)


def list_files(folder: Path, pattern: str, without: str = "") -> list[Path]:
    """Return the files of a folder that may be ours, sorted.

    Example:
        >>> list_files(Path("nowhere"), "*.json")
        []
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.is_file() and is_ours(path.name, pattern, without)]
