"""What the sources of installed packages say: classes and what they take, lists, enumerations. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kohya_runner.options.constants import NotConstantError, evaluate
from kohya_runner.options.declaration import declared, dotted
from kohya_runner.options.modules import MAX_HOPS, External, Imported, named, parsed, top_level
from kohya_runner.options.packages import Takes
from kohya_runner.options.script_options import Option

Parts = tuple[str, ...]


class Found(NamedTuple):
    """The statement or expression that a name stands for, and the module that it is in."""

    node: ast.AST
    module: Parts


class PackageSources:
    """The files below the folders of some packages, each parsed once."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        self.roots = roots
        self._trees: dict[Parts, ast.Module | None] = {}

    def find(self, name: str, hops: int = 0) -> Found | None:
        """What a dotted name of a package stands for; imports are followed."""
        parts = tuple(name.split("."))
        for length in range(len(parts) - 1, 0, -1):
            tree = self.tree(parts[:length])
            if tree is not None:
                return self._within(tree, parts[:length], parts[length:], hops)
        return None

    def _within(self, tree: ast.Module, module: Parts, rest: Parts, hops: int) -> Found | None:
        for statement, _ in reversed(list(top_level(tree.body, conditional=False))):
            if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == rest[0]:
                return Found(statement, module) if len(rest) == 1 else None
            for name, meaning in named(statement, self._folder(module)):
                if name == rest[0] and isinstance(meaning, Imported) and hops < MAX_HOPS:
                    return self.find(".".join((*meaning.parts, *rest[1:])), hops + 1)
                if name == rest[0] and isinstance(meaning, ast.expr) and len(rest) == 1:
                    return Found(meaning, module)
        return None

    def _folder(self, module: Parts) -> Parts:
        """The package that a module's relative imports count from."""
        path = self.path(module)
        return module if path is not None and path.name == "__init__.py" else module[:-1]

    def path(self, module: Parts) -> Path | None:
        """The file of a module; None where there is none."""
        root = self.roots.get(module[0])
        if root is None:
            return None
        place = Path(root).joinpath(*module[1:])
        files = (place, place / "__init__.py", place.parent / f"{place.name}.py")
        return next((path for path in files if path.suffix == ".py" and path.is_file()), None)

    def tree(self, module: Parts) -> ast.Module | None:
        """A module as a syntax tree; None for what cannot be read."""
        if module not in self._trees:
            path = self.path(module)
            self._trees[module] = parsed(path) if path is not None else None
        return self._trees[module]

    def takes(self, name: str) -> Takes | None:
        """The parameters of a function or of a class's constructor; None where they cannot be told."""
        found = self.find(name)
        for _ in range(MAX_HOPS):
            if found is None or not isinstance(found.node, ast.ClassDef):
                break
            made = [s for s in found.node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
            base = dotted(found.node.bases[0]) if found.node.bases else ()
            found = Found(made[-1], found.module) if made else self.find(".".join((*found.module, *base)))
        return _takes(found.node) if found is not None and isinstance(found.node, ast.FunctionDef) else None

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of texts, or the keys of a mapping that are texts."""
        found = self.find(name)
        if found is not None and isinstance(found.node, ast.Dict):
            return tuple(str(key.value) for key in found.node.keys if isinstance(key, ast.Constant))
        try:
            value = self._constant(found) if found else ()
        except NotConstantError:
            return ()
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    def classes(self, module: str) -> tuple[str, ...]:
        """The classes that a module lists in ``__all__``."""
        return tuple(name for name in self.strings(f"{module}.__all__") if name[:1].isupper())

    def schedulers(self, enumeration: str) -> dict[str, tuple[str, str]]:
        """Member -> its text, and the function that ``TYPE_TO_SCHEDULER_FUNCTION`` beside it has for it."""
        home, texts = enumeration.rpartition(".")[0], self.find(enumeration)
        table = self.find(f"{home}.TYPE_TO_SCHEDULER_FUNCTION")
        pairs = (
            zip(table.node.keys, table.node.values, strict=True) if table and isinstance(table.node, ast.Dict) else ()
        )
        made = {dotted(k)[-1]: f"{home}.{ast.unparse(v)}" for k, v in pairs if k and dotted(k)}
        found = {}
        for statement in texts.node.body if texts and isinstance(texts.node, ast.ClassDef) else ():
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))) if name in made:
                    found[name] = (text, made[name])
                case _:
                    pass
        return found

    def launcher(self, function: str) -> dict[str, Option]:
        """The options that a function adds to a parser, by name; those of no plain kind are left out."""
        found = self.find(function)
        options: dict[str, Option] = {}
        for call in ast.walk(found.node) if found else ():
            match call:
                case ast.Call(func=ast.Attribute(attr="add_argument")):
                    try:
                        where = f"{'/'.join(found.module)}.py:{call.lineno}" if found else ""
                        row = declared(call, lambda node: self._value(found, node), where)
                    except NotConstantError:
                        continue
                    words = () if row.choices else self.strings(f"accelerate.utils.constants.{row.name.upper()}")
                    numbers = tuple(str(number) for number, _ in enumerate(words, 1))
                    choices = (*words, *map(str.lower, words), *numbers) or row.choices
                    if row.flag.startswith("-"):
                        options[row.name] = replace(row, choices=choices)
                case _:
                    continue
        return options

    def _value(self, found: Found | None, node: ast.expr) -> object:
        if isinstance(node, ast.Name) and node.id in {"str", "int", "float"}:
            return External(f"builtins.{node.id}")
        return self._constant(Found(node, found.module)) if found else None

    def _constant(self, found: Found) -> object:
        """The value of an expression; ``[b.lower() for b in LIST]`` is one of the forms."""
        match found.node:
            case ast.BinOp(left=left, op=ast.Add(), right=ast.ListComp() as right):
                return (*self.texts(left, found), *self.texts(right, found))
            case ast.ListComp(elt=ast.Call(func=ast.Attribute(attr="lower")), generators=[part]):
                return tuple(text.lower() for text in self.texts(part.iter, found))
            case ast.expr() as node:
                return evaluate(node, lambda name: self._named(name, found))
            case _:
                return None

    def texts(self, node: ast.AST, found: Found) -> tuple[str, ...]:
        """A list of texts where ``found`` is; ``NotConstantError`` for anything else."""
        value = self._constant(Found(node, found.module))
        if not isinstance(value, tuple):
            raise NotConstantError(node, "no list")
        return tuple(map(str, value))

    def _named(self, node: ast.expr, found: Found) -> object:
        other = self.find(".".join((*found.module, *dotted(node))))
        if other is None:
            raise NotConstantError(node, "cannot be followed")
        return self._constant(other)


def _takes(function: ast.FunctionDef) -> Takes:
    form = function.args
    plain = [parameter.arg for parameter in (*form.posonlyargs, *form.args)]
    needed = plain[: len(plain) - len(form.defaults)]
    needed += [p.arg for p, default in zip(form.kwonlyargs, form.kw_defaults, strict=True) if default is None]
    names = (*plain, *(parameter.arg for parameter in form.kwonlyargs))
    needed = [name for name in needed if name != "self"]
    return Takes(tuple(name for name in names if name != "self"), tuple(needed), form.kwarg is not None)
