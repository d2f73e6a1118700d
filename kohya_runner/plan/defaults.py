"""The trainer's defaults that change results and that nobody expects: shown whenever a recipe leaves them open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.diffusers.families import DIFFUSERS
from kohya_runner.engines.table import info_of
from kohya_runner.findings import Finding, error, info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kohya_runner.options.script_options import ScriptOptions
    from kohya_runner.recipe.load import Loaded


@dataclass(frozen=True, slots=True)
class Surprise:
    """An option, what its default means for the run, and when it does not matter."""

    option: str
    effect: str
    moot: Callable[[Mapping[str, Any]], bool] = lambda _: False


def _steps_are_set(args: Mapping[str, Any]) -> bool:
    return "max_train_epochs" in args


def _rates_are_set(args: Mapping[str, Any]) -> bool:
    only_unet = args.get("network_train_unet_only") is True
    return "unet_lr" in args and ("text_encoder_lr" in args or only_unet)


TABLE: tuple[Surprise, ...] = (
    Surprise("learning_rate", "a fiftieth of what LoRAs are trained with", _rates_are_set),
    Surprise("max_train_steps", "the run ends there, whatever the number of pictures", _steps_are_set),
    Surprise("network_dim", "the trainer then takes 4"),
    Surprise("network_alpha", "the LoRA's scale is alpha / dim"),
    Surprise("train_batch_size", "one picture a step"),
    Surprise("optimizer_type", "the trainer then takes AdamW",
             lambda a: "use_8bit_adam" in a or "use_lion_optimizer" in a),
    Surprise("lr_scheduler", "the learning rate never falls"),
    Surprise("mixed_precision", "trains in fp32: about twice the memory and time on a GPU"),
    Surprise("save_precision", "checkpoints are fp32, twice the size of fp16"),
    Surprise("seed", "random, so the run cannot be repeated"),
    Surprise("max_data_loader_n_workers", "worker processes; a small /dev/shm cannot hold them"),
    Surprise("timestep_sampling", "not what the trainer's own guide recommends"),
    Surprise("model_prediction_type", "not what the trainer's own guide recommends"),
    Surprise("guidance_scale", "not what the trainer's own guide recommends (1.0 for FLUX.1-dev)"),
    Surprise("discrete_flow_shift", "the trainer's guide recommends 3.1582 with timestep_sampling: shift",
             lambda a: a.get("timestep_sampling") not in (None, "shift")),
)  # fmt: skip
"""In the order in which they are worth reading."""

OF_EXAMPLES: tuple[Surprise, ...] = (
    Surprise("resolution", "pictures are squeezed to squares of this side"),
    Surprise("train_batch_size", "pictures a step, on each GPU"),
    Surprise("num_train_epochs", "a hundred times through all pictures", lambda a: "max_train_steps" in a),
    Surprise("lr_warmup_steps", "steps until the learning rate is at its height, with any scheduler but constant"),
    Surprise("lr_scheduler", "the learning rate never falls"),
    Surprise("mixed_precision", "trains in fp32: about twice the memory and time on a GPU"),
    Surprise("conditioning_dropout_prob", "the model does not learn to weigh picture against instruction"),
    Surprise("checkpointing_steps", "steps from one training state on the disk to the next"),
    Surprise("checkpoints_total_limit", "no state is ever removed"),
)
TABLES: Mapping[str, tuple[Surprise, ...]] = {DIFFUSERS.name: OF_EXAMPLES}
"""Of engines with defaults of their own."""

OF_LORAS = ("learning_rate", "network_dim", "network_alpha")
"""What is a surprise to those who train a LoRA only."""


UNREAD: Mapping[str, tuple[str, ...]] = {"musubi-tuner": ("guidance_scale",)}
"""Options that an engine's parser knows and its training does not look at (flux_kontext_train_network.py:346)."""


def left_open(options: ScriptOptions, args: Mapping[str, Any]) -> tuple[tuple[str, Any, str], ...]:
    """(option, its default, what that means) for each surprise the recipe leaves open."""
    return tuple(
        (row.option, options[row.option].default, row.effect)
        for row in TABLES.get(info_of(options.script).name, TABLE)
        if row.option in options
        and args.get(row.option) is None
        and not row.moot(args)
        and (row.option not in OF_LORAS or "network_module" in options)
        and row.option not in UNREAD.get(info_of(options.script).name, ())
    )


def findings(loaded: Loaded, options: ScriptOptions, args: Mapping[str, Any]) -> Iterator[Finding]:
    """One info per open default, and an error for the one option no script can do without."""
    if "resolution" in options and args.get("resolution") is None and options["resolution"].default is None:
        hint = "write args: {resolution: 1024}, or 512 for SD 1.5"
        message = "args.resolution is missing: the trainer stops without it (library/train_util.py:1921)"
        yield error("args.missing", message, where=loaded.where("args"), hint=hint)
    for name, default, effect in left_open(options, args):
        shown = "unset" if default is None or default == "" else default
        yield info(
            "args.default", f"args.{name} is not set, the default applies: {shown}; {effect}", where=options[name].where
        )
