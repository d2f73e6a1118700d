"""What a check has to say: how bad, what, where, what to do about it; and every code there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from kohya_runner.tables import read_table


class Code(NamedTuple):
    """A code ``<stage>.<what>``, the severities it may have, and what it says."""

    name: str
    severities: tuple[str, ...]
    summary: str

    @property
    def stage(self) -> str:
        return self.name.partition(".")[0]


_HELD: Mapping[str, Mapping[str, str]] = read_table(Path(__file__).with_name("findings.toml"))
STAGES = tuple(_HELD)
"""The first half of every code, in the order of a run."""
TABLE = tuple(
    Code(f"{stage}.{name}", tuple(severities.split(" or ")), summary)
    for stage, codes in _HELD.items()
    for name, said in codes.items()
    for severities, _, summary in [said.partition(": ")]
)
CODES = {code.name: code for code in TABLE}


class Severity(str, Enum):
    """How much a finding matters."""

    ERROR = "error"  # this run will fail, or will not do what the recipe says
    WARNING = "warning"  # it will run, and the user probably does not want this
    INFO = "info"  # worth knowing


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth saying. ``code`` is ``<stage>.<what>``; ``where`` is ``file:line:column`` or a path."""

    severity: Severity
    code: str
    message: str
    where: str = ""
    hint: str = ""

    @property
    def stage(self) -> str:
        return self.code.partition(".")[0]

    def __str__(self) -> str:
        """One line: where, what, what to do."""
        place = f"{self.where}: " if self.where else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


def finding_json(finding: Finding) -> dict[str, str]:
    """A finding as every ``--json`` shows it."""
    return {**asdict(finding), "severity": finding.severity.value}


def _finding(severity: Severity, code: str, message: str, *, where: str = "", hint: str = "") -> Finding:
    """A finding with a code of the table; another code, or another severity, is a bug of ours."""
    if severity.value not in CODES[code].severities:
        raise ValueError(f"findings.toml does not know {code} as {severity.value}")
    return Finding(severity, code, message, where, hint)


error, warning, info = (partial(_finding, severity) for severity in Severity)
"""A finding that stops the launch, one to be read before it, one that is good to know."""

NEVER_ALLOWED = ("recipe.", "args.value", "args.unknown", "args.owned", "args.missing", "steps.none",
                 "trainer.missing")  # fmt: skip
"""Errors without which there is nothing to launch, or another run than the recipe says."""


def allow(findings: Iterable[Finding], codes: Collection[str]) -> tuple[Finding, ...]:
    """The same findings, with the named errors turned into warnings."""
    return tuple(
        replace(f, severity=Severity.WARNING) if f.severity is Severity.ERROR and f.code in codes else f
        for f in findings
    )


def not_allowable(codes: Iterable[str]) -> str:
    """Why a code cannot be given to ``--allow``; "" if all of them can."""
    for code in codes:
        if code.partition(".")[0] not in STAGES or "." not in code:
            return f"{code} is not a code of a finding; a code is <stage>.<what>, such as caption.missing"
        if code.startswith(NEVER_ALLOWED):
            why = "without it there is nothing to launch, or another run than the recipe says"
            return f"{code} cannot be allowed: {why}"
    return ""
