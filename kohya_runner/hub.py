"""What the Hub says about the repositories a run needs, and what that means for the run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Literal

from kohya_runner.findings import Finding, error, warning
from kohya_runner.safe_files import read_text
from kohya_runner.text import masked_text

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Status = Literal["ok", "gated", "unauthorized", "missing", "offline", "error"]

ENDPOINT = "https://huggingface.co"
TIMEOUT = 5.0
"""Seconds for one answer; there are no retries: a check must not wait for a dead network."""
PARALLEL = 8
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the Hub. The token is never shown."""

    endpoint: str = ENDPOINT
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    seconds: float = TIMEOUT  # for one answer

    @property
    def writer(self) -> HfApi:
        """The client for uploads; its own words on addresses that hold signatures are kept quiet."""
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars

        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        if not sys.stderr.isatty():
            disable_progress_bars()
        return HfApi(endpoint=self.endpoint, token=self.token or False)


@dataclass(frozen=True, slots=True)
class HubFact:
    """The Hub's answer for one repository: commit, total bytes and sizes by file where the status is ok or gated."""

    repo: str
    status: Status
    detail: str = ""
    sha: str | None = None
    bytes: int | None = None
    files: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HubNeed:
    """A repository the run cannot do without, for what, and whether it is in the local cache already."""

    repo: str
    what: str = "model"
    where: str = ""
    cached: bool = False


def access(environ: Mapping[str, str]) -> Access:
    """From HF_ENDPOINT, HF_TOKEN or the token file, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    named = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    switches = (environ.get(name, "").upper() for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    offline = any(value in {"1", "ON", "YES", "TRUE"} for value in switches)
    token = (named or _token_file(environ)).strip() or None
    return Access((environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/"), token, offline)


def _token_file(environ: Mapping[str, str]) -> str:
    """What ``huggingface-cli login`` wrote, where huggingface_hub looks for it (constants.py)."""
    home = Path(environ.get("HOME") or Path.home())
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub = Path(environ.get("HF_HOME") or cache / "huggingface").expanduser()
    return read_text(Path(environ.get("HF_TOKEN_PATH") or hub / "token")) or ""


def hub_facts(repos: Iterable[str], reach: Access) -> tuple[HubFact, ...]:
    """One fact per repository, asked for at the same time; never raises for what the Hub or the network does."""
    names = tuple(dict.fromkeys(repos))
    if reach.offline:
        return tuple(HubFact(name, "offline", "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set") for name in names)
    if not names:
        return ()
    with ThreadPoolExecutor(min(PARALLEL, len(names))) as pool:
        return tuple(pool.map(lambda name: _ask(name, reach), names))


def _ask(repo: str, reach: Access) -> HubFact:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        told = HfApi(endpoint=reach.endpoint, token=reach.token or False).model_info(
            repo, files_metadata=True, timeout=reach.seconds
        )
    except HFValidationError as fault:
        return HubFact(repo, "missing", str(fault).splitlines()[0])
    except hub_faults() as fault:
        return HubFact(repo, *status_of(fault, reach))
    files = tuple((file.rfilename, file.size or 0) for file in told.siblings or ())
    status, detail = _may_read(repo, files, reach) if told.gated else ("ok", "")
    return HubFact(repo, status, detail, told.sha, sum(size for _, size in files), files)


def _may_read(repo: str, files: tuple[tuple[str, int], ...], reach: Access) -> tuple[Status, str]:
    """A gated repository lists its files to everybody; whether they can be had shows in asking for the biggest one."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if not files:
        return "ok", ""
    biggest = max(files, key=lambda pair: pair[1])[0]
    try:
        url = hf_hub_url(repo, biggest, endpoint=reach.endpoint)
        get_hf_file_metadata(url, token=reach.token or False, timeout=reach.seconds, endpoint=reach.endpoint)
    except hub_faults() as fault:
        return status_of(fault, reach)
    return "ok", ""


def get_into(  # noqa: PLR0913 - what http_get takes
    file: BinaryIO, url: str, reach: Access, *, headers: Mapping[str, str] = MappingProxyType({}), resume_size: int = 0,
    expected_size: int | None = None,
) -> None:  # fmt: skip
    """A download as huggingface_hub does it, without its bars; no token for a storage host."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    if hasattr(constants, "HF_HUB_ENABLE_HF_TRANSFER"):
        # RunPod's images switch hf_transfer on; huggingface_hub 0.34 then fails where it is not installed
        constants.HF_HUB_ENABLE_HF_TRANSFER = False
    own = url.startswith(reach.endpoint + "/")
    sent = {**build_hf_headers(token=(reach.token or False) if own else False), **headers}
    http_get(url, file, headers=sent, resume_size=resume_size, expected_size=expected_size)


def hub_faults() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets through: OSError where it uses requests (before 1.0), HTTPError of httpx since."""
    from huggingface_hub.errors import HfHubHTTPError

    transport = next(base for base in HfHubHTTPError.__mro__[1:] if base.__name__ == "HTTPError")
    return (OSError, transport)


