"""What the trainer will really see of every image: prompt, tokens, size after resizing, crop, interpolation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kohya_runner.dataset.buckets import BucketSettings, make_buckets, parse_resolution, problems, select
from kohya_runner.dataset.facts import CAPTION_BLANK, Image, Source
from kohya_runner.dataset.picture import Traits
from kohya_runner.dataset.survey import Survey
from kohya_runner.dataset.token_count import Count, Encoder, count, same
from kohya_runner.findings import Finding
from kohya_runner.text import counted, names

Size = tuple[int, int]
Say = Callable[..., Finding]


@dataclass(frozen=True, slots=True)
class PageFinding:
    """A finding, and the image files it is about."""

    finding: Finding
    paths: tuple[Path, ...] = ()


def page_finding(say: Say, code: str, text: str, views: Sequence[TrainerView], *, hint: str = "") -> PageFinding:
    paths = tuple(one.image.path for one in views)
    return PageFinding(say(code, text, where=views[0].source.place(paths), hint=hint), paths)


def some(  # noqa: PLR0913, PLR0917 - a finding, and of what
    say: Say, code: str, views: Sequence[TrainerView], noun: str, what: str, hint: str = ""
) -> Iterator[PageFinding]:
    """One finding about these images, ``noun`` as they are called; none where there are none."""
    if views:
        yield page_finding(say, code, f"{counted(len(views), noun)} {what}: {named(views)}", views, hint=hint)


def named(views: Sequence[TrainerView]) -> str:
    return names([one.image.path for one in views])


TINY = 256  # pixels; the longer side of art that is enlarged on purpose


@dataclass(frozen=True, slots=True)
class Rules:
    """What of the trainer's options decides how images and captions are seen; the fields have the options' names."""

    buckets: BucketSettings | None = None  # None: the resolution is not known, or no bucket can be made
    resizes: bool = True  # without buckets and cached latents the trainer takes pictures as they are
    resize_interpolation: str | None = None
    takes_interpolation: bool = True  # whether the trainer has such an option
    caption_prefix: str = ""
    caption_suffix: str = ""
    secondary_separator: str = ""
    caption_separator: str = ","
    as_written: bool = False  # text encoder outputs are cached: prefix and suffix are not used
    alpha_mask: bool = False
    changing: tuple[str, ...] = ()  # options that make the prompt another one each time
    encoders: tuple[Encoder, ...] = ()


CHANGING = (
    "shuffle_caption", "enable_wildcard", "caption_dropout_rate", "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate", "token_warmup_step",
)  # fmt: skip


def rules_from(option: Callable[[str], Any], encoders: tuple[Encoder, ...] = ()) -> Rules:
    """The rules in the options, absent ones at the trainer's defaults (library/args.py:969-1082)."""
    enabled = bool(option("enable_bucket"))
    cached = bool(option("cache_latents") or option("cache_latents_to_disk"))
    return Rules(
        buckets=_buckets(option),
        resizes=enabled or cached,
        resize_interpolation=option("resize_interpolation"),
        caption_prefix=option("caption_prefix") or "",
        caption_suffix=option("caption_suffix") or "",
        secondary_separator=option("secondary_separator") or "",
        caption_separator=option("caption_separator") or ",",
        as_written=bool(option("cache_text_encoder_outputs") or option("cache_text_encoder_outputs_to_disk")),
        alpha_mask=bool(option("alpha_mask")),
        changing=tuple(name for name in CHANGING if option(name)),
        encoders=encoders,
    )


def _buckets(option: Callable[[str], Any]) -> BucketSettings | None:
    resolution = parse_resolution(option("resolution"))
    if resolution is None:
        return None
    names = ("enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale")
    given = {name: value for name in names if (value := option(name)) is not None}
    settings = BucketSettings(resolution, **given)
    return None if problems(settings) else settings


