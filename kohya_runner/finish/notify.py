"""The message that a run has ended, in the shape of each receiver: sent once, tried twice, never in the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from kohya_runner import web
from kohya_runner.recipe.finish import Kind, Notify, address_fault
from kohya_runner.record.record import Record
from kohya_runner.text import duration, masked_text

HOUR = 3600.0
DISCORD_LONGEST = 1900
NTFY_LONGEST = 3500  # bytes; ntfy makes a file of a longer one
TRIES = 2
PAUSE = 2.0
MARKS = {"succeeded": "white_check_mark", "failed": "rotating_light", "lost": "rotating_light", "stopped": "stop_sign"}


Post = tuple[bytes, Mapping[str, str]]  # the body of one request and its headers


def facts(record: Record) -> dict[str, Any]:
    """The JSON body. It tells nothing about the machine: no paths, no variables."""
    times, causes = record.timings, (record.diagnosis or {}).get("causes") or []
    seconds = times.seconds if times.ended else None
    price = record.budget.get("price_per_hour")
    cause = causes[0] if causes else None
    return {
        "version": 1,
        "event": "run.ended",
        "name": record.name,
        "run_id": record.run_id,
        "practice": record.practice,
        "state": record.state,
        "why": masked_text(record.exit.why) if record.exit else "",
        "steps": record.steps_seen,
        "steps_planned": record.steps_planned,
        "seconds": None if seconds is None else round(seconds, 1),
        "cost": None if seconds is None or price is None else round(seconds / HOUR * price, 4),
        "checkpoints": [
            {"file": c.file, "bytes": c.bytes, "epoch": c.epoch, "step": c.step, "sha256": c.sha256}
            for c in record.checkpoints
            if c.complete and not c.removed
        ],
        "diagnosis": cause and {key: cause.get(key) for key in ("code", "cause", "fixes")},
    }


def text(said: Mapping[str, Any]) -> str:
    """The same for a person, a few lines."""
    practice = "PRACTICE " if said["practice"] else ""
    lines = [f"{practice}{said['name']}/{said['run_id']}: {said['state']}"]
    if said["why"]:
        lines.append(str(said["why"])[:500])
    if said["diagnosis"]:
        lines.append(f"{said['diagnosis']['code']}: {said['diagnosis']['cause']}")
        lines += [f"-> {fix}" for fix in said["diagnosis"]["fixes"][:2]]
    money = "" if said["cost"] is None else f", cost {said['cost']:.2f}"
    hours = "" if said["seconds"] is None else f", {duration(said['seconds'])}"
    lines.append(f"{said['steps']} of {said['steps_planned'] or '?'} steps{hours}{money}")
    kept = [found["file"] for found in said["checkpoints"]]
    lines.append(f"{len(kept)} checkpoint(s)" + (f", the last: {kept[-1]}" if kept else ""))
    return "\n".join(lines)


def _json(said: Mapping[str, Any]) -> Post:
    body = json.dumps({**said, "text": text(said)}, ensure_ascii=False).encode()
    return body, {"Content-Type": "application/json"}


def _ntfy(said: Mapping[str, Any]) -> Post:
    """Text with headers, which hold ASCII alone (docs.ntfy.sh/publish)."""
    urgent = said["state"] in ("failed", "lost")
    title = f"{said['name']}: {said['state']}".encode("ascii", "replace").decode()
    headers = {"Title": title, "Priority": "high" if urgent else "default", "Tags": MARKS.get(said["state"], "memo")}
    body = text(said).encode()[:NTFY_LONGEST].decode("utf-8", "ignore").encode()
    return body, {"Content-Type": "text/plain; charset=utf-8", **headers}


def _discord(said: Mapping[str, Any]) -> Post:
    """At most 2000 characters, and a name in a caption must not ping anybody (discord.com/developers)."""
    value = {"content": text(said)[:DISCORD_LONGEST], "allowed_mentions": {"parse": []}}
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


def _slack(said: Mapping[str, Any]) -> Post:
    """Three characters must be escaped for Slack (api.slack.com, incoming webhooks)."""
    plain = text(said).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return json.dumps({"text": plain}).encode(), {"Content-Type": "application/json"}


SHAPES: Mapping[Kind, Callable[[Mapping[str, Any]], Post]] = {
    "json": _json,
    "ntfy": _ntfy,
    "discord": _discord,
    "slack": _slack,
}
"""Every kind of the recipe's ``finish.notify``."""


def send(record: Record, receiver: Notify, environ: Mapping[str, str], *, seconds: float = web.SECONDS) -> str:
    """Send the message; "" where the receiver took it, else why not. The address never appears in the text."""
    url = receiver.url or environ.get(receiver.env or "", "").strip()
    if not url:
        return f"${receiver.env} is not set"
    if fault := address_fault(url):
        return f"the address in ${receiver.env} {fault}" if receiver.env else f"the address {fault}"
    body, headers = SHAPES[receiver.kind](facts(record))
    answer = web.Answer(0)
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE)
        answer = web.post(url, body, headers, seconds=seconds)
        if answer.ok or 300 <= answer.status < 500:  # a second try would be refused, or sent elsewhere, like the first
            break
    return "" if answer.ok else f"not delivered: {answer.reason or f'HTTP {answer.status}'}"
