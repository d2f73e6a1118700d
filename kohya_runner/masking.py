"""Which names hold secrets, and what is shown in place of their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|WEBHOOK|(^|_)(PASS|PWD|PAT|AUTH|DSN|COOKIE)($|_)"
    r"|(^|_)(API_?)?KEY($|_)|(DATABASE|DB|REDIS|MONGO\w*|BROKER)_UR[IL]",
    re.IGNORECASE,
)
"""Names of environment variables that hold secrets: a recipe may not read them, and no record shows them."""

SECRET_OPTIONS = frozenset({"huggingface_token", "wandb_api_key"})
"""Options of the trainer that hold secrets."""

SECRET_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{16,}|://[^/\s:@]+:[^/\s@]+@")
"""A text that is a secret whatever it is called: Hub tokens, API keys, passwords in addresses."""

MASK = "***"


def masked(env: Mapping[str, str]) -> dict[str, str]:
    """Variables with the values of secrets blotted out."""
    return {name: MASK if SECRET.search(name) else masked_text(value) for name, value in env.items()}


def masked_option(name: str, value: Any) -> Any:
    """An option's value as it may be shown."""
    if name.lower() in SECRET_OPTIONS or name.lower().endswith(("api_key", "_secret", "_password")):
        return MASK
    return masked_text(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """The text without the secrets in it that can be told by their form."""
    return SECRET_VALUE.sub(MASK, text)
