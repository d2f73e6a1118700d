"""Real HTTP servers and programs for tests: what they are told is what they did."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CTL = """#!/bin/sh
printf '%s\\n' "$*|${{RUNPOD_API_KEY-none}}" >> {log}
{body}
"""


@dataclass
class Server:
    """Answers with one status after the other (the last one stays); 0 hangs, -1 sends a byte now and then."""

    statuses: list[int]
    requests: list[dict] = field(default_factory=list)
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v2"


@contextlib.contextmanager
def serving(*statuses, said=b""):
    server = Server(list(statuses))
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
            status = server.statuses.pop(0) if len(server.statuses) > 1 else server.statuses[0]
            if status == 0:
                done.wait(180)
                return
            if status == -1:
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                with contextlib.suppress(OSError):
                    while not done.wait(0.2):
                        self.wfile.write(b"X-Still: here\r\n")
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://127.0.0.1:{server.port}/elsewhere")
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST  # noqa: N815 - http.server's names

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.port = web.server_address[1]
    thread = threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        done.set()
        web.shutdown()
        web.server_close()


def refusing_port():
    """A port where nobody listens."""
    with serving(200) as server:
        return server.port


def runpodctl(folder, body):
    """A program of that name, and the file in which it notes each call and the key it was given."""
    folder.mkdir(exist_ok=True)
    log = folder / "calls"
    log.touch()
    path = folder / "runpodctl"
    path.write_text(CTL.format(log=f"'{log}'".replace("my 'pod'", "my '\"'\"'pod'\"'\"'"), body=body), encoding="utf-8")
    path.chmod(0o755)
    return log


def body_of(request):
    return json.loads(request["body"])


def wait_for(condition, seconds=180.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {seconds} s")
