"""What goes to another machine: one recipe, resolved, and links to each file that it names, by relative paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kohya_runner.dataset.captions import is_rows_file
from kohya_runner.engines.arguments import PATHS
from kohya_runner.errors import RecipeError, RemoteError
from kohya_runner.findings import error
from kohya_runner.plan.dataset_versions import version_or_finding
from kohya_runner.plan.value import Plan
from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import RandomModel, reference
from kohya_runner.recipe.starter import resolved_recipe
from kohya_runner.record.run_paths import RECIPE
from kohya_runner.safe_files import PRIVATE, is_inside, write_text
from kohya_runner.text import masked_option
from kohya_runner.yamlio import Key, Node, dotted

STAYS_HERE: tuple[tuple[Key, ...], ...] = (("extends",), ("workspace",), ("launch", "python"), ("finish", "stop_pod"))
"""Keys that mean this machine, or that would end the other one before its results are here."""


@dataclass(slots=True)
class _Packing:
    """A pack in the making; ``bounds`` are the folders of datasets with those that their links may lead into."""

    folder: Path
    bounds: Mapping[Path, tuple[Path, ...]]
    taken: dict[Path, str] = field(default_factory=dict)
    bytes: int = 0

    def moved(self, path: Path) -> str:
        """Where a file or folder is in the pack. One that is not here is the other machine's own, and stays."""
        if not path.exists():
            return str(path)
        whole = path.parent if is_rows_file(path) and path.is_file() else path
        if whole not in self.taken:
            self.taken[whole] = f"./files/{len(self.taken)}/{whole.name}"
            self._link(whole, self.folder / self.taken[whole])
        return self.taken[whole] if whole == path else f"{self.taken[whole]}/{path.name}"

    def _link(self, source: Path, target: Path) -> None:
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
            self.bytes += source.stat().st_size
            return
        target.mkdir(parents=True, exist_ok=True)
        bounds = self.bounds.get(source)
        for entry in sorted(source.iterdir()):
            hidden = entry.name.startswith(".")
            if hidden or (entry.is_symlink() and (entry.is_dir() or (bounds and not is_inside(entry, bounds)))):
                continue
            if entry.is_file() or entry.is_dir():
                if bounds and entry.is_dir():
                    self.bounds = {**self.bounds, entry: bounds}
                self._link(entry, target / entry.name)


def pack(plan: Plan, folder: Path, title: str) -> int:
    """Write the pack of a plan into a new folder; its size in bytes, of the files that its links lead to.

    Raises ``RecipeError``: the recipe holds a secret: it would lie on the other machine in plain text.
    """
    loaded = _for_there(plan)
    secret = [path for path, node in loaded.tree.leaves() if masked_option(str(path[-1]), node.value) != node.value]
    if secret:
        hint = "take it out and set its variable (HF_TOKEN, WANDB_API_KEY): that is handed over without a trace"
        told = [error("recipe.value", f"{dotted(path)}: holds a secret, which is not sent in a recipe",
                      where=str(loaded.place(*path)), hint=hint) for path in secret]  # fmt: skip
        raise RecipeError(f"{loaded.path}: nothing was sent", findings=told)
    sources = [scan.source for scan in plan.scans]
    packing = _Packing(folder, {s.folder: (Path("/"),) if s.follow else (s.folder, *s.roots) for s in sources})
    folder.mkdir(parents=True)
    loaded = replace(loaded, tree=loaded.tree.map_scalars(_own_paths(loaded, packing.moved)))
    write_text(folder / RECIPE, resolved_recipe(loaded, PATHS, title, (), packing.moved), PRIVATE)
    return packing.bytes


def _own_paths(loaded: Loaded, moved: Callable[[Path], str]) -> Callable[[tuple[Key, ...], Node], Node]:
    """What the comparison after the run needs; the rest of the paths is known to ``resolved_recipe``."""

    def change(path: tuple[Key, ...], node: Node) -> Node:
        if path[:2] in (("compare", "controls"), ("compare", "clip")) and isinstance(node.value, str):
            return replace(node, value=moved(loaded.path_from(node.value, *path)))
        return node

    return change


def _for_there(plan: Plan) -> Loaded:
    """The recipe with its variables replaced and its datasets as prepared, without what means this machine."""
    loaded, recipe = plan.loaded, plan.loaded.recipe
    assert recipe is not None  # noqa: S101 - a plan that is ok
    tree, datasets = loaded.tree, list(recipe.datasets)
    for path in STAYS_HERE:
        tree = _put(tree, path, None)
    for index, entry in enumerate(datasets):
        version = version_or_finding(loaded, index, plan.workspace)
        if isinstance(version, Path):
            node = tree.find(("datasets", index, "images"))
            tree = _put(tree, ("datasets", index, "images"), replace(node, value=str(version)))
            tree = _put(_put(tree, ("datasets", index, "prepare"), None), ("datasets", index, "caption"), None)
            datasets[index] = entry.model_copy(update={"prepare": None, "caption": None})
        elif version is not None:
            hint = "kohya-runner launch RECIPE --prepare makes it here"
            raise RemoteError(f"datasets.{index} is not prepared: nothing was sent", hint=hint)
    own: dict[str, object] = {"workspace": None, "datasets": tuple(datasets)}
    own["launch"] = recipe.launch.model_copy(update={"python": None})
    own["finish"] = recipe.finish.model_copy(update={"stop_pod": False})
    return replace(loaded, tree=tree, written=None, recipe=recipe.model_copy(update=own))


def _put(tree: Node, path: tuple[Key, ...], node: Node | None) -> Node:
    """The tree with another node at ``path``; None takes it away."""
    head, *rest = path
    child = tree.child(head)
    if child is None:
        return tree
    made = _put(child, tuple(rest), node) if rest else node
    if isinstance(tree.value, tuple):
        return replace(tree, value=tuple(made if one is child and made else one for one in tree.value))
    items = dict(tree.value) if isinstance(tree.value, dict) else {}
    others = {key: one for key, one in items.items() if key != head}
    return replace(tree, value=others if made is None else {**items, str(head): made})


def options_there(plan: Plan) -> tuple[str, ...]:
    """Options of launch on the other machine: what was allowed here is allowed there."""
    trusted = [one.key for one in plan.consequences if one.allowed and one.key != "workspace"]
    words = [f"--trust={key}" for key in dict.fromkeys(trusted)]
    words += [f"--allow={code}" for code in plan.request.allow]
    return (*words, *(["--practice"] if plan.request.practice else []))


def secrets(plan: Plan) -> tuple[str, ...]:
    """Names of the variables that the run may need there."""
    recipe = plan.loaded.recipe
    assert recipe is not None  # noqa: S101 - a plan that is ok
    receiver = recipe.finish.receiver
    names = [receiver.env] if receiver and receiver.env else []
    names += ["WANDB_API_KEY"] if recipe.args.get("log_with") in ("wandb", "all") else []
    models: dict[tuple[Key, ...], str | RandomModel] = {
        ("model",): recipe.model,
        **{("components", name): text for name, text in recipe.components.items()},
    }
    asks = any(reference(plan.loaded, value, *at).kind.startswith("hub") for at, value in models.items())
    asks = asks or recipe.finish.publication is not None or bool(recipe.args.get("huggingface_repo_id"))
    return (*names, *(["HF_TOKEN"] if asks else []))
