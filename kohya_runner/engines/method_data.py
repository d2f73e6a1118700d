"""What a method asks of a recipe beside its options: condition images, repeats, class images, words in captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kohya_runner.dataset.captions import is_edit_file, is_rows_file
from kohya_runner.dataset.facts import Scan
from kohya_runner.dataset.survey import Survey
from kohya_runner.engines.arguments import ParsedOptions, optimizer_of
from kohya_runner.engines.support import IGNORES_FULL_BF16, Support
from kohya_runner.engines.table import ENGINES, FAMILIES
from kohya_runner.findings import Finding, Severity, error, warning
from kohya_runner.machine.disk import KEEP, DiskItem
from kohya_runner.machine.memory_use import moments
from kohya_runner.machine.sizes import WIDTH, DitLlliteShape, MethodShape, checkpoint_bytes
from kohya_runner.machine.sizes import method_state_bytes as state_bytes
from kohya_runner.text import counted, names

if TYPE_CHECKING:
    from kohya_runner.dataset.edit import EditSet, Paired, Pairs
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.recipe.load import Loaded

HALF = ("fp16", "bf16")
HALF_SCRIPTS = (
    "flux_train.py", "flux_train_control_net.py", "sdxl_train_control_net_lllite.py", "lumina_train.py", "sd3_train.py",
)  # fmt: skip


def method_shape(settings: ParsedOptions, support: Support) -> MethodShape:
    """What decides the size of a checkpoint."""
    chosen = settings.get("save_precision")
    width = WIDTH["bf16"] if trains_half(settings, support) else WIDTH["float"]  # as they are trained
    if chosen is not None and "save_precision" not in support.inert:
        width = WIDTH.get(str(chosen), WIDTH["float"])
    by_default = support.script == "train_db.py" and settings.get("stop_text_encoder_training") != -1
    return MethodShape(
        family=support.family,
        output=support.output,
        width=width,
        text=by_default or settings.on("train_text_encoder"),
        vectors=int(settings.get("num_vectors_per_token") or 1),
        embedding=int(settings.get("cond_emb_dim") or 0),
        rank=int(settings.get("network_dim") or 0),
        dit=_dit_shape(settings) if support.key == ("anima", "lllite") else None,
    )


def _dit_shape(settings: ParsedOptions) -> DitLlliteShape:
    names = {
        "layers": "lllite_target_layers", "mlp": "lllite_mlp_dim", "embedding": "cond_emb_dim",
        "trunk": "lllite_cond_dim", "blocks": "lllite_cond_resblocks", "channels": "lllite_cond_in_channels",
        "aspp": "lllite_use_aspp",
    }  # fmt: skip
    return DitLlliteShape(**{field: settings.get(option) for field, option in names.items()})


def trains_half(settings: ParsedOptions, support: Support) -> bool:
    """Whether the trained weights are in half precision.

    FLUX, Lumina and LLLite train in the mixed precision itself (flux_train.py:283, lumina_train.py:303,
    sdxl_train_control_net_lllite.py:318), SD3 in that of its file (sd3_train.py:352), which is a half one where it is
    published; the others in fp32.
    """
    always = support.script in HALF_SCRIPTS
    asked = settings.on("full_fp16") or (settings.on("full_bf16") and support.script not in IGNORES_FULL_BF16)
    return settings.get("mixed_precision") in HALF and (always or asked)


def method_items(settings: ParsedOptions, support: Support, steps: StepsPlan, output: Path) -> list[DiskItem]:
    """Checkpoints and states as many as lie there at once; none where the family's size is not known."""
    shape, saves = method_shape(settings, support), steps.saves
    one, state = checkpoint_bytes(shape), state_bytes(shape, moments(optimizer_of(settings)))
    found = []
    if one is not None:
        found.append(
            DiskItem("checkpoints", one * saves.most_checkpoints, output, _lines(shape, saves.most_checkpoints))
        )
    if state is not None and saves.most_states:
        line = ((f"save_last_n_epochs_state: {KEEP}", state * (KEEP + 1)),) if saves.most_states > KEEP + 1 else ()
        found.append(DiskItem("training states", state * saves.most_states, output, line))
    return found


def _lines(shape: MethodShape, count: int) -> tuple[tuple[str, int], ...]:
    half = checkpoint_bytes(replace(shape, width=WIDTH["fp16"])) or 0
    one = checkpoint_bytes(shape) or 0
    lines = [("save_precision: fp16", half * count)] if shape.width > WIDTH["fp16"] else []
    if count > KEEP + 1:  # the last file comes on top
        lines.append((f"save_last_n_epochs: {KEEP}", one * (KEEP + 1)))
    return tuple(lines)


MASKED = 4
"""Channels of a condition with a mask (anima_train_control_net_lllite.py:496)."""
PAIRED = ("pairs", "edit", "controls")
"""The kinds of data that edit pairs can be laid out as."""


