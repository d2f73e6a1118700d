"""Who makes the captions of a dataset, and how much may be asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from kohya_runner.dataset.captioning.caption_text import read_template
from kohya_runner.dataset.prepare.manifest import VersionStep
from kohya_runner.errors import UsageError
from kohya_runner.recipe.finish import address_fault

KEY = "KOHYA_CAPTION_API_KEY"
"""The variable with the endpoint's key."""
PROMPT = "Describe this picture in one sentence, as the caption of a training picture. Answer with the caption alone."
_LIMITS = frozenset({"concurrency", "max_requests", "max_cost", "price", "seconds", "pause"})
"""What does not change a caption is no part of the step."""


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """One of template, tagger and endpoint makes the captions; ``model`` is the tagger's or the endpoint's."""

    template: str | None = None
    tagger: str | None = None
    endpoint: str | None = None  # what ends in /v1
    model: str | None = None
    prompt: str = PROMPT
    threshold: float | None = None
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
        given = {name: value for name, value in said if name not in left_out and value not in (None, "", False)}
        return VersionStep("caption", {**given, "from": str(folder)} if folder else given)
