"""A checkout's Python files as syntax trees, and what a name in one of them stands for. Nothing is imported."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kohya_runner.errors import TrainerError
from kohya_runner.options.snapshot import content_hash

MAX_BYTES = 4_000_000
MAX_HOPS = 20
CHANGES = frozenset({"append", "extend", "insert", "remove", "pop", "clear", "reverse", "sort"})
"""Methods after which a list is another one than was written down."""


@dataclass(frozen=True, slots=True)
class Imported:
    """``import a.b as c`` or ``from a import b as c``: the name stands for ``a.b``."""

    parts: tuple[str, ...]


Name = ast.FunctionDef | ast.expr | Imported | None
"""What a statement binds a name to; None for something only running it would tell."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One statement that gives a name of a module its meaning."""

    meaning: Name
    conditional: bool  # inside an if or a try


@dataclass(frozen=True, slots=True)
class Module:
    """One file: its path in the checkout and what its top-level names were bound to, in order."""

    path: str
    bindings: dict[str, list[Binding]] = field(repr=False)

    @property
    def package(self) -> tuple[str, ...]:
        """The folder, as relative imports count from it."""
        return tuple(self.path.split("/")[:-1])


@dataclass(frozen=True, slots=True)
class Function:
    module: Module
    node: ast.FunctionDef


@dataclass(frozen=True, slots=True)
class Expression:
    """A module-level constant of the checkout, not yet evaluated."""

    module: Module
    node: ast.expr


@dataclass(frozen=True, slots=True)
class External:
    """Something outside the checkout, by its full name: ``argparse.ArgumentParser``, ``builtins.int``."""

    name: str


Meaning = Function | Expression | External


class Modules:
    """The files of one checkout, each parsed once; ``hashes`` names those that were read."""

    def __init__(self, root: Path, imports: str = "") -> None:
        self.root = root
        self._prefixes = ("", f"{imports}/") if imports else ("",)  # where ``import a.b`` looks for a/b.py
        self.hashes: dict[str, str] = {}
        self._modules: dict[str, Module] = {}

    def module(self, path: str) -> Module:
        """The file at ``path``; a ``TrainerError`` where it is not readable Python."""
        if path not in self._modules:
            file, bindings = self.root / path, dict[str, list[Binding]]()
            try:
                tree = _parse(file)
            except FAULTS as fault:
                raise TrainerError(f"{file}: cannot be read as Python: {fault}") from fault
            self.hashes[path] = content_hash(file)
            for statement, conditional in top_level(tree.body, conditional=False):
                for name, meaning in named(statement, tuple(path.split("/")[:-1])):
                    bindings.setdefault(name, []).append(Binding(meaning, conditional))
            self._modules[path] = Module(path, bindings)
        return self._modules[path]

    def resolve(self, module: Module, names: tuple[str, ...], hops: int = 0) -> Meaning | None:
        """What ``names[0].names[1]...`` means in a module; None where only running it would tell."""
        head, rest = names[0], names[1:]
        bound = module.bindings.get(head)
        if bound is None:
            return External(".".join(("builtins", *names)))
        binding = bound[-1]
        if hops > MAX_HOPS or (len(bound) > 1 and binding.conditional):
            return None
        match binding.meaning:
            case Imported(parts):
                return self._absolute((*parts, *rest), hops + 1)
            case ast.FunctionDef() as node if not rest:
                return Function(module, node)
            case ast.expr() as node if not rest:
                return Expression(module, node)
            case _:
                return None

    def _absolute(self, parts: tuple[str, ...], hops: int) -> Meaning | None:
        for length in range(len(parts), 0, -1):
            path = self._file(parts[:length])
            if path:
                return self.resolve(self.module(path), parts[length:], hops) if parts[length:] else None
        return External(".".join(parts))

    def _file(self, parts: tuple[str, ...]) -> str | None:
        stem = "/".join(parts)
        paths = (f"{prefix}{stem}{end}" for prefix in self._prefixes for end in (".py", "/__init__.py"))
        return next((path for path in paths if (self.root / path).is_file()), None)


def top_level(body: list[ast.stmt], *, conditional: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements of a module that bind its names, and whether each is inside an if or a try."""
    for statement in body:
        match statement:
            case ast.If(body=inner, orelse=other):
                yield from top_level([*inner, *other], conditional=True)
            case ast.Try(body=inner, handlers=handlers, orelse=other, finalbody=final):
                caught = [s for handler in handlers for s in handler.body]
                yield from top_level([*inner, *caught, *other, *final], conditional=True)
            case _:
                yield statement, conditional


def named(statement: ast.stmt, package: tuple[str, ...]) -> Iterator[tuple[str, Name]]:
    """The names one statement binds and what each then means; ``package`` is the folder of the statement's file."""
    match statement:
        case ast.Import(names=aliases):
            for alias in aliases:
                full = tuple(alias.name.split("."))
                yield (alias.asname, Imported(full)) if alias.asname else (full[0], Imported(full[:1]))
        case ast.ImportFrom(module=source, names=aliases, level=level):
            base = package[: max(0, len(package) - level + 1)] if level else ()
            parts = (*base, *(source.split(".") if source else ()))
            yield from ((alias.asname or alias.name, Imported((*parts, alias.name))) for alias in aliases)
        case ast.FunctionDef(name=name):
            yield name, statement
        case ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, None
        case _:
            yield from _assigned(statement)


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, Name]]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method))) if method in CHANGES:
            yield name, None
        case _:  # in whatever way it may be bound or changed (a loop, a with, a +=): only running it would tell
            for node in ast.walk(statement):
                target = node.value if isinstance(node, ast.Subscript) else node
                if isinstance(target, ast.Name) and isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
                    yield target.id, None


FAULTS = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)
"""What a file that is no Python, or cannot be read, raises."""


def parsed(path: Path) -> ast.Module | None:
    """A file as a syntax tree; None for what is no Python, or cannot be read."""
    try:
        return _parse(path)
    except FAULTS:
        return None


def _parse(path: Path) -> ast.Module:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes; this is not a train script")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(path.read_bytes(), filename=path.name)
