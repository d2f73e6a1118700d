"""Whether and how a RunPod pod stops itself. There are three ways, because each of them may fail on a given day.

Written from RunPod's documentation and runpodctl's sources, and tried against stand-ins of both: never against RunPod.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kohya_runner import web
from kohya_runner.machine.runpod_api import RUNPOD, RUNPOD_KEYS, runpod_api, runpod_key
from kohya_runner.record.record import Record
from kohya_runner.text import MASK
from kohya_runner.workspace import is_network_mount

Action = Literal["stop", "terminate"]

_POD = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_FAILED = re.compile(r"fail|error|unauthori[sz]ed|forbidden|not found|invalid|denied", re.IGNORECASE)
_REFUSED = re.compile(
    r'^\s*<|"errors?"\s*:\s*(?:"[^"]|\[\s*[^\s\]]|\{\s*[^\s}])|"(?:ok|success)"\s*:\s*false', re.IGNORECASE
)
"""In the body of a 200: an error, or a page of somebody else's (a proxy, a login)."""
_SECONDS = 30
_SHOWN = 200

COMMANDS: tuple[tuple[str, Mapping[Action, tuple[str, ...]]], ...] = (
    ("runpodctl pod", {"stop": ("runpodctl", "pod", "stop"), "terminate": ("runpodctl", "pod", "delete")}),
    ("runpodctl, old form", {"stop": ("runpodctl", "stop", "pod"), "terminate": ("runpodctl", "remove", "pod")}),
)
"""The new form asks REST v1, the old one GraphQL (runpodctl 2e2df89)."""
LEFT_ALONE = "SIGHUP"  # the signal of a closed terminal: the one stop that nobody is there to answer for


@dataclass(frozen=True, slots=True)
class Pod:
    """Which pod this is, and with which key it may be stopped."""

    id: str
    key: str
    api: str = RUNPOD


@dataclass(frozen=True, slots=True)
class Result:
    """Whether one of the ways worked, and what each of them answered."""

    ok: bool
    said: tuple[str, ...]


def this_pod(environ: Mapping[str, str]) -> Pod | None:
    pod_id = environ.get("RUNPOD_POD_ID", "").strip()
    if not _POD.match(pod_id):
        return None
    return Pod(pod_id, runpod_key(environ), runpod_api(environ))


def end(pod: Pod, action: Action, *, environ: Mapping[str, str], say: Callable[[str], None]) -> Result:
    """Stop or terminate this pod by the first way that works."""
    said = []
    for name, way in (("API v2", _by_api), *((name, _by_command(words)) for name, words in COMMANDS)):
        ok, what = way(pod, action, environ)
        said.append(f"{name}: {what}")
        say(f"{action} pod {pod.id}: {said[-1]}")
        if ok:
            return Result(ok, tuple(said))
    return Result(ok=False, said=tuple(said))


def _by_api(pod: Pod, action: Action, _environ: Mapping[str, str]) -> tuple[bool, str]:
    """``POST /v2/pods/ID/action`` (docs.runpod.io, openapi v2); 409 says that the pod's state does not allow it."""
    if not pod.key:
        return False, f"no key in {' or '.join(RUNPOD_KEYS)}"
    headers = {"Authorization": f"Bearer {pod.key}", "Content-Type": "application/json"}
    body = f'{{"action":"{action}"}}'.encode()
    answer = web.post(f"{pod.api}/pods/{pod.id}/action", body, headers)
    if not answer.ok:
        return False, answer.reason or f"HTTP {answer.status}"
    said = _shown(answer.text, pod.key)
    return (False, said) if _REFUSED.search(answer.text) else (True, "accepted")


def _by_command(words: Mapping[Action, tuple[str, ...]]) -> Callable[..., tuple[bool, str]]:
    def way(pod: Pod, action: Action, environ: Mapping[str, str]) -> tuple[bool, str]:
        """Its exit code is not enough: the old form says "stop failed" with exit code 0."""
        key = {"RUNPOD_API_KEY": pod.key} if pod.key else {}
        try:
            done = subprocess.run(
                (*words[action], pod.id), env={**environ, **key}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False, f"no answer in {_SECONDS} s"
        except OSError as fault:
            return False, fault.strerror or "cannot be started"
        text = _shown(done.stdout.decode("utf-8", "replace"), pod.key)
        ok = done.returncode == 0 and not _FAILED.search(text)
        return ok, text or f"exit code {done.returncode}"

    return way


def _shown(text: str, key: str) -> str:
    plain = " ".join(text.replace(key, MASK).split() if key else text.split())
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in plain)[:_SHOWN]


def banner(pod_id: str, action: Action) -> str:
    """What the screen shows where no way worked."""
    line = "#" * 78
    rows = (
        "STILL BILLING   STILL BILLING   STILL BILLING   STILL BILLING",
        "",
        f"The pod {pod_id} did not {action}. It still costs money.",
        "Do it by hand: https://console.runpod.io/pods",
        f"or: runpodctl {'stop' if action == 'stop' else 'remove'} pod {pod_id}",
    )
    return "\n".join(("", line, *(f"##  {row}".ljust(76) + "##" for row in rows), line, ""))


def on_network_volume(environ: Mapping[str, str], path: Path) -> bool:
    """Whether what lies at ``path`` outlives the pod."""
    return bool(environ.get("RUNPOD_VOLUME_ID")) and is_network_mount(path)


@dataclass(frozen=True, slots=True)
class PodDecision:
    """What to do with the pod, after how many seconds, and why. ``action`` is "" for nothing."""

    action: Action | Literal[""]
    wait: float
    why: str


def decide(record: Record, *, problem: str, volume: bool) -> PodDecision:
    """Success: what was asked for. Failure: a stop after the grace period, no termination. Stopped by hand: nothing.

    ``problem`` is why the outputs are not as the record says, "" where they are; ``volume`` is whether they are on a
    network volume, which outlives the pod.
    """
    asked = record.finish.get("pod")
    if asked not in ("stop", "terminate"):
        return PodDecision("", 0, "not asked for")
    if record.practice:
        return PodDecision("", 0, "practice: the pod is left alone")
    if record.state == "stopped" and not (record.exit and record.exit.why == LEFT_ALONE):
        return PodDecision("", 0, "a person stopped the run and can decide")
    grace = float(record.finish.get("grace_minutes", 15.0)) * 60
    if record.state != "succeeded" or problem:
        return PodDecision("stop", grace, problem or f"the run {record.state}")
    if asked == "terminate" and not volume:
        return PodDecision("stop", 0, "not terminated: the outputs are not on a network volume and would be gone")
    return PodDecision(
        "terminate" if asked == "terminate" else "stop", 0, "the run succeeded and its outputs are whole"
    )
