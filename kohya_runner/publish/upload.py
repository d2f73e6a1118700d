"""The Hub's side: what lies there, what is to be changed, the upload, and the proof that it arrived."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.errors import PublishError, RunnerError, UsageError
from kohya_runner.hub import UNAUTHORIZED, Access, hub_faults
from kohya_runner.publish.copies import Piece
from kohya_runner.recipe.finish import Publish
from kohya_runner.tables import read_table
from kohya_runner.text import masked_text, plain, size

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

AGAIN = "the same command again goes on: what has arrived is not sent twice"
NO_ANSWER, SERVER = 0, 500
ANSWERS: Mapping[int, tuple[str, str]] = {
    int(code): (meaning, hint.replace("{again}", AGAIN))
    for code, (meaning, hint) in read_table(Path(__file__).with_name("answers.toml")).items()
}
"""Code -> what it means, and what to do; 500 stands for all above it, too."""

_SIGNED = re.compile(r"(https?://[^\s?]+)\?[^\s'\"]+")
"""An address whose question holds the right to write there."""


@dataclass(frozen=True, slots=True)
class RepoState:
    """A repository as it is: None of a commit where it does not exist yet. ``files``: name -> hash of the content."""

    commit: str | None = None
    private: bool = True
    files: Mapping[str, str] = field(default_factory=dict)

    def lacks(self, piece: Piece) -> bool:
        """Whether it has this file not at all, or with another content."""
        return self.files.get(piece.name) not in (piece.sha256, piece.blob)

    def tag_for(self, pieces: Sequence[Piece]) -> str:
        """The name of a tag for what these would replace, "" where they replace nothing."""
        replaced = any(piece.name in self.files and self.lacks(piece) for piece in pieces)
        return f"before-{(self.commit or '')[:12]}" if replaced else ""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What was done: ``tag`` is where the old files are kept, "" where none was replaced."""

    commit: str
    files: tuple[str, ...] = ()
    tag: str = ""
    private: bool = True


