"""sd-scripts' own captioners, each as a child process in the trainer's Python; their models lie in the workspace."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kohya_runner.dataset.captioning.caption_dataset import Captioner, by_template
from kohya_runner.dataset.captioning.caption_text import KEY, CaptionJob, CaptionSettings, Failure
from kohya_runner.dataset.captioning.endpoint import ask
from kohya_runner.engines.arguments import Command
from kohya_runner.engines.table import DEFAULT
from kohya_runner.errors import PreflightError, TrainerError, UsageError
from kohya_runner.hub import Access, HubNeed, access, hub_facts, hub_finding
from kohya_runner.install.probe import probe
from kohya_runner.machine.downloads import HubFile
from kohya_runner.machine.fetch import fetch
from kohya_runner.options.modules import Modules
from kohya_runner.options.reader import read_script
from kohya_runner.options.values import problem, tokens
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.run.supervise import Watch, supervise
from kohya_runner.tables import read_table, tupled
from kohya_runner.workspace import Workspace

LOG = ".tagger.log"
BATCH = 4
LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Tagger:
    """A script of sd-scripts, its model on the Hub, and the packages it needs besides the trainer's."""

    script: str
    model: str
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # of the repository; () for all that transformers reads
    options: Mapping[str, object] = field(default_factory=dict)


TAGGERS = {name: Tagger(**tupled(row)) for name, row in read_table(Path(__file__).with_suffix(".toml")).items()}
OWNED = frozenset({
    "train_data_dir", "caption_extension", "caption_extention", "output_path", "recursive", "append_tags", "onnx",
    "repo_id", "model_dir", "model_id", "force_download", "thresh",
})  # fmt: skip
"""Options of the scripts that the version, ``model`` and ``threshold`` decide."""
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class TaggerPlace:
    """The trainer and the workspace that a tagger runs in."""

    python: Path
    checkout: Path
    workspace: Workspace
    environ: Mapping[str, str]
    say: Callable[[str], None]


def captioner(settings: CaptionSettings, place: Callable[[], TaggerPlace], environ: Mapping[str, str]) -> Captioner:
    """What makes the captions; ``place`` is asked for a tagger alone.

    Raises:
        UsageError: the settings cannot be followed.
        TrainerError, PreflightError: see ``_by_tagger``.
    """
    key = environ.get(KEY, "").strip()
    settings.checked(key)
    if settings.template is not None:
        return by_template(settings.template)
    return partial(ask, settings, key) if settings.endpoint is not None else _by_tagger(settings, place())


def _by_tagger(settings: CaptionSettings, place: TaggerPlace) -> Captioner:
    """Runs the tagger once over all pictures that need a caption.

    Raises:
        TrainerError: the trainer's Python lacks a package, or the script fails.
        PreflightError: the model cannot be had.
    """
    tagger = TAGGERS[settings.tagger or ""]
    given = _given(settings, tagger, place.checkout)
    lacking = [name for name, version in probe(place.python, tagger.packages).packages.items() if version is None]
    if lacking:
        hint = f"{place.python} -m pip install {' '.join(lacking)}"
        raise TrainerError(f"--tagger {settings.tagger}: the trainer's Python lacks {', '.join(lacking)}", hint=hint)
    model = _model(settings, tagger, place)

    def made(wanted: Sequence[CaptionJob], folder: Path) -> Iterator[tuple[CaptionJob, str | Failure]]:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tagger-") as name:
            scratch = Path(name)
            named = {f"{number:06d}": one for number, one in enumerate(wanted)}
            (scratch / "pictures").mkdir()
            for stem, one in named.items():
                (scratch / "pictures" / f"{stem}{one.path.suffix.lower()}").symlink_to(one.path)
            _run((*given, *_options(settings, tagger, model, scratch)), tagger, folder, place)
            for stem, one in named.items():
                text = scratch / "pictures" / f"{stem}.txt"
                yield one, text.read_text(encoding="utf-8") if text.is_file() else Failure("the tagger left it out")

    return made


