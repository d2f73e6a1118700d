"""What is compared: the files, the base model they belong to, and what is known of the run that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kohya_runner.artefact.model_file import CONVERT, code_in
from kohya_runner.compare.checkpoints import SUFFIX, Candidate, in_folder
from kohya_runner.engines.painting import MODELS, Base
from kohya_runner.errors import PreflightError, UsageError
from kohya_runner.findings import error
from kohya_runner.plan.consent import WEIGHTS, check_keys, is_shipped
from kohya_runner.record import record as records
from kohya_runner.record.record import Record
from kohya_runner.record.run_paths import COMPARISON, RunPaths
from kohya_runner.run import views
from kohya_runner.safe_files import is_inside, link_out
from kohya_runner.workspace import Workspace

HOW_TO_NAME = "give --recipe RECIPE, or --family F and --model MODEL"


@dataclass(frozen=True, slots=True)
class SweepSubject:
    """A sweep's input. ``recipe`` is what the recipe itself says, without the values nobody wrote."""

    name: str
    files: tuple[Path, ...]
    base: Base
    output: Path
    workspace: Workspace
    run_dir: Path | None = None
    record: Record | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_folder: Path | None = None  # where a recipe that was named lies
    chosen: tuple[Candidate, ...] = ()  # in place of all files: one of each of several runs
    runs: tuple[tuple[str, ...], ...] = ()  # a table of those runs, its headings first


@dataclass(frozen=True, slots=True)
class Named:
    """What the command line says about the base model and the places."""

    targets: tuple[str, ...] = ()
    recipe: Path | None = None
    family: str | None = None
    model: str | None = None
    components: tuple[str, ...] = ()
    output: Path | None = None
    workspace: str | None = None
    trust: tuple[str, ...] = ()


def without_harm(subject: SweepSubject, trust: tuple[str, ...], named: tuple[str, ...] = ()) -> SweepSubject:
    """The subject as it may be painted although a stranger may have written its record or its recipe.

    ``named`` are the components of the command line (``NAME=PATH``): a person's own word needs no consent.

    Raises:
        PreflightError: a file that paints can run code, or the record names a module that is not the trainer's.
    """
    check_keys(trust)
    base, allowed = subject.base, {text.removeprefix("args.").removeprefix("components.") for text in trust}
    findings = []
    name = "network_module"
    if (text := base.text(name)) and not is_shipped(name, text) and name not in allowed:
        message = f"--{name}={text}: neither the trainer's nor of a package that it knows"
        findings.append(error("recipe.trust", message, hint=f"if you know it, add --trust args.{name}"))
    files = {"model": base.model, **{name: text for name in sorted(WEIGHTS) if (text := base.text(name))}}
    files |= {"compare.clip": str((subject.recipe.get("compare") or {}).get("clip") or "")}
    for name, text in files.items():
        said = code_in(Path(text), name, base.family) if text else ""
        if said and name not in allowed:
            key = name if name in ("model", "compare.clip") else f"components.{name}"
            hint = f"take a .safetensors file; or {CONVERT}; or --trust {key}"
            findings.append(error("model.pickle", f"{name}: {text} {said}", hint=hint))
    room = subject.workspace
    places = (*map(Path, room.environment().values()), subject.output)
    roots = (room.root, subject.run_dir or room.root)
    links = dict.fromkeys(link for root in roots for place in places if (link := link_out(root, place)))
    findings += [error("disk.link", f"{link} is a link that leads out", hint="remove it") for link in links]
    if findings:
        raise PreflightError(f"{subject.name}: not painted with what may run code", findings=tuple(findings))
    read = ("train_data_dir", "reg_data_dir", "dataset_config", "in_json", "tokenizer_cache_dir")
    known = (subject.workspace.root, subject.recipe_folder or subject.workspace.root)
    own = {text.partition("=")[0] for text in named}
    kept = {n: v for n, v in base.options.items() if n not in read or n in own or is_inside(str(v), known)}
    return replace(subject, base=replace(base, options=kept))


