"""The lines of the trainers' sources that the rules rest on: which they are, and where each is in the checkout in use.

``anchors.json`` holds them by engine, by the rule's code and by script ("" for every other script), each as file,
function, a text of the line, and its number at the pinned commit.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kohya_runner.options.modules import parsed

FILE = Path(__file__).with_name("anchors.json")
FOLDERS = ("library", "networks", "src")
"""Where functions move to other files; a script's own function stays the script's."""


class Anchor(NamedTuple):
    """One line of a trainer; ``function`` is its qualified name, "" for the file's own level."""

    file: str
    function: str
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


Places = tuple[Anchor, ...]
Span = tuple[str, int, int]
"""A function's qualified name, its first and its last line."""


@lru_cache
def table() -> Mapping[str, Mapping[str, Mapping[str, Places]]]:
    """All of them: by engine, by code, by script."""
    read = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        engine: {code: {s: tuple(Anchor(*row) for row in rows) for s, rows in of.items()} for code, of in codes.items()}
        for engine, codes in read.items()
    }


def anchors(engine: str, code: str, script: str = "", module: str = "") -> Places:
    """Those of one rule in one script with one network module: of several files only the ones that it runs."""
    rows = table().get(engine, {}).get(code, {})
    found = rows.get(script) or rows.get("", ())
    own = {script, f"{module.replace('.', '/')}.py"}
    return tuple(anchor for anchor in found if anchor.file in own) or found


@dataclass(frozen=True, slots=True)
class Sources:
    """A checkout's files, each read once; ``root`` None: there is none, and the pinned lines stand."""

    root: Path | None
    _lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _spans: dict[str, tuple[Span, ...]] = field(default_factory=dict)

    def places(self, engine: str, code: str, script: str = "", module: str = "") -> Places | None:
        """Where a rule's lines are now; None where one of them has changed or vanished."""
        found = [self.find(anchor) for anchor in anchors(engine, code, script, module)]
        return tuple(anchor for anchor in found if anchor) if all(found) else None

    def find(self, anchor: Anchor) -> Anchor | None:
        """Its place in this checkout: as pinned, in its function, in its file, in a function of its name elsewhere."""
        if self.root is None:
            return anchor
        lines = self.lines(anchor.file)
        if anchor.text in "".join(lines[anchor.line - 1 : anchor.line]):
            return anchor
        return next(self._moved(anchor, lines), None)

    def _moved(self, anchor: Anchor, lines: tuple[str, ...]) -> Iterator[Anchor]:
        numbers = [number for number, line in enumerate(lines, 1) if anchor.text in line]
        spans = self.spans(anchor.file) if numbers else ()
        named = [n for n in numbers if any(name == anchor.function and a <= n <= b for name, a, b in spans)]
        for number in (*named, *numbers):
            around = ((a, name) for name, a, b in spans if a <= number <= b)
            yield anchor._replace(line=number, function=max(around, default=(0, ""))[1])  # the innermost
        if "/" in anchor.file and anchor.function:
            yield from self._elsewhere(anchor)

    def _elsewhere(self, anchor: Anchor) -> Iterator[Anchor]:
        assert self.root is not None  # noqa: S101 - find() asked
        definition = f" {anchor.function.rpartition('.')[2]}("
        for folder in FOLDERS:
            for path in sorted((self.root / folder).rglob("*.py")):
                name = path.relative_to(self.root).as_posix()
                lines = self.lines(name)
                if any(definition in line for line in lines) and any(anchor.text in line for line in lines):
                    spans = [(a, b) for function, a, b in self.spans(name) if function == anchor.function]
                    for number, line in enumerate(lines, 1):
                        if anchor.text in line and any(a <= number <= b for a, b in spans):
                            yield anchor._replace(file=name, line=number)

    def spans(self, name: str) -> tuple[Span, ...]:
        """A file's functions; none of what is no Python."""
        if name not in self._spans:
            tree = parsed(self.root / name) if self.root and name.endswith(".py") else None
            self._spans[name] = tuple(_below(tree, "")) if tree else ()
        return self._spans[name]

    def lines(self, name: str) -> tuple[str, ...]:
        """A file's lines; none where it cannot be read."""
        assert self.root is not None  # noqa: S101 - find() asked
        if name not in self._lines:
            try:
                text = (self.root / name).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                text = ""
            self._lines[name] = tuple(text.splitlines())
        return self._lines[name]


def _below(node: ast.AST, outer: str) -> Iterator[Span]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield outer + child.name, child.lineno, child.end_lineno or child.lineno
            yield from _below(child, f"{outer}{child.name}.")
        elif isinstance(child, ast.stmt):
            yield from _below(child, outer)


def encode_anchors(found: Mapping[str, Mapping[str, Mapping[str, Places]]]) -> str:
    """As ``anchors.json`` holds them: a rule a line."""
    engines = []
    for engine, codes in found.items():
        rules = [f" {json.dumps(code)}: {json.dumps(codes[code], ensure_ascii=False)}" for code in sorted(codes)]
        engines.append(f"{json.dumps(engine)}: {{\n" + ",\n".join(rules) + "\n}")
    return "{\n" + ",\n".join(engines) + "\n}\n"
