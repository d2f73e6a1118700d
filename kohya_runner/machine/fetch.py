"""Fetches files named ``hf://org/repo/file`` as real files, checked, and resumable after a kill.

The trainer breaks on links into a Hub cache (library/model_io.py:358, library/sdxl_train_util.py:79).
hf_hub_download makes real files too, but since huggingface_hub 1.x it starts again from zero when its process was
killed (file_download.py: a temporary name of its own for every process). So its metadata and its ``http_get`` are
used, over a partial file that outlives us.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.artefact import file_hash
from kohya_runner.artefact.file_hash import Remote
from kohya_runner.artefact.model_file import SAFETENSORS, safetensors_fault
from kohya_runner.errors import PreflightError
from kohya_runner.findings import Finding, error
from kohya_runner.hub import TIMEOUT, Access, HubFact, HubNeed, get_into, hub_faults, hub_finding, status_of
from kohya_runner.machine.downloads import HubFile, cached_files, local_path
from kohya_runner.text import size

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
TRIES = 3
SHA256 = 64
"""Letters of the name of a large file in the Hub cache; a small file has git's hash, of 40."""


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """Bytes of one file that are here, of how many."""

    file: str
    done: int
    total: int


def _silent(_: DownloadProgress) -> None:
    """No progress wanted."""


def fetch(
    refs: Iterable[HubFile],
    models: Path,
    *,
    reach: Access,
    on_progress: Callable[[DownloadProgress], None] = _silent,
    clock: Callable[[], float] = time.time,
) -> tuple[Path, ...]:
    """The local files in the order of ``refs``; what is complete already is neither fetched nor hashed again.

    Raises:
        PreflightError: a file cannot be had, does not fit on the disk or is not what the Hub says it is.
    """
    wanted = tuple(refs)
    targets = {ref: local_path(ref, models) for ref in wanted}
    for target in targets.values():
        if not target.resolve().is_relative_to(models.resolve()):
            raise PreflightError(f"{target} leads out of {models}", hint="remove the link in the models folder")
    lacking = [ref for ref, target in targets.items() if not file_hash.is_recorded(target)]
    remotes = {ref: _remote(ref, targets[ref], reach) for ref in lacking}
    faults = tuple(found for found in remotes.values() if isinstance(found, Finding))
    if faults:
        raise PreflightError(str(faults[0]), findings=faults)
    for ref, remote in remotes.items():
        if isinstance(remote, file_hash.Remote) and not _adopted(targets[ref], remote, clock):
            _download(ref, targets[ref], remote, reach=reach, on_progress=on_progress)
            if not file_hash.matches(targets[ref], remote):  # never loaded
                raise _damaged(ref, f"set aside as {file_hash.set_aside(targets[ref], clock)}")
            file_hash.record(targets[ref], remote)
    return tuple(targets[ref] for ref in wanted)


