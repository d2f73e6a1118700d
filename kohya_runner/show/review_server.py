"""The page of a dataset on this machine alone: marks are saved as they are made, as files for ``dataset edit``."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kohya_runner.dataset.prepare.review import LARGEST, Review, parse_review, read_review, write_review
from kohya_runner.errors import RunnerError, UsageError

HOST = "127.0.0.1"


def review_file(room: Path, folder: str) -> Path:
    """Where the marks of a folder are kept."""
    digest = hashlib.sha256(folder.encode("utf-8", "replace")).hexdigest()[:8]
    return room / f"{digest}.review.json"


def saved_reviews(room: Path, folders: Collection[str]) -> dict[str, Review]:
    """The marks of earlier visits.

    Raises:
        UsageError: a file there is none; nothing is overwritten.
    """
    files = {folder: review_file(room, folder) for folder in folders}
    return {folder: read_review(file) for folder, file in files.items() if file.is_file()}


class ReviewServer(ThreadingHTTPServer):
    """On a port that the system chooses, for those who know the token in the address.

    ``known`` are the stems of each folder: no other may be marked.
    """

    daemon_threads = True

    def __init__(self, page: str, room: Path, known: Mapping[str, Collection[str]]) -> None:
        """Bind the port; nothing is answered before ``serve_forever``."""
        super().__init__((HOST, 0), _Handler)
        self.page, self.room, self.known = page.encode(), room, known
        self.token = secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """What a browser opens."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def save(self, data: bytes) -> Path:
        """Keep the marks of one folder.

        Raises:
            UsageError: they are not of this page.
        """
        review = parse_review(data, "the page's answer")
        if review.folder not in self.known or not {*review.reject, *review.captions} <= {*self.known[review.folder]}:
            raise UsageError("the marks are of other pictures", hint="load the page again")
        file = review_file(self.room, review.folder)
        write_review(file, review)
        return file


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = 30

    def do_GET(self) -> None:
        """The page."""
        if self._allowed(""):
            self._answer(200, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """Marks of one folder."""
        if not self._allowed("save"):
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type") != "application/json" or not length.isdecimal() or int(length) > LARGEST:
            self._answer(400, b"no marks")
            return
        try:
            self._answer(200, str(self.server.save(self.rfile.read(int(length)))).encode("utf-8", "replace"))
        except RunnerError as fault:
            self._answer(400, fault.message.encode("utf-8", "replace"))
        except OSError as fault:
            self._answer(507, (fault.strerror or str(fault)).encode())

    def _allowed(self, path: str) -> bool:
        """Whether the request comes from the page: not from another site, under another name, or without the token."""
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        same = self.headers.get("Host") in hosts and (origin is None or origin.removeprefix("http://") in hosts)
        good = same and hmac.compare_digest(self.path.encode(), f"/{self.server.token}/{path}".encode())
        if not good:
            self._answer(404, b"not here")
        return good

    def _answer(self, status: int, data: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind), ("Content-Length", str(len(data))), ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def version_string(self) -> str:
        """Nobody needs to know."""
        return "kohya-runner"

    def log_message(self, *_: object) -> None:
        """A token does not belong into a log."""
