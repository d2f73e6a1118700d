"""The rules between options: the table, its evaluation, and how it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kohya_runner.codes import TABLE
from kohya_runner.engines.diffusers import rules as rule_table_diffusers
from kohya_runner.engines.musubi import rules as rule_table_musubi
from kohya_runner.engines.rules.context import LORA, Context, Rule, for_methods, shown
from kohya_runner.engines.sd_scripts.rules import (
    controls,
    data,
    families,
    loss,
    methods,
    network,
    network_args,
    optimizer,
    precision,
    run,
    scheduler,
    whole,
)
from kohya_runner.engines.sd_scripts.rules.lines import LINES
from kohya_runner.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kohya_runner.codes import Code

__all__ = ["RULES", "SUBJECTS", "Context", "Rule", "evaluate", "rules_json", "rules_markdown"]

SUBJECTS: Mapping[str, tuple[Rule, ...]] = {
    "Captions, caches and buckets": data.RULES,
    "Precision, memory and loading": precision.RULES,
    "Network": for_methods(network.RULES, LORA),
    "Network arguments": for_methods(network_args.RULES, LORA),
    "Optimizer and learning rates": optimizer.RULES,
    "Scheduler": scheduler.RULES,
    "Loss, noise and timesteps": loss.RULES,
    "One family alone": families.RULES,
    "Samples, checkpoints and resuming": run.RULES,
    "Full fine-tunes and DreamBooth": methods.RULES,
    "Full fine-tunes of one family": whole.RULES,
    "ControlNet and textual inversion": controls.RULES,
    "musubi-tuner: FLUX.1 Kontext and FLUX.2": rule_table_musubi.RULES,
    "diffusers: InstructPix2Pix": rule_table_diffusers.RULES,
}

RULES: tuple[Rule, ...] = tuple(rule for rows in SUBJECTS.values() for rule in rows)

HEAD = """# Rules

What `plan` and `launch` find out about a run before it starts. `--allow CODE` turns a named error into a warning.
A rule is about one trainer, sd-scripts where its section names no other, and stands on the line of the pinned commit
that it names; "all" are all families and methods of that trainer, "fails" says when the trainer itself would have.
This page is generated: `kohya-runner rules --markdown`.
"""


class _Values(dict[str, str]):
    """The values of a message's ``{option}`` places."""

    def __init__(self, context: Context, what: str) -> None:
        super().__init__(what=what)
        self._context = context

    def __missing__(self, name: str) -> str:
        return shown(self._context.get(name))


def evaluate(context: Context, rules: Iterable[Rule] = RULES) -> tuple[Finding, ...]:
    """What the rules have against the options of one run, in table order."""
    findings = []
    for rule in rules:
        found = rule.concerns(context) and rule.applies(context)
        if found:
            findings.append(_finding(rule, context, found if isinstance(found, str) else ""))
    return tuple(findings)


def _finding(rule: Rule, context: Context, what: str) -> Finding:
    """One finding; it points to the first of the rule's options that has a place."""
    values = _Values(context, what)
    upstream = LINES.get(rule.code, {}).get(context.script, rule.upstream)
    message = f"{rule.message.format_map(values)} ({upstream})"
    where = next((context.places[name] for name in rule.options if context.places.get(name)), "")
    return Finding(rule.severity, rule.code, message, where, rule.fix.format_map(values))


def rules_json() -> dict[str, Any]:
    """Every rule and every other code, as plain data."""
    rules = [{"subject": subject, **_row(rule)} for subject, rows in SUBJECTS.items() for rule in rows]
    return {"version": 1, "rules": rules, "codes": [_code(code) for code in TABLE]}


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
    """The page ``docs/rules.md``."""
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
