"""The text of a caption: one line with its trigger word; who makes it, a template or a model; what is no caption.

A template is made of parts of the file's name, its folder, and the colours that are measured in the picture. It may
come with a stranger's recipe: it looks values up and chooses between them; nothing in it can loop, multiply or call
anything but ``palette``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from kohya_runner.dataset.prepare.manifest import VersionStep
from kohya_runner.errors import UsageError
from kohya_runner.recipe.finish import address_fault
from kohya_runner.recipe.models import NO_BLIP
from kohya_runner.recipe.template import MAX_LENGTH, sandbox
from kohya_runner.text import did_you_mean, repeats_and_token

if TYPE_CHECKING:
    from jinja2 import Template, nodes

KEY = "KOHYA_CAPTION_API_KEY"
"""The variable with the endpoint's key."""
PROMPT = "Describe this picture in one sentence, as the caption of a training picture. Answer with the caption alone."
_LIMITS = frozenset({"concurrency", "max_requests", "max_cost", "price", "seconds", "pause"})
"""What does not change a caption is no part of the step."""


@dataclass(frozen=True, slots=True)
class CaptionJob:
    """A picture that needs a caption: where it lies now, and the name of the folder that it came from."""

    path: Path
    folder: str
    caption: str = ""  # the one it has

    @property
    def file(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a picture got no caption."""

    why: str
    of_server: bool = False  # nothing that the picture could be to blame for


_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_LABEL = re.compile(r"\A(?:\*\*)?(?:caption|description)\s*:\s*(?:\*\*)?\s*", re.IGNORECASE)
_REFUSED = re.compile(
    r"(?:i['\u2019]?m|i am) (?:really |very )?(?:sorry|unable|not able)|sorry[,.]"
    r"|i (?:can['\u2019]?t|cannot|can not|won['\u2019]?t|am unable)\b|as an ai\b|i apologi[sz]e|unfortunately, i\b",
    re.IGNORECASE,
)


def one_line(text: str) -> str:
    """A model's answer as the line that the trainer reads: no thoughts, label, quotes or signs that nobody sees."""
    shown = "".join(sign for sign in _THOUGHT.sub("", text) if sign.isprintable() or sign.isspace())
    line = _LABEL.sub("", " ".join(shown.split())).strip()
    quoted = len(line) > 1 and (line[0], line[-1]) in (('"', '"'), ("“", "”"), ("'", "'"))
    return line[1:-1].strip() if quoted else line


def refused(text: str) -> bool:
    """Whether a model says that it will not, instead of describing the picture."""
    return _REFUSED.match(text) is not None


def with_trigger(text: str, word: str) -> str:
    """The text with the word as its first tag; within a sentence it stays where it is."""
    if not word or text == word or text.startswith((f"{word},", f"{word} ")):
        return text
    tags = [tag.strip() for tag in text.split(",")]
    if word in tags:
        return ", ".join((word, *(tag for tag in tags if tag != word)))
    inside = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
    return text if inside else f"{word}, {text}" if text else word


NAMES = ("stem", "parts", "words", "folder", "width", "height", "palette", "background", "caption")
"""What a template can name; ``palette`` is the list of colours, most used first, or ``palette(3)``."""
FILTERS = frozenset({
    "capitalize", "d", "default", "first", "int", "join", "last", "length", "lower", "replace", "title", "trim",
    "upper",
})  # fmt: skip
_NODES = ("Template", "Output", "TemplateData", "Const", "Name", "Getitem", "Slice", "Filter", "Concat", "CondExpr",
          "If", "Compare", "Operand", "Not", "And", "Or", "Test", "Call", "Neg", "List", "Tuple")  # fmt: skip
COLOURS = 5
_LOOKED_AT = 256  # pixels of a side: nearest neighbour keeps the colours of pixel art as they are
_DISTINCT = 64  # colours; a picture with more is no pixel art, and is reduced to the commonest


class _Palette(tuple[str, ...]):
    """Colours as a template writes them: all that are shown, or so many."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self[:COLOURS])

    def __call__(self, count: int) -> str:
        return ", ".join(self[:count])


@dataclass(frozen=True, slots=True)
class CaptionTemplate:
    """A template that was read; ``of`` fills it in."""

    text: str
    template: Template
    colours: bool  # whether it asks for any

    def of(self, wanted: CaptionJob) -> str | Failure:
        """The text for one picture, or why it cannot be filled in."""
        from jinja2 import TemplateError

        try:
            stem, folder = wanted.path.stem, repeats_and_token(wanted.folder)[1] or wanted.folder
            parts = [part for part in re.split(r"[_\-\s.]+", stem) if part]
            words = " ".join(part for part in parts if not part.isdigit())
            known = {"stem": stem, "parts": parts, "folder": folder, "caption": wanted.caption, "words": words}
            text = self.template.render(known | _measured(wanted.path) if self.colours else known)
        except (TemplateError, TypeError, ValueError, OverflowError, OSError, SyntaxError) as fault:
            return Failure(f"the template cannot be filled in: {fault}")
        return text if len(text) <= MAX_LENGTH else Failure(f"the caption is longer than {MAX_LENGTH} characters")


def read_template(text: str, option: str = "--template") -> CaptionTemplate:
    """The template.

    Raises:
        UsageError: it is none, or does what it may not.
    """
    from jinja2 import TemplateSyntaxError, nodes

    environment = sandbox()
    hint = 'write it like "pixel art, {{ words }}, palette: {{ palette }}"'
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as fault:
        raise UsageError(f"{option}: {fault.message}", hint=hint) from None
    wrong, instead = next((said for said in map(_fault, tree.find_all(nodes.Node)) if said[0]), ("", ""))
    if wrong:
        raise UsageError(f"{option}: {wrong}", hint=instead or hint)
    measured = {node.name for node in tree.find_all(nodes.Name)} & {"palette", "background", "width", "height"}
    return CaptionTemplate(text, environment.from_string(text), bool(measured))


def _fault(node: nodes.Node) -> tuple[str, str]:
    """What is wrong with a node and what to write, two empty texts for nothing."""
    from jinja2 import nodes

    kind = type(node).__name__
    if kind not in _NODES:
        return f"'{kind.lower()}' is not possible in a template of captions", "use names, filters and if"
    if isinstance(node, nodes.Name) and node.name not in NAMES:
        return f"there is no '{node.name}'", did_you_mean(node.name, NAMES) or f"there are: {', '.join(NAMES)}"
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"there is no filter '{node.name}'", did_you_mean(node.name, FILTERS)
    if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name == "palette"):
        return "nothing but palette can be called", "write {{ palette(3) }}"
    return "", ""


def _measured(path: Path) -> dict[str, object]:
    """Size, palette and background: the colour that most of the border has."""
    with PIL.Image.open(path) as opened:
        width, height = opened.size
        plain = opened.convert("RGBA")
    plain.thumbnail((_LOOKED_AT, _LOOKED_AT), PIL.Image.Resampling.NEAREST)
    solid = plain.convert("RGB")
    if solid.getcolors(_DISTINCT) is None:
        solid = solid.quantize(COLOURS * 2).convert("RGB")
    seen = PIL.Image.merge("RGBA", (*solid.split(), plain.getchannel("A").point(lambda alpha: 255 * (alpha > 127))))
    w, h = seen.size
    edges = [_common(seen.crop(box)) for box in ((0, 0, w, 1), (0, h - 1, w, h), (0, 0, 1, h), (w - 1, 0, w, h))]
    border = [code for edge in edges for code in edge[:1]]
    background = max(border, key=border.count, default="transparent")
    return {"width": width, "height": height, "palette": _Palette(_common(seen)), "background": background}


def _common(image: PIL.Image.Image) -> tuple[str, ...]:
    """The colours that can be seen, as hex codes, most used first."""
    counted = [(count, pixel) for count, pixel in image.getcolors(1 << 16) or () if pixel[3]]  # type: ignore[index]
    return tuple("#{:02x}{:02x}{:02x}".format(*pixel[:3]) for _, pixel in sorted(counted, key=lambda c: (-c[0], c[1])))  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """One of template, tagger and endpoint makes the captions; ``model`` is the tagger's or the endpoint's."""

    template: str | None = None
    tagger: str | None = None
    endpoint: str | None = None  # what ends in /v1
    model: str | None = None
    prompt: str = PROMPT
    threshold: float | None = None
    options: Mapping[str, object] = field(default_factory=dict)  # of the tagger's script
    max_tokens: int = 300
    trigger: str = ""
    overwrite: bool = False
    concurrency: int = 4
    max_requests: int | None = None  # of the whole dataset, earlier runs counted
    max_cost: float | None = None
    price: tuple[float, float] = (0.0, 0.0)  # of a million tokens, in and out
    seconds: float = 120.0  # for one answer
    pause: float = 1.0  # seconds before a second try; doubled for each more

    def checked(self, key: str) -> CaptionSettings:
        """Itself. Raises ``UsageError`` where it does not say who makes the captions, or what cannot be asked."""
        makers = [name for name in ("template", "tagger", "endpoint") if getattr(self, name) is not None]
        if len(makers) != 1:
            raise UsageError("say who makes the captions", hint="one of --template, --tagger and --endpoint")
        if self.tagger == "blip":
            raise UsageError(f"--tagger {NO_BLIP}")
        if self.options and self.tagger is None:
            raise UsageError("--option is for the script of a tagger", hint="add --tagger wd14, or leave it out")
        if self.template is not None:
            read_template(self.template)
        if self.endpoint is None:
            return self
        if not self.model:
            raise UsageError("--endpoint needs a model", hint="add --model NAME")
        fault = address_fault(self.endpoint).partition(";")[0]
        if fault and (key or not self.endpoint.startswith("http://") or "https" not in fault):
            raise UsageError(f"--endpoint {fault}", hint="write it like https://api.openai.com/v1")
        if self.max_cost is not None and self.price == (0.0, 0.0):
            raise UsageError("--max-cost needs the price of the model", hint="add --price IN OUT of a million tokens")
        return self

    def step(self, folder: Path | None = None) -> VersionStep:
        """As the manifest keeps it; ``folder`` is what a new version is made from."""
        left_out = _LIMITS if self.endpoint is not None else _LIMITS | {"prompt", "max_tokens"}
        said = asdict(self).items()
        given = {name: value for name, value in said if name not in left_out and value not in (None, "", False, {})}
        return VersionStep("caption", {**given, "from": str(folder)} if folder else given)
