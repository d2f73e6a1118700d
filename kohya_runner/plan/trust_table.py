"""Every option of the trainers that takes free text, and every such key of a recipe, by the harm it can do.

One table for all engines: a name means the same everywhere. ``tests/plan/test_trust_table.py`` fails for an option of a
snapshot that takes text, or whose name speaks of a path, a module or the network, and that stands in no row here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from kohya_runner.tables import read_table


class Effect(str, Enum):
    """What the value of a key makes happen."""

    IMPORT = "import"  # names Python code by module
    EXECUTE = "execute"  # names a program
    SEND = "send"  # something leaves this machine, or is fetched from where the value says
    WRITE = "write"  # names a place that is written to
    SPEND = "spend"  # ends a machine, or costs money
    READ = "read"  # names a file; a pickle among them can run code
    NONE = "none"


_TABLE = read_table(Path(__file__).with_name("trust_table.toml"))


def _effects(rows: Mapping[str, list[str]]) -> Mapping[str, Effect]:
    return {name: Effect(effect) for effect, names in rows.items() for name in names}


OPTIONS = _effects(_TABLE["options"])
"""Option -> its effect."""
KEYS = _effects(_TABLE["keys"])
"""Key of a recipe -> its effect, as far as it takes text; ``args`` and ``datasets.options`` have ``OPTIONS``."""
GO_WITH = {name: other for other, names in _TABLE["go_with"].items() for name in names}
"""Options that do nothing without another one, whose consent is theirs."""
WEIGHTS = frozenset(_TABLE["weights"])
"""Options whose files are loaded as weights."""

FIELD = frozenset(_TABLE["packages"]["field"])
LAUNCHER_TEXT = frozenset(_TABLE["launcher"]["text"])
LAUNCHER_INSTEAD: Mapping[str, str] = _TABLE["launcher"]["instead"]

PLAIN_NAMES = ("log_prefix", "log_tracker_name")
"""Options whose text becomes the name of a folder below --logging_dir (library/model_io.py:434)."""

_CLASS = r"[A-Z]\w*"
_OPTIMIZERS = (
    rf"torch\.optim(\.[a-z_]+)?\.{_CLASS}",
    r"transformers(\.optimization)?\.(Adafactor|AdafactorSchedule)",
    rf"bitsandbytes\.optim(\.[a-z_0-9]+)?\.{_CLASS}",
    rf"(lion_pytorch|prodigyopt|dadaptation|schedulefree|pytorch_optimizer|came_pytorch)(\.[a-z_0-9]+)*\.{_CLASS}",
    rf"(prodigyplus|prodigy_plus_schedule_free|prodigyplus\.prodigy_plus_schedulefree)\.{_CLASS}",
)
_BARE = r"\w+"  # the trainer's own names, and what torch.optim calls so (library/optimizer.py:336)
SHIPPED: Mapping[str, re.Pattern[str]] = {
    "network_module": re.compile(r"(musubi_tuner\.)?networks(\.[a-z_0-9]+)+|lycoris(\.[a-z_0-9]+)*", re.ASCII),
    "optimizer_type": re.compile("|".join((_BARE, *_OPTIMIZERS)), re.ASCII),
    "lr_scheduler_type": re.compile("|".join((_CLASS, *_OPTIMIZERS)), re.ASCII),
}
"""What needs no consent: the trainer's own, and classes of the field's packages. Never "all below torch":
torch.hub.load and torch.utils.cpp_extension.load run what their arguments say."""


def is_shipped(option: str, value: str) -> bool:
    """Whether a module or class belongs to the trainer, or to a package that recipes of the field use."""
    pattern = SHIPPED.get(option)
    return value == "" or (pattern is not None and pattern.fullmatch(value) is not None)


def is_of_the_field(requirement: str) -> bool:
    """Whether a text is one version of one of the field's packages, and nothing else of what pip understands."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    need = Requirement(requirement)
    exact = [(one.operator, one.version.endswith("*")) for one in need.specifier] == [("==", False)]
    return exact and str(need) == f"{need.name}{need.specifier}" and canonicalize_name(need.name) in FIELD
