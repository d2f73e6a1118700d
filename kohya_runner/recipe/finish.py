"""What a recipe says besides the training: limits, guards, samples, comparison, and what happens after the run."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

NOT_ALWAYS = ("images", "concept", "datasets")
"""Painted class images have no folder, folders of kohya's layout name their concept, some methods have no pictures."""


def _some_optional(schema: dict[str, Any]) -> None:
    if "required" in schema:
        schema["required"] = [name for name in schema["required"] if name not in NOT_ALWAYS]


class Strict(BaseModel):
    """A mapping of the recipe: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=_some_optional)


class Budget(Strict):
    """Limits of one run. Money is in whatever currency the price is in."""

    price_per_hour: float | None = Field(None, ge=0, strict=False, description="of the whole machine, running")
    max_cost: float | None = Field(
        None, gt=0, strict=False, description="no run that would cost more is launched; one that does is stopped"
    )
    max_hours: float | None = Field(
        None, gt=0, strict=False, description="no run that would take longer is launched; one that does is stopped"
    )

    @property
    def has_limits(self) -> bool:
        return self.max_cost is not None or self.max_hours is not None


class Diverged(Strict):
    """Stop where the smoothed loss has grown far beyond the best one and stays there."""

    factor: float = Field(10.0, gt=1, strict=False, description="how many times the best smoothed loss is too much")
    steps: int = Field(100, ge=1, description="for so many steps without a break")


class Stalled(Strict):
    """Stop where nothing happens. Outside the steps (loading, caching, samples) the wait is four times as long."""

    times: float = Field(20.0, gt=1, strict=False, description="without a step for so many times the time of one")
    least_seconds: float = Field(600.0, gt=0, strict=False, description="and never before this")


class Guard(Strict):
    """What a running training is stopped for; null or ``ignore`` switches a guard off."""

    nan: Literal["stop", "ignore"] = Field("stop", description="a loss or saved weights that are NaN or infinite")
    diverged: Diverged | None = Field(Diverged(), description="a loss that grows and stays large; null switches it off")
    stalled: Stalled | None = Field(Stalled(), description="a trainer that does nothing any more; null switches it off")
    disk: Literal["stop", "prune_states", "ignore"] = Field(
        "stop", description="no room for the next save: stop, or first remove this run's older state folders"
    )


class Resume(Strict):
    """What a run keeps for being continued (docs/resume.md)."""

    states: int | None = Field(
        None, ge=0, le=100,
        description="training states kept, each about three times the LoRA in fp32; "
        "by default 2 under launch --resume, none otherwise",
    )  # fmt: skip


def matching(pattern: str, message: str) -> AfterValidator:
    """A text of this form; otherwise the message is what is wrong with it."""

    def check(text: str) -> str:
        if not re.match(pattern, text, re.ASCII):
            raise ValueError(message)
        return text

    return AfterValidator(check)


Kind = Literal["json", "ntfy", "discord", "slack"]
VARIABLE = "KOHYA_NOTIFY_URL"
Variable = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z", "must be the name of an environment variable")]
_KEPT_SECRET = re.compile(r"discord(?:app)?\.com/api/webhooks/|hooks\.slack\.com/", re.IGNORECASE)


def address_fault(url: str) -> str:
    """Why no message can be sent to this address, "" where one can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is not a web address"
    if parts.username or parts.password:
        return f"holds a password; put the address into an environment variable: {{env: {VARIABLE}}}"
    if not host or not url.isprintable() or " " in url or parts.scheme not in ("http", "https"):
        return "must be an address that begins with https://"
    if parts.scheme == "http" and not _loopback(host):
        return "must begin with https://: http is for this machine alone"
    return ""


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(url: str) -> str:
    fault = address_fault(url)
    if not fault and _KEPT_SECRET.search(url):
        fault = f"is a secret: whoever has it can write there. Put it into a variable: {{env: {VARIABLE}, kind: ...}}"
    if fault:
        raise ValueError(fault)
    return url


Address = Annotated[str, AfterValidator(_address)]


class Notify(Strict):
    """Where a message goes when a run has ended, and in which shape."""

    url: Address | None = Field(None, description="https address; one that is a secret belongs into env")
    env: Variable | None = Field(None, description="the environment variable that holds the address")
    kind: Kind = Field("json", description="json, or the shape that ntfy, Discord or Slack takes")

    @model_validator(mode="after")
    def _one_of_both(self) -> Notify:
        if (self.url is None) == (self.env is None):
            raise ValueError(f"needs one of url and env, such as {{env: {VARIABLE}}}")
        return self


def _kind_of_notify(value: Any) -> str:
    return "text" if isinstance(value, str) else "mapping"


NotifyValue = Annotated[
    Annotated[Address, Tag("text")] | Annotated[Notify, Tag("mapping")], Discriminator(_kind_of_notify)
]


Repository = Annotated[
    str,
    matching(
        r"(?!.*(?:--|\.\.|\.git\Z))[A-Za-z0-9][\w.-]{0,94}/[A-Za-z0-9](?:[\w.-]{0,94}\w)?\Z",
        "must be a repository of the Hub, such as user/name: letters, digits, '.', '_' and '-'",
    ),
]


