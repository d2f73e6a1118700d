from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner import workspace
from kohya_runner.workspace import Workspace

MOUNTS = """\
overlay / overlay rw 0 0
mfs#eu-1.example:9421 /workspace fuse rw 0 0
/dev/sda1 /data\\040disk ext4 rw 0 0
server:/x /nfs nfs4 rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "source", "kind"),
    [
        ("/workspace/runs", "mfs#eu-1.example:9421", "fuse"),
        ("/workspaces", "overlay", "overlay"),
        ("/data disk/x", "/dev/sda1", "ext4"),
        ("/nfs", "server:/x", "nfs4"),
    ],
)
def test_a_path_belongs_to_the_longest_mount_point_above_it(path, source, kind):
    assert workspace.mount_of(Path(path), MOUNTS)[::2] == (source, kind)


def test_every_cache_is_inside_the_workspace_and_the_hub_has_one():
    env = Workspace(Path("/pod")).environment()
    assert all(value.startswith("/pod/cache") for value in env.values())
    assert env["TRANSFORMERS_CACHE"] == env["HF_HUB_CACHE"]
    assert {"HF_HOME", "HF_DATASETS_CACHE", "TORCH_HOME", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR"} <= set(env)


def test_a_long_workspace_keeps_the_systems_folder_for_sockets(tmp_path):
    assert "TMPDIR" not in Workspace(tmp_path / ("x" * 80)).environment()
    assert Workspace(Path("/workspace")).environment()["TMPDIR"] == "/workspace/cache/tmp"


def test_pip_stays_off_a_network_volume(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "is_network_mount", lambda _: True)
    env = Workspace(tmp_path).environment()
    assert "PIP_CACHE_DIR" not in env
    assert "TMPDIR" not in env


def test_the_option_beats_the_variable_beats_the_recipe(tmp_path):
    environ = {"KOHYA_WORKSPACE": "/from/env"}
    assert workspace.choose("here", "/recipe", environ, tmp_path).root == tmp_path / "here"
    assert workspace.choose(None, "/recipe", environ, tmp_path).root == Path("/from/env")
    assert workspace.choose(None, "/recipe", {}, tmp_path).root == Path("/recipe")


def test_without_a_pods_disk_the_workspace_is_beside_the_person(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "DEFAULT", tmp_path / "no such folder")
    assert workspace.choose(None, None, {}, tmp_path).root == tmp_path / "workspace"
    monkeypatch.setattr(workspace, "DEFAULT", tmp_path)
    assert workspace.choose(None, None, {}, tmp_path / "x").root == tmp_path
