"""What an engine is: all that one trainer decides in its own way. The rest of a plan is the same for every engine.

An engine only reads and decides: nothing of it writes, starts or asks the network. Its heavy modules are imported
inside its methods, so that planning with one engine loads nothing of another but its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines.arguments import Arg, ParsedOptions, as_one_dataset, as_parsed, cadence, has_cadence
from kohya_runner.engines.support import Converter, Support, Surprise
from kohya_runner.findings import Finding
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.recipe.models import Recipe
from kohya_runner.record.run_paths import ResumeWay, RunPaths

if TYPE_CHECKING:
    from kohya_runner.dataset.edit import Pairs
    from kohya_runner.dataset.facts import Scan, Source
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.dataset.token_count import Encoder
    from kohya_runner.dataset.trainer_view import Rules
    from kohya_runner.engines.painting import Base, ClassPainter, Painter
    from kohya_runner.engines.rule_context import Rule
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.machine.downloads import HubFile
    from kohya_runner.recipe.load import Loaded


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file of the Hub that must be on the disk before the launch."""

    file: HubFile
    target: Path


@dataclass(frozen=True, slots=True)
class Models:
    """The base model as the trainer gets it (a path or a Hub id), its components, and what must happen before."""

    base: str
    kind: str
    components: Mapping[str, Path]
    fetches: tuple[Fetch, ...]
    tokenizers: Path | None  # only for random-weight models: no Hub
    findings: tuple[Finding, ...]

    @property
    def local(self) -> tuple[Path, ...]:
        """The files and folders that the recipe names by their paths."""
        fetched = {fetch.target for fetch in self.fetches}
        own = (Path(self.base),) if self.kind == "path" else ()
        return (*own, *(path for path in self.components.values() if path not in fetched))


@dataclass(frozen=True, slots=True)
class ResolvedRecipe:
    """A recipe that could be read, with what its words mean; ``args`` are the options as far as they are known."""

    loaded: Loaded
    recipe: Recipe
    support: Support
    parsed: ParsedOptions
    models: Models
    args: tuple[Arg, ...]
    pairs: tuple[Pairs, ...]

    @property
    def precision(self) -> str:
        """--mixed_precision; the trainer's default is the text "no"."""
        return str(self.parsed.get("mixed_precision") or "no")

    def with_args(self, args: tuple[Arg, ...]) -> ResolvedRecipe:
        """The same with these options, as the trainer will parse them."""
        return replace(self, parsed=as_parsed(self.parsed.options, args), args=args)


@dataclass(frozen=True, slots=True)
class EarlierStage:
    """A script that must exit with 0 before the training begins. ``phase`` is what it does, in a screen's words."""

    phase: str
    script: str
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that must be there before the first stage: a dataset config, a rendered metadata file."""

    path: Path
    text: str


CACHES = "cache-"
"""How the folder that earlier stages fill begins, beside the folders of pictures; the layout's key is the rest."""


@dataclass(frozen=True, slots=True)
class Arranged:
    """The pictures in the folders that a script reads, and the files beside them."""

    layout: Layout
    findings: tuple[Finding, ...] = ()
    files: tuple[TextFile, ...] = ()
    caches: Path | None = None  # the folder that the earlier stages fill


Planned = tuple["StepsPlan | None", tuple["Finding", ...]]
"""The numbers of a run, None where the findings say why there are none."""


