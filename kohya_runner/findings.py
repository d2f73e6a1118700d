"""What a check has to say: how bad, what, where, what to do about it; and every code there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import NamedTuple

STAGES = (
    "recipe", "args", "dataset", "image", "caption", "steps", "model", "hub", "disk", "memory", "device", "trainer",
    "budget",
)  # fmt: skip
"""The first half of every code, in the order of a run."""

ERROR, WARNING, INFO = ("error",), ("warning",), ("info",)
EITHER = ("error", "warning")
MILD = ("warning", "info")


class Code(NamedTuple):
    """A code ``<stage>.<what>``, the severities it may have, and what it says."""

    name: str
    severities: tuple[str, ...]
    summary: str

    @property
    def stage(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]


TABLE = (
    Code("recipe.component", ERROR, "a component is missing, or this family has none of that name"),
    Code("recipe.extends", ERROR, "a recipe that this one extends cannot be used"),
    Code("recipe.family", ERROR, "the family is not supported"),
    Code("recipe.kind", ERROR, "the file is another program's, not a recipe"),
    Code("recipe.method", ERROR, "the method is not supported for this family, or a key does not go with it"),
    Code("recipe.missing", ERROR, "a key is missing"),
    Code("recipe.not_yet", ERROR, "a key whose feature is not built yet"),
    Code("recipe.replay", INFO, "what this replay of a run has in common with it"),
    Code("recipe.resume", ERROR, "this trainer cannot resume, or the number of processes changed"),
    Code("recipe.set", ERROR, "--set names a list entry that does not exist"),
    Code("recipe.syntax", ERROR, "the file cannot be read, or is not valid YAML"),
    Code("recipe.trust", ERROR, "the recipe wants something that needs your word: --trust KEY"),
    Code("recipe.unknown_key", ERROR, "the recipe has no such key"),
    Code("recipe.value", ERROR, "a value has the wrong type or form"),
    Code("recipe.variable", ERROR, "a {{ variable }} has no value, or may not be used"),
    Code("args.bucket_max", ERROR, "max_bucket_reso is less than the resolution"),
    Code("args.bucket_min", ERROR, "min_bucket_reso is more than the resolution"),
    Code("args.bucket_reso_steps", ERROR, "bucket_reso_steps does not fit the model"),
    Code("args.checkpointing_steps", ERROR, "checkpointing_steps is below 1"),
    Code("args.default", INFO, "an option that is not set, and the trainer's default for it"),
    Code("args.gradient_accumulation_steps", ERROR, "gradient_accumulation_steps is below 1"),
    Code("args.max_train_samples", ERROR, "max_train_samples is larger than the dataset"),
    Code("args.missing", ERROR, "an option without which the trainer stops"),
    Code("args.num_processes", ERROR, "launch.num_processes is below 1"),
    Code("args.owned", ERROR, "an option that the runner sets itself; the hint names the recipe key"),
    Code("args.range", ERROR, "a number outside of what the trainer takes"),
    Code("args.replay", WARNING, "options differ from the run that the recipe is of"),
    Code("args.resolution", ERROR, "a side of the resolution is not positive, or not set"),
    Code("args.resume", ERROR, "an option changed since the run began"),
    Code("args.save_every_n_epochs", ERROR, "save_every_n_epochs is below 1"),
    Code("args.save_every_n_steps", ERROR, "save_every_n_steps is below 1"),
    Code("args.save_last_n_epochs", WARNING, "save_last_n_epochs removes every checkpoint"),
    Code("args.save_model_as", ERROR, "checkpoints in diffusers' form cannot be resumed"),
    Code("args.save_state", ERROR, "resuming needs training states, and save_state is false"),
    Code("args.step_states", ERROR, "states by steps make this trainer count from 0 after a resume"),
    Code("args.train_batch_size", ERROR, "train_batch_size is below 1"),
    Code("args.unknown", ERROR, "the trainer's script has no such option"),
    Code("args.validation_seed", WARNING, "without validation_seed, validation images are trained on"),
    Code("args.validation_split", ERROR, "validation_split is not between 0 and 1"),
    Code("args.value", ERROR, "the trainer's parser would refuse the value"),
    Code("dataset.archive", ERROR, "members of a zip file that are not unpacked"),
    Code("dataset.balance", MILD, "how many images of an epoch each dataset gives"),
    Code("dataset.bucket_rest", INFO, "a bucket whose pictures fill no whole number of batches"),
    Code("dataset.class_images", ("error", "info"), "class images that are missing, or will be painted first"),
    Code("dataset.classes_unused", WARNING, "class images that no epoch reaches"),
    Code("dataset.concept", WARNING, "a concept that begins with a number, as repeats do in folder names"),
    Code("dataset.conditioning", ERROR, "the folder of condition images cannot be used"),
    Code("dataset.count", ERROR, "another number of images or captions than expect: says"),
    Code("dataset.edit_duplicate", WARNING, "a row of an edit dataset that is there twice"),
    Code("dataset.edit_file", ERROR, "the metadata file of an edit dataset cannot be read"),
    Code("dataset.edit_key", ERROR, "a row of an edit dataset lacks a key"),
    Code("dataset.edit_missing", ERROR, "a picture that a row names does not exist"),
    Code("dataset.edit_path", ERROR, "a row names a picture by a path that cannot be used"),
    Code("dataset.edit_target_twice", WARNING, "two rows have the same output picture"),
    Code("dataset.edit_unknown_key", WARNING, "a key of a row that nothing reads"),
    Code("dataset.empty", ERROR, "no image was found"),
    Code("dataset.extension", INFO, "extensions in upper case, which are laid out in lower case"),
    Code("dataset.link", ERROR, "a link leads out of the dataset's folder"),
    Code("dataset.level", ERROR, "the images are in folders below the named one"),
    Code("dataset.missing", ERROR, "the folder does not exist"),
    Code("dataset.options", ERROR, "an option of one dataset that the trainer refuses"),
    Code("dataset.other_pictures", WARNING, "pictures of kinds that the trainer does not read"),
    Code("dataset.pair_missing", ERROR, "a picture without its condition image"),
    Code("dataset.pair_surplus", WARNING, "a condition image without its picture"),
    Code("dataset.place", ERROR, "the images are inside the folder where the runner lays out its own"),
    Code("dataset.replay", WARNING, "pictures or captions differ from the run that the recipe is of"),
    Code("dataset.resume", ERROR, "the pictures or captions changed since the run began"),
    Code("dataset.row", ERROR, "a row of the metadata file is wrong"),
    Code("dataset.same_folder", WARNING, "two entries of the recipe name the same folder"),
    Code("dataset.set_aside", WARNING, "a file that is not in the new version of the dataset"),
    Code("dataset.skipped", INFO, "pictures that skip_image_resolution leaves out"),
    Code("dataset.stem_twice", WARNING, "two images would share one caption file"),
    Code("dataset.strays", INFO, "files that are neither images nor captions"),
    Code("dataset.subfolders", WARNING, "images in folders below, which the trainer does not read"),
    Code("dataset.unprepared", INFO, "pictures that a launch prepares first; they are counted then"),
    Code("image.alpha", WARNING, "transparent pixels, which become some colour"),
    Code("image.animated", WARNING, "several frames, of which only the first is used"),
    Code("image.aspect", INFO, "an image that is far longer than wide"),
    Code("image.blurred", WARNING, "pixel art that smooth scaling blurs"),
    Code("image.cmyk", WARNING, "printing colours, which change on the way to RGB"),
    Code("image.condition", ERROR, "a condition image cannot be read"),
    Code("image.cropped", WARNING, "much of an image is cut off for its bucket"),
    Code("image.depth", EITHER, "more than 8 bits a channel, which the trainer reads wrongly"),
    Code("image.duplicate", WARNING, "the same image more than once"),
    Code("image.edit_alpha", WARNING, "transparent pixels in an edit pair"),
    Code("image.edit_aspect", ERROR, "input and output have different shapes"),
    Code("image.edit_kind", ERROR, "a picture of a kind that not every trainer reads"),
    Code("image.edit_rotation", WARNING, "an EXIF rotation in an edit pair"),
    Code("image.edit_same", WARNING, "input and output are the same picture"),
    Code("image.edit_size", WARNING, "input and output have different sizes"),
    Code("image.edit_squeezed", WARNING, "a picture that is not square and is squeezed to a square"),
    Code("image.edit_unreadable", ERROR, "a picture of an edit pair cannot be read"),
    Code("image.enlarged", WARNING, "a small image that is enlarged for its bucket"),
    Code("image.exif_rotation", WARNING, "an EXIF rotation that the trainer ignores"),
    Code("image.format", INFO, "content of another format than the extension says"),
    Code("image.huge", WARNING, "more than 89 megapixels"),
    Code("image.near_duplicate", WARNING, "images that look the same"),
    Code("image.pair_same", WARNING, "picture and condition image are the same"),
    Code("image.pair_size", EITHER, "picture and condition image have different sizes"),
    Code("image.padded", INFO, "background around pixel art whose grid does not fill the bucket"),
    Code("image.prepared", WARNING, "what could not be done for a picture that was prepared"),
    Code("image.set_aside", MILD, "a file that is not in the prepared dataset, and why"),
    Code("image.size", ERROR, "a size that the trainer cannot put into a bucket"),
    Code("image.uneven", INFO, "pixel art enlarged by a factor that is not whole"),
    Code("image.unreadable", ERROR, "a damaged image, or none"),
    Code("image.webp_size", WARNING, "a WebP image whose size the trainer reads wrongly"),
    Code("caption.blank", ERROR, "the first line of a caption is empty; the trainer reads only that"),
    Code("caption.bom", WARNING, "a caption that begins with a byte order mark"),
    Code("caption.contains_all", ERROR, "a caption without one of captions.contains_all"),
    Code("caption.contains_any", ERROR, "a caption with none of captions.contains_any"),
    Code("caption.edit_empty", ERROR, "an edit instruction is empty"),
    Code("caption.edit_lines", WARNING, "an edit instruction of several lines"),
    Code("caption.empty", ERROR, "a caption file is empty"),
    Code("caption.encoding", ERROR, "a caption is not UTF-8"),
    Code("caption.failed", ERROR, "no caption could be made, or read, for a picture"),
    Code("caption.length", INFO, "a caption that may be longer than the text encoder takes"),
    Code("caption.lines", WARNING, "a caption of several lines; the trainer reads the first"),
    Code("caption.matches", ERROR, "a caption that captions.matches does not match"),
    Code("caption.max_tokens", EITHER, "a caption of more tokens than captions.max_tokens"),
    Code("caption.missing", ("error", "info"), "an image without a caption"),
    Code("caption.misspelt", WARNING, "a word that is nearly the trigger word"),
    Code("caption.prefix", WARNING, "a caption without the first tag that nearly all others have"),
    Code("caption.orphan", WARNING, "a caption without an image"),
    Code("caption.starts_with", ERROR, "a caption that does not begin with captions.starts_with"),
    Code("caption.token", WARNING, "a caption without the word that is trained"),
    Code("caption.trigger", WARNING, "a caption without the word that the others have"),
    Code("caption.truncated", MILD, "a caption whose end the text encoder cuts off"),
    Code("caption.unreadable", ERROR, "a caption file cannot be read"),
    Code("caption.wildcard", WARNING, "braces that are taken as they stand"),
    Code("steps.endless", ERROR, "more steps or checkpoints than anybody can wait for"),
    Code("steps.last_batch", ERROR, "the script cannot train on the smaller last batch"),
    Code("steps.none", ERROR, "not one step would be taken"),
    Code("steps.order", INFO, "the number of batches depends on the order of folders on the disk"),
    Code("steps.resume", ERROR, "the steps do not fit a run that is resumed"),
    Code("steps.states", WARNING, "no training state before the end: a run that is cut begins again"),
    Code("steps.validation", INFO, "the number of batches depends on which images are held out"),
    Code("model.broken", ERROR, "a file is damaged or not whole"),
    Code("model.component", ERROR, "a component is of another kind than its key says"),
    Code("model.family", ERROR, "a model of another family"),
    Code("model.form", ERROR, "a Hub id where a file is needed, or the other way round"),
    Code("model.format", ERROR, "a file of another kind than its key wants"),
    Code("model.missing", ERROR, "a file or folder does not exist"),
    Code("model.pickle", ERROR, "a file that can run code when it is read"),
    Code("model.practice", ERROR, "a file that a practice run wrote"),
    Code("model.reference", ERROR, "the text names no model"),
    Code("model.symlink", ERROR, "a link to a file whose name does not say what it is"),
    Code("hub.error", ERROR, "the Hub's answer cannot be used"),
    Code("hub.gated", EITHER, "the model's licence has to be accepted first"),
    Code("hub.missing", EITHER, "the Hub has no such repository or file"),
    Code("hub.offline", ERROR, "the Hub cannot be reached"),
    Code("hub.unauthorized", EITHER, "the Hub refuses the token, or needs one"),
    Code("disk.cache_small", EITHER, "a cache on a small root disk"),
    Code("disk.download", INFO, "a smaller download would do"),
    Code("disk.full", ERROR, "the run needs more room than is free"),
    Code("disk.record", EITHER, "what the newest run's record says cannot be read, and --resume was asked for"),
    Code("disk.link", ERROR, "a link of the workspace leads out of it"),
    Code("disk.tight", WARNING, "little room would be left"),
    Code("disk.unknown", WARNING, "how much room is left cannot be read"),
    Code("disk.unwritable", ERROR, "the workspace cannot be written"),
    Code("memory.ram", EITHER, "the run needs more memory than the machine has"),
    Code("memory.shm", WARNING, "too little shared memory for the data loader workers"),
    Code("memory.vram", WARNING, "the run needs more memory than the GPU has"),
    Code("device.bf16", EITHER, "the GPU cannot compute in bf16"),
    Code("device.busy", WARNING, "another program uses the GPU's memory"),
    Code("device.count", ERROR, "more processes than GPUs"),
    Code("device.driver", ERROR, "the driver is too old for the CUDA of torch"),
    Code("device.none", EITHER, "no GPU can be used"),
    Code("device.replay", INFO, "another GPU than the run that the recipe is of had"),
    Code("device.torch", WARNING, "torch is too old for the GPU"),
    Code("trainer.commit", WARNING, "the checkout is not at the commit that was tested"),
    Code("trainer.edited", WARNING, "the checkout's files are not those of its commit"),
    Code("trainer.import", ERROR, "the trainer's Python cannot import what it needs"),
    Code("trainer.missing", ERROR, "the trainer's sources or its Python are not here"),
    Code("trainer.package", ERROR, "an option needs a package that is not installed"),
    Code("trainer.replay", MILD, "another trainer or other packages than the run that the recipe is of had"),
    Code("trainer.resume", ERROR, "the trainer's commit changed since the run began"),
    Code("trainer.rules", INFO, "rules that are not judged, for the checkout has other lines where they rest"),
    Code("trainer.settings", ERROR, "config.yaml is wrong"),
    Code("trainer.sources", ERROR, "the trainer's sources could not be fetched"),
    Code("budget.cost", ERROR, "the run costs more than budget.max_cost"),
    Code("budget.hours", ERROR, "the run takes longer than budget.max_hours"),
    Code("budget.price", ERROR, "budget.max_cost needs budget.price_per_hour"),
    Code("budget.unmeasured", INFO, "the budget cannot be checked before the speed is measured"),
)

CODES = {code.name: code for code in TABLE}


class Severity(str, Enum):
    """How much a finding matters."""

    ERROR = "error"  # this run will fail, or will not do what the recipe says
    WARNING = "warning"  # it will run, and the user probably does not want this
    INFO = "info"  # worth knowing


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth saying. ``code`` is ``<stage>.<what>``; ``where`` is ``file:line:column`` or a path."""

    severity: Severity
    code: str
    message: str
    where: str = ""
    hint: str = ""

    @property
    def stage(self) -> str:
        """The part of the code before its first dot."""
        return self.code.partition(".")[0]

    def __str__(self) -> str:
        """One line: where, what, what to do."""
        place = f"{self.where}: " if self.where else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


