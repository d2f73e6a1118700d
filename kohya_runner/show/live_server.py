"""The live page over HTTP: the page, its events, the sample images, and a stop that is the ``stop`` command's."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args
from urllib.parse import unquote, urlsplit

from kohya_runner.dataset.picture import thumbnail
from kohya_runner.errors import CancelledError, RunnerError, TerminatedError, UsageError
from kohya_runner.record.record import LIVE
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import stop_request
from kohya_runner.run.run_status import StatusReader
from kohya_runner.run.stop_request import When
from kohya_runner.safe_files import HERE, link_out, open_for_write
from kohya_runner.show import console
from kohya_runner.show.live_page import LivePage
from kohya_runner.show.page_server import HOST, PageHandler, PageServer
from kohya_runner.show.run_page import sample_files

PORT = 8765
MOST_VIEWERS = 8
BEAT = 5.0  # seconds after which a viewer hears that nothing has changed; one that is gone is noticed so
STREAM_SECONDS = 80.0
"""Then the browser comes back: the way to a RunPod pod is cut after 100 (docs.runpod.io, expose-ports)."""
STOP_SECONDS = 20.0
LARGEST = 1000
SIDES = (320, 1280)
POD = "RUNPOD_POD_ID"


@dataclass(frozen=True, slots=True)
class Serve:
    """What the command line asks for; port 0 is ``PORT``, or another free one."""

    port: int = 0
    bind: str = HOST


class LiveServer(PageServer):
    """Serves one run, for a few viewers at a time."""

    def __init__(self, run_dir: Path, where: Serve) -> None:
        """Bind the port. ``UsageError``: it cannot be had."""
        self.page = LivePage(run_dir)
        self.slots = threading.BoundedSemaphore(MOST_VIEWERS)
        self.stopping = threading.Lock()
        self.pod = os.environ.get(POD, "").lower()
        try:
            try:
                super().__init__(_Handler, where.bind, where.port or PORT)
            except OSError as fault:
                if where.port or fault.errno != errno.EADDRINUSE:
                    raise
                super().__init__(_Handler, where.bind)
        except OSError as fault:
            said = f"the page cannot be served at {where.bind}, port {where.port or PORT}: {fault.strerror or fault}"
            hint = "give --serve a free port, and --bind an address of this machine: 127.0.0.1, 0.0.0.0"
            raise UsageError(said, hint=hint) from None
        self.proxy = f"{self.pod}-{self.server_port}.proxy.runpod.net"
        self.names |= {self.proxy} if self.pod else set()

    def told(self) -> Iterator[str]:
        """Where the page is, and who can see it."""
        yield f"live page: {self.address}"
        port = self.server_port
        if not self.bound.is_loopback:
            yield "whoever reaches this address and knows its token sees the run and can stop it, over plain HTTP"
        elif self.pod:
            yield f"for a phone: expose HTTP port {port} of the pod, and add --bind 0.0.0.0"
            return
        if self.pod:
            yield f"from outside, where the pod exposes HTTP port {port}: https://{self.proxy}/{self.token}/"

    @contextlib.contextmanager
    def serving(self) -> Iterator[LivePage]:
        """Answer in threads until the end of the block."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            yield self.page
        finally:
            self.shutdown()
            self.server_close()

    def stop(self, when: When) -> tuple[int, str]:
        """As ``kohya-runner stop`` would; it goes on by itself where it has to wait."""
        run_dir, log = self.page.run_dir, RunPaths(self.page.run_dir).runner_log
        words = ("stop", f"{run_dir.parent.name}/{run_dir.name}", f"--{when}", "--no-wait")
        with self.stopping:
            handle = open_for_write(log, os.O_APPEND)
            before = os.fstat(handle).st_size
            child = subprocess.Popen(
                (sys.executable, "-m", "kohya_runner", *words, "--workspace", str(run_dir.absolute().parents[2])),
                cwd=HERE, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, start_new_session=True,
            )  # fmt: skip
            os.close(handle)
            try:
                code = child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                threading.Thread(target=child.wait, daemon=True).start()
                return 200, "the run is being stopped"
            lines = log.read_bytes()[before:].decode("utf-8", "replace").strip().splitlines()
            return (409 if code else 200), "\n".join(lines[-3:])


