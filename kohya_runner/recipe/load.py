"""From a recipe file to a checked ``Recipe`` whose every value knows its place, or to all that is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner import yamlio
from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.recipe.models import Dataset, Recipe
from kohya_runner.recipe.template import Variables, has_template, render
from kohya_runner.recipe.validate import Advice, no_advice, readable_datasets, special_files, validate
from kohya_runner.safe_files import special
from kohya_runner.slips import NO_RECIPE, other_file
from kohya_runner.text import nearest
from kohya_runner.yamlio import Key, Node, Place, merge

MAX_EXTENDS = 16
MAX_KEYS = 20
MAX_WORD = 500  # of a name that variables repeat


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe as read. ``recipe`` is None where it is too wrong to go on; ``findings`` say why."""

    path: Path
    tree: Node
    recipe: Recipe | None
    findings: tuple[Finding, ...]
    written: Node | None = None  # the tree before variables were replaced

    def place(self, *path: Key) -> Place:
        """Where the value at ``path`` was written, or the nearest thing above it that was."""
        return self.tree.find(path).place

    def where(self, *path: Key) -> str:
        """``place`` as text; for a key of a mapping, where the key stands."""
        node = self.tree.find(path)
        return str(node.key_place or node.place)

    @property
    def args(self) -> dict[str, Any]:
        """``args`` as far as it can be read, also of a recipe that is wrong elsewhere."""
        if self.recipe is not None:
            return dict(self.recipe.args)
        node = self.tree.child("args")
        plain = node.plain() if node is not None else None
        return plain if isinstance(plain, dict) else {}

    @property
    def datasets(self) -> dict[int, Dataset]:
        """The entries of ``datasets`` that are right in themselves, by their number."""
        return dict(enumerate(self.recipe.datasets)) if self.recipe is not None else readable_datasets(self.tree)

    def nulled(self, option: str) -> bool:
        """Whether ``args`` says null: the trainer's own default, not the runner's."""
        args = self.tree.child("args")
        node = args.child(option) if args is not None else None
        return node is not None and node.value is None

    def each_has(self, option: str) -> bool:
        entries = self.datasets.values()
        return bool(entries) and all(option in entry.options for entry in entries)

    @property
    def caption_extension(self) -> str:
        """What captions end with: ``.txt`` unless the recipe says otherwise, ``.caption`` for null."""
        own = ".caption" if self.nulled("caption_extension") else ".txt"
        return str(self.args.get("caption_extension") or own)

    def word(self, key: str, default: str = "") -> str:
        """A text of the recipe's top level, also of a recipe that is wrong elsewhere."""
        node = self.tree.child(key)
        return node.value if node is not None and isinstance(node.value, str) else default

    def path_from(self, text: str, *path: Key) -> Path:
        """A path as the recipe states it, relative to the file it was written in."""
        return Path(os.path.abspath(self.place(*path).folder / os.path.expanduser(text)))  # noqa: PTH111 - ~nobody raises nothing


