"""sd-scripts' own part of a plan: the repeat folders, its steps, its options and the rules between them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.trainer_view import rules_from
from kohya_runner.dataset.tree.layout import Layout, plan_layout
from kohya_runner.engines import arguments, method_data
from kohya_runner.engines.built import Built, Dialect
from kohya_runner.engines.rules.context import Context
from kohya_runner.engines.sd_scripts.batching import batching_from
from kohya_runner.engines.sd_scripts.dataset_options import evaluated, heaviest
from kohya_runner.engines.sd_scripts.sample_seeds import sample_seeds
from kohya_runner.engines.sd_scripts.steps import plan_steps
from kohya_runner.engines.settings import as_parsed, cache_key
from kohya_runner.plan import resume_options
from kohya_runner.record.numbering import next_run
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from kohya_runner.dataset.facts import Scan
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.findings import Finding
    from kohya_runner.plan.draft import Draft, Known


def build(draft: Draft, known: Known, scans: tuple[Scan, ...]) -> Built:
    """Layout, steps and options, for options and data that can be read."""
    recipe, support, settings, models = known.recipe, known.support, known.settings, known.models
    extension, key = str(settings.given.get("caption_extension") or ".txt"), cache_key(settings, support, models.base)
    folders = plan_layout(scans, draft.workspace.datasets / recipe.name, key, caption_extension=extension)
    layout = method_data.arranged(folders, support, known.pairs)
    steps, every = _steps(draft, known, layout)
    series = resume_options.going_on(draft, known)
    run_dir = series.path if series else next_run(draft.workspace.runs / recipe.name)
    places = arguments.Places(
        model=models.base, components=models.components, layout=layout, output_dir=RunPaths(run_dir).output,
        logging_dir=RunPaths(run_dir).tensorboard, tokenizers=models.tokenizers,
    )  # fmt: skip
    added = arguments.by_runner(draft.loaded, support, settings.options, places=places, save_every=every)
    final = with_args(known, (*added, *known.given))
    draft.findings += evaluated(context(final, steps), draft.loaded, layout.folders)
    built = resume_options.resumed(draft, Built(final, layout, steps, run_dir, series))
    heavy = heaviest(built.known.settings, layout.folders)
    return replace(built, known=replace(built.known, settings=heavy))


def with_args(known: Known, args: tuple[arguments.Arg, ...]) -> Known:
    """The same with these options, and the settings as the trainer will parse them."""
    return replace(known, settings=as_parsed(known.settings.options, args), given=args)


def _steps(draft: Draft, known: Known, layout: Layout) -> tuple[StepsPlan | None, int]:
    """The numbers, and the runner's own save cadence, which depends on the number of epochs."""

    def planned(every: int | None) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
        values = (
            known.settings.all()
            | known.support.unset(known.settings.given)
            | ({} if every is None else {"save_every_n_epochs": every})
        )
        processes, divisor = known.recipe.launch.num_processes, known.support.bucket_step
        batching = batching_from(values, known.recipe.name, num_processes=processes, reso_steps_divisor=divisor)
        return plan_steps(layout.folders, batching) if batching else (None, ())

    own = not arguments.has_cadence(known.settings.given)
    steps, findings = planned(1 if own else None)
    every = arguments.cadence(steps.epochs) if own and steps else 1
    if every > 1:
        steps, findings = planned(every)
    places = {f"args.{name}": draft.loaded.where("args", name) for name in known.settings.given}
    if layout.folders:  # without pictures the dataset's own findings say it
        draft.findings += [f if f.where else replace(f, where=places.get(f.code, "")) for f in findings]
    return steps, every


def context(known: Known, steps: StepsPlan | None) -> Context:
    """What the rules between options look at."""
    prompts = known.settings.get("sample_prompts")
    return Context(
        options=known.settings,
        support=known.support,
        num_processes=known.recipe.launch.num_processes,
        total_steps=steps.total if steps else None,
        steps_per_epoch=steps.steps_per_epoch if steps else None,
        prompts_found=None if prompts is None else os.path.isfile(prompts),
        prompt_seeds=() if prompts is None else sample_seeds(Path(prompts)),
        places={arg.name: arg.source for arg in known.given},
    )


DIALECT = Dialect(
    picture_rules=lambda _, settings: rules_from(settings.get),
    can_build=lambda _, settings: settings.get("resolution") is not None,
    build=build,
)
