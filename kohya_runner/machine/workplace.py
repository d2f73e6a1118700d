"""Whether the workspace can be written to at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error
from kohya_runner.machine.filesystems import existing_parent

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_NAME = 255
LONGEST_PATH = 3800  # PATH_MAX is 4096; laid-out names come on top


def workspace_findings(root: Path) -> tuple[Finding, ...]:
    """An error where the folder is there and is none, cannot be made, or cannot be written to."""
    hint = "choose another --workspace, or KOHYA_WORKSPACE"
    if len(os.fsencode(root)) > LONGEST_PATH or any(len(os.fsencode(p)) > LONGEST_NAME for p in root.parts):
        return (error("disk.unwritable", f"the workspace's name is too long: {str(root)[:60]}...", hint=hint),)
    parent = existing_parent(root)
    if not parent.is_dir():
        return (error("disk.unwritable", f"{parent} is a file, so {root} cannot be the workspace", hint=hint),)
    if not os.access(parent, os.W_OK | os.X_OK) or os.statvfs(parent).f_flag & os.ST_RDONLY:
        return (
            error("disk.unwritable", f"{parent} cannot be written to, so {root} cannot be the workspace", hint=hint),
        )
    return ()