def status_of(fault: Exception, reach: Access) -> tuple[Status, str]:
    """401, 403 and 404 told apart; a fault without an answer is a missing network."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    if not isinstance(fault, HfHubHTTPError):
        return "offline", _line(fault)
    code = getattr(getattr(fault, "response", None), "status_code", 0)
    if code == UNAUTHORIZED:
        hidden = not isinstance(fault, GatedRepoError) and reach.token is None
        return ("missing", "401 without a token: missing or private") if hidden else ("unauthorized", str(code))
    if code == FORBIDDEN:
        return "gated", str(code)
    return ("missing", str(code)) if code == NOT_FOUND else ("error", f"{code}: {_line(fault)}")


def _line(fault: Exception) -> str:
    return next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)


def write_findings(repo: str, where: str, reach: Access) -> tuple[Finding, ...]:
    """Why nothing could be published to a repository with this token, as far as that is known beforehand."""
    from huggingface_hub import HfApi

    why = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set" if reach.offline else "there is no token of the Hub"
    if reach.token and not reach.offline:
        try:
            told = HfApi(endpoint=reach.endpoint).whoami(token=reach.token)
        except hub_faults() as fault:
            _, detail = status_of(fault, reach)
            why = "the Hub refuses the token (401)"
            if getattr(getattr(fault, "response", None), "status_code", 0) != UNAUTHORIZED:
                text = f"{repo}: the token was not checked: {masked_text(detail)}"
                return (warning("hub.write", text, where=where, hint="publishing may fail after the run"),)
        else:
            role = ((told.get("auth") or {}).get("accessToken") or {}).get("role")
            why = "the token may only read" if role == "read" else ""
    hint = f"make a token with write access ({reach.endpoint}/settings/tokens) and set HF_TOKEN to it"
    return (error("hub.write", f"{repo} cannot be published to: {why}", where=where, hint=hint),) if why else ()


def hub_findings(needs: Iterable[HubNeed], facts: Iterable[HubFact], reach: Access) -> tuple[Finding, ...]:
    """What stands between the run and the repositories that are not in the cache."""
    known = {fact.repo: fact for fact in facts}
    open_needs = [(need, known[need.repo]) for need in needs if not need.cached and need.repo in known]
    faults = [(need, fact) for need, fact in open_needs if fact.status != "ok"]
    offline = [(need, fact) for need, fact in faults if fact.status == "offline"]
    alone = [pair for pair in faults if pair not in offline or len(offline) == 1]
    found = [hub_finding(need, fact, reach) for need, fact in alone]
    if len(offline) > 1:  # one error, whatever is wanted of the Hub
        names = ", ".join(dict.fromkeys(f"{need.what} {need.repo}" for need, _ in offline))
        where = next((need.where for need, _ in offline if need.where), "")
        text = f"not in the cache, and the Hub cannot be reached ({offline[0][1].detail}): {names}"
        found.insert(0, error("hub.offline", text, where=where, hint=_offline_hint(reach)))
    return tuple(found)


def _offline_hint(reach: Access) -> str:
    """A variable that says so, or a network that does not answer: two causes."""
    unset = "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE"
    first = unset if reach.offline else f"see that {reach.endpoint} is reached"
    return f"{first}, fetch it beforehand into the workspace's cache, or write a local path"


def hub_finding(need: HubNeed, fact: HubFact, reach: Access) -> Finding:
    """The error for a fact that is not ok."""
    subject = f"{need.what} {need.repo}"
    match fact.status:
        case "unauthorized":
            why = "the Hub refuses the token: invalid or expired" if reach.token else "needs a token"
            hint = f"set HF_TOKEN to a valid token ({reach.endpoint}/settings/tokens) and accept the licence at "
            hint += f"{reach.endpoint}/{need.repo} if it has one"
            return error("hub.unauthorized", f"{subject}: {why} (401)", where=need.where, hint=hint)
        case "gated":
            return error("hub.gated", f"{subject} is gated and this token has no access (403)", where=need.where,
                         hint=f"accept its licence at {reach.endpoint}/{need.repo} as the owner of HF_TOKEN; "
                              "a fine-grained token also needs read access to gated repositories")  # fmt: skip
        case "missing":
            why = fact.detail if reach.token is None else "missing, or private to another account"
            return error("hub.missing", f"{subject} is not on the Hub: {why}", where=need.where,
                         hint="check the name; a file of yours needs its path, a private one HF_TOKEN")  # fmt: skip
        case "offline":
            return error("hub.offline", f"{subject} is not in the cache and the Hub cannot be reached ({fact.detail})",
                         where=need.where, hint=_offline_hint(reach))  # fmt: skip
        case "ok" | "error":
            text = f"{subject}: the Hub answered {fact.detail}"
            return error("hub.error", text, where=need.where, hint="try again later")
