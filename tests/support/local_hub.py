"""A small Hub on this machine: enough of the real one's answers for the real client."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kohya_runner.hub import Access

COMMIT = "a" * 40


@dataclass
class Repo:
    """A repository: its files, and who may read them."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    readers: tuple[str, ...] = ()


@dataclass
class LocalHub:
    """What the server knows, and what it was asked."""

    repos: dict[str, Repo] = field(default_factory=dict)
    tokens: tuple[str, ...] = ("good", "other")
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    cut_after: int | None = None  # break the connection after so many bytes of a body
    cuts: int = 10**9  # how often
    status: int = 200  # another one is answered to everything
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def access(self, token: str | None = None) -> Access:
        return Access(self.endpoint, token)

    def bodies(self) -> list[dict[str, str]]:
        """The headers of the requests for content."""
        return [headers for method, path, headers in self.asked if method == "GET" and "/storage/" in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        self.hub.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        path = self.path.partition("?")[0]
        if self.hub.status != 200:
            return self._send(self.hub.status, b"out of order")
        if path.startswith("/storage/"):
            return self._storage(path.removeprefix("/storage/"))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            return self._model(api[1])
        return self._resolve(file[1], file[3]) if file else self._send(404, b"")

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _refusal(self, name: str) -> bool:
        token, repo = self._token(), self.hub.repos.get(name)
        if token is not None and token not in self.hub.tokens:
            self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None or (repo.private and token not in repo.readers):
            self._send(404 if token else 401, b"", {"X-Error-Code": "RepoNotFound"} if token else {})
        else:
            return False
        return True

    def _model(self, name: str) -> None:
        if self._refusal(name):
            return
        repo = self.hub.repos[name]
        siblings = [{"rfilename": file, "size": len(data), "blobId": "b"} for file, data in repo.files.items()]
        facts = {"id": name, "sha": COMMIT, "gated": "auto" if repo.gated else False, "siblings": siblings}
        self._send(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, file: str) -> None:
        if self._refusal(name):
            return None
        repo, token = self.hub.repos[name], self._token()
        if repo.gated and token not in repo.readers:
            return self._send(403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
        if file not in repo.files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = repo.files[file]
        digest = hashlib.sha256(data).hexdigest()
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(data)),
            "Location": f"http://localhost:{self.hub.port}/storage/{digest}",
        }
        return self._send(302, b"", headers)

    def _storage(self, digest: str) -> None:
        everything = (data for repo in self.hub.repos.values() for data in repo.files.values())
        data = next(data for data in everything if hashlib.sha256(data).hexdigest() == digest)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        part = data[start:]
        ranged = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        if self.hub.cut_after is not None and self.hub.cuts > 0 and len(part) > self.hub.cut_after:
            self.hub.cuts -= 1
            self._send(206 if start else 200, part[: self.hub.cut_after], ranged, length=len(part))
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self._send(206 if start else 200, part, ranged)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A running Hub without repositories."""
    local = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": local}))
    server.daemon_threads = True
    local.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield local
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_repo(hub: LocalHub) -> Callable[..., Repo]:
    """Puts a repository on the local Hub."""

    def make(name: str, files: dict[str, bytes] | None = None, **rights: Any) -> Repo:
        content = files or {"README.md": b"hello", "model.safetensors": b"x" * 5000}
        hub.repos[name] = Repo(content, **rights)
        return hub.repos[name]

    return make
