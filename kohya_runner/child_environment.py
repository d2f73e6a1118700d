"""The variables of the shell that a child process gets: what training needs, and never a secret it has no use for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kohya_runner.masking import SECRET, SECRET_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|LANG|LANGUAGE|LC_\w+|TZ|TERM|NO_COLOR|COLUMNS|TMPDIR|XDG_\w+|PYTHON\w+"
    r"|VIRTUAL_ENV|CONDA_\w+|RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT"
    r"|LD_\w+|LIBRARY_PATH|CUDA\w*|CUDNN_\w+|NVIDIA_\w+|NCCL_\w+|GLOO_\w+|TORCH\w*|PYTORCH_\w+|TRITON_\w+|XFORMERS_\w+"
    r"|BITSANDBYTES_\w+|BNB_\w+|ROCM_\w+|ROCR_\w+|HIP_\w+|HSA_\w+|OMP_\w+|MKL_\w+|KMP_\w+|OPENBLAS_\w+|NUMEXPR_\w+|MALLOC_\w+"
    r"|ACCELERATE_\w+|TOKENIZERS_\w+|TRANSFORMERS_\w+|DIFFUSERS_\w+|HF_\w+|HUGGINGFACE_\w+|SAFETENSORS_\w+|TQDM_\w+"
    r"|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|KOHYA_RUNNER_RUN|KOHYA_PRACTICE_\w+"
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
