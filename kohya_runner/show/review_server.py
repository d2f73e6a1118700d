"""The page of a dataset on this machine alone: marks are saved as they are made, as files for ``dataset edit``."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from kohya_runner.dataset.prepare.review import LARGEST, Review, parse_review, read_review, write_review
from kohya_runner.errors import RunnerError, UsageError
from kohya_runner.show.page_server import PageHandler, PageServer


def review_file(room: Path, folder: str) -> Path:
    digest = hashlib.sha256(folder.encode("utf-8", "replace")).hexdigest()[:8]
    return room / f"{digest}.review.json"


def saved_reviews(room: Path, folders: Collection[str]) -> dict[str, Review]:
    """The marks of earlier visits. ``UsageError``: a file there is none; nothing is overwritten."""
    files = {folder: review_file(room, folder) for folder in folders}
    return {folder: read_review(file) for folder, file in files.items() if file.is_file()}


class ReviewServer(PageServer):
    """On a port of this machine that the system chooses.

    ``known`` are the stems of each folder: no other may be marked.
    """

    def __init__(self, page: str, room: Path, known: Mapping[str, Collection[str]]) -> None:
        super().__init__(_Handler)
        self.page, self.room, self.known = page.encode(), room, known

    def save(self, data: bytes) -> Path:
        """Keep the marks of one folder. ``UsageError``: they are not of this page."""
        review = parse_review(data, "the page's answer")
        if review.folder not in self.known or not {*review.reject, *review.captions} <= {*self.known[review.folder]}:
            raise UsageError("the marks are of other pictures", hint="load the page again")
        file = review_file(self.room, review.folder)
        write_review(file, review)
        return file


class _Handler(PageHandler):
    server: ReviewServer

    def get(self, path: str) -> None:
        self.refuse() if path else self.answer(200, self.server.page, "text/html; charset=utf-8")

    def post(self, path: str) -> None:
        self._save() if path == "save" else self.refuse()

    def _save(self) -> None:
        data = self.body(LARGEST)
        if data is None:
            self.answer(400, b"no marks")
            return
        try:
            self.answer(200, str(self.server.save(data)).encode("utf-8", "replace"))
        except RunnerError as fault:
            self.answer(400, fault.message.encode("utf-8", "replace"))
        except OSError as fault:
            self.answer(507, (fault.strerror or str(fault)).encode())
