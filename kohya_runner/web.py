"""One HTTP request that never raises and never takes longer than it may."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

SECONDS = 10.0
_ANSWER = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, 0 where no answer came, and why; addresses and keys are in neither."""

    status: int
    reason: str = ""
    text: str = ""  # how the body begins
    retry_after: str = ""  # when a new request is welcome, as the header says it

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry message and key to an address that nobody named."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


def post(
    url: str, body: bytes | None, headers: Mapping[str, str], *, seconds: float = SECONDS, longest: int = _ANSWER
) -> Answer:
    """Send it, or get the address where there is nothing to send (None), and wait, ``seconds`` at most in all.

    ``longest`` bytes of the answer are read. A thread of its own waits: a server that sends a byte now and then passes
    every timeout of a socket.
    """
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(url, body, headers, seconds, longest)), daemon=True)
    thread.start()
    thread.join(seconds + 0.5)
    return answers[0] if answers else Answer(0, "no answer in time")


def _ask(url: str, body: bytes | None, headers: Mapping[str, str], seconds: float, longest: int) -> Answer:
    try:
        request = urllib.request.Request(  # noqa: S310 - the schemes are checked where the address is read
            url, data=body, headers={"User-Agent": "kohya-runner", **headers}, method="GET" if body is None else "POST"
        )
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=seconds) as response:
            return Answer(int(response.status), text=response.read(longest).decode("utf-8", "replace"))
    except urllib.error.HTTPError as fault:
        with fault:
            text = ""
            with contextlib.suppress(OSError, HTTPException):
                text = fault.read(_ANSWER).decode("utf-8", "replace")
            return Answer(fault.code, f"HTTP {fault.code}", text, fault.headers.get("Retry-After", ""))
    except urllib.error.URLError as fault:
        reason = fault.reason
        return Answer(0, str(getattr(reason, "strerror", None) or type(reason).__name__))
    except (OSError, ValueError, HTTPException) as fault:
        return Answer(0, getattr(fault, "strerror", None) or type(fault).__name__)
