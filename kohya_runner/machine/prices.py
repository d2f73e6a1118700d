"""What machines cost an hour: from the user, from SkyPilot's local catalogue, from RunPod's with the user's key.

No price is kept here: each comes with its source and its age.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kohya_runner import web
from kohya_runner.errors import PreflightError, UsageError

RUNPOD = "https://api.runpod.io/v2"
RUNPOD_VARIABLE = "KOHYA_RUNPOD_API"
"""Another address of the API, for tests."""
RUNPOD_KEYS = ("KOHYA_RUNPOD_API_KEY", "RUNPOD_API_KEY")
"""The user's key before the pod's own: nobody documents that the latter may stop a pod through API v2."""
CLOUDS = ("secure", "community")
_LARGEST = 4 << 20
_MEMORY = re.compile(r"SizeInMiB\D+(\d+)")
_MAKERS = re.compile(r"nvidia|geforce|tesla|[^a-z0-9]")
_LEAST_MIB = 1000  # SkyPilot's catalogue of RunPod has GB in a field of MiB (fetch_runpod.py, get_gpu_info)


@dataclass(frozen=True, slots=True)
class Offer:
    """``count`` cards of a kind for ``price`` an hour together; ``when`` the source said so, None: now, by the user.

    ``card`` is "" for a price of whatever machine it is. ``gb`` is the memory of one card, None where nobody says.
    """

    card: str
    count: int
    price: float
    source: str
    when: datetime | None = None
    gb: int | None = None

    def is_of(self, gpus: tuple[str, ...]) -> bool:
        """Whether it is for a machine with these GPUs, by their names: none of them is guessed."""
        same = {_plain(name) for name in gpus} == {_plain(self.card)} and len(gpus) == self.count
        return same or not self.card


def _plain(card: str) -> str:
    """``NVIDIA GeForce RTX 4090`` is ``RTX4090``, as the catalogues have it."""
    return _MAKERS.sub("", card.lower())


def given(texts: Iterable[str], source: str, count: int) -> tuple[Offer, ...]:
    """Prices of the user: ``0.44`` or ``NVIDIA L4=0.44``, an hour of a machine with ``count`` cards.

    Raises:
        UsageError: it is none.
    """
    return tuple(_given(text, source, count) for text in texts)


def _given(text: str, source: str, count: int) -> Offer:
    card, _, number = text.rpartition("=")
    try:
        price = float(number)
    except ValueError:
        price = -1.0
    if not 0 < price < 1e6:
        hint = 'write 0.44, or with its card "NVIDIA L4=0.44": an hour of the whole machine'
        raise UsageError(f"{source}: {text!r} is no price", hint=hint)
    return Offer(card.strip(), count, price, source)


def sky_folder(environ: Mapping[str, str]) -> Path | None:
    """The newest of SkyPilot's catalogues in the user's home."""
    home = Path(environ.get("HOME") or Path.home())
    found = [path for path in (home / ".sky" / "catalogs").glob("v*") if path.name[1:].isdecimal()]
    return max(found, key=lambda path: int(path.name[1:]), default=None)


def sky(environ: Mapping[str, str], count: int) -> tuple[Offer, ...]:
    """The cheapest offer of each cloud and card in SkyPilot's ``CLOUD/vms.csv``, which ``sky`` itself renews."""
    folder = sky_folder(environ)
    best: dict[tuple[str, str], Offer] = {}
    for file in sorted(folder.glob("*/vms.csv")) if folder else ():
        for offer in _sky_rows(file, count):
            key = (offer.source, offer.card)
            if key not in best or offer.price < best[key].price:
                best[key] = offer
    return tuple(best.values())


def _sky_rows(file: Path, count: int) -> Iterator[Offer]:
    try:
        when = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
        with file.open(encoding="utf-8", newline="") as text:
            for row in csv.DictReader(text):
                card, price = row.get("AcceleratorName") or "", _number(row.get("Price"))
                if card and price and _number(row.get("AcceleratorCount")) == count:
                    mib = _MEMORY.search(row.get("GpuInfo") or "")
                    size = int(mib[1]) if mib else None
                    gb = size if size is None or size < _LEAST_MIB else round(size / 1024)
                    yield Offer(card, count, price, f"SkyPilot's catalogue, {file.parent.name}", when, gb)
    except (OSError, UnicodeError, csv.Error) as fault:
        raise PreflightError(f"{file}: cannot be read: {fault}", hint="sky renews it: sky show-gpus") from None


def _number(text: object) -> float | None:
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if 0 < number < 1e6 else None


def runpod_api(environ: Mapping[str, str]) -> str:
    """Another address counts only for this machine itself: a key must not go to a stranger."""
    other = environ.get(RUNPOD_VARIABLE, "")
    ours = other and urlsplit(other).hostname in ("127.0.0.1", "localhost", "::1")
    return other.rstrip("/") if ours else RUNPOD


def runpod_key(environ: Mapping[str, str]) -> str:
    """The key of the environment, "" where there is none."""
    return next((value for name in RUNPOD_KEYS if (value := environ.get(name, "").strip())), "")


def runpod(environ: Mapping[str, str], count: int) -> tuple[Offer, ...]:
    """``GET /v2/catalog/gpus`` (docs.runpod.io, openapi v2): the price of a card in each of RunPod's two clouds.

    Raises:
        PreflightError: there is no key, or no answer that can be understood.
    """
    key = runpod_key(environ)
    if not key:
        raise PreflightError("RunPod's prices need your key", hint=f"export {RUNPOD_KEYS[0]}=...")
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
    answer = web.get(f"{runpod_api(environ)}/catalog/gpus", headers, longest=_LARGEST)
    try:
        rows = json.loads(answer.text)["gpus"] if answer.ok else []
        found = tuple(offer for row in rows for offer in _runpod_rows(row, count))
    except (ValueError, TypeError, KeyError, AttributeError):
        found = ()
    if not found:
        said = {401: "it does not know this key", 403: "this key may not read the catalogue"}.get(answer.status)
        why = said or answer.reason or "an answer without prices"
        raise PreflightError(f"RunPod's prices: {why}", hint="give a price yourself: --price 0.44")
    return found


def _runpod_rows(row: Mapping[str, Any], count: int) -> Iterator[Offer]:
    now = datetime.now(timezone.utc)
    for cloud in CLOUDS:
        price, memory = _number((row.get("price") or {}).get(cloud)), _number(row.get("memory"))
        if row.get(cloud) is not False and price:
            gb = round(memory) if memory else None
            yield Offer(str(row["id"]), count, price * count, f"RunPod, {cloud} cloud", now, gb)
