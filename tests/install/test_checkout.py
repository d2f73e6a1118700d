from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.errors import TrainerError
from kohya_runner.install.checkout import (
    Checkout,
    commit_of,
    fetched_checkout,
    find_checkout,
    find_python,
)
from kohya_runner.settings import UserSettings

SHA = "0123456789abcdef0123456789abcdef01234567"


def sources(folder: Path) -> Path:
    for mark in SD.marks:
        (folder / mark).parent.mkdir(parents=True, exist_ok=True)
        (folder / mark).write_text("")
    return folder


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(odd_path: Path) -> dict[str, Path]:
    return {name: sources(odd_path / name) for name in ("option", "variable", "setting", "clone/vendor/sd-scripts")}


def find(odd_path: Path, option: Path | None = None, variable: Path | None = None, setting: Path | None = None):
    environ = {"KOHYA_RUNNER_SD_SCRIPTS": str(variable)} if variable else {}
    settings = UserSettings(odd_path / "config.yaml", {"sd_scripts": setting} if setting else {})
    text = str(option) if option else None
    return find_checkout(
        text, environ, settings=settings, project=odd_path / "clone", home=odd_path / "home", engine=SD
    )


def test_the_option_comes_first(odd_path, places):
    found = find(odd_path, places["option"], places["variable"], places["setting"])
    assert found == Checkout(places["option"], None, "--sd-scripts", SD)


def test_the_variable_comes_before_the_settings(odd_path, places):
    found = find(odd_path, None, places["variable"], places["setting"])
    assert found == Checkout(places["variable"], None, "$KOHYA_RUNNER_SD_SCRIPTS", SD)


def test_the_settings_come_before_the_submodule(odd_path, places):
    found = find(odd_path, setting=places["setting"])
    assert found == Checkout(places["setting"], None, f"sd_scripts: in {odd_path}/config.yaml", SD)


def test_the_submodule_is_found_without_any_setting(odd_path, places):
    assert find(odd_path) == Checkout(odd_path / "clone/vendor/sd-scripts", None, "vendor/sd-scripts of this clone", SD)


def test_an_empty_submodule_is_no_checkout(odd_path):
    (odd_path / "clone/vendor/sd-scripts").mkdir(parents=True)
    assert find(odd_path) is None


def test_what_setup_fetched_is_found(odd_path):
    root = sources(fetched_checkout(odd_path / "home", SD))
    assert find(odd_path) == Checkout(root, None, "kohya-runner setup", SD)


def test_a_named_place_that_is_no_checkout_says_who_named_it(odd_path, places):
    (odd_path / "empty").mkdir()
    with pytest.raises(TrainerError, match=r"\$KOHYA_RUNNER_SD_SCRIPTS names .*no train_network\.py"):
        find(odd_path, variable=odd_path / "empty")


def test_a_named_place_that_is_not_there_says_so(odd_path, places):
    with pytest.raises(TrainerError, match=r"--sd-scripts names .*no such folder"):
        find(odd_path, option=odd_path / "gone")


def test_a_folder_without_git_has_no_commit(odd_path):
    assert commit_of(odd_path) is None


def test_a_detached_head_is_the_commit(odd_path):
    (odd_path / ".git").mkdir()
    (odd_path / ".git" / "HEAD").write_text(f"{SHA}\n")
    assert commit_of(odd_path) == SHA


def test_a_packed_branch_is_resolved(odd_path):
    git = odd_path / ".git"
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(f"# pack-refs with: peeled\n{'f' * 40} refs/heads/main2\n{SHA} refs/heads/main\n")
    assert commit_of(odd_path) == SHA


def test_a_submodules_git_file_is_followed(odd_path):
    git = odd_path / ".git" / "modules" / "vendor"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs" / "heads" / "main").write_text(f"{SHA}\n")
    (odd_path / "vendor").mkdir()
    (odd_path / "vendor" / ".git").write_text("gitdir: ../.git/modules/vendor\n")
    assert commit_of(odd_path / "vendor") == SHA


def test_the_commit_is_what_git_says_also_in_a_worktree(odd_path):
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(("git", *who, *arguments), cwd=odd_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet", "main")
    git("-C", "main", "commit", "--quiet", "--allow-empty", "--message", "first")
    git("-C", "main", "worktree", "add", "--quiet", "-b", "other", "../tree")
    expected = git("-C", "main", "rev-parse", "HEAD")
    assert commit_of(odd_path / "main") == expected
    assert commit_of(odd_path / "tree") == expected


def test_only_the_pinned_commit_is_pinned():
    assert Checkout(Path("/x"), SD.commit, "", SD).pinned
    assert not Checkout(Path("/x"), None, "", SD).pinned


def test_the_recipes_python_comes_first(odd_path):
    python, other = executable(odd_path / "a" / "python"), executable(odd_path / "b" / "python")
    settings = UserSettings(odd_path / "config.yaml", {"python": other})
    found = find_python(str(python), {"KOHYA_RUNNER_PYTHON": str(other)}, settings=settings, recorded=other, engine=SD)
    assert found is not None
    assert (found.path, found.named_by, found.own) == (python, "launch.python", False)


def test_the_environment_of_setup_comes_last(odd_path):
    python = executable(odd_path / "python")
    found = find_python(None, {}, settings=UserSettings(odd_path / "config.yaml"), recorded=python, engine=SD)
    assert found is not None
    assert found.own


def test_no_python_is_none(odd_path):
    assert (
        find_python(None, {}, settings=UserSettings(odd_path / "config.yaml"), recorded=odd_path / "gone", engine=SD)
        is None
    )


def test_a_venvs_folder_gets_the_path_to_write(odd_path):
    python = executable(odd_path / "venv" / "bin" / "python")
    with pytest.raises(TrainerError) as caught:
        find_python(
            None,
            {"KOHYA_RUNNER_PYTHON": str(odd_path / "venv")},
            settings=UserSettings(odd_path),
            recorded=None,
            engine=SD,
        )
    assert caught.value.hint == f"write {python}"
