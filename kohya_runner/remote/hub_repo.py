"""A private dataset repository of the user, one for each stay: what is sent, what is kept while the machine may vanish.

There node.sh fills it, by the client's own command line; it holds the run's folder, and what was sent beside it.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.errors import RemoteError
from kohya_runner.hub import Access, access, hub_faults
from kohya_runner.remote.engine import PARCEL, exit_code, facts
from kohya_runner.text import masked_text, plain

if TYPE_CHECKING:
    from huggingface_hub import HfApi

STOPS = ("stop-after-save", "stop-now")  # files that ask for a stop; node.sh looks for them
LARGE = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pkl", ".npz")  # endings of what no screen reads


@dataclass(frozen=True, slots=True)
class HubRepo:
    """``OWNER/NAME``; every fault of the Hub or the network is a ``RemoteError`` with what it means and what to do."""

    repo: str
    reach: Access

    @property
    def api(self) -> HfApi:
        return self.reach.writer

    def make(self) -> None:
        with told(f"{self.repo}, making it", self.reach):
            self.api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)

    def send(self, parcel: Path) -> None:
        self.make()
        with told(f"{self.repo}, sending", self.reach):
            self.api.upload_file(path_or_fileobj=parcel, path_in_repo=PARCEL, repo_id=self.repo, repo_type="dataset")

    def bring(self, into: Path, *, everything: bool) -> None:
        """The run's folder; the client goes on with what came before and checks each file's hash."""
        large = () if everything else tuple(f"*{ending}" for ending in LARGE)
        with told(f"{self.repo}, fetching", self.reach):
            self.api.snapshot_download(self.repo, repo_type="dataset", local_dir=into,
                                       ignore_patterns=[PARCEL, *STOPS, ".gitattributes", *large])  # fmt: skip

    def ended(self) -> int | None:
        """The exit code of launch there, where it was kept."""
        with told(f"{self.repo}, asking for its end", self.reach), tempfile.TemporaryDirectory() as folder:
            self.api.snapshot_download(self.repo, repo_type="dataset", local_dir=folder, allow_patterns=["exit-code"])
            return exit_code(Path(folder))

    def stop(self, *, now: bool) -> None:
        with told(f"{self.repo}, asking for a stop", self.reach):
            if self.api.file_exists(self.repo, STOPS[now], repo_type="dataset"):
                return
            self.api.upload_file(path_or_fileobj=io.BytesIO(b"stop\n"), path_in_repo=STOPS[now], repo_id=self.repo,
                                 repo_type="dataset")  # fmt: skip

    def remove(self) -> None:
        with told(f"{self.repo}, deleting it", self.reach):
            self.api.delete_repo(self.repo, repo_type="dataset", missing_ok=True)


def hub_repo(namespace: str, name: str) -> HubRepo:
    """The repository of a stay, in the namespace of the settings or the token's own."""
    reach = access(os.environ)
    repo = HubRepo(f"{namespace}/{name}", reach)
    if namespace:
        return repo
    with told("asking whose token this is", reach):
        return HubRepo(f"{repo.api.whoami()['name']}/{name}", reach)


@contextlib.contextmanager
def told(doing: str, reach: Access) -> Iterator[None]:
    """Every fault of the Hub or the network in plain words; the token is in none of them."""
    try:
        yield
    except (OSError, ValueError, hub_faults()[1]) as fault:
        response = getattr(fault, "response", None)
        code = int(getattr(response, "status_code", 0) or 0)
        rows: Mapping[str, tuple[str, str]] = facts()["hf"]["answers"]
        means, hint = rows.get(str(code)) or rows["500" if code >= 500 else "400" if code else "0"]
        words = str(getattr(fault, "server_message", "") or fault).strip()
        words = masked_text(plain(words.replace(reach.token, "***") if reach.token else words))[:300]
        wait = getattr(response, "headers", {}).get("Retry-After")
        raise RemoteError(
            f"the Hub, {doing}: {means}{f' (HTTP {code})' if code else ''}: {words}",
            hint=hint.format(endpoint=reach.endpoint, wait=f"{wait} s" if wait else "a while"),
        ) from None
