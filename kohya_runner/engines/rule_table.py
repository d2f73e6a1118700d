"""Rules as TOML files hold them: each under its code, with the fields of ``Rule``, and ``when`` says what must be so.

A rule without ``when`` asks for more than these keys can say: its condition stands in Python, under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kohya_runner.engines.rule_context import Context, Rule
from kohya_runner.findings import Severity
from kohya_runner.tables import read_table, tupled

Condition = Callable[[Context], bool | str]

TESTS: Mapping[str, Callable[[Context, Any], bool]] = {
    "on": lambda c, names: all(map(c.on, names)),
    "off": lambda c, names: not any(map(c.on, names)),
    "given": lambda c, names: len(c.given(*names)) == len(names),
    "absent": lambda c, names: not c.given(*names),
    "filled": lambda c, names: all(map(c.get, names)),
    "empty": lambda c, names: not any(map(c.get, names)),
    "equals": lambda c, wanted: all(_value(c, name) in values for name, values in wanted.items()),
    "differs": lambda c, wanted: all(_value(c, name) not in values for name, values in wanted.items()),
    "above": lambda c, bounds: all(c.number(name) > bound for name, bound in bounds.items()),
    "below": lambda c, bounds: all(c.number(name) < bound for name, bound in bounds.items()),
    "most": lambda c, bounds: all(c.number(name) <= bound for name, bound in bounds.items()),
    "least": lambda c, bounds: all(c.number(name) >= bound for name, bound in bounds.items()),
    "nonzero": lambda c, names: all(map(c.number, names)),
    "facts": lambda c, names: all(getattr(c, name) for name in names),
    "not_facts": lambda c, names: not any(getattr(c, name) for name in names),
    "scripts": lambda c, names: c.script in names,
    "not_scripts": lambda c, names: c.script not in names,
    "modules": lambda c, names: c.network_module in names,
}
"""What ``when`` may ask: all of it must hold. ``empty`` is without a value or with one that counts as no; in ``equals``
and ``differs`` the text "not set" is an option without a value; ``facts`` are properties of ``Context``."""

LISTS: Mapping[str, Callable[[Context, Any], str]] = {
    "listed": lambda c, names: c.listed(c.given(*names)),
    "listed_on": lambda c, names: c.listed(filter(c.on, names)),
}
"""Which of these options are passed, or are on: at least one must be, and they become the message's ``{what}``."""


def read_rules(
    file: Path, conditions: Mapping[str, Condition], engine: str = "sd-scripts", methods: tuple[str, ...] = ()
) -> tuple[Rule, ...]:
    """The rules of one file; ``methods`` are those of the rows that name none."""
    rules = []
    for stage, rows in read_table(file).items():
        for name, row in rows.items():
            fields = tupled(row)
            fields["applies"] = _condition(fields.pop("when")) if "when" in fields else conditions[name]
            fields["severity"] = Severity(fields.get("severity", "error"))
            rules.append(Rule(f"{stage}.{name}", engine=engine, **({"methods": methods} | fields)))
    return tuple(rules)


def _condition(when: Mapping[str, Any]) -> Condition:
    tests = [(TESTS[key], asked) for key, asked in when.items() if key not in LISTS]
    lists = [(LISTS[key], names) for key, names in when.items() if key in LISTS]

    def applies(context: Context) -> bool | str:
        if not all(test(context, asked) for test, asked in tests):
            return False
        return lists[0][0](context, lists[0][1]) if lists else True

    return applies


def _value(context: Context, name: str) -> Any:
    value = context.get(name)
    return "not set" if value is None else value