@dataclass(frozen=True, slots=True)
class TrainerView:
    """One image as the trainer will use it. ``bucket`` and ``resized`` are None where that is not known."""

    image: Image
    traits: Traits | None
    source: Source
    caption: str
    from_file: bool
    counts: tuple[Count, ...] = ()
    bucket: Size | None = None
    resized: Size | None = None
    interpolation: str = ""  # "" where nothing is resized

    @property
    def size(self) -> Size:
        return self.image.size

    @property
    def scale(self) -> float:
        """How many times larger it becomes; 1 where that is not known."""
        return self.resized[0] / self.image.width if self.resized and self.image.width else 1.0

    @property
    def lost(self) -> float:
        """The share of the picture that the crop takes away."""
        if self.bucket is None or self.resized is None:
            return 0.0
        kept = min(self.bucket[0], self.resized[0]) * min(self.bucket[1], self.resized[1])
        return 1 - kept / (self.resized[0] * self.resized[1])

    @property
    def lost_pixels(self) -> int:
        return round(self.lost * self.image.width * self.image.height)

    @property
    def tiny(self) -> bool:
        """Whether it is small art of which every pixel counts."""
        return 0 < max(self.size) <= TINY


def trainer_views(survey: Survey, rules: Rules) -> Iterator[TrainerView]:
    """Every image of a survey in order, those that cannot be read included."""
    made = make_buckets(rules.buckets) if rules.buckets else None
    places: dict[Size, tuple[Size, Size] | None] = {}
    counts: dict[tuple[Count, ...], tuple[Count, ...]] = {}  # most captions are of a few lengths
    for image, traits in zip(survey.scan.images, survey.traits, strict=True):
        size = (image.width, image.height)
        believed = bucketing_size(size, traits)
        if made is not None and believed not in places:
            places[believed] = select(made, believed)
        place = places.get(believed)
        resized = place[1] if place and rules.resizes else size if place else None
        text, from_file = prompt(image, survey.scan.source, rules)
        yield TrainerView(
            image,
            traits,
            survey.scan.source,
            text,
            from_file,
            counts=counts.setdefault(found := _counts(text, rules.encoders), found),
            bucket=place[0] if place else None,
            resized=resized,
            interpolation=interpolation(size, resized, rules.resize_interpolation) if resized else "",
        )


def _counts(text: str, encoders: tuple[Encoder, ...]) -> tuple[Count, ...]:
    """The tokens for each encoder; those that count alike count once."""
    made: dict[int, Count] = {}
    for index, encoder in enumerate(encoders):
        like = next((i for i in made if same(encoders[i], encoder)), None)
        made[index] = count(encoder, text) if like is None else replace(made[like], encoder=encoder.name)
    return tuple(made.values())


def bucketing_size(size: Size, traits: Traits | None) -> Size:
    """The size the trainer chooses the bucket by: imagesize's, else Pillow's (library/dataset.py:913)."""
    short = traits is not None and traits.short and size[0] > 1
    return (size[0] - 1, size[1] - 1) if short else size


def interpolation(size: Size, resized: Size, asked: str | None) -> str:
    """library/utils.py:276-280: area where no side grows, Lanczos else; what is asked for comes first."""
    if size == resized:  # library/utils.py:212
        return ""
    return asked or ("area" if size[0] >= resized[0] and size[1] >= resized[1] else "lanczos")


def prompt(image: Image, source: Source, rules: Rules) -> tuple[str, bool]:
    """What the encoders get, and whether from a caption file (library/dataset.py:501-530, dreambooth_dataset.py:232).

    A file without a byte, or one that is not UTF-8, stops the trainer; the layout leaves it out.
    """
    caption = image.caption
    from_file = caption is not None and caption.problem in ("", CAPTION_BLANK)
    text = caption.text if caption is not None and from_file else source.concept
    if rules.as_written:
        return text, from_file
    if rules.caption_prefix:
        text = f"{rules.caption_prefix} {text}"
    if rules.caption_suffix:
        text = f"{text} {rules.caption_suffix}"
    if "enable_wildcard" not in rules.changing:
        text = text.split("\n")[0]
    if rules.secondary_separator:
        text = text.replace(rules.secondary_separator, rules.caption_separator)
    return text, from_file
