"""The message that a run has ended: sent once, tried twice, and never in the way of anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kohya_runner.finish import message, web
from kohya_runner.recipe.finish import address_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.recipe.finish import Notify
    from kohya_runner.record.record import Record

TRIES = 2
PAUSE = 2.0


def notify(record: Record, receiver: Notify, environ: Mapping[str, str], *, seconds: float = web.SECONDS) -> str:
    """Say it; "" where it was taken, else why not. The address is in no text."""
    url = receiver.url or environ.get(receiver.env or "", "").strip()
    if not url:
        return f"${receiver.env} is not set"
    if fault := address_fault(url):
        return f"the address in ${receiver.env} {fault}" if receiver.env else f"the address {fault}"
    post = message.SHAPES[receiver.kind](message.facts(record))
    answer = web.Answer(0)
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE)
        answer = web.post(url, post.body, post.headers, seconds=seconds)
        if answer.ok or 400 <= answer.status < 500:  # a second try would be refused like the first
            break
    return "" if answer.ok else f"not taken: {answer.reason or f'HTTP {answer.status}'}"
