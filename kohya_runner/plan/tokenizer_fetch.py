"""The tokenizers' files that are not here yet, from the Hub into the workspace's cache, where the trainer looks too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.text_encoders import missing
from kohya_runner.hub import TIMEOUT, hub_faults, status_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kohya_runner.dataset.tokens.count import Encoder
    from kohya_runner.engines.support import Support
    from kohya_runner.hub import Access


def complete(
    support: Support, look: Callable[[], tuple[Encoder, ...]], cache: Path, reach: Access
) -> tuple[Encoder, ...]:
    """The encoders, with the files of those that lacked theirs where the Hub gives them; it is asked once, shortly."""
    found = look()
    wanted = missing(support, found)
    if not wanted or reach.offline:
        return found
    fetched = False
    for repo, subfolder, files in wanted:
        status = _fetched(repo, subfolder, files, cache, reach)
        fetched = fetched or status == "ok"
        if status == "offline":
            break
    return look() if fetched else found


def _fetched(repo: str, subfolder: str, files: tuple[str, ...], cache: Path, reach: Access) -> str:
    """How the Hub answers: ok, or why not; a gated repository without access stays an estimate."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        for name in files:
            path = f"{subfolder}/{name}" if subfolder else name
            url = hf_hub_url(repo, path, endpoint=reach.endpoint)
            get_hf_file_metadata(url, token=reach.token or False, timeout=TIMEOUT, endpoint=reach.endpoint)
            hf_hub_download(
                repo, path, cache_dir=cache, token=reach.token or False, endpoint=reach.endpoint, etag_timeout=TIMEOUT
            )
    except hub_faults() as fault:
        return status_of(fault, reach)[0]
    except ValueError:  # what huggingface_hub raises for a cache it cannot use
        return "error"
    return "ok"
