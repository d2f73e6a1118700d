"""A small Hub on this machine: enough of the real one's answers for the real client, reading and writing.

It has no xet: a client that asks for it is refused, and sends by LFS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
import ruamel.yaml
from local_jobs import Jobs

from kohya_runner.hub import Access

COMMIT = "a" * 40
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
"""One that looks like a real one, so that it is seen where it must not be."""


LARGE = (".safetensors", ".png")
"""What goes by LFS, as the .gitattributes of a new repository say it."""


@dataclass
class Repo:
    """A repository: its files, and who may read them. ``history`` has the files of every commit."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    readers: tuple[str, ...] = ()
    card: dict[str, str] = field(default_factory=dict)
    head: str = COMMIT
    history: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        """A commit on top of the others."""
        self.history.setdefault(self.head, dict(self.files))
        self.files = {**self.files, **files}
        self.head = hashlib.sha1(f"{self.head}{sorted(files)}{len(self.history)}".encode()).hexdigest()  # noqa: S324 - as git
        self.history[self.head] = dict(self.files)
        return self.head

    def at(self, revision: str) -> dict[str, bytes] | None:
        """The files of a commit, a tag or the branch."""
        commit = self.tags.get(revision, revision)
        return self.files if commit in ("main", self.head) else self.history.get(commit)


@dataclass
class Fault:
    """What is answered in place of the right thing, to the next ``times`` requests that match."""

    asked: str  # a regular expression on "METHOD /path"
    status: int
    said: str = "out of order"
    times: int = 10**9
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class LocalHub:
    """What the server knows, and what it was asked."""

    repos: dict[str, Repo] = field(default_factory=dict)
    tokens: tuple[str, ...] = ("good", "other", "reader", TOKEN)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    cut_after: int | None = None  # break the connection after so many bytes of a body
    cuts: int = 10**9  # how often
    status: int = 200  # another one is answered to everything
    faults: list[Fault] = field(default_factory=list)
    cut_upload_after: int | None = None  # break the connection after so many bytes of an upload
    users: dict[str, str] = field(default_factory=lambda: {"good": "me", "other": "them", "reader": "me", TOKEN: "me"})
    objects: dict[str, bytes] = field(default_factory=dict)  # of LFS, by SHA-256
    part: int = 0  # bytes of a piece, where large files go in pieces
    held: threading.Event | None = None  # an upload waits for it
    signature: str = ""  # behind the address of an upload
    damaged: bool = False  # what is stored is not what was sent
    port: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def access(self, token: str | None = None) -> Access:
        return Access(self.endpoint, token)

    def uploads(self) -> list[str]:
        """What was sent: every PUT of content and every commit."""
        return [f"{method} {path}" for method, path, _ in self.asked if method == "PUT" or "/commit/" in path]

    def bodies(self) -> list[dict[str, str]]:
        """The headers of the requests for content."""
        return [headers for method, path, headers in self.asked if method == "GET" and "/storage/" in path]


