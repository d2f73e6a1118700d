"""Where the base model and its components come from: what is here, what must be fetched, what the trainer loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kohya_runner.engines.protocol import Fetch, Models
from kohya_runner.errors import RecipeError
from kohya_runner.findings import Finding, error
from kohya_runner.recipe.reference import Reference, reference
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.engines.support import Component, Support
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.workspace import Workspace


@dataclass(slots=True)
class _Search:
    """References being resolved, what must be fetched for them, and what is wrong."""

    support: Support
    workspace: Workspace
    look: bool
    fetches: list[Fetch] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def located(self, ref: Reference, what: str) -> str:
        """What the trainer is given for a reference; a file of the Hub joins the fetches."""
        if ref.kind == "hub_file":
            return self._fetched(ref)
        if ref.kind == "random":
            from kohya_runner.install.random_model import random_model_paths

            return str(random_model_paths(ref.text, self.workspace.models).checkpoint)
        if ref.path is None:
            return ref.text
        if self.look:
            from kohya_runner.artefact.model_file import LocalModel, model_findings

            self.findings += model_findings(LocalModel(ref.path, what, self.support.family, ref.where))
        return str(ref.path)

    def _fetched(self, ref: Reference) -> str:
        from kohya_runner.machine.references import local_path, parse_ref

        try:
            file = parse_ref(ref.text, ref.where)
        except RecipeError as fault:
            self.findings += fault.findings
            return ref.text
        target = local_path(file, self.workspace.models)
        self.fetches.append(Fetch(file, target))
        return str(target)

    def component(self, name: str, ref: Reference) -> Path | None:
        """Where a component is; None where the family has none of this name."""
        if not any(known.name == name for known in self.support.components):
            self.findings.append(_unknown(name, ref, self.support))
            return None
        self.findings += _component_form(name, ref)
        return self.workspace.root / self.located(ref, name)


def find_models(loaded: Loaded, support: Support, workspace: Workspace, *, look: bool) -> Models:
    """Resolve ``model`` and ``components``. ``look`` is off where the files are on another machine."""
    recipe = loaded.recipe
    assert recipe is not None  # noqa: S101 - planned with a whole recipe
    search = _Search(support, workspace, look)
    base = reference(loaded, recipe.model, "model")
    search.findings += _form(base, support)
    located = search.located(base, "model")
    found = {
        name: search.component(name, reference(loaded, value, "components", name))
        for name, value in recipe.components.items()
    }
    components = {name: path for name, path in found.items() if path is not None}
    tokenizers = None
    if base.kind == "random":
        from kohya_runner.install.random_model import random_model_paths

        tokenizers = random_model_paths(base.text, workspace.models).tokenizers
    findings = (*search.findings, *_missing(loaded, support))
    return Models(located, base.kind, components, tuple(search.fetches), tokenizers, findings)


def _form(ref: Reference, support: Support) -> list[Finding]:
    """Whether the script takes this form of a model at all."""
    if ref.kind == "hub" and not support.hub_model:
        hint = f"write hf://{ref.text}/FILE.safetensors, which is fetched before the launch, or a path"
        return [
            error(
                "model.form",
                f"{support.script} takes a model file, not the Hub id {ref.text}",
                where=ref.where,
                hint=hint,
            )
        ]
    if ref.kind == "random" and (ref.text != support.family or not support.random_model):
        message = f"random weights of {ref.text} are not a base model for family {support.family}"
        return [error("model.form", message, where=ref.where, hint=f"write family: {ref.text}, or another model")]
    return []


def _component_form(name: str, ref: Reference) -> list[Finding]:
    if ref.kind != "hub":
        return []
    hint = f"write hf://{ref.text}/FILE.safetensors, or a path"
    return [
        error("model.form", f"components.{name} must be a file, not the Hub id {ref.text}", where=ref.where, hint=hint)
    ]


def _unknown(name: str, ref: Reference, support: Support) -> Finding:
    names = [c.name for c in support.components]
    hint = did_you_mean(name, names) if names else f"family {support.family} has none: leave it out"
    return error(
        "recipe.component", f"components.{name}: no component of family {support.family}", where=ref.where, hint=hint
    )


def _missing(loaded: Loaded, support: Support) -> list[Finding]:
    given = loaded.recipe.components if loaded.recipe else {}

    def read(component: Component) -> bool:
        return all(loaded.args.get(name) != value for name, value in component.unless.items())

    return [
        error(
            "recipe.component",
            f"components.{c.name} is missing: {c.what}",
            where=loaded.where("components"),
            hint=f"write components: {{{c.name}: hf://org/repo/file.safetensors}}, or a path",
        )
        for c in support.components
        if c.required and c.name not in given and read(c)
    ]