def find_subject(named: Named, *, painting: bool = True) -> SweepSubject:
    """The run, folder or files a person means; what only picks needs no base model.

    Raises ``UsageError``: there is no such run or file, or nobody said what the base model is.
    """
    paths = [Path(os.path.abspath(Path(t).expanduser())) for t in named.targets]
    for place in (paths[0], paths[0].parent) if len(paths) == 1 and paths[0].is_dir() else ():
        if RunPaths(place).record.is_file():  # the run's folder, or its output folder
            return of_run(place, named)
    if paths and all(p.exists() for p in paths):
        return _of_files(paths, named, painting=painting)
    if len(paths) > 1:
        missing = "\n".join(f"{p}: there is no such file or folder" for p in paths if not p.exists())
        raise UsageError(missing, hint="name one run, one folder, or several files")
    try:
        return of_run(views.one_run(named.workspace, named.targets[0] if paths else None).path, named)
    except UsageError as fault:
        if paths and (os.sep in named.targets[0] or named.targets[0].endswith(SUFFIX)):
            raise UsageError(f"{paths[0]}: there is no such file or folder, and {fault.message}") from None
        raise


def of_run(run_dir: Path, named: Named | None = None) -> SweepSubject:
    """A run of ours: its record says all there is to know."""
    given = named or Named()
    record = records.read(run_dir)
    stated = stated_values(record.recipe)
    family = given.family or str(stated.get("family") or "")
    options = options_of(record.argv) | _components(given)
    folder = run_dir / record.output_dir
    in_workspace = len(run_dir.parents) > 2 and run_dir.parents[1].name == "runs"
    room = Workspace(run_dir.parents[2]) if in_workspace else views.workspace(given.workspace)
    return SweepSubject(
        name=record.name,
        files=in_folder(folder) if folder.is_dir() else (),
        base=Base(family, given.model or _model(options), options),
        output=given.output or RunPaths(run_dir).comparison,
        workspace=room,
        run_dir=run_dir,
        record=record,
        recipe=stated,
    )


def _of_files(paths: Sequence[Path], named: Named, *, painting: bool) -> SweepSubject:
    files = tuple(file for p in paths for file in (in_folder(p) if p.is_dir() else (p,)))
    home = paths[0] if paths[0].is_dir() else paths[0].parent
    base, recipe = _of_recipe(named) if named.recipe else (Base(named.family or "", named.model or ""), {})
    base = Base(named.family or base.family, named.model or base.model, {**base.options, **_components(named)})
    if not files:
        where = ", ".join(map(str, paths))
        raise UsageError(f"{where}: no LoRA files here", hint="name a run, a folder of .safetensors, or the files")
    if painting and not (base.family and base.model):
        raise UsageError("the base model of these files is not known", hint=HOW_TO_NAME)
    return SweepSubject(
        name=home.name,
        files=files,
        base=base,
        output=named.output or home / COMPARISON,
        workspace=views.workspace(named.workspace),
        recipe=recipe,
        recipe_folder=named.recipe.parent.absolute() if named.recipe else None,
    )


def _of_recipe(named: Named) -> tuple[Base, Mapping[str, Any]]:
    """The base model of a recipe, as its training would get it."""
    from kohya_runner.plan.pipeline import make_plan
    from kohya_runner.plan.report import plan_json
    from kohya_runner.plan.value import Request

    assert named.recipe is not None  # noqa: S101 - the caller looked
    plan = make_plan(Request(recipe=named.recipe, workspace=named.workspace, elsewhere=True))
    stated = stated_values(plan_json(plan)["recipe"])
    options = options_of(plan.command.argv) if plan.command else {}
    return Base(str(stated.get("family") or ""), _model(options) or str(stated.get("model") or ""), options), stated


def _model(options: Mapping[str, str | bool]) -> str:
    return next((str(options[name]) for name in MODELS if options.get(name)), "")


def _components(named: Named) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {}
    for text in named.components:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--component {text}: write NAME=PATH, such as ae=/models/ae.safetensors")
        found[name] = value
    return found


def options_of(argv: Sequence[str]) -> dict[str, str | bool]:
    """The options of a recorded command: ``--name=value`` and switches, as the runner renders them."""
    found: dict[str, str | bool] = {}
    for token in argv:
        if token.startswith("--"):
            name, equals, value = token[2:].partition("=")
            found[name] = value if equals else True
    return found


def stated_values(tree: Any) -> Any:
    """A recipe as recorded (``{"value": ..., "source": ...}``), without sources and without defaults."""
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"value", "source"}:
        return tree["value"]
    kept = {
        key: stated_values(value)
        for key, value in tree.items()
        if not (isinstance(value, dict) and value.get("source") == "default" and "value" in value)
    }
    return [kept[key] for key in sorted(kept, key=int)] if kept and all(k.isdecimal() for k in kept) else kept
