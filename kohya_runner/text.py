"""Words for people: sizes, durations, counts, a few names of many, what a terminal can show, and no secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

ALLOWED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|HOSTNAME|LANG|LANGUAGE|LC_\w+|TZ|TERM|NO_COLOR|COLUMNS|TMPDIR|XDG_\w+|PYTHON\w+"
    r"|VIRTUAL_ENV|CONDA_\w+"
    r"|LD_\w+|LIBRARY_PATH|CUDA\w*|CUDNN_\w+|NVIDIA_\w+|NCCL_\w+|GLOO_\w+|TORCH(?!ELASTIC)\w*|PYTORCH_\w+|TRITON_\w+|XFORMERS_\w+"
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


def number(text: object) -> float | None:
    """What a text says as a number; None where it is none."""
    try:
        return float(str(text))
    except ValueError:
        return None


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
    if name.lower() in SECRET_OPTIONS or name.lower().endswith(("api_key", "_secret", "_password")):
        return MASK
    return masked_text(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """The text without the secrets in it that can be told by their form."""
    return SECRET_VALUE.sub(MASK, text)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The most similar name, or None where nothing comes close."""
    by_lower = {name.lower().replace("-", "_"): name for name in names}
    found = get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=0.6 if len(word) > 2 else 0.8)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str], key: str = "") -> str:
    """``did you mean 'x'?`` and the line to write after ``key``; where none comes close the names, if they are few."""
    names = tuple(names)
    best = nearest(word, names)
    if best:
        return f"did you mean '{best}'?" + (f" write {key}{best}" if key else "")
    few = 14
    return "allowed: " + ", ".join(sorted(names)) if len(names) <= few else ""


_BARE = re.compile(
    r"^write (?=-?\d|[A-Z]|an? (?:number|power|fraction|smaller|list|\.txt)|more than|less than|multiples)"
)


def whole_key(hint: str, option: str) -> str:
    """A hint that names a value alone, or ``it``, with the whole key of its option: so it can be pasted."""
    named = hint.replace("leave it out", f"leave args.{option} out") if option else hint
    return _BARE.sub(f"write args.{option}: ", named) if option else named


SHOWN = 5
LONGEST = 80


def size(count: int | None) -> str:
    """Bytes in powers of 1024, as nvidia-smi, PyTorch and ``df -h`` count: a card sold as 24 GB has 24 GiB."""
    if count is None:
        return "unknown"
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s``, ``7 s``."""
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def names(paths: Sequence[Path]) -> str:
    """``a.png, b.png and 7 more``."""
    shown = ", ".join(printable(path.name) for path in paths[:SHOWN])
    return shown if len(paths) <= SHOWN else f"{shown} and {len(paths) - SHOWN} more"


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shortened(text: str) -> str:
    """A quoted piece of text that fits into a line."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return repr(printable(cut))


def printable(text: str) -> str:
    """The text with what no terminal or JSON file takes (undecodable bytes of a file name) replaced."""
    return text.encode("utf-8", "replace").decode()


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
"""What a terminal obeys or does not show: control characters, bidi, zero width. Tab and newline are left."""
_BREAKS = re.compile("[\t\n]")


def visible(text: str) -> str:
    """A stranger's text as a terminal may show it: what would move the cursor or hide something stands as its code."""
    return _UNSEEN.sub(_code, text)


def on_page(value: object) -> object:
    """``visible`` for what a template of a page puts in; what is HTML already stays."""
    return visible(value) if type(value) is str else value


def template(file: Path, shown: Callable[[object], object] = on_page) -> Template:
    """A page of the package. What comes out of files is escaped; it can reach nothing but what it is given."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(file.parent), autoescape=True, finalize=shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(file.name)


def visible_json(text: str) -> str:
    """JSON with the same characters as its own escapes: what reads it gets them back."""

    def escaped(found: re.Match[str]) -> str:
        data = found.group().encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{data[i : i + 2].hex()}" for i in range(0, len(data), 2))

    return _UNSEEN.sub(escaped, text)


def plain(text: str) -> str:
    """``visible`` without tabs and line breaks: a file's name cannot write a line of its own."""
    return _BREAKS.sub(_code, visible(text))


def has_control(text: str) -> bool:
    """Whether a text holds a control character (C0, C1): no argument of a program needs one."""
    return any(ord(sign) < 0x20 or 0x7F <= ord(sign) < 0xA0 for sign in text)


def _code(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def package_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def repeats_and_token(name: str) -> tuple[int | None, str]:
    """What the trainer makes of a folder's name: repeats (None: it ignores the folder) and class token.

    ``int()`` of what stands before the first underscore, the rest as it is (library/config_util.py:615).
    """
    first, _, rest = name.partition("_")
    try:
        repeats = int(first)
    except ValueError:
        return None, ""
    return (repeats, rest) if repeats > 0 else (None, "")
