"""The header of a safetensors file on the Hub, by a range request: what 24 GB are, for one megabyte.

``HfApi.parse_safetensors_file_metadata`` (huggingface_hub 2.4) is not used: it reads the whole answer of a server that
ignores ranges, and checks neither the tensors' places nor the file's length.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.artefact.model_file import SAFETENSORS
from kohya_runner.artefact.model_inspection import SHA256, Inspected, with_header
from kohya_runner.artefact.safetensors_header import LENGTH, Header, HeaderError, read_header
from kohya_runner.hub import PARALLEL, TIMEOUT, Access, get_into, hub_faults

if TYPE_CHECKING:
    from kohya_runner.machine.downloads import HubFile

FIRST = 1 << 20
"""Bytes of the first request: the headers of all base models in use are 60 to 500 kB long."""
LARGEST = 16 << 20
"""No model has a longer header; such a file is not judged."""


def inspect_hub_files(files: Iterable[tuple[str, HubFile]], reach: Access) -> tuple[Inspected, ...]:
    """Size, SHA-256 and identity of (slot, file), asked for at the same time.

    Where the Hub does not answer, the file is not among them: ``hub.hub_facts`` says why. Never raises for what the
    Hub or the network does.
    """
    wanted = tuple(files)
    if reach.offline or not wanted:
        return ()
    with ThreadPoolExecutor(min(PARALLEL, len(wanted))) as pool:
        found = pool.map(lambda pair: _inspect(pair[0], pair[1], reach), wanted)
    return tuple(seen for seen in found if seen is not None)


def _inspect(slot: str, file: HubFile, reach: Access) -> Inspected | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(file.repo, file.path, revision=file.revision, endpoint=reach.endpoint)
    try:
        told = get_hf_file_metadata(url, token=reach.token or False, timeout=TIMEOUT, endpoint=reach.endpoint)
        sha = told.etag if told.etag and SHA256.fullmatch(told.etag) else ""
        seen = Inspected(slot, file.text, file.where, told.size, sha)
        return _with_remote_header(seen, told.location or url, reach) if file.path.endswith(SAFETENSORS) else seen
    except hub_faults():
        return None


def _with_remote_header(seen: Inspected, url: str, reach: Access) -> Inspected:
    try:
        header = _header(url, reach, seen.bytes)
    except HeaderError as fault:
        return replace(seen, problem=str(fault))
    if header is None:
        return seen
    if seen.bytes is not None and seen.bytes < header.total:
        return replace(seen, problem=f"is cut on the Hub: {seen.bytes:,} of {header.total:,} bytes")
    return with_header(seen, header)


def _header(url: str, reach: Access, size: int | None) -> Header | None:
    """Read as a file that is still being written is: its beginning, in a temporary file."""
    begin = _beginning(url, reach, FIRST)
    length = LENGTH + int.from_bytes(begin[:LENGTH], "little")
    if length > LARGEST and (size is None or length <= size):
        return None
    if FIRST < length <= LARGEST:
        begin = _beginning(url, reach, length)
    with tempfile.NamedTemporaryFile(suffix=SAFETENSORS) as file:
        file.write(begin)
        file.flush()
        return read_header(Path(file.name))


class _EnoughError(Exception):
    """All that was asked for is here; a server that does not know ranges would go on for gigabytes."""


class _Beginning(io.BytesIO):
    """Takes the first bytes of a download."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        super().write(data[: self.most - self.tell()])
        if self.tell() >= self.most:
            raise _EnoughError
        return len(data)


def _beginning(url: str, reach: Access, most: int) -> bytes:
    file = _Beginning(most)
    with contextlib.suppress(_EnoughError):
        get_into(file, url, reach, headers={"Range": f"bytes=0-{most - 1}"})
    return file.getvalue()
