"""What the Hub says of the models and tokenizers of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner import hub
from kohya_runner.findings import Finding, Severity, error
from kohya_runner.plan import space
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.engines.protocol import Fetch, Models, ResolvedRecipe
    from kohya_runner.machine.downloads import HubFile
    from kohya_runner.plan.pipeline import Opened
    from kohya_runner.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Reach:
    """What the Hub check needs beside the models: whether the base model is cached already, and where it is named."""

    workspace: Workspace
    environ: Mapping[str, str]
    cached: bool
    where: str
    tokenizers: str | None = None  # --tokenizer_cache_dir
    repositories: tuple[str, ...] = ()  # those of the tokenizers that the scripts fetch


def reach_of(opened: Opened, resolved: ResolvedRecipe) -> Reach:
    """Of a recipe."""
    models, support, room = resolved.models, resolved.support, opened.workspace
    return Reach(
        room,
        opened.environ,
        cached=models.kind == "hub" and space.is_cached(models.base, support, room, resolved.precision),
        where=opened.loaded.where("model"),
        tokenizers=resolved.parsed.get("tokenizer_cache_dir"),
        repositories=support.tokenizers_of(resolved.parsed.given),
    )


def _has_tokenizer(repo: str, cache: Path, folder: str | None) -> bool:
    """In the Hub cache, or saved by the trainer under --tokenizer_cache_dir (library/strategy_base.py:57)."""
    from kohya_runner.machine import downloads

    if folder is not None and os.path.isdir(os.path.join(folder, repo.replace("/", "_"))):  # noqa: PTH118
        return True
    return downloads.has_tokenizer(downloads.cached_files(cache, repo))


QUICK = 3.0
"""Seconds that the Hub has to answer where the run is for another machine."""


def hub_answers(
    models: Models, reach: Reach, *, seconds: float = hub.TIMEOUT
) -> tuple[tuple[Finding, ...], Mapping[Path, int]]:
    """What the Hub says about everything that is not here yet, and the sizes of the files to fetch."""
    cache = reach.workspace.cache / "huggingface" / "hub"
    wanted = [hub.HubNeed(models.base, "model", reach.where, reach.cached)] if models.kind == "hub" else []
    wanted += [hub.HubNeed(f.file.repo, "model", f.file.where, f.target.exists()) for f in models.fetches]
    if models.tokenizers is None:
        wanted += [
            hub.HubNeed(repo, "tokenizer", "", _has_tokenizer(repo, cache, reach.tokenizers))
            for repo in reach.repositories
        ]
    access = replace(hub.access(reach.environ), seconds=seconds)
    facts = hub.hub_facts([need.repo for need in wanted if not need.cached], access)
    files = {(fact.repo, name): size for fact in facts for name, size in fact.files}
    known = {f.target: files[f.file.repo, f.file.path] for f in models.fetches if (f.file.repo, f.file.path) in files}
    absent = tuple(_absent(f.file, fact) for f in models.fetches for fact in facts if _lacks(fact, f))
    return (*hub.hub_findings(wanted, facts, access), *absent), known


def _lacks(fact: hub.HubFact, fetch: Fetch) -> bool:
    """Whether the Hub listed the repository's files, of its newest commit, and this is none of them."""
    file = fetch.file
    named = fact.repo == file.repo and file.revision in (None, "main") and not fetch.target.exists()
    return named and bool(fact.files) and file.path not in dict(fact.files)


def _absent(file: HubFile, fact: hub.HubFact) -> Finding:
    hint = did_you_mean(file.path, dict(fact.files)) or f"see {hub.ENDPOINT}/{file.repo}/tree/main"
    return error("hub.missing", f"{file.repo} has no file {file.path}", where=file.where, hint=hint)


def hub_for_another(
    opened: Opened, resolved: ResolvedRecipe
) -> tuple[tuple[Finding, ...], Mapping[Path, int], tuple[str, ...]]:
    """What the Hub says of the models, the sizes, and why it was not asked. The other machine may have a token."""
    reach = replace(reach_of(opened, resolved), repositories=())
    answers, sizes = hub_answers(resolved.models, reach, seconds=QUICK)
    certain = hub.access(opened.environ).token is not None
    kept: list[Finding] = []
    left: list[str] = []
    for answer in answers:
        if answer.code in ("hub.offline", "hub.error"):
            left.append(f"models on the Hub: {answer.message}")
        elif answer.code == "hub.missing" and (certain or "401" not in answer.message):
            kept.append(answer)
        else:
            kept.append(replace(answer, severity=Severity.WARNING))
    return tuple(kept), sizes, tuple(left)
