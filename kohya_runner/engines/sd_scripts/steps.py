"""How many images, batches, steps, epochs and checkpoints a run has: the numbers that the trainer will print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kohya_runner.dataset.buckets import Buckets, make_buckets, select
from kohya_runner.dataset.buckets import problems as bucket_problems
from kohya_runner.dataset.facts import Entry, Folder
from kohya_runner.engines.sd_scripts.batching import (
    Batching,
    Registered,
    Sample,
    Split,
    large_enough,
    orders,
    register,
    with_own,
)
from kohya_runner.engines.sd_scripts.dataset_config import groups
from kohya_runner.engines.steps_plan import (
    MOST_CHECKPOINTS,
    MOST_STEPS,
    BucketCount,
    StepsPlan,
    bucket_counts,
    plan_saves,
    save_problems,
)
from kohya_runner.findings import Finding, Severity, error, info, warning
from kohya_runner.text import counted, names


def plan_steps(folders: Sequence[Folder], batching: Batching) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
    """The numbers for laid-out folders; None where the findings say that the trainer would not come to them.

    Folders with other options per dataset are datasets of their own: each has its buckets and its batches, and its
    class images are measured by its own pictures.
    """
    alike = [(members, with_own(batching, own)) for own, members in groups(folders)] or [((), batching)]
    findings = [f for members, own in alike for f in (*_settings_problems(own), *_skipped(members, own))]
    if any(finding.severity is Severity.ERROR for finding in findings):
        return None, tuple(dict.fromkeys(findings))
    parts = [_part(large_enough(members, own.skipped), own) for members, own in alike]
    for part in parts:
        findings += (*_image_problems(part), *_unused_classes(part))
    batches = sum(part.batches for part in parts)
    against = _against(batches, batching)
    if against is not None:
        known = against.code == "steps.none" and any(finding.severity is Severity.ERROR for finding in findings)
        return None, tuple(dict.fromkeys([*findings, *([] if known else [against])]))
    ordered = any(folder.options for folder in folders)  # a dataset file lists the folders in our order
    chance = next((found for part in parts if (found := _chance(part, ordered=ordered))), None)
    findings += [chance] if chance else []
    return _plan(parts, batching, exact=chance is None), tuple(dict.fromkeys(findings))


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the trainer's datasets, with its pictures in their buckets, and the batches of an epoch."""

    folders: Sequence[Folder]
    batching: Batching
    buckets: Buckets
    found: Registered
    counts: tuple[BucketCount, ...]
    batches: int


def _part(folders: Sequence[Folder], batching: Batching) -> _Part:
    buckets, found = make_buckets(batching.buckets), register(folders, _split(batching))
    counts = count_buckets(found.samples, buckets)
    return _Part(folders, batching, buckets, found, counts, _batches(counts, batching))


def _skipped(folders: Sequence[Folder], batching: Batching) -> Iterator[Finding]:
    left = {id(entry) for folder in large_enough(folders, batching.skipped) for entry in folder.entries}
    gone = [entry for folder in folders for entry in folder.entries if id(entry) not in left]
    if gone:
        sides = "x".join(map(str, batching.skipped or ()))
        text = f"skip_image_resolution leaves out {counted(len(gone), 'image')} of no more pixels than {sides}"
        yield info("dataset.skipped", f"{text}: {_named(gone)}")


def _batches(counts: Sequence[BucketCount], batching: Batching) -> int:
    return sum(math.ceil(bucket.samples / batching.train_batch_size) for bucket in counts)


def _against(batches: int, batching: Batching) -> Finding | None:
    if not batches:
        text = "no batch: the trainer says 'No data found' and ends with exit code 0"  # train_network.py:1561
        return error("steps.none", text, hint="see the other findings about the datasets")
    total, every = _total(batches, batching), batching.saves.save_every_n_steps
    if total < 1:
        hint = "write an args.max_train_epochs or args.max_train_steps of 1 or more"
        return error("steps.none", "not one step would be taken", hint=hint)
    if total > MOST_STEPS:
        text = f"{total} optimization steps: at ten steps a second that takes {total // 36_000} hours"
        return error("steps.endless", text, hint="lower args.max_train_epochs, args.max_train_steps or the repeats")
    if total // (every or MOST_STEPS) > MOST_CHECKPOINTS:
        text = f"save_every_n_steps is {every}: more than {MOST_CHECKPOINTS} checkpoints"
        return error("steps.endless", text, hint="save less often")
    return None


def count_buckets(samples: Sequence[Sample], made: Buckets) -> tuple[BucketCount, ...]:
    """The buckets that hold something, sorted by size as the trainer does (library/dataset.py:677)."""
    chosen = {size: select(made, size) for size in {sample.entry.size for sample in samples}}
    return bucket_counts(
        (choice[0], 1, sample.repeats) for sample in samples if (choice := chosen[sample.entry.size]) is not None
    )


