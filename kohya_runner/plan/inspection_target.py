"""What is inspected, and by which rules: the datasets of a recipe, or a folder with nothing but pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner import workspace as workspaces
from kohya_runner.dataset.captions import SUFFIXES, is_image
from kohya_runner.dataset.edit import CONCEPT
from kohya_runner.dataset.facts import CaptionRules, Source, dotted
from kohya_runner.dataset.token_count import Encoder
from kohya_runner.dataset.trainer_view import Rules, rules_from
from kohya_runner.engines import table
from kohya_runner.engines.support import Support
from kohya_runner.engines.table import user_settings
from kohya_runner.engines.text_encoders import encoders, missing
from kohya_runner.errors import RecipeError, TrainerError, UsageError
from kohya_runner.findings import Finding
from kohya_runner.hub import TIMEOUT, Access, access, hub_faults, status_of
from kohya_runner.install.checkout import find_trainer
from kohya_runner.plan.data import find_encoders, recipe_sources, tokenizer_places
from kohya_runner.plan.options import recipe_options
from kohya_runner.plan.pipeline import open_recipe
from kohya_runner.plan.value import Request
from kohya_runner.text import did_you_mean, repeats_and_token
from kohya_runner.workspace import Workspace

RESOLUTIONS = {"sd15": 512, "sd2": 768}
"""What a family is trained at where a folder alone is looked at; 1024 for all others."""


@dataclass(frozen=True, slots=True)
class InspectionRequest:
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


def find_target(request: InspectionRequest, environ: Mapping[str, str] | None = None) -> Target:
    """What is to be inspected; nothing is read of the images yet.

    Raises:
        UsageError: there is neither such a folder nor such a file, or an option does not fit.
        RecipeError: the recipe cannot be read; its findings say why.
    """
    env = dict(os.environ if environ is None else environ)
    if request.target.is_dir() or (request.target.is_file() and request.target.suffix in SUFFIXES):
        return _folder(request, env)
    if not request.target.is_file():
        raise UsageError(f"{request.target}: there is no such folder or recipe")
    if request.family or request.resolution or request.caption_extension:
        hint = "use --set family=..., --set args.resolution=..., --set args.caption_extension=..."
        raise UsageError("--family, --resolution and --caption-extension are for a folder", hint=hint)
    return _recipe(request, env)


def _folder(request: InspectionRequest, env: Mapping[str, str]) -> Target:
    if request.overrides:
        raise UsageError("--set is for a recipe", hint="for a folder there are --family and --resolution")
    family = request.family or "sdxl"
    support = table.find(family, "lora")
    if support is None:
        raise UsageError(f"--family {family}: not supported", hint=did_you_mean(family, table.families()))
    resolution = request.resolution or str(RESOLUTIONS.get(family, 1024))
    options = {"resolution": resolution, "enable_bucket": True, "cache_latents": True}
    fallback = user_settings(env).workspace
    room = workspaces.choose(request.workspace, str(fallback) if fallback else None, env, Path.cwd())
    root = _checkout(request, env)
    places = tokenizer_places(room, None)
    found = complete(
        support, lambda: encoders(support, options.get, places=places, checkout=root), places[-1], access(env)
    )
    rules = rules_from(options.get, found)
    if rules.buckets is None:
        raise UsageError(f"--resolution {resolution}: not a resolution", hint="write one as 1024 or 1024,768")
    folder = Path(os.path.abspath(request.target))
    found_sources = _sources(folder, request.caption_extension or ".txt")
    named = tuple(replace(source, roots=(folder, *user_settings(env).folders)) for source in found_sources)
    stated = f"as {support.title} at {resolution} with enable_bucket would see it; a recipe gives exact results"
    return Target(folder.name, named, rules, room, stated)


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


def _recipe(request: InspectionRequest, env: Mapping[str, str]) -> Target:
    """The datasets of a recipe: by the stages of a plan, as far as they are about pictures."""
    opened = open_recipe(
        Request(request.target, request.overrides, workspace=request.workspace, sd_scripts=request.sd_scripts), env
    )
    loaded, recipe, support, engine = opened.loaded, opened.loaded.recipe, opened.support, opened.engine
    if recipe is None:
        raise RecipeError(f"{request.target} cannot be used", findings=loaded.findings)
    if support is None:
        raise RecipeError(f"{request.target}: family {recipe.family} is not supported", hint="see: kohya-runner models")
    lacking = next((finding for finding in opened.findings if finding.code == "trainer.missing"), None)
    if lacking is not None and request.sd_scripts:
        raise TrainerError(lacking.message, hint=lacking.hint)
    _, parsed, faults = recipe_options(opened, recipe, support)
    sources, wrong = recipe_sources(opened, support)
    cache = Path(opened.workspace.environment()["HF_HUB_CACHE"])
    found = complete(support, find_encoders(opened, parsed, support), cache, access(env))
    own = engine.dataset_findings(loaded, support, parsed.options)
    return Target(
        recipe.name,
        sources,
        replace(engine.picture_rules(loaded, parsed), encoders=found),
        opened.workspace,
        f"as {support.script} will see it with the options of {request.target.name}",
        (*loaded.findings, *faults, *wrong, *own),
        engine.dataset_rules(parsed, found),
    )


def _checkout(request: InspectionRequest, env: Mapping[str, str]) -> Path | None:
    """The default trainer's checkout where there is one: its tokenizers are the ones that count."""
    try:
        checkout, _ = find_trainer(env, user_settings(env), sd_scripts=request.sd_scripts, engine=table.DEFAULT)
    except TrainerError:
        if request.sd_scripts:
            raise
        return None
    return checkout.root if checkout else None


def complete(
    support: Support, look: Callable[[], tuple[Encoder, ...]], cache: Path, reach: Access
) -> tuple[Encoder, ...]:
    """The encoders; the Hub gives the tokenizers' files that are not here, into the cache where the trainer looks."""
    found = look()
    wanted = missing(support, found)
    if not wanted or reach.offline:
        return found
    fetched = False
    for repo, subfolder, files in wanted:
        status = _fetched(repo, subfolder, files, cache, reach)
        fetched = fetched or status == "ok"
        if status == "offline":
            break
    return look() if fetched else found


def _fetched(repo: str, subfolder: str, files: tuple[str, ...], cache: Path, reach: Access) -> str:
    """How the Hub answers: ok, or why not; a gated repository without access stays an estimate."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        for name in files:
            path = f"{subfolder}/{name}" if subfolder else name
            url = hf_hub_url(repo, path, endpoint=reach.endpoint)
            get_hf_file_metadata(url, token=reach.token or False, timeout=TIMEOUT, endpoint=reach.endpoint)
            hf_hub_download(
                repo, path, cache_dir=cache, token=reach.token or False, endpoint=reach.endpoint, etag_timeout=TIMEOUT
            )
    except hub_faults() as fault:
        return status_of(fault, reach)[0]
    except ValueError:  # what huggingface_hub raises for a cache it cannot use
        return "error"
    return "ok"