def _epoch(value: int | str) -> int | str:
    if value not in ("picked", "last", "all") and not (isinstance(value, int) and value > 0):
        raise ValueError("must be picked, last, all, or the number of an epoch")
    return value


class Publish(Strict):
    """What of a run goes to the Hub, and how (docs/publish.md)."""

    repo: Repository = Field(description="the repository, user/name")
    epoch: Annotated[int | str, AfterValidator(_epoch)] = Field(
        "picked", description="picked: by compare --pick, else suggested by the comparison, else the last one"
    )
    public: bool = Field(False, description="anybody may see it, where the repository is made new")
    clean: bool = Field(False, description="take words of captions, folder names and paths out of the copies")
    comfyui: bool = Field(False, description="a copy that ComfyUI reads, too, where it does not read the file itself")
    title: str | None = Field(None, description="of the card and the files; the recipe's name by default")
    trigger: tuple[str, ...] = Field((), strict=False, description="the words that call what was learnt")
    base_model: Repository | None = Field(
        None, description="the base model's repository, where the recipe names a file"
    )
    license: str | None = Field(None, description="the base model's licence, where the Hub does not tell it")


PublishValue = Annotated[
    Annotated[Repository, Tag("text")] | Annotated[Publish, Tag("mapping")],
    Discriminator(_kind_of_notify),
]


class Finish(Strict):
    """What happens after the run. It never changes how the run is judged."""

    compare: bool = Field(False, description="compare the epochs")
    publish: PublishValue | None = Field(None, description="the Hub repository to publish to, user/name, or a mapping")
    stop_pod: Literal[False, True, "stop", "terminate"] = Field(
        False, description="on RunPod: stop (true is the same), or terminate, where outputs are on a network volume"
    )
    notify: NotifyValue | None = Field(None, description="an https address, or {env: NAME, kind: ntfy}")
    grace_minutes: float = Field(
        15.0, ge=0, le=1440, strict=False, description="how long a pod is left alone after a run that failed"
    )

    @property
    def receiver(self) -> Notify | None:
        return Notify(url=self.notify) if isinstance(self.notify, str) else self.notify

    @property
    def publication(self) -> Publish | None:
        return Publish(repo=self.publish) if isinstance(self.publish, str) else self.publish

    @property
    def pod(self) -> Literal["", "stop", "terminate"]:
        return "stop" if self.stop_pod is True else self.stop_pod or ""

    def recorded(self) -> dict[str, Any]:
        """What the recipe asks for, as ``record.finish`` keeps it: no secrets, every value settled."""
        receiver, publication = self.receiver, self.publication
        return {
            "compare": self.compare,
            "publish": publication.model_dump(mode="json") if publication else None,
            "pod": self.pod,
            "grace_minutes": self.grace_minutes,
            "notify": receiver.model_dump(exclude_none=True) if receiver else None,
        }


class Samples(Strict):
    """Pictures that the trainer paints while it trains; the prompt file that it wants is written for it."""

    prompts: tuple[str, ...] = Field(strict=False, min_length=1, description="one line each, as the trainer reads them")
    every_n_epochs: int | None = Field(None, ge=1, description="how often they are painted")
    every_n_steps: int | None = Field(None, ge=1, description="the same in steps")


SIZE = r"([1-9]\d{1,4})x([1-9]\d{1,4})\Z"


class Compare(Strict):
    """How `kohya-runner compare` paints with each epoch. The run folder gets a prompt file."""

    prompts: tuple[str, ...] = Field((), strict=False, description="one picture per prompt, seed and epoch")
    negative: str | None = Field(None, description="the negative prompt for all of them")
    steps: int = Field(30, ge=1, le=1000, description="sampler steps")
    guidance: float = Field(7.5, ge=0, le=100, strict=False, description="classifier-free guidance scale")
    size: Annotated[str, matching(SIZE, "must be WIDTHxHEIGHT, such as 1024x1024")] = Field(
        "1024x1024", description="width x height in pixels"
    )
    seeds: tuple[int, ...] = Field((42,), strict=False, min_length=1)
    strengths: tuple[float, ...] = Field((1.0,), strict=False, min_length=1, description="the LoRA's multipliers")
    sampler: str | None = Field(None, description="gen_img.py's sampler, for sd15, sd2 and sdxl; ddim by default")
    samplers: tuple[str, ...] = Field((), strict=False, description="several of them: a row of pictures for each")
    controls: tuple[str, ...] = Field(
        (),
        strict=False,
        description="pictures to edit (flux_kontext, flux2, qwen_image_edit): one for each prompt, or one for all",
    )
    base: bool = Field(True, description="a column of the base model alone")
    clip: Annotated[str, matching("~?/", "must be a whole path: it begins with / or ~/")] | None = Field(
        None, description="a folder with a CLIP model of transformers, for two more figures"
    )
    trigger: tuple[str, ...] = Field(
        (), strict=False, description="the LoRA's words: prompts without one measure bleed"
    )