class Handler(Jobs, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self) -> None:  # noqa: PLR0911 - a row for each answer
        self.hub.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        path = self.path.partition("?")[0].replace(
            "/datasets/", "/" if self.path.startswith("/datasets/") else "/models/", 1
        )
        if self.hub.status != 200:
            return self._send(self.hub.status, b"out of order")
        for fault in self.hub.faults:
            if fault.times > 0 and re.search(fault.asked, f"{self.command} {path}"):
                fault.times -= 1
                self._body()
                said = {**({"X-Error-Message": fault.said} if fault.said else {}), **fault.headers}
                return self._send(fault.status, json.dumps({"error": fault.said}).encode(), said)
        if path.startswith("/api/jobs/"):
            return self._job(path.removeprefix("/api/jobs/").split("/"))
        if self.command in ("POST", "PUT", "DELETE") or path.endswith(("/refs", "/whoami-v2")) or "/xet-" in path:
            return self._write(path)
        if path.startswith("/storage/"):
            return self._storage(path.removeprefix("/storage/"))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/.+)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path)
        if tree:
            return self._tree(tree[1], tree[2])
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
        facts = {
            "id": name, "sha": repo.head, "gated": "auto" if repo.gated else False, "private": repo.private,
            "siblings": siblings, **({"cardData": repo.card} if repo.card else {}),
        }  # fmt: skip
        self._json(facts)

    def _tree(self, name: str, revision: str) -> None:
        if not self._refusal(name):
            files = self.hub.repos[name].at(revision) or {}
            self._json([_facts(file, data) for file, data in files.items()])

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        """What was sent, whole or in chunks; a connection that is to be cut is cut here."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        length = int(self.headers.get("Content-Length") or 0)
        cut = self.hub.cut_upload_after
        if self.command == "PUT" and self.hub.held is not None:
            self.hub.held.wait(60)
        if self.command == "PUT" and cut is not None and length > cut:
            self.rfile.read(cut)
            raise ConnectionResetError
        return self.rfile.read(length)

    def _write(self, path: str) -> None:  # noqa: C901, PLR0911 - a row for each answer
        try:
            body = self._body()
        except ConnectionResetError:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        if path.startswith("/part/"):
            self.hub.objects[path] = body
            return self._send(200, b"", {"ETag": path})
        if path.startswith("/whole/"):
            told, digest = json.loads(body)["parts"], path.removeprefix("/whole/")
            self.hub.objects[digest] = b"".join(self.hub.objects.pop(part["etag"]) for part in told)
            return self._send(200, b"{}")
        if path.startswith("/lfs/"):  # the address is signed: no token is needed, and none is sent
            digest = hashlib.sha256(body).hexdigest()
            if digest != path.removeprefix("/lfs/"):
                return self._send(400, b"other bytes")
            self.hub.objects[digest] = body
            return self._send(200, b"")
        token = self._token()
        if token not in self.hub.tokens:
            return self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if path == "/api/whoami-v2":
            role = "read" if token == "reader" else "write"
            return self._json({"name": self.hub.users[token], "auth": {"accessToken": {"role": role}}})
        if path == "/api/validate-yaml":
            return self._card(json.loads(body)["content"])
        if path == "/api/repos/delete":
            asked = json.loads(body)
            gone = self.hub.repos.pop(f"{asked['organization'] or self.hub.users[token]}/{asked['name']}", None)
            return self._send(200 if gone else 404, b"", {} if gone else {"X-Error-Code": "RepoNotFound"})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        return self._change(path, body)

    def _card(self, content: str) -> None:
        """As strict as YAML itself."""
        try:
            front = ruamel.yaml.YAML(typ="safe").load(content.split("---\n", 2)[1])
        except Exception as fault:  # noqa: BLE001 - whatever the parser says
            return self._json({"errors": [{"message": str(fault)}], "warnings": []}, 400)
        return self._json({"errors": [], "warnings": [] if front else [{"message": "empty"}]})

    def _create(self, asked: dict[str, Any]) -> None:
        token = self._token()
        owner = self.hub.users[token]
        name = f"{asked.get('organization') or owner}/{asked['name']}"
        if token == "reader" or name.partition("/")[0] != owner:
            said = f"You don't have the rights to create a model under the namespace {name.split('/', maxsplit=1)[0]}"
            return self._send(403, json.dumps({"error": said}).encode(), {"X-Error-Message": said})
        if name in self.hub.repos:
            there = json.dumps({"url": f"{self.hub.endpoint}/{name}", "name": name}).encode()
            return self._send(409, there, {"X-Error-Message": "You already created this model repo"})
        private = asked.get("private", asked.get("visibility") == "private")
        rules = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE).encode()
        self.hub.repos[name] = Repo({".gitattributes": rules}, private=private, readers=(token,))
        return self._json({"url": f"{self.hub.endpoint}/{name}", "name": name})

    def _change(self, path: str, body: bytes) -> None:
        found = re.fullmatch(r"(?:/api/models)?/([^/]+/[^/]+?)(?:\.git/info/lfs)?/([a-z-]+)(?:/(.+))?", path)
        if not found:
            return self._send(404, b"")
        name, what, revision = found[1], found[2], unquote(found[3] or "main")
        if self._refusal(name):
            return None
        if what.startswith("xet-"):
            return self._send(404, b"", {"X-Error-Message": "no xet here"})
        reads = what in ("paths-info", "refs")
        if not reads and (self._token() == "reader" or name.partition("/")[0] != self.hub.users[self._token()]):
            said = f"Forbidden: no write access to {name}"
            return self._send(403, b"", {"X-Error-Message": said})
        return getattr(self, f"_{what.replace('-', '_')}")(self.hub.repos[name], revision, body)

    def _preupload(self, _repo: Repo, _revision: str, body: bytes) -> None:
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular", "shouldIgnore": False}
            for f in json.loads(body)["files"]
        ]
        self._json({"files": modes})

    def _objects(self, _repo: Repo, _revision: str, body: bytes) -> None:
        """LFS batch, and the check after an upload."""
        if self.path.endswith("/verify"):
            return self._send(200 if json.loads(body)["oid"] in self.hub.objects else 404, b"{}")
        objects = []
        for one in json.loads(body)["objects"]:
            upload = {"href": f"{self.hub.endpoint}/lfs/{one['oid']}{self.hub.signature}"}
            if self.hub.part:
                pieces = {f"{n + 1:05}": f"{self.hub.endpoint}/part/{one['oid']}/{n}" for n in
                          range(-(-one["size"] // self.hub.part))}  # fmt: skip
                whole = {"chunk_size": str(self.hub.part), **pieces}
                upload = {"href": f"{self.hub.endpoint}/whole/{one['oid']}", "header": whole}
            verify = {"href": self.hub.endpoint + self.path.replace("/batch", "/verify")}
            missing = one["oid"] not in self.hub.objects
            objects.append({**one, **({"actions": {"upload": upload, "verify": verify}} if missing else {})})
        return self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: Repo, _revision: str, body: bytes) -> None:
        files = {}
        for line in body.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "header" and value.get("parentCommit") not in (None, repo.head):
                said = "A commit has happened since. Please refresh and try again."
                return self._send(412, b"", {"X-Error-Message": said})
            if row["key"] == "deletedFile":
                repo.files.pop(value["path"])
            elif row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    return self._send(400, b"", {"X-Error-Message": "LFS pointer to a file that is not there"})
                files[value["path"]] = self.hub.objects[value["oid"]] + (b"?" if self.hub.damaged else b"")
        oid = repo.commit(files)
        name = re.split(r"/api/[a-z]+s/", self.path)[1].partition("/commit/")[0]
        return self._json({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{oid}", "commitOid": oid, "success": True})

    def _tag(self, repo: Repo, revision: str, body: bytes) -> None:
        tag = json.loads(body)["tag"]
        if tag in repo.tags:
            return self._send(409, b"", {"X-Error-Message": "Tag reference exists already"})
        if repo.at(revision) is None:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        repo.history.setdefault(repo.head, dict(repo.files))
        repo.tags[tag] = repo.head if revision == "main" else revision
        return self._json({})

    def _refs(self, repo: Repo, _revision: str, _body: bytes) -> None:
        tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": at} for name, at in repo.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}
        self._json({"branches": [main], "converts": [], "tags": tags})

    def _paths_info(self, repo: Repo, revision: str, body: bytes) -> None:
        files = repo.at(revision)
        if files is None:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return self._json([_facts(name, files[name]) for name in parse_qs(body.decode())["paths"] if name in files])

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
            "X-Repo-Commit": repo.head,
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


def _facts(name: str, data: bytes) -> dict[str, Any]:
    """A file as the tree of a repository has it: a large one is a pointer in git."""
    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{large['oid']}\nsize {len(data)}\n".encode()
    stored = pointer if name.endswith(LARGE) else data
    blob = hashlib.sha1(f"blob {len(stored)}\0".encode() + stored).hexdigest()  # noqa: S324 - as git
    return {
        "type": "file",
        "path": name,
        "oid": blob,
        "size": len(data),
        **({"lfs": large} if stored is pointer else {}),
    }


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
