"""Numbers the trainer's parser takes and the training cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.findings import Finding, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST_SEED = 2**32 - 1  # set_seed hands it to numpy (train_network.py:505)

BOUNDS: Mapping[str, tuple[float, float]] = {
    "seed": (0, LARGEST_SEED),
    "network_dim": (1, 100_000),
    "network_alpha": (0, float("inf")),
    "learning_rate": (0, float("inf")),
    "unet_lr": (0, float("inf")),
    "text_encoder_lr": (0, float("inf")),
    "max_data_loader_n_workers": (0, 10_000),
    "clip_skip": (1, 12),
}
"""Option -> smallest and largest value that trains."""


def findings(given: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[Finding]:
    """An error for each number out of bounds."""
    for name, (least, most) in BOUNDS.items():
        value = given.get(name)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not least <= number <= most:
                limit = f"{least:g} or more" if number < least else f"{most:g} or less"
                yield error("args.range", f"args.{name} is {number}: must be {limit}", where=places.get(name, ""))
