"""What a rule is, and what it may look at: the effective options of one run and the facts around them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kohya_runner.engines.arguments import ParsedOptions, optimizer_of
from kohya_runner.engines.protocol import ResolvedRecipe
from kohya_runner.engines.support import Support
from kohya_runner.findings import Finding, Severity, info
from kohya_runner.options.keyvalues import literal
from kohya_runner.options.packages import Packages, scheduler_arguments
from kohya_runner.text import whole_key

if TYPE_CHECKING:
    from kohya_runner.engines.steps_plan import StepsPlan

TORCH_OPTIMIZERS, TORCH_SCHEDULERS = "torch.optim", "torch.optim.lr_scheduler"

Moment = Literal["parse", "start", "after model load", "first step", "first save", "never, silently wrong"]
"""When the trainer would have failed: ``start`` is seconds after the launch, ``after model load`` minutes to hours."""

FLOW = ("flux", "sd3", "lumina", "hunyuan_image", "anima")
"""Families that train with flow matching: their noise scheduler knows no betas."""

REREAD = ("lumina",)
"""Families that encode every caption anew while its outputs are cached (train_network.py:434)."""

UNET = ("sd15", "sd2", "sdxl")
LORA = ("lora", "inpaint", "leco")


@dataclass(frozen=True, slots=True)
class Context:
    """One run as the rules see it. None is "not known", and a rule that needs it is silent then.

    ``prompts_found``: whether the file of ``sample_prompts`` exists. ``resume_step``: the step that the state of
    ``resume`` was saved at. ``prompt_seeds``, ``prompt_sizes``, ``prompts_without_picture``: those in that file.
    ``places``: ``file:line:column`` by option name. ``checkout``: where the rules' lines are looked up.
    """

    options: ParsedOptions
    support: Support
    num_processes: int = 1  # on all machines
    machines: int = 1
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    resume_step: int | None = None
    prompts_found: bool | None = None
    prompt_seeds: tuple[int, ...] = ()
    prompt_sizes: tuple[tuple[int | None, int | None], ...] = ()
    prompts_without_picture: int = 0
    places: Mapping[str, str] = field(default_factory=dict)
    checkout: Path | None = None

    @property
    def several(self) -> bool:
        return self.num_processes > 1

    @property
    def one_each(self) -> bool:
        return self.machines > 1 and self.num_processes == self.machines

    @property
    def family(self) -> str:
        return self.support.family

    @property
    def method(self) -> str:
        return self.support.method

    @property
    def engine(self) -> str:
        return self.support.engine

    @property
    def script(self) -> str:
        return self.support.script

    @property
    def network_module(self) -> str:
        return str(self.get("network_module") or "")

    @property
    def network_keys(self) -> Mapping[str, str]:
        """The keys that the chosen module looks at, with their kinds; none for a module that is not the trainer's."""
        return {key: kind for key, kind in self.options.options.networks.get(self.network_module, {}).items() if key}

    @property
    def network_args(self) -> Mapping[str, str]:
        """``network_args`` as the script splits them: at the first '=' (train_network.py:1074)."""
        return dict(pairs(self.get("network_args")))

    @property
    def optimizers(self) -> Mapping[str, tuple[str, ...]]:
        """Those that the trainer knows by name, in lower case: the name as it writes it, and its row."""
        return {name.lower(): (name, *row) for name, row in self.options.options.optimizers.items()}

    @property
    def packages(self) -> Packages:
        return self.options.options.packages

    @property
    def schedulers(self) -> Mapping[str, tuple[str, ...] | None]:
        """By name, what ``lr_scheduler_args`` may hold beside what the trainer passes; None: it fails with that."""
        return scheduler_arguments(self.options.options.schedulers, self.packages)

    @property
    def optimizer(self) -> str:
        """Its name in lower case."""
        return optimizer_of(self.options).lower()

    @property
    def relative_step(self) -> bool:
        """Whether Adafactor finds its own rate, as it does by default (library/optimizer.py:258)."""
        given = self.literals("optimizer_args")
        return self.optimizer == "adafactor" and bool(given.get("relative_step", True) or given.get("warmup_init"))

    @property
    def schedule_free(self) -> bool:
        """Whether the scheduler is a dummy (library/optimizer.py:450)."""
        return str(self.get("optimizer_type") or "").lower().endswith("schedulefree")

    @property
    def scheduler(self) -> str:
        """The one that counts; "" where an optimizer or ``lr_scheduler_type`` takes its place."""
        replaced = self.schedule_free or self.relative_step or self.get("lr_scheduler_type")
        return "" if replaced else str(self.get("lr_scheduler"))

    @property
    def caches_text(self) -> bool:
        """The second option switches the first one on (library/sdxl_train_util.py:383, flux_train_network.py:64)."""
        return self.on("cache_text_encoder_outputs") or self.on("cache_text_encoder_outputs_to_disk")

    @property
    def uses_cached_text(self) -> bool:
        """Whether what is cached is all that the model gets; a text encoder that is trained reads captions again."""
        return self.caches_text and (self.family not in REREAD or self.on("network_train_unet_only"))

    @property
    def caches_latents(self) -> bool:
        """The second option switches the first one on (library/args.py:825)."""
        return self.on("cache_latents") or self.on("cache_latents_to_disk")

    def get(self, name: str) -> Any:
        return self.options.get(name)

    def on(self, name: str) -> bool:
        return self.options.on(name)

    def given(self, *names: str) -> tuple[str, ...]:
        """Those of the options that will be passed."""
        return tuple(name for name in names if self.options.given.get(name) is not None)

    def number(self, name: str) -> float:
        """The value as a number; 0 where there is none."""
        value = self.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else 0

    def listed(self, names: Iterable[str]) -> str:
        return ", ".join(f"{name}: {shown(self.get(name))}" for name in names)

    def literals(self, name: str) -> Mapping[str, Any]:
        """``optimizer_args`` and the like as the trainer reads them (library/optimizer.py:69)."""
        found = {}
        for key, text in pairs(self.get(name)):
            with contextlib.suppress(ValueError):  # a finding of its own (values.py)
                found[key] = literal(text)
        return found


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which options do not go together.

    ``applies`` says whether, or what exactly: a text becomes ``{what}``. ``message`` names options as ``{option}``,
    which stands for the value. ``families`` and ``methods`` are empty for all. A rule is about the scripts of one
    ``engine`` only, and rests on the lines that ``anchors.json`` has for its code.
    """

    code: str
    options: tuple[str, ...]
    applies: Callable[[Context], bool | str]
    message: str
    fix: str
    moment: Moment
    severity: Severity = Severity.ERROR
    families: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    engine: str = "sd-scripts"

    @property
    def upstream(self) -> str:
        """Its lines at the pinned commit."""
        from kohya_runner.engines.anchors import anchors

        return ", ".join(anchor.place for anchor in anchors(self.engine, self.code))

    def concerns(self, context: Context) -> bool:
        if self.engine != context.engine:
            return False
        family, method = context.family, context.method
        return (not self.families or family in self.families) and (not self.methods or method in self.methods)


SILENT: Moment = "never, silently wrong"


def shown(value: object) -> str:
    """A value as a recipe writes it."""
    match value:
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return " ".join(str(item) for item in value)
        case _:
            return str(value)


def pairs(items: object) -> list[tuple[str, str]]:
    """``key=value`` texts as the trainers split them: at the first '='."""
    texts = items if isinstance(items, list | tuple) else ()
    return [(key, text) for key, _, text in (str(item).partition("=") for item in texts)]


def reads(convert: Callable[[str], object], text: str) -> bool:
    """Whether a text is one of these values."""
    try:
        convert(text)
    except ValueError:
        return False
    return True


class _Values(dict[str, str]):
    def __init__(self, context: Context, what: str) -> None:
        super().__init__(what=what)
        self._context = context

    def __missing__(self, name: str) -> str:
        return shown(self._context.get(name))


def evaluate(context: Context, rules: Iterable[Rule]) -> tuple[Finding, ...]:
    """What the rules have against the options of one run, in table order."""
    broken = [(rule, found) for rule in rules if rule.concerns(context) and (found := rule.applies(context))]
    if not broken:
        return ()
    from kohya_runner.engines.anchors import Sources

    findings, changed = [], []
    sources = Sources(context.checkout)
    for rule, found in broken:
        places = sources.places(rule.engine, rule.code, context.script, context.network_module)
        if places is None:
            changed.append(rule.code)
        else:
            upstream = ", ".join(anchor.place for anchor in places)
            findings.append(_finding(rule, context, found if isinstance(found, str) else "", upstream))
    if changed:
        text = f"not judged, for this checkout has other lines where these rules rest: {', '.join(changed)}"
        findings.append(info("trainer.rules", text))
    return tuple(findings)


def _finding(rule: Rule, context: Context, what: str, upstream: str) -> Finding:
    """One finding; it points to the first of the rule's options that has a place."""
    values = _Values(context, what)
    said, fix = (text.format_map(values) for text in (rule.message, rule.fix))
    name = next((name for name in rule.options if context.places.get(name)), "")
    return Finding(rule.severity, rule.code, f"{said} ({upstream})", context.places.get(name, ""), whole_key(fix, name))


def context_of(resolved: ResolvedRecipe, steps: StepsPlan | None) -> Context:
    prompts = resolved.parsed.get("sample_prompts")
    return Context(
        options=resolved.parsed,
        support=resolved.support,
        num_processes=resolved.recipe.launch.world,
        machines=resolved.recipe.launch.nodes or 1,
        total_steps=steps.total if steps else None,
        steps_per_epoch=steps.steps_per_epoch if steps else None,
        prompts_found=None if prompts is None else bool(resolved.recipe.samples) or os.path.isfile(prompts),
        places={arg.name: arg.source for arg in resolved.args},
        checkout=resolved.parsed.options.checkout,
    )
