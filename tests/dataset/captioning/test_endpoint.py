"""Captions from a real HTTP server that speaks chat-completions: every way in which an answer goes wrong."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import PIL.Image
import pytest
from chat_server import chat_server, in_seconds, said
from servers import refusing_port

from kohya_runner.dataset.captioning.caption_text import CaptionJob, CaptionSettings, Failure
from kohya_runner.dataset.captioning.endpoint import ask
from kohya_runner.errors import PreflightError

KEY = "sk-not-for-anybodys-eyes-0123456789"


def settings(server, **more) -> CaptionSettings:
    return CaptionSettings(**{"endpoint": server.url, "model": "m", "pause": 0.01, "concurrency": 1, **more})


def wanted(folder: Path, count: int = 1) -> list[CaptionJob]:
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        PIL.Image.new("RGB", (32, 16), (number, 0, 0)).save(path)
        found.append(CaptionJob(path, "cat"))
    return found


def asked(folder: Path, server, count: int = 1, key: str = KEY, **more) -> list[str | Failure]:
    pictures = wanted(folder, count)
    return [text for _, text in ask(settings(server, **more), key, pictures, folder)]


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_picture_is_sent_with_the_prompt_the_model_and_the_key_in_one_header(odd_path: Path):
    with chat_server(said('"A cat\n on a mat."')) as server:
        assert asked(odd_path, server, prompt="Say it.", max_tokens=77) == ["A cat on a mat."]
    assert server.paths == ["/v1/chat/completions"]
    assert server.heads[0]["Authorization"] == f"Bearer {KEY}"
    sent = server.requests[0]
    assert (sent["model"], sent["max_tokens"], sent["messages"][0]["content"][0]["text"]) == ("m", 77, "Say it.")
    with PIL.Image.open(BytesIO(server.pictures()[0])) as image:
        assert (image.format, image.size) == ("PNG", (32, 16))
    assert KEY not in (odd_path / "answers.jsonl").read_text(encoding="utf-8")


def test_a_large_picture_is_sent_smaller(odd_path: Path):
    path = odd_path / "large.jpg"
    PIL.Image.effect_noise((3000, 1500), 90).convert("RGB").save(path)
    with chat_server() as server:
        list(ask(settings(server), "", [CaptionJob(path, "")], odd_path))
    with PIL.Image.open(BytesIO(server.pictures()[0])) as image:
        assert (image.format, image.size) == ("JPEG", (1024, 512))
    assert "Authorization" not in server.heads[0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said("I'm sorry, but I can't help with that."), "refused"),
        (said(None, message={"refusal": "No."}), "refused: 'No.'"),
        (said("a cat", choice={"finish_reason": "content_filter"}), "refused"),
        (said(""), "empty"),
        (said(None), "empty"),
        (said(" \n "), "empty"),
        (said("<think>hm</think>"), "empty"),
        (said("a cat that", choice={"finish_reason": "length"}), "cut off"),
        ((400, {"error": "bad picture"}, {}), 'HTTP 400: \'{"error": "bad picture"}\''),
    ],
)
def test_what_is_no_caption_is_told_and_asked_once(odd_path: Path, answer, why: str):
    with chat_server(answer) as server:
        (found,) = asked(odd_path, server)
    assert isinstance(found, Failure)
    assert why in found.why
    assert len(server.requests) == 1
    assert rows(odd_path)[0]["problem"] == found.why


@pytest.mark.parametrize(
    "answer",
    ["cut", "<html>busy</html>", "[]", '{"choices": []}', (500, "oops", {}), (503, "", {}), (429, "slow down", {})],
    ids=["cut", "html", "list", "no choice", "500", "503", "429"],
)
def test_what_a_second_try_may_heal_is_tried_again(odd_path: Path, answer):
    with chat_server(answer, answer, said("a dog")) as server:
        assert asked(odd_path, server) == ["a dog"]
    assert len(server.requests) == 3
    assert [row.get("caption") for row in rows(odd_path)] == [None, None, "a dog"]
    with chat_server(answer) as server:
        (found,) = asked(odd_path, server, prompt="another")
    assert isinstance(found, Failure)
    assert len(server.requests) == 4


def test_a_server_that_hangs_is_given_up(odd_path: Path):
    with chat_server("hang", said()) as server:
        assert asked(odd_path, server, seconds=2) == ["a picture of a cat"]


@pytest.mark.parametrize("header", ["0.4", "date"])
def test_retry_after_is_waited_for_by_all(odd_path: Path, header: str):
    text = in_seconds(1.5) if header == "date" else header
    with chat_server((429, "", {"Retry-After": text}), said()) as server:
        begun = time.monotonic()
        assert len(asked(odd_path, server, 2)) == 2
    assert time.monotonic() - begun >= 0.35
    assert len(server.requests) == 3


def test_a_wait_that_nobody_waits_for_ends_the_run(odd_path: Path):
    with chat_server((429, "", {"Retry-After": "7200"})) as server, pytest.raises(PreflightError, match="2 h 00 min"):
        asked(odd_path, server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_is_wrong_for_every_picture_ends_the_run_at_once(odd_path: Path, status: int):
    answer = (status, {"error": f"Incorrect API key provided: {KEY}"}, {})
    with chat_server(answer) as server, pytest.raises(PreflightError) as fault:
        asked(odd_path, server, 5)
    assert len(server.requests) == 1
    assert "KOHYA_CAPTION_API_KEY" in fault.value.hint
    assert KEY not in f"{fault.value.message}{fault.value.hint}{(odd_path / 'answers.jsonl').read_text()}"


def test_a_redirect_is_not_followed_with_the_key(odd_path: Path):
    with chat_server() as other, chat_server((302, "", {"Location": other.url})) as server:
        (found,) = asked(odd_path, server)
    assert isinstance(found, Failure)
    assert other.requests == []


def test_a_server_that_is_not_there_is_asked_for_a_few_pictures_only(odd_path: Path):
    place = f"http://127.0.0.1:{refusing_port()}/v1"
    asked_for = CaptionSettings(endpoint=place, model="m", pause=0.001, concurrency=2)
    with pytest.raises(PreflightError, match="5 pictures in a row"):
        list(ask(asked_for, "", wanted(odd_path, 12), odd_path))


def test_so_many_requests_are_under_way_at_once_and_no_more(odd_path: Path):
    with chat_server("slow") as server:
        assert len(asked(odd_path, server, 9, concurrency=3)) == 9
    assert server.most == 3


def test_a_cap_on_requests_holds_over_runs_and_what_came_is_not_asked_again(odd_path: Path):
    with chat_server(said("a cat")) as server:
        for cap, total in ((3, 3), (3, 3), (5, 5)):
            with pytest.raises(PreflightError, match=f"after {cap} requests"):
                asked(odd_path, server, 6, max_requests=cap)
            assert len(server.requests) == total
        assert asked(odd_path, server, 6) == ["a cat"] * 6
        assert len(server.requests) == 6
        assert asked(odd_path, server, 6) == ["a cat"] * 6
    assert len(server.requests) == 6


def test_a_cap_on_cost_is_not_passed(odd_path: Path):
    """Each answer costs 0.0012: 1000 tokens in at 1, 20 out at 10 a million."""
    with chat_server() as server, pytest.raises(PreflightError, match="--max-cost"):
        asked(odd_path, server, 9, price=(1.0, 10.0), max_cost=0.0061, max_tokens=20)
    assert len(server.requests) in (3, 4)  # before the first answer a request is reckoned dearer
    with chat_server(said(usage=None)) as server, pytest.raises(PreflightError, match="--max-cost"):
        asked(odd_path, server, 9, price=(1.0, 10.0), max_cost=0.01, max_tokens=20, prompt="no usage is told")
    assert len(server.requests) <= 6


def test_another_prompt_or_model_is_asked_anew(odd_path: Path):
    with chat_server() as server:
        for more in ({}, {}, {"prompt": "p"}, {"model": "n"}, {"prompt": "p"}):
            asked(odd_path, server, **more)
    assert len(server.requests) == 3


def test_a_line_that_was_cut_is_passed_over(odd_path: Path):
    with chat_server() as server:
        asked(odd_path, server, 2)
        path = odd_path / "answers.jsonl"
        path.write_bytes(path.read_bytes()[:-30])
        assert asked(odd_path, server, 2) == ["a picture of a cat"] * 2
        assert len(server.requests) == 3
        assert asked(odd_path, server, 2) == ["a picture of a cat"] * 2
    assert len(server.requests) == 3


def test_a_picture_that_is_none_costs_no_request(odd_path: Path):
    (odd_path / "broken.png").write_bytes(b"no picture")
    with chat_server() as server:
        ((_, found),) = ask(settings(server), "", [CaptionJob(odd_path / "broken.png", "")], odd_path)
    assert found == Failure("the picture cannot be read")
    assert server.requests == []


def test_a_fault_in_a_thread_is_raised_where_it_is_waited_for(odd_path: Path):
    (odd_path / "answers.jsonl").mkdir()
    with chat_server() as server, pytest.raises(OSError, match=r"answers\.jsonl"):
        asked(odd_path, server)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"endpoint": "ftp://x"}, "https"),
        ({"endpoint": "http://example.com/v1"}, "https"),
        ({"endpoint": "https://me:secret@example.com/v1"}, "password"),
        ({"model": None}, "needs a model"),
        ({"max_cost": 1.0}, "price"),
        ({"template": "x"}, "who makes"),
        ({"endpoint": None}, "who makes"),
    ],
)
def test_settings_that_cannot_be_followed_are_told(more: dict, why: str):
    from kohya_runner.errors import UsageError

    good = CaptionSettings(endpoint="https://example.com/v1", model="m")
    good.checked(KEY)
    with pytest.raises(UsageError, match=why):
        replace(good, **more).checked(KEY)


def test_a_server_in_the_house_may_speak_http_where_there_is_no_key():
    CaptionSettings(endpoint="http://192.168.1.7:11434/v1", model="m").checked("")
