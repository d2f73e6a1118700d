"""A page that this machine serves to those who know the token in its address: what all such servers share."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
MOST_CONNECTIONS = 64  # A thread each; whoever comes then is not answered


class PageServer(ThreadingHTTPServer):
    """On loopback, unless told otherwise; ``names`` are those by which a browser may call it."""

    daemon_threads = True

    def __init__(self, handler: type[PageHandler], bind: str = HOST, port: int = 0) -> None:
        """Bind the port, 0 for one that the system chooses; nothing is answered before ``serve_forever``."""
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        super().__init__((bind, port), handler)
        self.token = secrets.token_urlsafe(24)
        self.bound = ipaddress.ip_address(str(self.server_address[0]))
        self.names = {"localhost"}
        self.names |= set() if self.bound.is_loopback else {socket.gethostname().lower(), bind.lower()}
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    @property
    def address(self) -> str:
        """What a browser on this machine opens."""
        host = HOST if self.bound.is_unspecified else f"[{self.bound}]" if self.bound.version == 6 else str(self.bound)
        return f"http://{host}:{self.server_port}/{self.token}/"

    def is_own(self, host: str) -> bool:
        """Whether a Host header names this server.

        A stranger's DNS can lead his own name to any address; an address itself, and a name of ours, he cannot use.
        """
        name = urlsplit(f"//{host}").hostname or ""
        try:
            literal = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return literal.is_loopback or not self.bound.is_loopback

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, as long as there are not too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class PageHandler(BaseHTTPRequestHandler):
    """What is allowed, and how it is answered."""

    server: PageServer
    timeout = 30

    def do_GET(self) -> None:
        if (path := self._allowed()) is not None:
            self.get(path)

    def do_POST(self) -> None:
        if (path := self._allowed()) is not None:
            self.post(path)

    def get(self, path: str) -> None:
        raise NotImplementedError(path)

    def post(self, path: str) -> None:
        raise NotImplementedError(path)

    def _allowed(self) -> str | None:
        """What stands behind the token. None, and nothing is told: another site, another name, or no token."""
        host, origin = self.headers.get("Host", "").lower(), self.headers.get("Origin")
        same = origin is None or urlsplit(origin).netloc.lower() == host
        mine = f"/{self.server.token}/"
        known = hmac.compare_digest(self.path[: len(mine)].encode(), mine.encode())
        try:
            good = known and same and self.server.is_own(host)
        except ValueError:  # no host at all: [, ::1]
            good = False
        if not good:
            self.refuse()
        return self.path[len(mine) :] if good else None

    def refuse(self) -> None:
        self.answer(403, b"")

    def answer(self, status: int, data: bytes, kind: str = "text/plain; charset=utf-8", **headers: str) -> None:
        """A whole answer; ``headers`` with ``_`` for ``-``."""
        self.begin(status, kind, Content_Length=str(len(data)), **headers)
        self.wfile.write(data)

    def begin(self, status: int, kind: str, **headers: str) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
        }  # fmt: skip
        for name, value in {**fixed, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            self.send_header(name, value)
        self.end_headers()

    def body(self, largest: int) -> bytes | None:
        """What was posted as JSON; None where it is anything else, or too large."""
        length = self.headers.get("Content-Length", "")
        good = self.headers.get("Content-Type") == "application/json" and length.isdecimal() and int(length) <= largest
        return self.rfile.read(int(length)) if good else None

    def version_string(self) -> str:
        return "kohya-runner"

    def log_message(self, *_: object) -> None:
        """A token does not belong into a log."""
