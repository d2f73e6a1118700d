"""The rules between options of all engines, as they are shown: one JSON object, and the page ``docs/rules.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kohya_runner.engines.rule_context import Rule
from kohya_runner.engines.table import ENGINES
from kohya_runner.findings import TABLE, Code

SUBJECTS: Mapping[str, tuple[Rule, ...]] = {
    subject: rows for engine in ENGINES.values() for subject, rows in engine.rules().items()
}
RULES: tuple[Rule, ...] = tuple(rule for rows in SUBJECTS.values() for rule in rows)

HEAD = """# Rules

What `plan` and `launch` find out about a run before it starts. `--allow CODE` turns a named error into a warning.
A rule is about one trainer, sd-scripts where its section names no other, and stands on the line of the pinned commit
that it names; "all" are all families and methods of that trainer, "fails" says when the trainer itself would have.
This page is generated: `kohya-runner rules --markdown`.
"""


def rules_json(words: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every rule and every other code that holds all the words, as plain data."""

    def holds(row: dict[str, Any]) -> bool:
        return all(word.lower() in str(list(row.values())).lower() for word in words)

    rules = [{"subject": subject, **_row(rule)} for subject, rows in SUBJECTS.items() for rule in rows]
    codes = map(_code, TABLE)
    return {"version": 1, "rules": list(filter(holds, rules)), "codes": list(filter(holds, codes))}


def _row(rule: Rule) -> dict[str, Any]:
    return {
        "code": rule.code,
        "severity": rule.severity.value,
        "options": list(rule.options),
        "engine": rule.engine,
        "families": list(rule.families),
        "methods": list(rule.methods),
        "message": rule.message,
        "fix": rule.fix,
        "upstream": rule.upstream,
        "fails": rule.moment,
    }


def _code(code: Code) -> dict[str, Any]:
    return {"code": code.name, "stage": code.stage, "severity": list(code.severities), "summary": code.summary}


def rules_markdown() -> str:
    parts = [HEAD]
    for subject, rows in SUBJECTS.items():
        parts.append(f"## {subject}\n\n| code | severity | families | methods | message | what to do | fails | line |")
        parts[-1] += "\n|---|---|---|---|---|---|---|---|\n"
        parts[-1] += "".join(_markdown_row(rule) for rule in rows)
    parts.append("## All other codes\n\n| code | severity | meaning |\n|---|---|---|\n")
    parts[-1] += "".join(f"| `{code.name}` | {' or '.join(code.severities)} | {code.summary} |\n" for code in TABLE)
    return "\n".join(parts)


def _markdown_row(rule: Rule) -> str:
    cells = (
        f"`{rule.code}`", rule.severity.value, ", ".join(rule.families) or "all",
        ", ".join(rule.methods) or "all", _plain(rule.message), _plain(rule.fix), rule.moment, f"`{rule.upstream}`",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def _plain(template: str) -> str:
    """A message with its places for values shown in italics."""
    shown_names = {name: f"*{name}*" for rule in RULES for name in rule.options} | {"what": "*these*"}
    return template.format_map(shown_names).replace("|", "\\|")
