"""The variables a trainer process gets beside those of the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.workspace import Workspace


def child_env(workspace: Workspace, environ: Mapping[str, str], *, offline: bool) -> dict[str, str]:
    """Caches into the workspace, output as the runner follows it; no secret: those stay in the shell's own.

    RunPod's images set ``HF_HUB_ENABLE_HF_TRANSFER=1``, with which the pinned huggingface_hub 0.34.3 fails where
    hf_transfer is not installed (file_download.py), so it is switched off.
    """
    env = workspace.environment() | child_environment() | {"HF_HUB_DISABLE_TELEMETRY": "1"}
    if environ.get("HF_HUB_ENABLE_HF_TRANSFER", "0") not in ("", "0"):
        env["HF_HUB_ENABLE_HF_TRANSFER"] = "0"
    if offline:
        env["HF_HUB_OFFLINE"] = "1"
    return env


def child_environment() -> dict[str, str]:
    """What the runner adds so that the output can be followed.

    Bars at most once a second (tqdm reads ``TQDM_*``), output at once, log records 160 columns wide, and UTF-8: the
    scripts print Japanese (train_network.py:987), which another encoding would turn into a crash.
    """
    return {
        "COLUMNS": "160",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "TQDM_MININTERVAL": "1",
    }
