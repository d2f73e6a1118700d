from __future__ import annotations

import json
import time

import pytest
from runs import DIAGNOSIS, ended
from servers import body_of, refusing_port, serving

from kohya_runner.finish import notify as notifying
from kohya_runner.finish.notify import send
from kohya_runner.recipe.finish import Kind, Notify

PRICED = {"price_per_hour": 0.5}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE", 0.01)


@pytest.fixture
def failed(odd_path):
    return ended(odd_path, "failed", "the trainer ended with exit code 1", diagnosis=DIAGNOSIS, budget=PRICED)[1]


def test_the_json_body_says_what_a_program_needs(failed):
    with serving(200) as server:
        assert send(failed, Notify(url=server.url), {}) == ""
    said = body_of(server.requests[0])
    assert (said["name"], said["run_id"], said["state"], said["steps"]) == ("my cat", "001", "failed", 40)
    assert (said["seconds"], said["cost"]) == (7200.0, 1.0)
    assert said["why"] == "the trainer ended with exit code 1"
    assert said["diagnosis"]["code"] == "out-of-vram"
    assert [kept["file"] for kept in said["checkpoints"]] == ["my cat.safetensors"]
    assert server.requests[0]["headers"]["Content-Type"] == "application/json"


def test_ntfy_gets_text_and_its_headers(failed):
    with serving(200) as server:
        assert send(failed, Notify(url=server.url, kind="ntfy"), {}) == ""
    sent = server.requests[0]
    assert sent["body"].decode().splitlines() == [
        "my cat/001: failed",
        "the trainer ended with exit code 1",
        "out-of-vram: the GPU's memory is full",
        "-> args: {a: 1}",
        "-> b",
        "40 of 40 steps, 2 h 00 min, cost 1.00",
        "1 checkpoint(s), the last: my cat.safetensors",
    ]
    assert (sent["headers"]["Title"], sent["headers"]["Priority"]) == ("my cat: failed", "high")


def test_discord_gets_its_shape_and_calls_nobody(odd_path):
    _, loud = ended(odd_path, "failed", "@everyone " * 500)
    with serving(204) as server:
        assert send(loud, Notify(url=server.url, kind="discord"), {}) == ""
    said = body_of(server.requests[0])
    assert said.keys() == {"content", "allowed_mentions"}
    assert said["allowed_mentions"] == {"parse": []}
    assert len(said["content"]) <= 2000


def test_slack_gets_its_shape_with_its_own_signs_escaped(odd_path):
    _, odd = ended(odd_path, "failed", "<!channel> & more")
    with serving(200) as server:
        assert send(odd, Notify(url=server.url, kind="slack"), {}) == ""
    assert "&lt;!channel&gt; &amp; more" in body_of(server.requests[0])["text"]


def test_every_kind_of_the_recipe_has_a_shape():
    assert set(notifying.SHAPES) == set(Kind.__args__)


def test_a_server_error_is_tried_twice_and_told(failed):
    with serving(500) as server:
        assert send(failed, Notify(url=server.url), {}) == "not delivered: HTTP 500"
    assert len(server.requests) == 2


def test_a_second_try_may_succeed(failed):
    with serving(503, 200) as server:
        assert send(failed, Notify(url=server.url), {}) == ""


def test_a_refusal_is_not_repeated(failed):
    with serving(404) as server:
        assert send(failed, Notify(url=server.url), {}) == "not delivered: HTTP 404"
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed(failed):
    with serving(307) as server:
        assert send(failed, Notify(url=server.url), {}) == "not delivered: HTTP 307"
    assert [sent["path"] for sent in server.requests] == ["/v2"]


@pytest.mark.parametrize("status", [0, -1], ids=["silent", "a header now and then"])
def test_a_server_that_hangs_holds_nobody_up(failed, status):
    begun = time.monotonic()
    with serving(status) as server:
        assert send(failed, Notify(url=server.url), {}, seconds=0.5).startswith("not delivered: ")
    assert time.monotonic() - begun < 90


def test_nobody_there_is_told(failed):
    problem = send(failed, Notify(url=f"http://127.0.0.1:{refusing_port()}/"), {})
    assert problem == "not delivered: Connection refused"


def test_the_address_may_come_from_the_environment(failed):
    with serving(200) as server:
        assert send(failed, Notify(env="MY_HOOK"), {"MY_HOOK": f"{server.url}/secret\n"}) == ""
    assert server.requests[0]["path"] == "/v2/secret"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "$MY_HOOK is not set"),
        ({"MY_HOOK": "http://example.org/secret"}, "the address in $MY_HOOK must begin with https"),
        ({"MY_HOOK": "file:///etc/passwd"}, "the address in $MY_HOOK must be an address that begins with https"),
        ({"MY_HOOK": "https://[::1"}, "the address in $MY_HOOK is not a web address"),
    ],
    ids=["unset", "http", "file", "broken"],
)
def test_a_wrong_variable_is_told_without_its_value(failed, value, problem):
    said = send(failed, Notify(env="MY_HOOK"), value)
    assert said.startswith(problem)
    assert "secret" not in said


def test_secrets_in_the_reason_are_blotted_out(odd_path):
    _, leaky = ended(odd_path, "failed", "token hf_" + "a" * 30)
    assert "hf_aaaa" not in json.dumps(notifying.facts(leaky))