def load(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    readable: Collection[str] = (),
    advice: Advice = no_advice,
) -> Loaded:
    """Read ``path``, what it extends and the ``--set`` overrides; nothing is raised for what the file says.

    ``readable`` are variables of the environment that a recipe may read besides the usual ones.

    Raises:
        UsageError: there is no such file, or an override has no ``=``.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such recipe", hint=_near(path))
    findings: list[Finding] = []
    tree = _Files(findings).read(path)
    if tree.value is None and findings:  # not even YAML: nothing else can be said
        return Loaded(path, tree, None, tuple(findings))
    tree = _override(tree, overrides, findings)
    if not isinstance(tree.value, dict):
        findings.append(
            error("recipe.syntax", "a recipe is a mapping of keys", where=str(tree.place), hint="begin with name: ...")
        )
        return Loaded(path, tree, None, tuple(findings))
    rendered, faults = render(tree, _variables(tree, os.environ if environ is None else environ, readable))
    findings.extend(faults)
    if (entries := rendered.child("datasets")) and any(key[-1] == "layout" for key, _ in entries.leaves() if key):
        from kohya_runner.recipe.kohya_layout import folders_of_parents

        rendered, tree = folders_of_parents(rendered, tree)
    recipe, faults = (None, odd) if (odd := special_files(rendered)) else validate(rendered, advice)
    told = {_line(finding) for finding in findings}
    findings.extend(fault for fault in faults if fault.code == "recipe.unknown_key" or _line(fault) not in told)
    return Loaded(path, rendered, recipe, _sorted(findings), tree)


class _Files:
    """The files of one load, each read once however often it is extended, and what is wrong with them."""

    def __init__(self, findings: list[Finding]) -> None:
        self.trees: dict[Path, Node] = {}
        self.findings = findings

    def read(self, path: Path, chain: tuple[Path, ...] = ()) -> Node:
        real = path.resolve()
        if real not in self.trees:
            node = tree = self._parsed(path)
            for base in reversed(self._bases(node, (*chain, real))):
                tree = merge(base, tree)
            self.trees[real] = tree
        return self.trees[real]

    def _parsed(self, path: Path) -> Node:
        place = Place(_shown(path), path.parent.absolute(), 1, 1)
        weights = "a safetensors file" if path.suffix == ".safetensors" else ""
        text, fault = "", None
        try:
            text = "" if weights else path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as wrong:
            said, hint = f"is not UTF-8 (byte {wrong.start})", "save it as UTF-8"
            fault = error("recipe.syntax", said, where=place.source, hint=hint)
        except OSError as wrong:
            fault = error("recipe.syntax", f"cannot be read: {wrong.strerror}", where=place.source)
        if other := weights or other_file(text):
            hint = NO_RECIPE.format(file=path.name)
            fault = error("recipe.kind", f"is {other}, not a recipe", where=str(place), hint=hint)
        if fault is not None:
            self.findings.append(fault)
            return Node(None, place)
        node, problems = yamlio.parse(text, place.source, place.folder)
        self.findings.extend(problems)
        return node or Node(None, place)

    def _bases(self, node: Node, chain: tuple[Path, ...]) -> list[Node]:
        """The trees that ``extends`` names, in order; a later one is laid on an earlier one."""
        extends = node.child("extends")
        if extends is None or extends.value is None:
            return []
        trees: list[Node] = []
        for entry in extends.value if isinstance(extends.value, tuple) else (extends,):
            target = self._base_file(entry, chain)
            if target is not None:
                base = self.read(target, chain)
                trees = [merge(trees[0], base)] if trees else [base]
        return trees

    def _base_file(self, entry: Node, chain: tuple[Path, ...]) -> Path | None:
        """The file an ``extends`` entry means, if it can be used."""
        text, hint = entry.value, ""
        target = Path(os.path.normpath(entry.place.folder / str(text)))
        if not isinstance(text, str):
            problem = "must name a recipe file"
        elif has_template(text):
            problem = "variables do not work here: the file is read before they are known"
        elif target.resolve() in chain:
            problem = f"{text} extends itself, directly or through others"
        elif len(chain) >= MAX_EXTENDS:
            problem = f"more than {MAX_EXTENDS} levels"
        elif odd := special(target):
            problem = f"{text} {odd}"
        elif not target.is_file():
            problem, hint = f"there is no {_shown(target)}", _near(target) or "the path is relative to this file"
        else:
            return target
        self.findings.append(error("recipe.extends", f"extends: {problem}", where=str(entry.place), hint=hint))
        return None


def _override(tree: Node, overrides: Sequence[str], findings: list[Finding]) -> Node:
    for text in overrides:
        path, equals, value = text.partition("=")
        path = re.sub(r"\[(\d+)\]", r".\1", path)  # datasets[0].images is as good as datasets.0.images
        if not equals or not path:
            raise UsageError("--set needs KEY=VALUE, such as --set args.network_dim=32")
        keys = path.split(".")
        if "" in keys or len(keys) > MAX_KEYS:
            raise UsageError(f"--set {path}: is not a path of keys; write --set args.network_dim=32")
        if keys[0] == "extends":
            raise UsageError("--set extends: a recipe's bases are read before --set; write them into the file")
        place = Place(f"--set {path}", Path.cwd(), by_user=True)  # without the value: it may be a secret
        tree = _put(tree, keys, yamlio.parse_value(value, place), findings)
    return tree


def _put(tree: Node, keys: list[str], value: Node, findings: list[Finding]) -> Node:
    """The tree with ``value`` at the dotted path; a number is an index where the tree has a list."""
    if not keys:
        return value
    head, rest = keys[0], keys[1:]
    if isinstance(tree.value, tuple):
        if not (head.isascii() and head.isdecimal()) or int(head) >= len(tree.value):
            message = f"'{head}' is not an entry of a list of {len(tree.value)}"
            first = value.place.source.replace(f".{head}", ".0" if head.isdecimal() else f".0.{head}", 1)
            hint = f"entries are numbered from 0: write {first}=VALUE"
            findings.append(error("recipe.set", message, where=str(value.place), hint=hint))
            return tree
        items = list(tree.value)
        items[int(head)] = _put(items[int(head)], rest, value, findings)
        return Node(tuple(items), tree.place, tree.key_place)
    children = dict(tree.value) if isinstance(tree.value, dict) else {}
    known = children.get(head, Node({}, value.place, value.place))
    children[head] = _put(known, rest, value, findings)
    return Node(children, tree.place, tree.key_place)


def _variables(tree: Node, environ: Mapping[str, str], readable: Collection[str]) -> Variables:
    """What expressions may name: the recipe's own words that are plain text, and the environment."""
    words = {key: tree.child(key) for key in ("name", "family", "method")}
    texts = {key: node.value for key, node in words.items() if node is not None and isinstance(node.value, str)}
    plain = {key: text for key, text in texts.items() if "{{" not in text and len(text) <= MAX_WORD}
    return Variables(environ, plain, frozenset(readable))


def _line(finding: Finding) -> str:
    """``file:line``: what is wrong with a line is said once."""
    return finding.where.rpartition(":")[0] or finding.where


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    """In the order of the file, the ones without a position last; each once."""

    def key(finding: Finding) -> tuple[str, list[int]]:
        source, _, tail = finding.where.partition(":")
        return source, [int(part) if part.isdigit() else 0 for part in (*tail.split(":", 1), "")[:2]]

    return tuple(sorted(dict.fromkeys(findings), key=key))


def _shown(path: Path) -> str:
    try:
        relative = os.path.relpath(path)
    except OSError:  # the current folder is gone
        return str(path)
    return str(path) if relative.startswith("..") else relative


def _near(path: Path) -> str:
    folder = path.parent
    files = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    best = nearest(path.name, files)
    return f"did you mean {folder / best}?" if best else ""