def finding_json(finding: Finding) -> dict[str, str]:
    """A finding as every ``--json`` shows it."""
    return {**asdict(finding), "severity": finding.severity.value}


def error(code: str, message: str, *, where: str = "", hint: str = "") -> Finding:
    """A finding that stops the launch."""
    return _finding(Severity.ERROR, code, message, where, hint)


def warning(code: str, message: str, *, where: str = "", hint: str = "") -> Finding:
    """A finding the user should read before the launch."""
    return _finding(Severity.WARNING, code, message, where, hint)


def info(code: str, message: str, *, where: str = "", hint: str = "") -> Finding:
    """A finding that is good to know."""
    return _finding(Severity.INFO, code, message, where, hint)


def _finding(severity: Severity, code: str, message: str, where: str, hint: str) -> Finding:
    """A finding with a code of the table; another code, or another severity, is a bug of ours."""
    if severity.value not in CODES[code].severities:
        raise ValueError(f"codes.TABLE does not know {code} as {severity.value}")
    return Finding(severity, code, message, where, hint)


NEVER_ALLOWED = ("recipe.", "args.value", "args.unknown", "args.owned", "args.missing", "steps.none",
                 "trainer.missing")  # fmt: skip
"""Errors without which there is nothing to launch, or another run than the recipe says."""


def allow(findings: Iterable[Finding], codes: Collection[str]) -> tuple[Finding, ...]:
    """The same findings, with the named errors turned into warnings."""
    return tuple(
        replace(f, severity=Severity.WARNING) if f.severity is Severity.ERROR and f.code in codes else f
        for f in findings
    )


def not_allowable(codes: Iterable[str]) -> str:
    """Why a code cannot be given to ``--allow``; "" if all of them can."""
    for code in codes:
        if code.partition(".")[0] not in STAGES or "." not in code:
            return f"{code} is not a code of a finding; a code is <stage>.<what>, such as caption.missing"
        if code.startswith(NEVER_ALLOWED):
            return (
                f"{code} cannot be allowed: without it there is nothing to launch, or another run than the recipe says"
            )
    return ""