class Engine(Protocol):
    """One trainer. A new one is a class below this one, and a line in ``ENGINES`` (table.py).

    What has a body holds for most engines, and is said again only where it does not.
    """

    INFO: ClassVar[EngineInfo]
    """Repository, commit, marks of a checkout, requirements."""
    FAMILIES: ClassVar[tuple[Support, ...]]
    """What it trains."""
    ABSENT: ClassVar[Mapping[tuple[str, str], str]] = {}
    """Pairs of its families and a method that it has no script for, with the reason."""
    OWNED: ClassVar[Mapping[str, str]] = {}
    """Its options that a recipe does not set under ``args``, and what to write instead."""
    RESUME_WAYS: ClassVar[tuple[ResumeWay, ...]] = ()
    """How its scripts are told how far a run had come; a script goes the first one that it has the options for."""
    OTHERS: ClassVar[Mapping[str, str]] = {}
    """What else it trains, but no recipe of ours: the family's name, and its title."""
    CONVERTERS: ClassVar[Mapping[str, Converter]] = {}
    """What makes a LoRA of a family readable for ComfyUI, where that is needed."""
    BROKEN_RESUME: ClassVar[Mapping[str, str]] = {}
    """Scripts that write states and cannot read them, and why."""

    @property
    def build(self) -> Any:
        """Its module with ``arrange``, ``steps`` and ``arguments``, which is imported when a plan needs it."""
        raise NotImplementedError

    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        """The rules between its options, by the subject that they are shown under."""
        return {}

    def surprises(self) -> tuple[Surprise, ...]:
        """Its defaults that change results and that nobody expects."""
        return ()

    def picture_rules(self, loaded: Loaded, parsed: ParsedOptions) -> Rules:
        """By which resolution and buckets pictures are judged."""

    def dataset_rules(
        self, parsed: ParsedOptions, encoders: tuple[Encoder, ...] = ()
    ) -> Callable[[Source], Rules] | None:
        """The same for one dataset with options of its own; None where all are seen alike."""
        return None

    def own_options(self, support: Support | None, options: Mapping[str, Any]) -> str:
        """``datasets[].options`` of one entry that the trainer would take, as one text; "" where it takes none."""
        return ""

    def dataset_findings(self, loaded: Loaded, support: Support, options: ScriptOptions) -> Iterable[Finding]:
        """What is wrong with ``datasets[].options``, where that is not told with the layout."""
        return as_one_dataset(loaded, support)

    def can_arrange(self, loaded: Loaded, parsed: ParsedOptions) -> bool:
        """Whether the options are enough to go on."""
        return True

    def arrange(self, resolved: ResolvedRecipe, scans: tuple[Scan, ...], tree: Path) -> Arranged:
        """The pictures as its scripts read them, below ``tree``."""
        made: Arranged = self.build.arrange(resolved, scans, tree)
        return made

    def save_options(self, resolved: ResolvedRecipe, steps: StepsPlan | None, states: int) -> Mapping[str, Any]:
        """What the runner adds about saving. ``states`` are to be kept; ``steps`` None: not known yet."""
        if (
            "save_every_n_epochs" not in resolved.parsed.options
            or has_cadence(resolved.parsed.given)
            or resolved.loaded.nulled("save_every_n_epochs")
        ):
            return {}
        return {"save_every_n_epochs": cadence(steps.epochs) if steps else 1}

    def steps(self, resolved: ResolvedRecipe, layout: Layout, values: Mapping[str, Any]) -> Planned:
        """Batches, steps and saves. ``values`` are the options that will take effect."""
        planned: Planned = self.build.steps(resolved, layout, values)
        return planned

    def arguments(
        self, resolved: ResolvedRecipe, arranged: Arranged, run: RunPaths, saving: Mapping[str, Any]
    ) -> tuple[Arg, ...]:
        """All options of the training, the recipe's own among them."""
        made: tuple[Arg, ...] = self.build.arguments(resolved, arranged, run, saving)
        return made

    def stages(self, resolved: ResolvedRecipe, arranged: Arranged) -> tuple[EarlierStage, ...]:
        return ()

    def findings(self, resolved: ResolvedRecipe, arranged: Arranged, steps: StepsPlan | None) -> Iterable[Finding]:
        """What stands against the run when all is known: its rules, and what else only this engine knows."""
        from kohya_runner.engines.rule_context import context_of, evaluate

        return evaluate(context_of(resolved, steps), (rule for rows in self.rules().values() for rule in rows))

    def largest(self, parsed: ParsedOptions, layout: Layout) -> ParsedOptions:
        """The options with the largest resolution and batch of any dataset: what memory and room are for."""
        return parsed

    def class_painters(self) -> tuple[ClassPainter, ...]:
        return ()

    def painters(self) -> tuple[Painter, ...]:
        return ()

    def painter(self, base: Base) -> Painter | None:
        """The one that makes pictures with a base model; None where there is none for its family."""
        return next((row for row in self.painters() if row.family == base.family), None)
