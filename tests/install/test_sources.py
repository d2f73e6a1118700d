from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fake_checkout import fake_checkout

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.errors import TrainerError
from kohya_runner.install import setup as sources
from kohya_runner.install.checkout import fetched_checkout

REPOSITORY, SUBMODULE = SD_SCRIPTS.repository, SD_SCRIPTS.submodule
NOBODY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(folder: Path, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        ("git", *arguments), cwd=folder, env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **NOBODY, **environ},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def upstream(odd_path: Path) -> tuple[dict[str, str], str]:
    """A repository that answers to the real one's address, and the commit in it."""
    root = fake_checkout(odd_path / "upstream")
    git(root, "init", "--quiet")
    git(root, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "all of it")
    environ = {
        "PATH": "/usr/bin:/bin", "HOME": str(odd_path), "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{root}.insteadOf", "GIT_CONFIG_VALUE_0": REPOSITORY,
        "GIT_CONFIG_KEY_1": "protocol.file.allow", "GIT_CONFIG_VALUE_1": "always",
    }  # fmt: skip
    return environ, git(root, "rev-parse", "HEAD")


def test_the_pinned_commit_is_fetched_into_the_home(odd_path, upstream):
    environ, commit = upstream
    engine = replace(SD_SCRIPTS, commit=commit)
    said: list[str] = []
    found = sources.fetch_sources(environ, project=None, home=odd_path / "home", say=said.append, engine=engine)
    assert (found.root, found.commit) == (fetched_checkout(odd_path / "home", engine), commit)
    assert len(said) == 1


def test_nothing_half_fetched_is_left_behind(odd_path, upstream):
    environ, _ = upstream  # it does not have the pinned commit
    with pytest.raises(TrainerError, match="git fetch failed"):
        sources.fetch_sources(environ, project=None, home=odd_path / "home", say=str, engine=SD_SCRIPTS)
    assert list((odd_path / "home").iterdir()) == []


def test_a_clone_gets_its_submodule(odd_path, upstream):
    environ, commit = upstream
    clone = odd_path / "clone"
    clone.mkdir()
    git(clone, "init", "--quiet")
    (clone / ".gitmodules").write_text(f'[submodule "{SUBMODULE}"]\n\tpath = {SUBMODULE}\n\turl = {REPOSITORY}\n')
    git(clone, "update-index", "--add", "--cacheinfo", f"160000,{commit},{SUBMODULE}")
    found = sources.fetch_sources(
        environ, project=clone, home=odd_path / "home", say=str, engine=replace(SD_SCRIPTS, commit=commit)
    )
    assert (found.root, found.commit) == (clone / SUBMODULE, commit)


def test_what_was_fetched_at_another_commit_is_not_used(odd_path, upstream):
    environ, commit = upstream
    clone = odd_path / "clone"
    clone.mkdir()
    git(clone, "init", "--quiet")
    (clone / ".gitmodules").write_text(f'[submodule "{SUBMODULE}"]\n\tpath = {SUBMODULE}\n\turl = {REPOSITORY}\n')
    git(clone, "update-index", "--add", "--cacheinfo", f"160000,{commit},{SUBMODULE}")
    with pytest.raises(TrainerError, match=f"is at {commit}, not at {SD_SCRIPTS.commit}"):
        sources.fetch_sources(environ, project=clone, home=odd_path / "home", say=str, engine=SD_SCRIPTS)


def test_an_address_that_cannot_be_reached_is_one_line_and_what_to_do(odd_path):
    environ = {
        "PATH": "/usr/bin:/bin", "HOME": str(odd_path), "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "url.https://sd-scripts.invalid/.insteadOf", "GIT_CONFIG_VALUE_0": "https://github.com/",
    }  # fmt: skip
    with pytest.raises(TrainerError, match=r"cannot be fetched: fatal: .*sd-scripts.invalid") as caught:
        sources.fetch_sources(environ, project=None, home=odd_path, say=str, engine=SD_SCRIPTS)
    assert "--sd-scripts" in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(odd_path, monkeypatch):
    fake = odd_path / "git"
    fake.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sources, "REACH_SECONDS", 0.3)
    with pytest.raises(TrainerError, match="no answer within"):
        sources.fetch_sources({"PATH": str(odd_path)}, project=None, home=odd_path, say=str, engine=SD_SCRIPTS)


def test_a_machine_without_git_says_so(odd_path):
    with pytest.raises(TrainerError, match="git is not installed"):
        sources.fetch_sources({"PATH": str(odd_path)}, project=None, home=odd_path, say=str, engine=SD_SCRIPTS)