def _run(options: tuple[str, ...], tagger: Tagger, folder: Path, place: TaggerPlace) -> None:
    script, log = place.checkout / "finetune" / tagger.script, folder / LOG
    env = {**place.workspace.environment(), "PYTHONPATH": str(place.checkout)}
    for path in (value for key, value in env.items() if key in ("TMPDIR", "HF_HOME", "TORCH_HOME")):
        Path(path).mkdir(parents=True, exist_ok=True)
    if "PYTHONPATH" in place.environ:
        env["PYTHONPATH"] += f":{place.environ['PYTHONPATH']}"
    command = Command((str(place.python), str(script), *options), place.checkout, env, frozenset({"hub"}))
    place.say(f"running {tagger.script}; its log: {log}")
    outcome = supervise(command, Watch(log=log, output_dir=folder), environ=place.environ)
    outcome.raise_stop()
    if outcome.returncode != 0:
        tail = "\n".join(last_lines(log, LAST_LINES))
        raise TrainerError(
            f"{tagger.script} ended with code {outcome.returncode}\n{tail}", hint=f"the whole log: {log}"
        )


def _options(settings: CaptionSettings, tagger: Tagger, model: str, scratch: Path) -> tuple[str, ...]:
    common = (str(scratch / "pictures"), "--caption_extension=.txt")
    if not tagger.files:
        return (*common, f"--model_id={model}")
    # it looks for <model_dir>/<repo_id with _ for />, and fetches nothing that is there
    (scratch / "models").mkdir()
    (scratch / "models" / "the_model").symlink_to(model)
    level = (f"--thresh={settings.threshold}",) if settings.threshold is not None else ()
    return (*common, "--repo_id=the/model", f"--model_dir={scratch / 'models'}", *level)


def _given(settings: CaptionSettings, tagger: Tagger, checkout: Path) -> tuple[str, ...]:
    """The options by their own names, as the script's parser takes them.

    Raises:
        UsageError: it has no such option, or takes no such value; all of them are told.
        TrainerError: the script cannot be read.
    """
    known = read_script(f"finetune/{tagger.script}", Modules(checkout, DEFAULT.imports), DEFAULT, positional=True)
    faults, found = list[str](), list[str]()
    for name, value in {"batch_size": BATCH, **tagger.options, **settings.options}.items():
        option = known.get(name)
        if option is None:
            faults.append(
                f"'{name}' is no option of {tagger.script}{'; ' * bool(known.advice(name))}{known.advice(name)}"
            )
        elif name in OWNED and name in settings.options:
            faults.append(f"'{name}' is decided by the version, --model or --threshold")
        elif wrong := problem(option, value):
            faults.append(f"{name} {wrong}")
        else:
            found += tokens(option, value)
    if faults:
        free = ", ".join(name for name in known if name not in OWNED)
        raise UsageError(f"--tagger {settings.tagger}: {'; '.join(faults)}", hint=f"there are: {free}")
    return tuple(found)


def _model(settings: CaptionSettings, tagger: Tagger, place: TaggerPlace) -> str:
    """The model's folder: one that is named, else fetched into the workspace."""
    named = settings.model or tagger.model
    path = Path(named).expanduser()
    if path.is_dir():
        return str(path.absolute())
    if named.count("/") != 1:
        raise UsageError(f"--model {named}: no such folder or repository", hint=f"such as {tagger.model}")
    reach = access(place.environ)
    refs = [HubFile(named, name) for name in tagger.files or _of_transformers(named, reach)]
    place.say(f"the model: {named}, in {place.workspace.models}")
    return str(fetch(refs, place.workspace.models, reach=reach)[0].parent)


def _of_transformers(repo: str, reach: Access) -> list[str]:
    """The small files and one set of weights of a repository."""
    fact = hub_facts((repo,), reach)[0]
    if fact.status != "ok":
        raise PreflightError(str(found := hub_finding(HubNeed(repo, "tagger"), fact, reach)), findings=(found,))
    names = [name for name, _ in fact.files if "/" not in name]
    weights = next((name for name in _WEIGHTS if name in names), "")
    return [name for name in names if name.endswith((".json", ".txt")) or name == weights]