@dataclass(frozen=True, slots=True)
class Hub:
    """One repository, and how to reach it."""

    repo: str
    reach: Access
    say: Callable[[str], None]

    @property
    def api(self) -> HfApi:
        return self.reach.writer

    def look(self, pieces: Sequence[Piece]) -> RepoState:
        """The repository and those of its files that are to be published; reads only."""
        from huggingface_hub.errors import RepositoryNotFoundError

        if self.reach.offline:
            raise PublishError(f"{self.repo}: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set", hint="unset it")
        with self._told("could not be looked at"):
            try:
                told = self.api.repo_info(self.repo)
            except RepositoryNotFoundError as fault:
                if fault.response.status_code == UNAUTHORIZED:
                    raise
                return RepoState()
            return RepoState(told.sha, bool(told.private), self._files(pieces, told.sha))

    def _files(self, pieces: Sequence[Piece], commit: str | None) -> dict[str, str]:
        """The content's SHA-256 where it is a large file, else git's id."""
        found: Any = self.api.get_paths_info(self.repo, [piece.name for piece in pieces], revision=commit)
        return {f.path: str(f.lfs.sha256 if f.lfs else f.blob_id) for f in found if hasattr(f, "blob_id")}

    def publish(self, pieces: Sequence[Piece], settings: Publish, folder: Path) -> Uploaded:
        """Make the repository what ``pieces`` say; what is there already is left alone.

        Raises:
            UsageError: the repository is public, and nobody said that it may.
            PublishError: the Hub refused, could not be reached, or has other bytes than were sent.
        """
        before = self.look(pieces)
        if before.commit and not before.private and not settings.public:
            hint = "add --public (in a recipe: public: true), or name another repository"
            raise UsageError(f"{self.repo} is public: anybody would see what is published there", hint=hint)
        if not before.commit:
            with self._told("was not made"):
                self.api.create_repo(self.repo, private=not settings.public)
            self.say(f"made {self.repo}, {'public' if settings.public else 'private'}")
            before = self.look(pieces)
        commit, wanted = before.commit or "", [piece for piece in pieces if before.lacks(piece)]
        if not wanted:
            return Uploaded(commit, private=before.private)
        if tag := before.tag_for(wanted):
            self._keep(commit, tag)
        done = self._commit(wanted, commit, folder)
        return Uploaded(done, tuple(piece.name for piece in wanted), tag, before.private)

    def _keep(self, commit: str, tag: str) -> None:
        """A tag on what is about to be replaced; proven before anything is."""
        with self._told("was not tagged, so nothing was replaced"):
            self.api.create_tag(self.repo, tag=tag, revision=commit, exist_ok=True)
            known = {ref.name: ref.target_commit for ref in self.api.list_repo_refs(self.repo).tags}
        if known.get(tag) != commit:
            raise PublishError(f"{self.repo}: the tag {tag} does not hold the files that are there; nothing replaced")
        self.say(f"the old files are kept as {tag}")

    def _commit(self, pieces: Sequence[Piece], parent: str, folder: Path) -> str:
        from huggingface_hub import CommitOperationAdd

        additions = []
        for piece in pieces:
            piece.write(folder / piece.name)
            self.say(f"uploading {piece.name} ({size(piece.size)})")
            with self._told(f"did not get {piece.name}"):
                additions.append(self._sent(CommitOperationAdd(piece.name, str(folder / piece.name))))
        message = "Publish with kohya-runner"
        with self._told("was not written"):
            done = self.api.create_commit(self.repo, additions, commit_message=message, parent_commit=parent)
            arrived = RepoState(files=self._files(pieces, done.oid))
        if wrong := [piece.name for piece in pieces if arrived.lacks(piece)]:
            raise PublishError(f"{self.repo}: the Hub has other bytes than were sent: {', '.join(wrong)}", hint=AGAIN)
        return str(done.oid)

    def _sent(self, addition: CommitOperationAdd) -> CommitOperationAdd:
        """The content of a large file, by xet where client and Hub have it, else over HTTP (LFS)."""
        from huggingface_hub import CommitOperationAdd

        try:
            self.api.preupload_lfs_files(self.repo, [addition], free_memory=False)
        except Exception as fault:
            root, response = _root(fault)
            if "/xet-" not in str(getattr(response, "url", "")) and type(root).__module__ not in ("builtins", "hf_xet"):
                raise
        else:
            return addition
        # An open file goes over HTTP: xet takes paths alone (huggingface_hub _commit_api.py, _upload_files).
        with Path(str(addition.path_or_fileobj)).open("rb") as file:
            again = CommitOperationAdd(addition.path_in_repo, file)
            self.api.preupload_lfs_files(self.repo, [again])
        return again

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Every fault of the Hub or the network as what it means and what to do; the token is in none of the words."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, hub_faults()[1]) as fault:
            root, response = _root(fault)
            if isinstance(root, RunnerError):  # a signal, which the client wraps like any other fault
                raise root from None
            code = int(getattr(response, "status_code", NO_ANSWER) or NO_ANSWER)
            known = code or isinstance(root, hub_faults())
            meaning, hint = ANSWERS.get(min(code, SERVER), ("", "")) if known else ("", "")
            words = plain(str(getattr(root, "server_message", "") or str(root) or type(root).__name__).strip())[:300]
            words = masked_text(words.replace(self.reach.token, "***") if self.reach.token else words)
            words = _SIGNED.sub(r"\1", words)
            wait = getattr(response, "headers", {}).get("Retry-After")
            number = f" (HTTP {code})" if code else ""
            raise PublishError(
                f"{self.repo} {doing}: {meaning or 'the Hub refused it'}{number}: {words}",
                hint=(hint or AGAIN).format(
                    repo=self.repo, endpoint=self.reach.endpoint, tokens=f"{self.reach.endpoint}/settings/tokens",
                    wait=f"{wait} s" if wait else "a while",
                ),
            ) from None  # fmt: skip

    def licence(self, base: str) -> dict[str, str]:
        """What the base model's own card says, by the Hub's keys; nothing where the Hub does not tell."""
        if self.reach.offline or not base:
            return {}
        try:
            told: Any = self.api.model_info(base, timeout=self.reach.seconds).card_data or {}
        except (OSError, ValueError, hub_faults()[1]):
            return {}
        return {key: str(told[key]) for key in ("license", "license_name", "license_link") if told.get(key)}


def _root(fault: BaseException) -> tuple[BaseException, Any]:
    """What the client wraps ("Error while uploading": _commit_api.py, _wrapped_lfs_upload), and the Hub's answer."""
    inner: BaseException | None = fault
    while inner is not None and not isinstance(inner, (RunnerError, *hub_faults())):
        inner = inner.__cause__
    return inner or fault, getattr(inner, "response", None)
