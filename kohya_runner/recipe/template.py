"""Variables in a recipe: ``{{ name }}`` and ``{{ env.HF_USER }}``, strict, sandboxed, expressions only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error
from kohya_runner.text import SECRET, SECRET_VALUE, did_you_mean
from kohya_runner.yamlio import Key, Node, dotted, parse_value

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_FILTERS = frozenset({"default", "d", "lower", "upper", "replace", "trim", "int", "float", "string"})
_WHOLE = re.compile(r"\A\s*\{\{[^{}]*\}\}\s*\Z")
_VARIABLE = re.compile(r"\A(?!__)[A-Za-z_][A-Za-z0-9_]*\Z")
MAX_LENGTH = 10_000
MAX_TEMPLATES = 2000
TOO_MANY = (f"more than {MAX_TEMPLATES} different values with variables", "write the plain value")
READABLE = re.compile(
    r"HF_USER|HF_HOME|HOME|USER|LOGNAME|HOSTNAME|PWD|TMPDIR|KOHYA_WORKSPACE|RUNPOD_POD_ID|CUDA_VISIBLE_DEVICES"
    r"|KOHYA_RECIPE_\w+"
)
"""The variables that a recipe may read: its values end in a log, in the model's metadata, perhaps on the Hub.
``env:`` in the settings adds to them, and KOHYA_RECIPE_* is there to be read."""
SILENT = ("finish", "notify")
"""Where no variable is read at all: it would leave the machine with the message."""


class _Env:
    """The environment as ``env.NAME``: items only, so that no method of a mapping can be named."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {k: v for k, v in values.items() if not (SECRET.search(k) or SECRET_VALUE.search(v))}

    def __getitem__(self, name: str) -> str:
        return self._values[name]


@dataclass(frozen=True, slots=True)
class Variables:
    env: Mapping[str, str]
    recipe: Mapping[str, str]
    readable: Collection[str] = frozenset()  # variables beside READABLE
    by_user: bool = False  # the value is of the command line: every variable that is no secret
    silent: bool = False  # none at all

    def may_read(self, name: str) -> bool:
        known = name in self.readable or READABLE.fullmatch(name) is not None
        return self.by_user or (known and not self.silent)

    def context(self) -> dict[str, object]:
        """What Jinja2 sees."""
        return {"env": _Env(self.env), **self.recipe}


def has_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def render(tree: Node, variables: Variables) -> tuple[Node, tuple[Finding, ...]]:
    """The tree with every expression replaced by its value, and every expression that has none."""
    problems: list[Finding] = []
    environment: list[ImmutableSandboxedEnvironment] = []
    known: dict[tuple[str, bool, bool], tuple[str, tuple[str, str] | None]] = {}

    def change(path: tuple[Key, ...], node: Node) -> Node:
        own = path[:1] == ("datasets",) and path[2:] == ("caption", "template")  # filled in for each picture
        if own or not (isinstance(node.value, str) and has_template(node.value)):
            return node
        if not environment:
            environment.append(sandbox())
        asked = (node.value, node.place.by_user, path[:2] == SILENT)
        if asked not in known:  # an alias is rendered once, however often it is used
            scope = replace(variables, by_user=asked[1], silent=asked[2])
            many = len(known) >= MAX_TEMPLATES
            known[asked] = ("", TOO_MANY) if many else _render(environment[0], node.value, scope)
        text, problem = known[asked]
        if problem:
            problems.append(
                error("recipe.variable", f"{dotted(path)}: {problem[0]}", where=str(node.place), hint=problem[1])
            )
            return replace(node, value=None)
        if _WHOLE.match(node.value):  # one expression is the whole value: "{{ env.DIM }}" may be a number
            return replace(parse_value(text, node.place), key_place=node.key_place)
        return replace(node, value=text)

    return tree.map_scalars(change), tuple(problems)


