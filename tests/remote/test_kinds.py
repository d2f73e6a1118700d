from __future__ import annotations

import pytest

from kohya_runner.engines.table import user_settings
from kohya_runner.errors import UsageError
from kohya_runner.remote.kinds import KINDS, open_place, places
from kohya_runner.remote.place import Ask


def settings(folder, text):
    file = folder / "kohya-runner" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return user_settings({"XDG_CONFIG_HOME": str(folder), "HOME": "/home/ann"})


def test_a_place_is_what_its_settings_say(odd_path):
    place = open_place(
        "studio", settings(odd_path, "places: {studio: {kind: ssh, host: ann@gpu, port: 2200, key: null}}")
    )
    assert (place.name, place.KIND) == ("studio", "ssh")
    assert place.model_dump(include={"host", "port", "key"}) == {"host": "ann@gpu", "port": 2200, "key": None}


def test_one_machine_is_neither_several_nor_for_rent(odd_path):
    place = open_place("studio", settings(odd_path, "places: {studio: {kind: ssh, host: ann@gpu}}"))
    told = place.problems(Ask(nodes=2, spot=True, max_price=1.0))
    assert [line.partition(":")[0] for line in told] == ["--nodes", "--spot", "--max-price"]


def test_everything_that_is_wrong_is_told_at_once_with_its_place(odd_path):
    text = (
        "places:\n"
        "  one: {kind: shs, host: a}\n"
        "  two:\n"
        "    kind: ssh\n"
        "    hots: a\n"
        "  three:\n"
        "    kind: ssh\n"
        "    host: -oProxyCommand=x\n"
        "    port: many\n"
    )
    with pytest.raises(UsageError) as caught:
        places(settings(odd_path, text))
    file = odd_path / "kohya-runner" / "config.yaml"
    told = {finding.where.removeprefix(str(file)): str(finding) for finding in caught.value.findings}
    assert set(told) == {":2:15", ":5:5", ":8:11", ":9:11"}
    assert "write places.one.kind: ssh" in told[":2:15"]
    assert "did you mean 'host'? write places.two.host: a" in told[":5:5"]
    assert "places.three.port: must be a whole number; places.three.port is the port of its sshd" in told[":9:11"]


def test_a_setting_that_is_missing_is_named_whole(odd_path):
    with pytest.raises(UsageError) as caught:
        places(settings(odd_path, "places: {two: {kind: ssh, ssh_key: /k, api_key: s3cret}}"))
    told = [str(finding) for finding in caught.value.findings]
    assert "places.two.host: is missing; write places.two.host: user@machine" in told[0]
    assert "write places.two.key: /k" in told[1]
    assert "s3cret" not in " ".join(told)


@pytest.mark.parametrize("kind", KINDS)
def test_each_setting_of_a_kind_says_what_it_is(kind):
    fields = {name: field for name, field in KINDS[kind].model_fields.items() if name != "name"}
    assert [name for name, field in fields.items() if not field.description] == []
    assert kind == KINDS[kind].KIND
