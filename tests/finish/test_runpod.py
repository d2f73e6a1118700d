from __future__ import annotations

import os

import pytest
from servers import body_of, runpodctl, serving

from kohya_runner import web
from kohya_runner.finish import runpod
from kohya_runner.finish.runpod import end, this_pod

KEY = "rp_thisIsNobodysKey"
WORKS = 'echo "pod stopped"'
LIES = 'echo "pod pod123 stop failed"; exit 0'


class Machine:
    """A pod with a stand-in of the API and of runpodctl."""

    def __init__(self, folder, server, ctl):
        self.environ = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "RUNPOD_POD_ID": "pod123", "RUNPOD_API_KEY": KEY,
            "KOHYA_RUNPOD_API": server.url,
        }  # fmt: skip
        self.log = runpodctl(folder / "bin", ctl)
        self.said = []

    def end(self, action="stop"):
        return end(this_pod(self.environ), action, environ=self.environ, say=self.said.append)

    def calls(self):
        return self.log.read_text(encoding="utf-8").splitlines()


def test_the_api_stops_the_pod_and_nothing_else_is_asked(odd_path):
    with serving(200) as server:
        machine = Machine(odd_path, server, WORKS)
        assert machine.end().ok
    (sent,) = server.requests
    assert (sent["path"], body_of(sent)) == ("/v2/pods/pod123/action", {"action": "stop"})
    assert sent["headers"]["Authorization"] == f"Bearer {KEY}"
    assert machine.calls() == []


def test_a_termination_is_another_action(odd_path):
    with serving(200) as server:
        assert Machine(odd_path, server, WORKS).end("terminate").ok
    assert body_of(server.requests[0]) == {"action": "terminate"}


@pytest.mark.parametrize("status", [403, 409, 500, 302])
def test_where_the_api_refuses_the_program_is_asked(odd_path, status):
    with serving(status) as server:
        machine = Machine(odd_path, server, WORKS)
        result = machine.end()
    assert result.ok
    assert result.said[0] == f"API v2: HTTP {status}"
    assert machine.calls() == [f"pod stop pod123|{KEY}"]


LIES = (
    b'{"error": "no such pod"}',
    b'{"errors": [{"message": "no"}], "data": null}',
    b'{"success": false}',
    b"<html>log in",
)


@pytest.mark.parametrize("said", LIES)
def test_an_error_in_the_body_of_a_success_is_one(odd_path, said):
    with serving(200, said=said) as server:
        machine = Machine(odd_path, server, WORKS)
        result = machine.end()
    assert result.ok
    assert machine.calls() == [f"pod stop pod123|{KEY}"]


@pytest.mark.parametrize("said", [b"", b'{"id": "pod123", "error": null, "errors": []}'])
def test_a_success_is_believed(odd_path, said):
    with serving(200, said=said) as server:
        machine = Machine(odd_path, server, WORKS)
        assert machine.end().ok
    assert machine.calls() == []


def test_where_the_api_hangs_the_program_is_asked(odd_path, monkeypatch):
    monkeypatch.setattr(web.post, "__kwdefaults__", {"seconds": 0.4, "longest": 4096})
    with serving(0) as server:
        machine = Machine(odd_path, server, WORKS)
        assert machine.end().ok
    assert len(machine.calls()) == 1


def test_the_new_form_fails_and_the_old_one_is_taken(odd_path):
    ctl = '[ "$1" = pod ] && { echo "unknown command" >&2; exit 1; }; echo "pod stopped"'
    with serving(403) as server:
        machine = Machine(odd_path, server, ctl)
        assert machine.end().ok
        assert machine.calls() == [f"pod stop pod123|{KEY}", f"stop pod pod123|{KEY}"]
        assert machine.end("terminate").ok
    assert machine.calls()[2:] == [f"pod delete pod123|{KEY}", f"remove pod pod123|{KEY}"]


def test_a_program_that_says_failed_with_exit_code_0_is_not_believed(odd_path):
    with serving(403) as server:
        machine = Machine(odd_path, server, LIES)
        result = machine.end()
    assert not result.ok
    assert [part.partition(":")[0] for part in result.said] == ["API v2", "runpodctl pod", "runpodctl, old form"]


def test_a_program_that_hangs_is_given_up(odd_path, monkeypatch):
    monkeypatch.setattr(runpod, "_SECONDS", 0.3)
    with serving(403) as server:
        assert not Machine(odd_path, server, "exec sleep 30").end().ok


def test_no_program_at_all_is_told(odd_path):
    with serving(403) as server:
        machine = Machine(odd_path, server, WORKS)
        machine.environ["PATH"] = str(odd_path)
        result = end(this_pod(machine.environ), "stop", environ=machine.environ, say=machine.said.append)
    assert not result.ok


def test_the_key_is_in_nothing_that_is_said(odd_path):
    with serving(500) as server:
        machine = Machine(odd_path, server, f'echo "error: key {KEY} \x1b[31m refused"; exit 1')
        result = machine.end()
    assert KEY not in "\n".join([*result.said, *machine.said])
    assert "\x1b" not in "\n".join(machine.said)


def test_without_a_key_the_api_is_not_asked(odd_path):
    with serving(200) as server:
        machine = Machine(odd_path, server, WORKS)
        del machine.environ["RUNPOD_API_KEY"]
        assert machine.end().ok
    assert server.requests == []


def test_a_key_of_the_users_own_goes_before_that_of_the_pod():
    assert this_pod({"RUNPOD_POD_ID": "p", "RUNPOD_API_KEY": "a", "KOHYA_RUNPOD_API_KEY": "b"}).key == "b"


@pytest.mark.parametrize("value", ["", "a/../b", "x" * 65, "a b"])
def test_what_is_no_pod_is_none(value):
    assert this_pod({"RUNPOD_POD_ID": value}) is None


@pytest.mark.parametrize("api", ["https://evil.example/v2", "http://127.0.0.1.evil.example", "nonsense"])
def test_the_key_goes_to_no_other_machine(api):
    assert this_pod({"RUNPOD_POD_ID": "p", "KOHYA_RUNPOD_API": api}).api == runpod.RUNPOD


def test_the_banner_cannot_be_overlooked():
    text = runpod.banner("pod123", "stop")
    assert text.count("STILL BILLING") == 4
    assert "pod123" in text