@lru_cache(maxsize=48)
def _drawn(path: Path, _when: int, side: int) -> tuple[str, bytes]:
    kind, _, data = thumbnail(path, side=side).partition(";base64,")
    return kind.removeprefix("data:"), base64.b64decode(data)


class _Handler(PageHandler):
    server: LiveServer

    def get(self, path: str) -> None:
        what, query = urlsplit(path).path, urlsplit(path).query
        if what == "":
            self._page()
        elif what == "events":
            self._events(self.headers.get("Last-Event-ID") or query.removeprefix("since="))
        elif what.startswith("sample/"):
            self._sample(unquote(what.removeprefix("sample/")), SIDES[query == "large"])
        else:
            self.refuse()

    def post(self, path: str) -> None:
        """Stop the run. A browser always says where a POST comes from."""
        if path != "stop" or self.headers.get("Origin") is None:
            self.refuse()
            return
        try:
            when = json.loads(self.body(LARGEST) or b"")["when"]
        except (ValueError, TypeError, KeyError):
            when = None
        if when not in get_args(When):
            self.answer(400, b"not a stop request")
            return
        code, said = self.server.stop(when)
        self.answer(code, said.encode())

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        policy = (
            "default-src 'none'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
        )
        page = self.server.page.html(nonce).encode("utf-8", "replace")
        self.answer(200, page, "text/html; charset=utf-8", Content_Security_Policy=policy)

    def _events(self, text: str) -> None:
        since = int(text[:12]) if text.isascii() and text.isdecimal() else 0
        if not self.server.slots.acquire(blocking=False):
            self.answer(503, b"too many viewers", Retry_After="10")
            return
        page, end, wait = self.server.page, time.monotonic() + STREAM_SECONDS, 0.0
        with page.watched():
            try:
                self.begin(200, "text/event-stream", X_Accel_Buffering="no")
                while time.monotonic() < end:
                    since, told = page.changes(since, wait)
                    self.wfile.write(f"retry: 2000\nid: {since}\ndata: {told}\n\n".encode())
                    wait = BEAT
            finally:
                self.server.slots.release()

    def _sample(self, name: str, side: int) -> None:
        folder = RunPaths(self.server.page.run_dir).samples
        path = next((path for path in sample_files(folder) if path.name == name), None)
        if path is None or link_out(self.server.page.run_dir, path) is not None:
            self.refuse()
            return
        kind, data = _drawn(path, path.stat().st_mtime_ns, side)
        self.answer(200 if data else 404, data, kind or "text/plain", Cache_Control="private, max-age=86400")


LOOK_SECONDS = 1.0
LEFT_SECONDS = 600.0
"""A page whose launch was killed ends so long after the run, once nobody looks at it any more."""


@contextlib.contextmanager
def beside(server: LiveServer) -> Iterator[None]:
    """Serve a run that is about to begin from a process of its own: no viewer slows it, and the page outlives it.

    After the block the page stays until Ctrl-C, which ends it at once where it ended the run.
    """
    for line in server.told():
        console.note(line)
    child = _forked(server)
    server.server_close()
    try:
        yield
        _wait(child, "the run has ended")
    except RunnerError as fault:
        by_hand = isinstance(fault, (CancelledError, TerminatedError))
        if not by_hand or stop_request.read(server.page.run_dir) is not None:
            _wait(child, fault.message)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _wait(child: int, why: str) -> None:
    console.note(f"{why}; its page stays until Ctrl-C")
    with contextlib.suppress(KeyboardInterrupt):
        os.waitpid(child, 0)


def _forked(server: LiveServer) -> int:
    parent, child = os.getpid(), os.fork()
    if child:
        return child
    try:
        os.setsid()  # Ctrl-C is for the run
        os.nice(5)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - no path of ours
            for number in range(3):
                os.dup2(nothing.fileno(), number)
        _stay(server, parent)
    finally:
        os._exit(0)


def _stay(server: LiveServer, parent: int) -> None:
    reader, since = StatusReader(server.page.run_dir), time.monotonic()
    with server.serving() as page:
        while time.monotonic() - since < LEFT_SECONDS:
            with contextlib.suppress(OSError):
                page.show(look := reader.look())
                if os.getppid() == parent or look.state in LIVE or page.viewers:
                    since = time.monotonic()
            time.sleep(LOOK_SECONDS)