def sandbox() -> ImmutableSandboxedEnvironment:
    """Jinja2 that changes nothing, and in which a name without a value is an error."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.filters["replace"] = _replace
    return environment


def _replace(text: object, old: object, new: object, count: int = -1) -> str:
    """``str.replace`` that stops before a chain of them fills the memory."""
    before, what, by = str(text), str(old), str(new)
    times = before.count(what) if count < 0 else min(count, before.count(what))
    if len(before) + times * len(by) > MAX_LENGTH:
        raise ValueError(f"the text becomes longer than {MAX_LENGTH} characters")
    return before.replace(what, by, count)


def _render(
    environment: ImmutableSandboxedEnvironment, text: str, variables: Variables
) -> tuple[str, tuple[str, str] | None]:
    """The text, or (what is wrong, what to write instead)."""
    from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

    if len(text) > MAX_LENGTH:
        return "", ("too long for a value with variables", "shorten it")
    try:
        problem = _allowed(environment.parse(text), variables)
        if problem:
            return "", problem
        result = environment.from_string(text).render(variables.context())
    except TemplateSyntaxError as fault:
        return "", (f"not a valid expression: {fault.message}", "write {{ name }} or {{ env.NAME }}")
    except UndefinedError:
        return "", ("an environment variable it names is not set", "set it, or write {{ env.NAME | default('...') }}")
    except (TemplateError, TypeError, ValueError, OverflowError, MemoryError) as fault:
        return "", (f"cannot be filled in: {fault}", "write {{ name }} or {{ env.NAME }}")
    return (result, None) if len(result) <= MAX_LENGTH else ("", ("too long once it is filled in", "shorten it"))


def _allowed(template: nodes.Template, variables: Variables) -> tuple[str, str] | None:
    """A recipe may look values up and fall back on defaults; it may not compute."""
    from jinja2 import nodes

    lookups = [n for n in template.find_all(nodes.Node) if isinstance(n, (nodes.Getattr, nodes.Getitem))]
    looked_into = {id(node.node) for node in lookups}
    for node in template.find_all(nodes.Node):
        if isinstance(node, nodes.Name):
            fault = _name_fault(node.name, variables, alone=id(node) not in looked_into)
        elif isinstance(node, (nodes.Getattr, nodes.Getitem)):
            fault = _env_fault(node, variables)
        elif isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            fault = (f"the filter '{node.name}' is not available", did_you_mean(node.name, _FILTERS))
        elif not isinstance(node, (nodes.Output, nodes.TemplateData, nodes.Const, nodes.Filter, nodes.Concat)):
            fault = ("only variables and filters are allowed in {{ }}", "write {{ name }} or {{ env.NAME }}")
        else:
            fault = None
        if fault:
            return fault
    return None


def _name_fault(name: str, variables: Variables, *, alone: bool) -> tuple[str, str] | None:
    if name == "env":
        return ("env alone is not a value", "write {{ env.NAME }}") if alone else None
    if name not in variables.recipe:
        return (f"there is no variable '{name}'", did_you_mean(name, ("env", *variables.recipe)))
    return None


def _env_fault(node: nodes.Getattr | nodes.Getitem, variables: Variables) -> tuple[str, str] | None:
    from jinja2 import nodes

    name = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
    of_env = isinstance(node.node, nodes.Name) and node.node.name == "env"
    if not (of_env and isinstance(name, str) and _VARIABLE.match(name)):
        return ("only env has names below it", "write {{ name }} or {{ env.NAME }}")
    if SECRET.search(name):
        return (
            f"env.{name} holds a secret and may not be written into a recipe",
            "leave it in the environment: the trainer finds HF_TOKEN and WANDB_API_KEY there",
        )
    if not variables.may_read(name):
        hint = "write the address, or {env: NAME}" if variables.silent else f"allow it in your settings: env: [{name}]"
        return (f"env.{name} is not a variable that a recipe may read", hint)
    return None