def read_pairs(loaded: Loaded, support: Support, surveys: Sequence[Survey]) -> tuple[Pairs, ...]:
    """The edit pairs, or the condition images, of each dataset that names them; () for a method that uses none."""
    if support.data not in PAIRED:
        return ()
    scans = [survey.scan for survey in surveys if survey.edit is None]
    return (*(survey.edit for survey in surveys if survey.edit is not None), *_conditions(loaded, scans))


def _conditions(loaded: Loaded, scans: Iterable[Scan]) -> tuple[Paired, ...]:
    from kohya_runner.dataset.edit import read_conditions

    found = []
    for index, entry in loaded.datasets.items():
        images, path = ("datasets", index, "images"), ("datasets", index, "conditioning")
        here = (str(loaded.place(*images)), loaded.path_from(entry.images, *images))
        for scan in (scan for scan in scans if (scan.source.where, scan.source.folder) == here):
            if entry.conditioning is not None:
                folder = loaded.path_from(entry.conditioning, *path)
                found.append(read_conditions(scan, folder, str(loaded.place(*path))))
    return tuple(found)


def eased(
    found: Iterable[Finding], support: Support, parsed: ParsedOptions, scans: tuple[Scan, ...]
) -> Iterator[Finding]:
    """The same findings; datasets without any caption are no fault where the concept or a template is the prompt."""
    bare = {scan.source.where for scan in scans if not any(image.caption for image in scan.images)}
    bare |= {str(image.path) for scan in scans for image in scan.images if scan.source.where in bare}
    prompted = support.concept_prompts or parsed.on("use_object_template") or parsed.on("use_style_template")
    for finding in found:
        uncaptioned = finding.code == "caption.missing"
        if support.data in ("controls", "captioned") and finding.code in CAPTIONS:
            yield from CAPTIONS[finding.code](finding)
        elif uncaptioned and support.data == "pairs":  # there is no class token (library/config_util.py:668)
            yield replace(finding, hint="the trainer would train them with an empty prompt")
        else:
            easy = uncaptioned and prompted and finding.where in bare
            yield replace(finding, severity=Severity.INFO) if easy else finding


CAPTIONS: Mapping[str, Callable[[Finding], tuple[Finding, ...]]] = {
    "caption.missing": lambda f: (replace(f, severity=Severity.ERROR, hint="the trainer leaves such pictures out"),),
    "caption.lines": lambda _: (),
}
"""musubi-tuner reads no picture without a caption file, and all lines of it (dataset/media_utils.py:67)."""


def findings(
    loaded: Loaded, support: Support, parsed: ParsedOptions, scans: tuple[Scan, ...], pairs: tuple[Pairs, ...]
) -> Iterator[Finding]:
    """Everything that the method has against the recipe's datasets and left-open options."""
    yield from _missing_options(loaded, support, parsed)
    yield from ENGINES[support.engine].dataset_findings(loaded, support, parsed.options)
    kinds = _kinds(loaded)
    for index, entry in loaded.datasets.items():
        where = str(loaded.place("datasets", index))
        if entry.regularization and not support.regularization:
            text = f"{support.script} reads no class images"
            yield error("recipe.method", text, where=where, hint="leave the entry out, or write method: dreambooth")
        edits = kinds[index] in ("edits", "missing")
        wanted = support.data == "pairs" or support.needs_control
        optional = support.data == "controls" and not support.needs_control
        if not edits and not optional and (entry.conditioning is not None) != wanted:
            yield _conditioning(support, where, wanted=wanted)
        if support.data == "pairs" and kinds[index] == "rows":
            text = f"{support.script} pairs two folders of pictures, and this is a metadata file"
            yield error("recipe.method", text, where=where, hint="name the folder of the pictures")
        if support.data == "pairs" and entry.repeats != 1:
            text = f"repeats: {entry.repeats}: ControlNet shows each picture once an epoch (library/config_util.py:673)"
            yield error("recipe.method", text, where=where, hint="write repeats: 1, and more epochs")
    yield from _uneven_repeats(loaded, support)
    yield from edit_findings(loaded, support)
    if pairs:
        from kohya_runner.dataset.edit import EditSet, Paired, check_pairs

        if str(parsed.get("model_version") or "") not in support.several:
            yield from _several(support, (edit for edit in pairs if isinstance(edit, EditSet)))

        for pair in (pair for pair in pairs if isinstance(pair, Paired)):
            found = check_pairs(pair, buckets=parsed.on("enable_bucket"), sizes=support.data == "pairs")
            masked = parsed.get("lllite_cond_in_channels") == MASKED  # there the picture is to be its own condition
            yield from (one for one in found if not (masked and one.code == "image.pair_same"))
    if support.output == "embedding":
        yield from _without_word(scans, parsed)


