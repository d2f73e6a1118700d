"""Captions by a vision model behind an address that speaks OpenAI's chat-completions.

Each answer is a line of ``answers.jsonl`` beside the manifest, with its request: a run that is cut pays for none twice.
The key is in one header and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner import web
from kohya_runner.dataset.captioning.caption_text import KEY, CaptionJob, CaptionSettings, Failure, one_line, refused
from kohya_runner.dataset.facts import ANSWERS
from kohya_runner.dataset.picture import thumbnail
from kohya_runner.errors import PreflightError
from kohya_runner.safe_files import open_for_write
from kohya_runner.text import MASK, duration, shortened

if TYPE_CHECKING:
    _Done = queue.SimpleQueue[tuple[CaptionJob, str | Failure | Exception]]

_Todo = queue.SimpleQueue[CaptionJob]

TRIES = 4  # of one picture
LONGEST_WAIT = 300.0  # seconds that a server may ask for
LONGEST_ANSWER = 1 << 20
IN_A_ROW = 5  # pictures without an answer: then the server is not there
SIDE = 1024  # pixels of the picture that is sent
PICTURE_TOKENS = 1500  # of one request, until an answer has said how many
_AGAIN = frozenset({0, 408, 409, 425, 429})
_FOR_ALL = {401: "the key is missing or wrong", 402: "the account has no money left", 403: "the key may not do this",
            404: "there is no such address or model"}  # fmt: skip


def ask(
    settings: CaptionSettings, key: str, wanted: Sequence[CaptionJob], folder: Path
) -> Iterator[tuple[CaptionJob, str | Failure]]:
    """The caption of each picture, as the answers come; what ``folder`` knows is not asked again.

    Raises:
        PreflightError: the server refuses or fails whatever it is asked, or a cap is reached. What came is kept.
    """
    asking = _Asking(settings, key, folder)
    todo: _Todo = queue.SimpleQueue()
    done: _Done = queue.SimpleQueue()
    for one in wanted:
        todo.put(one)

    for _ in range(min(settings.concurrency, len(wanted))):  # daemons: one that waits keeps no Ctrl-C waiting
        threading.Thread(target=asking.work, args=(todo, done), daemon=True).start()
    fault: Exception | None = None
    missed = 0
    try:
        for _ in wanted:
            one, answer = done.get()
            if isinstance(answer, Exception):
                fault = answer
                break
            yield one, answer
            missed = missed + 1 if isinstance(answer, Failure) and answer.of_server else 0
            if missed >= IN_A_ROW and isinstance(answer, Failure):
                text = f"the endpoint failed for {missed} pictures in a row, the last time: {answer.why}"
                fault = PreflightError(text, hint="what came is kept; run the same command again to continue")
                break
    finally:
        asking.stop.set()
    if fault:
        raise fault


class _Asking:
    """Requests of several threads: what is known, what was spent, how long to wait."""

    def __init__(self, settings: CaptionSettings, key: str, folder: Path) -> None:
        self.settings, self.key = settings, key
        self.stop = threading.Event()
        self.known: dict[str, str] = {}
        self.requests, self.spent, self.waiting, self.not_before = 0, 0.0, 0, 0.0
        price_in, price_out = settings.price
        self.dearest = (PICTURE_TOKENS * price_in + settings.max_tokens * price_out) / 1e6
        self._lock = threading.Lock()
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._file = folder / ANSWERS
        self._remember()

    def work(self, todo: _Todo, done: _Done) -> None:
        while not self.stop.is_set():
            try:
                one = todo.get_nowait()
            except queue.Empty:
                return
            try:
                answer: str | Failure | Exception = self.caption(one)
            except Exception as fault:  # noqa: BLE001 - raised again where somebody waits for it
                answer = fault
            done.put((one, answer))
            if isinstance(answer, Exception):
                self.stop.set()

    def caption(self, wanted: CaptionJob) -> str | Failure | PreflightError:
        """The answer for a picture, tried several times; an error where nobody needs to be asked any more."""
        address = thumbnail(wanted.path, side=SIDE, tiny=SIDE // 2, quality=90)
        if not address:
            return Failure("the picture cannot be read")
        place, url = self.settings, f"{self.settings.endpoint or ''}".rstrip("/")
        asked = {"url": url, "model": place.model, "prompt": place.prompt, "max_tokens": place.max_tokens}
        request = {**asked, "picture_sha256": hashlib.sha256(address.encode()).hexdigest()}
        key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        if key in self.known:
            return self.known[key]
        content = [{"type": "text", "text": place.prompt}, {"type": "image_url", "image_url": {"url": address}}]
        message = {"role": "user", "content": content}
        body = json.dumps({"model": place.model, "messages": [message], "max_tokens": place.max_tokens}).encode()
        found = Failure("not asked")
        for number in range(TRIES):
            if number:
                self._later(place.pause * 2 ** (number - 1))
            if fault := self._turn():
                return fault
            answer = web.post(
                f"{url}/chat/completions", body, self._headers, seconds=place.seconds, longest=LONGEST_ANSWER
            )
            words = shortened(" ".join(answer.text.split())) if answer.text.strip() else ""
            why = self._safe(f"{answer.reason}: {words}" if words else answer.reason)
            read = _read(answer) if answer.ok else Failure(why, of_server=True)
            self._keep({"file": wanted.file, "key": key, "request": request}, answer, read)
            if isinstance(read, str):
                return read
            found = read
            if fault := self._fatal(answer, found):
                return fault
            if not (answer.ok and found.of_server) and answer.status not in _AGAIN and answer.status < 500:
                break
        return found

    def _turn(self) -> PreflightError | None:
        """Wait for the moment that the server named; then one more request, unless a cap is reached."""
        while (seconds := self.not_before - time.monotonic()) > 0:
            if self.stop.wait(seconds):
                return PreflightError("stopped")
        place = self.settings
        hint = "what came is kept; run the same command again with a higher one to continue"
        with self._lock:
            if place.max_requests is not None and self.requests >= place.max_requests:
                return PreflightError(f"stopped after {self.requests} requests: --max-requests", hint=hint)
            if place.max_cost is not None and self.spent + (self.waiting + 1) * self.dearest > place.max_cost:
                text = f"stopped: {self.spent:.4f} spent, and one more picture may cost {self.dearest:.4f}: --max-cost"
                return PreflightError(text, hint=hint)
            self.requests += 1
            self.waiting += 1
        return None

    def _later(self, seconds: float) -> None:
        """No thread asks before this time has passed."""
        with self._lock:
            self.not_before = max(self.not_before, time.monotonic() + seconds)

    def _fatal(self, answer: web.Answer, found: Failure) -> PreflightError | None:
        if answer.status in _FOR_ALL:
            text = f"the endpoint {self.settings.endpoint}: {_FOR_ALL[answer.status]}: {found.why}"
            return PreflightError(text, hint=f"set the key in ${KEY}, or correct --endpoint and --model")
        seconds = _seconds(answer.retry_after)
        if seconds > LONGEST_WAIT:
            text = f"the endpoint asks to wait {duration(seconds)}"
            return PreflightError(text, hint="what came is kept; run the same command again then")
        self._later(seconds)
        return None

    def _safe(self, text: str) -> str:
        return text.replace(self.key, MASK) if self.key else text

    def _keep(self, row: Mapping[str, object], answer: web.Answer, read: str | Failure) -> None:
        text = self._safe(answer.text)
        try:
            said: object = json.loads(text)
        except ValueError:
            said = text
        result = {"caption": read} if isinstance(read, str) else {"problem": read.why}
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {**row, "when": when, "status": answer.status, "answer": said, **result}
        with self._lock:
            self.waiting -= 1
            self._count(line)
            with os.fdopen(open_for_write(self._file, os.O_APPEND, 0o644), "ab") as file:
                file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())

    def _remember(self) -> None:
        """What earlier runs were told and spent; a line that was cut is passed over."""
        if not self._file.is_file():
            return
        data = self._file.read_bytes()
        if not data.endswith(b"\n"):
            with os.fdopen(open_for_write(self._file, os.O_APPEND), "ab") as file:
                file.write(b"\n")
        for line in data.decode("utf-8", "replace").splitlines():
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                self._count(json.loads(line))
                self.requests += 1

    def _count(self, line: dict[str, Any]) -> None:
        answer, (price_in, price_out) = line["answer"], self.settings.price
        try:
            used = answer["usage"]
            cost = (int(used["prompt_tokens"]) * price_in + int(used["completion_tokens"]) * price_out) / 1e6
            self.dearest = max(self.dearest, cost)
        except (KeyError, TypeError, ValueError):
            cost = self.dearest if line["status"] == 200 else 0.0
        self.spent += cost
        if isinstance(line.get("caption"), str):
            self.known[line["key"]] = line["caption"]


def _seconds(header: str) -> float:
    """What Retry-After says: seconds, or a date."""
    with suppress(ValueError):
        return max(0.0, float(header))
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return 0.0


def _read(answer: web.Answer) -> str | Failure:
    """The caption in an answer, or why there is none."""
    try:
        choice = json.loads(answer.text)["choices"][0]
        message, content = choice["message"], choice["message"].get("content")
        if isinstance(content, list):
            content = " ".join(part.get("text", "") for part in content)
        text = one_line(content or "")
        refusal, ended = message.get("refusal"), choice.get("finish_reason")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return Failure(f"not an answer of chat-completions: {shortened(' '.join(answer.text.split()))}", of_server=True)
    if refusal or ended == "content_filter" or refused(text):
        return Failure(f"refused: {shortened(one_line(refusal) if isinstance(refusal, str) else text)}")
    if ended == "length":
        return Failure("the answer was cut off: a higher --max-tokens is needed")
    return text or Failure("the answer is empty")
