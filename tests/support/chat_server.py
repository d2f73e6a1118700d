"""A real HTTP server that speaks chat-completions, and misbehaves as it is told."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def said(text: Any = "a picture of a cat", **more: Any) -> dict[str, Any]:
    """A good answer."""
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **more.pop("choice", {})}
    return {"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 20}, **more}


@dataclass
class ChatServer:
    """``answers`` are given one after the other, the last one again and again.

    A dict or text is a body with status 200; ``(status, body, headers)``; "hang", "cut" and "slow" are what they say.
    """

    answers: list[Any] = field(default_factory=lambda: [said()])
    requests: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most: int = 0  # requests at the same time
    url: str = ""

    def pictures(self) -> list[bytes]:
        """What was sent, decoded."""
        parts = [request["messages"][0]["content"] for request in self.requests]
        addresses = [part["image_url"]["url"] for both in parts for part in both if part["type"] == "image_url"]
        return [base64.b64decode(address.partition(",")[2]) for address in addresses]


def in_seconds(seconds: float) -> str:
    """A date as Retry-After may have it."""
    import time

    return formatdate(time.time() + seconds, usegmt=True)


@contextlib.contextmanager
def chat_server(*answers: Any) -> Iterator[ChatServer]:
    server = ChatServer(list(answers) or [said()])
    done, lock, now = threading.Event(), threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                now[0] += 1
                server.most = max(server.most, now[0])
                server.requests.append(json.loads(body))
                server.heads.append(dict(self.headers))
                server.paths.append(self.path)
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            with contextlib.suppress(OSError):
                self._give(answer(server.requests[-1]) if callable(answer) else answer)
            with lock:
                now[0] -= 1

        def _give(self, answer):
            if answer == "hang":
                done.wait(180)
                return
            if answer == "slow":
                done.wait(0.15)
                answer = said()
            status, value, headers = answer if isinstance(answer, tuple) else (200, answer, {})
            if answer == "cut":
                value = said()
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if answer == "cut" else data)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    server.url = f"http://127.0.0.1:{web.server_address[1]}/v1"
    thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        done.set()
        web.shutdown()
        web.server_close()
