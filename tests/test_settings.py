from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.engines.table import user_settings
from kohya_runner.errors import UsageError
from kohya_runner.settings import UserSettings, settings_file


@pytest.fixture
def config(odd_path: Path) -> Path:
    file = odd_path / "kohya-runner" / "config.yaml"
    file.parent.mkdir()
    return file


def read(config: Path, text: str, **environ: str) -> UserSettings:
    config.write_text(text, encoding="utf-8")
    return user_settings({"XDG_CONFIG_HOME": str(config.parents[1]), "HOME": "/home/ann", **environ})


def test_a_missing_file_says_nothing(odd_path):
    settings = user_settings({"XDG_CONFIG_HOME": str(odd_path)})
    assert settings == UserSettings(odd_path / "kohya-runner" / "config.yaml")


def test_the_file_is_below_home_without_xdg_config_home():
    assert settings_file({"HOME": "/home/ann"}) == Path("/home/ann/.config/kohya-runner/config.yaml")


def test_every_key_becomes_an_absolute_path(config):
    settings = read(config, "sd_scripts: ~/sd scripts\npython: ../venv/bin/python\nworkspace: /big disk\n")
    assert settings.path("sd_scripts") == Path("/home/ann/sd scripts")
    assert settings.path("python") == config.parents[1] / "venv/bin/python"
    assert settings.workspace == Path("/big disk")


def test_null_is_not_set(config):
    assert read(config, "python: null\n").path("python") is None


def test_an_empty_file_says_nothing(config):
    assert read(config, "# nothing yet\n") == UserSettings(config)


def test_a_link_stays_a_link(config):
    link = config.parent / "python"
    link.symlink_to("/usr/bin/env")
    assert read(config, "python: ./python\n").path("python") == link


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        pytest.param("sd_script: /x\n", ":1:1", "did you mean 'sd_scripts'", id="misspelt key"),
        pytest.param("python: 3.11\n", ":1:9", "is not a path", id="number"),
        pytest.param("python: ''\n", ":1:9", "is not a path", id="empty text"),
        pytest.param("- python\n", ":1:1", "mapping", id="list"),
        pytest.param("places: pod\n", ":1:9", "kind: ssh", id="places are no text"),
        pytest.param("places:\n  pod: ssh\n", ":2:8", "places.pod: is not a place", id="a place is no text"),
        pytest.param("places:\n  pod: {host: x}\n", ":2:8", "with its kind", id="a place without its kind"),
        pytest.param("python: /a\npython: /b\n", ":2:1", "second time", id="key twice"),
        pytest.param("python: [\n", ":2:1", "not valid YAML", id="broken"),
    ],
)
def test_a_fault_says_where_and_what(config, text, where, said):
    with pytest.raises(UsageError) as caught:
        read(config, text)
    (finding,) = caught.value.findings
    assert finding.where == f"{config}{where}"
    assert said in str(finding)


def test_every_fault_is_reported_at_once(config):
    with pytest.raises(UsageError) as caught:
        read(config, "pyton: /a\nworkspace: 7\n")
    assert len(caught.value.findings) == 2


def test_a_file_that_is_not_utf8_is_a_usage_error(config):
    config.write_bytes(b"python: /\xff\n")
    with pytest.raises(UsageError, match="cannot be read"):
        user_settings({"XDG_CONFIG_HOME": str(config.parents[1])})
