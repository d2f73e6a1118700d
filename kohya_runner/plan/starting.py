"""What a new recipe says of its pictures: each value with the reason, each thing that they do not tell as a comment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.dataset.first_look import FolderPart, common_start, sprite
from kohya_runner.dataset.picture_checks import ENLARGED
from kohya_runner.dataset.token_count import Encoder, count
from kohya_runner.engines.support import LENGTH_OPTIONS, Support
from kohya_runner.engines.table import options_for
from kohya_runner.engines.text_encoders import LENGTHS, encoders
from kohya_runner.recipe.starter import Filled, shipped_recipes
from kohya_runner.text import counted
from kohya_runner.yamlio import scalar

Setting = tuple[str, str]  # a value as YAML, and why


FEW, MANY = 200, 400
"""Pictures that one of ten epochs shows, with up to 3 pictures a step and with more: 2000 steps of one, 500 of 8."""
EPOCHS = 10
MOST_REPEATS = 40
LONGER = 1.3  # tokens of a word, where the tokenizer is not here: CLIP takes common words whole
STEP = 64  # of buckets, and what every family's pictures are a multiple of
NEAR = 0.15  # how far a resolution may be from the family's own
MOST_EPOCHS = 20
LONGEST = 512  # tokens that T5 and its like are trained with
UNBUCKETED = ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps")


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a new recipe; ``paths`` say how it names a folder, ``places`` may hold tokenizers."""

    parts: Sequence[FolderPart]
    paths: Mapping[Path, str]
    native: int  # the resolution of the family's own recipe
    places: tuple[Path, ...] = ()


def drawn(parts: Sequence[FolderPart]) -> tuple[tuple[int, int], int] | None:
    """The size of the sprites, and by how much they are enlarged; None for other pictures."""
    return sprite([one.path for part in parts for one in part.survey.scan.images if not one.problem])


def choose(support: Support, args: Mapping[str, Any], pictures: Pictures) -> Filled:
    """What the pictures decide; ``args`` are those of the shipped recipe."""
    parts, options, notes = pictures.parts, options_for(support.script, None), list[str]()
    made = drawn(parts)
    if made is None:
        settings = _sized(pictures, args, notes, takes="bucket_no_upscale" in options)
    elif "resize_interpolation" in options:
        settings = _sprites(made, pictures.native, args, notes)
    else:
        settings = {}
        notes.append(f"{_said(*made)}: the trainer blurs them: enlarge them yourself by a whole factor")
    if made and not (shipped_recipes() / f"pixel_art_{support.family}.yaml").is_file():
        notes.append("pixel art is best trained with a family that has a recipe for it: recipes/pixel_art_*.yaml")
    texts = [text for part in parts for text in part.captions]
    settings |= _length(support, args, (texts, pictures.places), notes)
    repeats, settings["max_train_epochs"] = _repeats(parts, args)
    entries = tuple(_entry(part, support, (pictures.paths, repeats), notes) for part in parts)
    return Filled(entries, {name: value for name, value in settings.items() if name in options}, tuple(notes))


def _said(size: tuple[int, int], times: int) -> str:
    return f"{size[0]}x{size[1]} sprites" + (f", enlarged {times} times" if times > 1 else "")


def _sprites(
    made: tuple[tuple[int, int], int], native: int, args: Mapping[str, Any], notes: list[str]
) -> dict[str, Setting]:
    """Nearest, and a resolution that is a multiple of the sprites' side and of the buckets' step."""
    (width, height), times = made
    what = _said(*made)
    nearest = {"resize_interpolation": ("nearest", f"{what}: any other filter blurs them")}
    steps = [math.lcm(width * times, STEP), math.lcm(width, STEP)]  # whole times the files, or whole times the sprites
    near = [max(step, round(native / step) * step) for step in steps]
    wanted = next((one for one in near if abs(one - native) <= native * NEAR), near[-1])
    if width != height or wanted > native * ENLARGED:
        notes.append(f"{what}: no resolution near {native} is a whole multiple; pad them to squares of one size")
        return nearest
    plain = {name: ("null", "no buckets: all pictures have one size") for name in UNBUCKETED if name in args}
    return {
        "resolution": (str(wanted), f"{width} x {wanted // width}: a whole multiple of the sprites and of {STEP}"),
        "enable_bucket": ("false", "all pictures are squares of one size"),
        **plain,
        **nearest,
        "cache_latents": ("true", "without, nothing is enlarged where buckets are off"),
    }


def _sized(pictures: Pictures, args: Mapping[str, Any], notes: list[str], *, takes: bool) -> dict[str, Setting]:
    """Pictures of any size: the shipped resolution, and nothing enlarged that has fewer pixels."""
    sizes = sorted((size for part in pictures.parts for size in part.sizes), key=lambda size: (math.prod(size), size))
    if not sizes:
        return {}
    native = pictures.native
    least, most = ("x".join(map(str, size)) for size in (sizes[0], sizes[-1]))
    span = least if least == most else f"{least} to {most}"
    stated = args.get("resolution")
    found = {"resolution": (scalar(stated), f"the family's own; the pictures have {span}")} if stated else {}
    small = sum(math.prod(size) < (native / ENLARGED) ** 2 for size in sizes)
    if small and takes and args.get("enable_bucket"):
        found["bucket_no_upscale"] = ("true", f"{counted(small, 'picture')} smaller than {native}: trained as they are")
    elif small:
        notes.append(f"{counted(small, 'picture')} smaller than {native}: take larger originals where there are any")
    return found


