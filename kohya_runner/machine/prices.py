"""What machines cost an hour: from the user, from SkyPilot's local catalogue, from RunPod's with the user's key.

No price is kept here: each comes with its source and its age.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from kohya_runner.errors import PreflightError, RemoteError, UsageError
from kohya_runner.machine.runpod_api import RunPodApi, plain_card
from kohya_runner.text import number

_MEMORY = re.compile(r"SizeInMiB\D+(\d+)")
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
        same = {plain_card(name) for name in gpus} == {plain_card(self.card)} and len(gpus) == self.count
        return same or not self.card


def given(texts: Iterable[str], source: str, count: int) -> tuple[Offer, ...]:
    """Prices of the user: ``0.44`` or ``NVIDIA L4=0.44``, an hour of a machine with ``count`` cards.

    Raises:
        UsageError: it is none.
    """
    offers = []
    for text in texts:
        card, _, said = text.rpartition("=")
        price = _price(said)
        if price is None:
            hint = 'write 0.44, or with its card "NVIDIA L4=0.44": an hour of the whole machine'
            raise UsageError(f"{source}: {text!r} is no price", hint=hint)
        offers.append(Offer(card.strip(), count, price, source))
    return tuple(offers)


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
                card, price = row.get("AcceleratorName") or "", _price(row.get("Price"))
                if card and price and _price(row.get("AcceleratorCount")) == count:
                    mib = _MEMORY.search(row.get("GpuInfo") or "")
                    size = int(mib[1]) if mib else None
                    gb = size if size is None or size < _LEAST_MIB else round(size / 1024)
                    yield Offer(card, count, price, f"SkyPilot's catalogue, {file.parent.name}", when, gb)
    except (OSError, UnicodeError, csv.Error) as fault:
        raise PreflightError(f"{file}: cannot be read: {fault}", hint="sky renews it: sky show-gpus") from None


def _price(text: object) -> float | None:
    found = number(text)
    return found if found is not None and 0 < found < 1e6 else None


def runpod(environ: Mapping[str, str], count: int) -> tuple[Offer, ...]:
    """The price of a card in each of RunPod's two clouds, asked now.

    Raises:
        PreflightError: there is no key, or no answer that can be understood.
    """
    try:
        rows, now = RunPodApi(environ).gpus(), datetime.now(timezone.utc)
    except RemoteError as fault:
        raise PreflightError(f"RunPod's prices: {fault.message}", hint="give a price yourself: --price 0.44") from None
    return tuple(
        Offer(row.id, count, row.price[cloud] * count, f"RunPod, {cloud} cloud", now, row.memory)
        for row in rows for cloud in row.clouds
    )  # fmt: skip
