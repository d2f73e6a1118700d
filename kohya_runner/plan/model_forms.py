"""Whether a recipe names its models as the family's script takes them, and the files that would do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from kohya_runner.engines.support import Component, Support
from kohya_runner.engines.table import options_for
from kohya_runner.findings import Finding, error
from kohya_runner.machine.downloads import BASE_MODELS
from kohya_runner.recipe.load import Loaded
from kohya_runner.recipe.models import Reference, reference
from kohya_runner.slips import elsewhere
from kohya_runner.text import did_you_mean

VAE = "vae"
"""What people name among the components of families whose scripts have it as an option like any other."""


def form_findings(loaded: Loaded, support: Support) -> tuple[Finding, ...]:
    """What is wrong with the words of ``model`` and ``components``.

    A base model of another family is all that is said: the components would then be another family's, too.
    """
    recipe = loaded.recipe
    assert recipe is not None  # noqa: S101 - planned with a whole recipe
    base = reference(loaded, recipe.model, "model")
    found = _base(base, support)
    if any(one.code == "model.family" for one in found):
        return tuple(found)
    for name, text in recipe.components.items():
        ref = reference(loaded, text, "components", name)
        if name == VAE and VAE in options_for(support.script, None):
            continue
        if not any(known.name == name for known in support.components):
            names = [c.name for c in support.components]
            hint = did_you_mean(name, names) if names else f"family {support.family} has none: leave it out"
            message = f"components.{name}: no component of family {support.family}"
            found.append(error("recipe.component", message, where=ref.where, hint=hint))
        elif address := _address(ref, f"components.{name}"):
            found.append(address)
        elif ref.kind == "hub":
            message = f"components.{name} must be a file, not the Hub id {ref.text}"
            found.append(error("model.form", message, where=ref.where, hint=_line(f"components.{name}", support)))
    return (*found, *_missing(loaded, support))


def _base(ref: Reference, support: Support) -> list[Finding]:
    if address := _address(ref, "model"):
        return [address]
    family = family_of(ref)
    if family and family != support.family:
        files = ", ".join(f"{key}: {text}" for key, text in _shipped(support).items())
        hint = f"write family: {family}" + (f"; or, for {support.title}, {files}" if files else "")
        message = f"{ref.text} is a model of family {family}, and the recipe says family: {support.family}"
        return [error("model.family", message, where=ref.where, hint=hint)]
    whole = re.fullmatch(r"hf://([^/@]+/[^/@]+)/?", ref.text)
    if whole and support.hub_model:
        message = f"{ref.text} names a repository, not a file in it"
        return [error("model.reference", message, where=ref.where, hint=f"write model: {whole[1]}, without hf://")]
    if (ref.kind == "hub" or whole) and not support.hub_model:
        hint = f"{_line('model', support)}, or a path; a file of another repository is hf://ORG/REPO/FILE"
        message = f"{support.script} takes a model file, not the Hub id {ref.text}"
        return [error("model.form", message, where=ref.where, hint=hint)]
    if ref.kind == "random" and (ref.text != support.family or not support.random_model):
        message = f"random weights of {ref.text} are not a base model for family {support.family}"
        return [error("model.form", message, where=ref.where, hint=f"write family: {ref.text}, or another model")]
    return []


def _address(ref: Reference, key: str) -> Finding | None:
    """An error for the address of a page, or a path of another system."""
    said = elsewhere(ref.text, key) if ref.kind == "path" else None
    absent = ref.path is not None and not ref.path.exists()
    file = re.fullmatch(r"(hf:/*)?([^/@]+/[^/@]+/.+)", ref.text) if absent else None
    if file and (file[1] or family_of(replace(ref, kind="hub", text=file[2]))):
        said = f"{ref.text} is a file of the Hub, not of this machine", f"write {key}: hf://{file[2]}"
    return error("model.reference", f"{key}: {said[0]}", where=ref.where, hint=said[1]) if said else None


def family_of(ref: Reference) -> str:
    """The family of a well-known base model of the Hub, "" where that is not known."""
    if ref.kind not in ("hub", "hub_file"):
        return ""
    repo = "/".join(ref.text.removeprefix("hf://").split("/")[:2]).partition("@")[0].lower()
    return next((family for pattern, family in BASE_MODELS.items() if re.fullmatch(pattern, repo)), "")


def _shipped(support: Support) -> dict[str, str]:
    """The models that the family's shipped recipe names, by their keys; files of the reader's own are left out."""
    from kohya_runner.recipe.load import load
    from kohya_runner.recipe.starter import shipped_recipes

    file = shipped_recipes() / Path(support.recipe).name
    recipe = load(file, environ={}).recipe if file.is_file() else None
    if recipe is None:
        return {}
    named = {"model": recipe.model, **{f"components.{name}": text for name, text in recipe.components.items()}}
    return {key: text for key, text in named.items() if isinstance(text, str) and not text.startswith((".", "/"))}


def _line(key: str, support: Support) -> str:
    files = _shipped(support)
    return f"write {key}: {files[key]}" if key in files else f"write {key}: followed by the path of a .safetensors file"


def _missing(loaded: Loaded, support: Support) -> list[Finding]:
    given = loaded.recipe.components if loaded.recipe else {}

    def read(component: Component) -> bool:
        return all(loaded.args.get(name) != value for name, value in component.unless.items())

    return [
        error(
            "recipe.component",
            f"components.{c.name} is missing: {c.what}",
            where=loaded.where("components"),
            hint=f"{_line(f'components.{c.name}', support)}, or a path",
        )
        for c in support.components
        if c.required and c.name not in given and read(c)
    ]