def _length(
    support: Support, args: Mapping[str, Any], told: tuple[Sequence[str], tuple[Path, ...]], notes: list[str]
) -> dict[str, Setting]:
    """The shortest length of the text encoder that holds every caption."""
    texts, places = told
    readers = encoders(support, args.get, places=places)
    clip = bool(readers) and bool(readers[0].longer)  # it reads max_token_length
    option = "max_token_length" if clip else LENGTH_OPTIONS.get(support.family)
    if not texts or not readers or option is None:
        return {}
    reader = readers[0] if clip else readers[-1]
    longest, exact = max(_tokens(reader, text) for text in texts)
    said = f"the longest caption has {'' if exact else 'about '}{longest} tokens"
    lengths = (reader.limit, *LENGTHS) if clip else (reader.limit + 1, LONGEST)
    fitting = next((one for one in lengths if one >= longest), lengths[-1])
    if longest > fitting:
        notes.append(f"{said}, and no more than {fitting} are read: shorten what is longer")
    usual = clip and fitting == reader.limit
    return {option: ("null" if usual else str(fitting), f"{said}: the usual {fitting} do" if usual else said)}


def _tokens(reader: Encoder, text: str) -> tuple[int, bool]:
    found = count(reader, text)
    return (found.most, True) if found.exact else (min(found.most, math.ceil(found.fewest * LONGER)), False)


def _repeats(parts: Sequence[FolderPart], args: Mapping[str, Any]) -> tuple[Setting, Setting]:
    """Repeats and epochs: as many pictures are shown as by the shipped recipes."""
    batch = int(args.get("train_batch_size") or 1)
    step = batch * int(args.get("gradient_accumulation_steps") or 1)
    views = MANY if step > 3 else FEW
    trained = [part for part in parts if not part.regularization]
    pictures = sum(len(part.sizes) for part in trained) or 1
    repeats = max(1, min(MOST_REPEATS, round(views / pictures)))
    shown = sum(len(part.sizes) * (part.repeats or repeats) for part in trained) or 1
    most = MOST_EPOCHS if any(part.repeats for part in trained) else EPOCHS  # the folders' own repeats may be few
    epochs = max(2, min(most, round(EPOCHS * views / shown)))
    classes = " + as many class images" if len(trained) < len(parts) else ""
    steps = math.ceil(math.ceil(shown * (2 if classes else 1) / batch) * batch / step) * epochs
    told = f"{epochs} x {shown} pictures{classes} / {step} a step: about {steps} steps"
    rule = f"rule of thumb: {views} pictures an epoch; {pictures} x {repeats} = {pictures * repeats}"
    return (str(repeats), rule), (str(epochs), told)


def _entry(
    part: FolderPart, support: Support, told: tuple[Mapping[Path, str], Setting], notes: list[str]
) -> tuple[str, ...]:
    """The lines of one dataset, without the dash's column."""
    paths, repeats = told
    texts, images = part.captions, part.survey.scan.images
    number = repeats if part.repeats is None else (str(part.repeats), part.why)
    holds = f"{counted(len(images), 'picture')}, {counted(len(texts), 'caption')}"
    unknown = "the pictures do not tell: write the word that you will prompt with"
    lines = [
        _line("images", scalar(paths[part.images]), holds),
        _line("concept", scalar(part.concept), part.why or unknown),
        _line("repeats", *number),
    ]
    if part.regularization:
        lines.append(_line("regularization", "true", "class images, in the folder reg"))
    if part.conditioning is not None:
        lines.append(_line("conditioning", scalar(paths[part.conditioning]), "what is changed, under the same names"))
    bare = images and not texts and not part.regularization
    if bare and support.data in ("controls", "captioned"):
        notes.append("there are no captions, and this trainer leaves out pictures without one: write them as .txt")
    elif bare:
        lines.append(_line("captions", "{optional: true}", "there are none: each picture is trained as the concept"))
    start, having = ("", 0) if part.survey.edit or part.conditioning else common_start(texts)  # instructions differ
    if start and having == len(texts):
        lines.append(_line("captions", f"{{starts_with: {scalar(start)}}}", f"as all {having} do"))
    elif start:
        rule = f"captions: {{starts_with: {scalar(start)}}}"
        notes.append(f"{having} of {len(texts)} captions begin so: correct the others, then write in the entry {rule}")
    return tuple(lines)


def _line(key: str, value: str, why: str) -> str:
    return f"{key}: {value}" + (f"  # {why}" if why else "")
