"""Which names hold secrets, and what is shown in place of their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|LANG|LANGUAGE|LC_\w+|TZ|TERM|NO_COLOR|COLUMNS|TMPDIR|XDG_\w+|PYTHON\w+"
    r"|VIRTUAL_ENV|CONDA_\w+|RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT"
    r"|LD_\w+|LIBRARY_PATH|CUDA\w*|CUDNN_\w+|NVIDIA_\w+|NCCL_\w+|GLOO_\w+|TORCH\w*|PYTORCH_\w+|TRITON_\w+|XFORMERS_\w+"
    r"|BITSANDBYTES_\w+|BNB_\w+|ROCM_\w+|ROCR_\w+|HIP_\w+|HSA_\w+|OMP_\w+|MKL_\w+|KMP_\w+|OPENBLAS_\w+|NUMEXPR_\w+|MALLOC_\w+"
    r"|ACCELERATE_\w+|TOKENIZERS_\w+|TRANSFORMERS_\w+|DIFFUSERS_\w+|HF_\w+|HUGGINGFACE_\w+|SAFETENSORS_\w+|TQDM_\w+"
    r"|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|KOHYA_(?!NOTIFY)\w+"
)
PROXIES = re.compile(r"(?:https?|ftp|all|no)_proxy", re.IGNORECASE)
"""A proxy may need a password in its address; without it the network is not reachable at all."""
INSTALL = re.compile(r"PIP_\w+|UV_\w+|CC|CXX|\w*CFLAGS|MAX_JOBS|SSH_AUTH_SOCK|GIT_\w+")
"""What pip and git need besides. An index's address may hold its password: it is meant for pip."""
HUB = ("HF_TOKEN",)
WANDB = re.compile(r"WANDB_\w+")


def child_environment(
    environ: Mapping[str, str], *, hub: bool = False, wandb: bool = False, install: bool = False
) -> dict[str, str]:
    """The shell's variables that a child gets.

    ``hub``: it reads from or writes to the Hub. ``wandb``: it reports to Weights & Biases. ``install``: pip or git.
    """

    def given(name: str, value: str) -> bool:
        if name in HUB:
            return hub
        if PROXIES.fullmatch(name) or (install and INSTALL.fullmatch(name)):
            return True
        if wandb and WANDB.fullmatch(name):
            return True
        secret = SECRET.search(name.removeprefix("TOKENIZERS_")) or SECRET_VALUE.search(value)
        return bool(ALLOWED.fullmatch(name)) and not secret

    return {name: value for name, value in environ.items() if given(name, value)}


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