def _several(support: Support, edits: Iterable[EditSet]) -> Iterator[Finding]:
    """Rows with more inputs than the script reads."""
    rows = [pair.row for edit in edits for pair in edit.pairs if pair.more]
    if rows:
        text = f"{counted(len(rows), 'row')} with several inputs, and {support.script} reads one of each picture here"
        hint = "name one input, or train flux2, or qwen_image_edit with args.model_version: edit-2511 or edit-2509"
        yield error("dataset.edit_several", text, where=rows[0].where("input_image"), hint=hint)


def _missing_options(loaded: Loaded, support: Support, parsed: ParsedOptions) -> Iterator[Finding]:
    for name, hint in support.needs.items():
        if parsed.get(name) is None:
            text = f"args.{name} is missing: {support.script} stops without it"
            yield error("args.missing", text, where=loaded.where("args"), hint=hint)


CONDITIONING = "write conditioning: FOLDER, or images: FOLDER/metadata.jsonl with edits (docs/edit.md)"


def _conditioning(support: Support, where: str, *, wanted: bool) -> Finding:
    if wanted:
        text = f"{support.script} trains with condition images, and this dataset has none"
        return error("recipe.method", text, where=where, hint=CONDITIONING)
    text = f"method: {support.method} uses no condition images"
    return error("recipe.method", text, where=where, hint="leave conditioning out, or write method: controlnet")


def _uneven_repeats(loaded: Loaded, support: Support) -> Iterator[Finding]:
    """One metadata file has one --dataset_repeats."""
    repeats = {entry.repeats for entry in loaded.datasets.values()}
    if support.data == "metadata" and len(repeats) > 1:
        text = f"{support.script} repeats all pictures alike, and the datasets have different repeats"
        yield error("recipe.method", text, where=loaded.where("datasets"), hint="write the same repeats everywhere")


def _without_word(scans: tuple[Scan, ...], parsed: ParsedOptions) -> Iterator[Finding]:
    """Without a template the captions are the prompts: one without the new word trains nothing of it."""
    word = str(parsed.get("token_string") or "")
    if not word or parsed.on("use_object_template") or parsed.on("use_style_template"):
        return
    for scan in scans:
        texts = ((i.path, i.caption.text if i.caption else scan.source.concept) for i in scan.images)
        without = [path for path, text in texts if word not in text]
        if without:
            text = f"{counted(len(without), 'caption')} without '{word}', the word to train: {names(without)}"
            hint = "add the word, or write args.use_object_template: true"
            yield warning("caption.token", text, where=scan.source.place(without), hint=hint)


def _kinds(loaded: Loaded) -> dict[int, Literal["edits", "missing", "rows", "folder"]]:
    """What each entry names; of a metadata file that is missing nothing is told about what it may hold."""
    entries = loaded.datasets.items()
    paths = {index: loaded.path_from(entry.images, "datasets", index, "images") for index, entry in entries}
    return {
        index: "edits" if is_edit_file(path)
        else "folder" if not is_rows_file(path)
        else "rows" if path.is_file()
        else "missing"
        for index, path in paths.items()
    }  # fmt: skip


def edit_findings(loaded: Loaded, support: Support) -> Iterator[Finding]:
    """What stands against the edit datasets of a recipe with this method, or against others where it needs them."""
    entries, kinds = loaded.datasets, _kinds(loaded)
    edits = [index for index, kind in kinds.items() if kind == "edits"]
    for index in edits:
        yield from _edit_findings(loaded, support, index)
    if edits and len(edits) < len(entries) and support.data in PAIRED:
        text = "edit datasets and folders cannot be mixed in one run: their pairs are laid out in different ways"
        hint = "write the pairs of the folders into a metadata.jsonl too"
        yield error("recipe.method", text, where=loaded.where("datasets"), hint=hint)
    elif support.data == "edit" and not edits and "missing" not in kinds.values():
        text = f"{support.script} trains on edits: an input, an instruction and an output"
        hint = "write images: FOLDER/metadata.jsonl; its rows are described in docs/edit.md"
        yield error("recipe.method", text, where=loaded.where("datasets"), hint=hint)


def _edit_findings(loaded: Loaded, support: Support, index: int) -> Iterator[Finding]:
    entry, where = loaded.datasets[index], str(loaded.place("datasets", index))
    if support.data not in PAIRED:
        text = f"method: {support.method} trains on pictures with captions, and this dataset holds edits"
        rows = ", ".join(f"{row.family} {row.method}" for row in FAMILIES if row.data in PAIRED)
        yield error("recipe.method", text, where=where, hint=f"name a folder of pictures, or train one of: {rows}")
    if entry.conditioning is not None:
        text = "an edit dataset brings its own condition images: the input of each row"
        at = str(loaded.place("datasets", index, "conditioning"))
        yield error("recipe.method", text, where=at, hint="leave conditioning out")
