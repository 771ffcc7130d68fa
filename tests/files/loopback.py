"""A Hub on this machine: the few routes that huggingface_hub needs to read, make and write a repository."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest


@dataclass
class Repository:
    """States by commit, oldest first, and which branch or tag is at which."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        contents = {**self.commits.get(self.refs.get(ref, self.refs.get("main", "")), {}), **files}
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(contents.items())}".encode()).hexdigest()
        self.commits[sha], self.refs[ref] = contents, sha
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        """What lies on main."""
        return self.commits[self.refs["main"]]


@dataclass
class Hub:
    """What the server holds, and what it was asked for."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refuses: int = 0
    """Status of every answer, if it is not 0."""
    visibility: list[Any] = field(default_factory=list)

    def new(self, name: str, files: dict[str, bytes] | None = None) -> Repository:
        self.repositories[name] = repository = Repository()
        repository.commit(files or {})
        return repository

    def sent(self) -> list[str]:
        """The requests that change something."""
        return [path for method, path, _ in self.asked if method == "POST" and "validate" not in path]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def say(self, document: Any, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(document).encode(), status, Content_Type="application/json", **headers)

    def refuse(self, code: str, status: int = 404) -> None:
        self.say({"error": code}, status, X_Error_Code=code)

    def handle_request(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        self.hub.asked.append((self.command, self.path, self.headers.get("User-Agent", "")))
        path = unquote(urlsplit(self.path).path)
        if self.hub.refuses:
            return self.say({"error": "no"}, self.hub.refuses)
        if path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            document = json.loads(body)
            name = f"{document['organization']}/{document['name']}"
            self.hub.visibility.append(document.get("private", document.get("visibility")))
            self.hub.new(name)
            return self.say({"url": f"{self.hub.url}/{name}"})
        for pattern, act in (
            (r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit)/(.+))?", self.serve_api),
            (r"/([^/]+/[^/]+)/(resolve)/([^/]+)/(.+)", self.serve_file),
        ):
            if match := re.fullmatch(pattern, path):
                repository = self.hub.repositories.get(match[1])
                if repository is None:
                    return self.refuse("RepoNotFound")
                sha = repository.refs.get(match[3] or "main", match[3])
                if sha not in repository.commits:
                    return self.refuse("RevisionNotFound")
                return act(repository, sha, body, *match.groups())
        return self.refuse("none")

    do_GET = do_HEAD = do_POST = handle_request

    def serve_api(
        self, repository: Repository, sha: str, body: bytes, name: str, what: str | None, revision: str | None
    ) -> None:
        files = repository.commits[sha]
        if what in (None, "revision"):
            return self.say({"id": name, "sha": sha, "siblings": [{"rfilename": each} for each in files]})
        if what == "tree":
            entries = [
                {"type": "file", "path": each, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for each, data in files.items()
            ]
            return self.say(entries)
        if what == "preupload":
            modes = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for each in json.loads(body)["files"]
            ]
            return self.say({"files": modes})
        lines = [json.loads(line) for line in body.splitlines()]
        contents = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        is_request = "create_pr" in parse_qs(urlsplit(self.path).query)
        oid = repository.commit(contents, "refs/pr/1" if is_request else revision or "main")
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"}
        return self.say(
            {**answer, **({"pullRequestUrl": f"{self.hub.url}/{name}/discussions/1"} if is_request else {})}
        )

    def serve_file(
        self, repository: Repository, sha: str, body: bytes, name: str, what: str, revision: str, file: str
    ) -> None:
        data = repository.commits[sha].get(file)
        if data is None:
            return self.refuse("EntryNotFound")
        self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=sha)


@contextmanager
def serve() -> Iterator[Hub]:
    """Serve a Hub on this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def direct(monkeypatch: pytest.MonkeyPatch, url: str, cache: Any) -> None:
    """Have huggingface_hub, which may have been imported already, ask this address and keep files there."""
    from huggingface_hub import constants, hf_api

    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in (("ENDPOINT", url), ("HUGGINGFACE_CO_URL_TEMPLATE", template), ("HF_HUB_CACHE", str(cache))):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hf_api.api, "endpoint", url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))  # it asks again after seconds