def fetch_pipeline(
    repo: str, files: Mapping[str, int], cache: Path, *, reach: Access,
    on_progress: Callable[[DownloadProgress], None] = _silent,
) -> None:  # fmt: skip
    """Files of a repository into the Hub cache in which the trainer looks, by hf_xet where it is installed.

    What is whole there is kept; what came is read once more against the hash that its name in the cache is.

    Raises:
        PreflightError: a file cannot be had, does not fit on the disk or is not what the Hub says it is.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    here = cached_files(cache, repo)
    done, total = 0, sum(files.values())
    for name, length in sorted(files.items(), key=lambda file: -file[1]):
        on_progress(DownloadProgress(repo, done, total))
        ref = HubFile(repo, name)
        try:
            got = hf_hub_download(repo, name, cache_dir=cache, endpoint=reach.endpoint, token=reach.token or False)
        except hub_faults() as fault:
            raise _stopped(ref, cache / name, fault, reach) from None
        blob = Path(got).resolve()
        if name not in here and len(blob.name) == SHA256 and file_hash.sha256(blob) != blob.name:
            blob.unlink()
            raise _damaged(ref, "removed")
        done += length
    on_progress(DownloadProgress(repo, done, total))


def _remote(ref: HubFile, target: Path, reach: Access) -> Remote | Finding | None:
    """What the Hub says about the file; None where it cannot be asked and a whole file is there."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        if reach.offline:
            raise OSError("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
        url = hf_hub_url(ref.repo, ref.path, revision=ref.revision, endpoint=reach.endpoint)
        told = get_hf_file_metadata(url, token=reach.token or False, timeout=TIMEOUT, endpoint=reach.endpoint)
    except hub_faults() as fault:
        status, detail = status_of(fault, reach)
        by_hand = target.is_file() and target.suffix == SAFETENSORS
        if status == "offline" and by_hand and not safetensors_fault(target):
            return None
        need = HubNeed(ref.repo, f"file {ref.path} of", ref.where)
        return hub_finding(need, HubFact(ref.repo, status, detail), reach)
    return file_hash.Remote(told.location or url, told.size or 0, told.etag or "", told.commit_hash or "")


def _adopted(target: Path, remote: Remote, clock: Callable[[], float]) -> bool:
    """Whether a file without a record is the right one; a wrong one is set aside."""
    if not target.exists():
        return False
    if file_hash.matches(target, remote):
        file_hash.record(target, remote)
        return True
    file_hash.set_aside(target, clock)
    return False


def _download(
    ref: HubFile, target: Path, remote: Remote, *, reach: Access, on_progress: Callable[[DownloadProgress], None]
) -> None:
    """Into the partial file, from where an earlier one stopped; then under its name in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{remote.key}.partial")
    try:
        with _locked(partial) as file:
            _get(file, remote, reach, lambda done: on_progress(DownloadProgress(ref.text, done, remote.size)))
            os.fsync(file.fileno())
            os.replace(partial, target)  # noqa: PTH105 - the atomic call, by its name
    except hub_faults() as fault:
        raise _stopped(ref, partial, fault, reach) from None


def _get(file: CountingFile, remote: Remote, reach: Access, report: Callable[[int], None]) -> None:
    """Append what is missing; a connection that breaks is tried again, as huggingface_hub does for some breaks only."""
    if file.seek(0, os.SEEK_END) > remote.size:
        file.seek(0)
        file.truncate()
    file.report = report
    report(file.tell())
    tries = 0
    while file.tell() < remote.size:
        try:
            get_into(file, remote.url, reach, resume_size=file.tell(), expected_size=remote.size)
        except hub_faults() as fault:  # noqa: PERF203 - a round is megabytes
            tries += 1
            full = isinstance(fault, OSError) and fault.errno in FULL_DISK
            if tries == TRIES or full or status_of(fault, reach)[0] != "offline":
                raise


class CountingFile(io.FileIO):
    """A file that says after every write how long it is."""

    report: Callable[[int], None] = staticmethod(lambda _: None)

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        """Write all of it: a short write of the raw file would leave a hole."""
        view = memoryview(data)
        while view:
            view = view[super().write(view) or 0 :]
        self.report(self.tell())
        return len(data)


@contextmanager
def _locked(partial: Path) -> Iterator[CountingFile]:
    """The partial file, open for one process alone; the lock ends with the process."""
    with CountingFile(partial, "r+" if partial.exists() else "w+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PreflightError(f"another process is fetching {partial.name}", hint="wait until it is done") from None
        except OSError:  # a network volume without locks
            pass
        yield file


def _stopped(ref: HubFile, partial: Path, fault: Exception, reach: Access) -> PreflightError:
    """The same findings as the checks', with what is kept for the next try."""
    status, detail = status_of(fault, reach)
    if isinstance(fault, OSError) and fault.errno in FULL_DISK:
        text, hint = f"{ref.text}: {fault.strerror}", "free some room, then start again"
        finding = error("disk.full", text, where=str(partial.parent), hint=hint)
    elif status != "offline":
        need = HubNeed(ref.repo, f"file {ref.path} of", ref.where)
        finding = hub_finding(need, HubFact(ref.repo, status, detail), reach)
    else:
        kept = size(partial.stat().st_size) if partial.exists() else "nothing"
        text, hint = f"the connection broke ({detail}); {kept} kept", "start again: it goes on from there"
        finding = error("hub.offline", f"{ref.text}: {text}", where=ref.where, hint=hint)
    return PreflightError(str(finding), findings=(finding,))


def _damaged(ref: HubFile, done: str) -> PreflightError:
    finding = error("model.broken", f"{ref.text} arrived damaged; it was {done}", where=ref.where,
                    hint="start again; if it happens twice, a proxy or the disk changes the data")  # fmt: skip
    return PreflightError(str(finding), findings=(finding,))