def _plan(made: Sequence[_Part], batching: Batching, *, exact: bool) -> StepsPlan:
    """train_network.py:1137-1140 and :1598-1601, library/dataset.py:709."""
    batches = sum(one.batches for one in made)
    per_process = math.ceil(batches / batching.num_processes)
    steps_per_epoch = math.ceil(per_process / batching.gradient_accumulation_steps)
    total = _total(batches, batching)
    epochs = math.ceil(total / steps_per_epoch)
    return StepsPlan(
        images_per_epoch=sum(one.found.training for one in made),
        regularization_images=sum(one.found.regularization for one in made),
        regularization_used=sum(one.found.regularization_used for one in made),
        validation_images=sum(one.found.validation for one in made),
        batches_per_epoch=per_process,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        total=total,
        buckets=bucket_counts(((b.width, b.height), b.images, b.samples) for one in made for b in one.counts),
        saves=plan_saves(batching.saves, total=total, steps_per_epoch=steps_per_epoch, epochs=epochs),
        exact=exact,
    )


def _total(batches: int, batching: Batching) -> int:
    if batching.max_train_epochs is None:
        return batching.max_train_steps
    steps = math.ceil(batches / batching.num_processes / batching.gradient_accumulation_steps)
    return batching.max_train_epochs * steps


def _settings_problems(batching: Batching) -> Iterator[Finding]:
    for name in ("train_batch_size", "gradient_accumulation_steps", "num_processes"):
        if getattr(batching, name) < 1:
            yield error(f"args.{name}", f"{name} is {getattr(batching, name)}: must be 1 or more")
    if not 0 <= batching.validation_split < 1:
        text = f"validation_split is {batching.validation_split}: must be 0 or more and less than 1"
        yield error("args.validation_split", text)
    elif batching.validation_split and batching.validation_seed is None:
        # library/dataset.py:123-130 shuffles once for training and again for validation
        text = "without validation_seed the images held out for validation are partly trained on, too"
        yield warning("args.validation_seed", text, hint="write args.validation_seed: 42, or any other number")
    yield from bucket_problems(batching.buckets, divisor=batching.reso_steps_divisor)
    yield from save_problems(batching.saves)


def _image_problems(part: _Part) -> Iterator[Finding]:
    samples, made, batching = part.found.samples, part.buckets, part.batching
    without = {size for size in {s.entry.size for s in samples} if select(made, size) is None}
    small = [s.entry for s in samples if s.entry.size in without]
    if small:
        # ZeroDivisionError in library/dataset.py:310, or an empty picture in :2976
        steps = batching.buckets.bucket_reso_steps
        text = f"{counted(len(small), 'image')} too small for a bucket in steps of {steps}: {_named(small)}"
        yield error("image.size", text, hint="leave args.bucket_no_upscale out, or lower args.bucket_reso_steps")
    if batching.buckets.enable_bucket or batching.cache_latents or batching.face_crop:
        return
    width, height = batching.buckets.resolution
    large = {size for size in {s.entry.size for s in samples} if size[0] >= width and size[1] >= height}
    fitting = large if batching.random_crop else {(width, height)}
    wrong = [s.entry for s in samples if s.entry.size not in fitting]
    if wrong:  # library/dataset.py:1064-1077
        text = f"{counted(len(wrong), 'image')} not of exactly {width}x{height} pixels: {_named(wrong)}"
        hint = "write args.enable_bucket: true or args.cache_latents: true, without either the trainer does not resize"
        yield error("image.size", text, hint=hint)


def _unused_classes(part: _Part) -> Iterator[Finding]:
    """Class images beyond the number of training images are left out (library/dreambooth_dataset.py:325)."""
    there = [entry for folder in part.folders if folder.regularization for entry in folder.entries]
    used = {id(sample.entry) for sample in part.found.samples}
    unused = [entry for entry in there if id(entry) not in used]
    if unused and len(unused) < len(there):
        text = f"{counted(len(unused), 'class image')} of {len(there)} are never trained: {_named(unused)}"
        many = f"an epoch takes as many class images as training images, {part.found.training}"
        hint = f"{many}: raise repeats, or take fewer"
        yield warning("dataset.classes_unused", text, hint=hint)


def _named(entries: Sequence[Entry]) -> str:
    return names([entry.image.path for entry in entries])


def _chance(part: _Part, *, ordered: bool) -> Finding | None:
    """Whether chance or the order in which the file system lists folders decides the number of batches."""
    split = _split(part.batching)
    for order in () if ordered else orders(part.folders, split):
        if _batches(count_buckets(register(order, split).samples, part.buckets), part.batching) != part.batches:
            text = "the number of batches depends on the order in which the file system lists the folders"
            return info("steps.order", f"{text}: the plan may be off by a few")
    sizes = {entry.size for folder in part.folders for entry in folder.entries}
    if split.by_chance and len({choice[0] for size in sizes if (choice := select(part.buckets, size))}) > 1:
        text = "chance decides which images are held out, and so how many batches there are"
        hint = "write args.validation_seed and args.seed"
        return info("steps.validation", f"{text}: the plan may be off by a few", hint=hint)
    return None


def _split(batching: Batching) -> Split:
    return Split(batching.validation_split, batching.validation_seed, batching.seed)
