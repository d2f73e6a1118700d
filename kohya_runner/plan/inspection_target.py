"""What is inspected, and by which rules: the datasets of a recipe, or a folder with nothing but pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import workspace as workspaces
from kohya_runner.dataset.checks.folders import repeats_and_token
from kohya_runner.dataset.edit_rows import SUFFIXES
from kohya_runner.dataset.facts import CaptionRules, Source, dotted
from kohya_runner.dataset.listing import is_image
from kohya_runner.dataset.pairs import CONCEPT
from kohya_runner.dataset.trainer_view import Rules, rules_from
from kohya_runner.engines import table
from kohya_runner.engines.table import INFOS, user_settings
from kohya_runner.engines.text_encoders import encoders
from kohya_runner.errors import RecipeError, TrainerError, UsageError
from kohya_runner.hub import access
from kohya_runner.plan.tokenizer_fetch import complete
from kohya_runner.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kohya_runner.findings import Finding
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.workspace import Workspace

RESOLUTIONS = {"sd15": 512, "sd2": 768}
"""What a family is trained at where a folder alone is looked at; 1024 for all others."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for. ``family`` and ``resolution`` are for a folder; a recipe has its own."""

    target: Path
    overrides: tuple[str, ...] = ()
    workspace: str | None = None
    sd_scripts: str | None = None
    family: str | None = None
    resolution: str | None = None
    caption_extension: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Folders to read and rules to see them by. ``stated`` says in words where the rules come from."""

    name: str
    sources: tuple[Source, ...]
    rules: Rules
    workspace: Workspace
    stated: str
    findings: tuple[Finding, ...] = ()
    own: Callable[[Source], Rules] | None = None  # the rules of a dataset with options of its own


def find_target(wish: Wish, environ: Mapping[str, str] | None = None) -> Target:
    """The target of a wish; nothing is read of the images yet.

    Raises:
        UsageError: there is neither such a folder nor such a file, or an option does not fit.
        RecipeError: the recipe cannot be read; its findings say why.
    """
    env = dict(os.environ if environ is None else environ)
    if wish.target.is_dir() or (wish.target.is_file() and wish.target.suffix in SUFFIXES):
        return _folder(wish, env)
    if not wish.target.is_file():
        raise UsageError(f"{wish.target}: there is no such folder or recipe")
    if wish.family or wish.resolution or wish.caption_extension:
        hint = "use --set family=..., --set args.resolution=..., --set args.caption_extension=..."
        raise UsageError("--family, --resolution and --caption-extension are for a folder", hint=hint)
    return _recipe(wish, env)


def _folder(wish: Wish, env: Mapping[str, str]) -> Target:
    if wish.overrides:
        raise UsageError("--set is for a recipe", hint="for a folder there are --family and --resolution")
    family = wish.family or "sdxl"
    support = table.find(family, "lora")
    if support is None:
        raise UsageError(f"--family {family}: not supported", hint=did_you_mean(family, table.families()))
    resolution = wish.resolution or str(RESOLUTIONS.get(family, 1024))
    options = {"resolution": resolution, "enable_bucket": True, "cache_latents": True}
    fallback = user_settings(env).workspace
    room = workspaces.choose(wish.workspace, str(fallback) if fallback else None, env, Path.cwd())
    root = _checkout(wish, env)
    places = _places(room, None)
    found = complete(
        support, lambda: encoders(support, options.get, places=places, checkout=root), places[-1], access(env)
    )
    rules = rules_from(options.get, found)
    if rules.buckets is None:
        raise UsageError(f"--resolution {resolution}: not a resolution", hint="write one as 1024 or 1024,768")
    folder = Path(os.path.abspath(wish.target))
    stated = f"as {support.title} at {resolution} with enable_bucket would see it; a recipe gives exact results"
    return Target(folder.name, _sources(folder, wish.caption_extension or ".txt"), rules, room, stated)


def _sources(folder: Path, extension: str) -> tuple[Source, ...]:
    """A folder of pictures is one dataset; one of ``N_concept`` folders is one for each, as the trainer reads it."""
    rules = CaptionRules(extension=dotted(extension))
    if folder.is_file():  # of edits
        return (Source(folder, CONCEPT, captions=rules, where=str(folder)),)
    with os.scandir(folder) as children:
        kinds = [(child.name, child.is_dir()) for child in children]
    folders = sorted(name for name, is_dir in kinds if is_dir)
    named = [(folder / name, *repeats_and_token(name)) for name in folders]
    repeated = [(child, repeats, token) for child, repeats, token in named if repeats and token]
    if repeated and not any(is_image(name) for name, is_dir in kinds if not is_dir):
        return tuple(Source(child, token, repeats, captions=rules) for child, repeats, token in repeated)
    repeats, token = repeats_and_token(folder.name)
    return (Source(folder, token or folder.name, repeats or 1, captions=rules),)


def _recipe(wish: Wish, env: Mapping[str, str]) -> Target:
    from kohya_runner.engines import arguments
    from kohya_runner.engines.parsed_options import as_parsed
    from kohya_runner.engines.table import ENGINES, options_for
    from kohya_runner.plan import data
    from kohya_runner.recipe.load import load

    loaded = load(wish.target, wish.overrides, environ=env)
    if loaded.recipe is None:
        raise RecipeError(f"{wish.target} cannot be used", findings=loaded.findings)
    support = table.find(loaded.recipe.family, loaded.recipe.method)
    if support is None:
        raise RecipeError(
            f"{wish.target}: family {loaded.recipe.family} is not supported", hint="see: kohya-runner models"
        )
    room = _room(wish, loaded, env)
    root = _checkout(wish, env, support.engine)
    options = options_for(support.script, root, room.cache / "kohya-runner", write_cache=False)
    engine = ENGINES[support.engine]
    given, faults = arguments.from_recipe(loaded, engine, support, options)
    settings = as_parsed(options, given)
    extension = str(settings.given.get("caption_extension") or ".txt")
    sources, wrong = data.sources(loaded, extension, room, partial(engine.own_options, support))
    model, places = str(loaded.recipe.model), _places(room, settings.get("tokenizer_cache_dir"), loaded)
    look = partial(encoders, support, settings.get, model=model, places=places, checkout=root)
    found = complete(support, look, places[-1], access(env))
    stated = f"as {support.script} will see it with the options of {wish.target.name}"
    wrong = (*wrong, *engine.dataset_findings(loaded, support, options))
    rules = replace(engine.picture_rules(loaded, settings), encoders=found)
    own = engine.dataset_rules(settings, found)
    return Target(loaded.recipe.name, sources, rules, room, stated, (*loaded.findings, *faults, *wrong), own)


def _room(wish: Wish, loaded: Loaded, env: Mapping[str, str]) -> Workspace:
    stated = loaded.recipe.workspace if loaded.recipe else None
    named = str(loaded.path_from(stated, "workspace")) if stated else None
    fallback = user_settings(env).workspace
    return workspaces.choose(wish.workspace, named or (str(fallback) if fallback else None), env, Path.cwd())


def _checkout(wish: Wish, env: Mapping[str, str], engine: str = table.DEFAULT.name) -> Path | None:
    """The trainer's checkout where there is one: its options and its tokenizers are the ones that count."""
    from kohya_runner.install.setup import find_trainer

    try:
        checkout, _ = find_trainer(env, user_settings(env), sd_scripts=wish.sd_scripts, engine=INFOS[engine])
    except TrainerError:
        if wish.sd_scripts:
            raise
        return None
    return checkout.root if checkout else None


def _places(room: Workspace, stated: object, loaded: Loaded | None = None) -> tuple[Path, ...]:
    """Where tokenizers may be: the option's folder, those of a random-weight model, the workspace's Hub cache."""
    from kohya_runner.install.random_model import random_model_paths
    from kohya_runner.recipe.models import RandomModel

    model = loaded.recipe.model if loaded and loaded.recipe else None
    made = (random_model_paths(model.random, room.models).tokenizers,) if isinstance(model, RandomModel) else ()
    own = (Path(str(stated)),) if stated else ()
    return (*own, *made, Path(room.environment()["HF_HUB_CACHE"]))
