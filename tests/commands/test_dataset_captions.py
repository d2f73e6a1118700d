"""``dataset caption`` and ``dataset edit`` as a person calls them: real processes, a real server, a kill and on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import forked
import pytest
from chat_server import chat_server, said
from pictures import draw, pair
from servers import wait_for

KEY = "sk-not-for-anybodys-eyes-0123456789"
ROOT = Path(__file__).parents[2]


class Person:
    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "cat"
        for number in range(6):
            draw(self.folder / f"cat_{number}.png", (16, 16 + number))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KOHYA_", "XDG_"))}
        self.env = {**kept, "HOME": str(home), "KOHYA_WORKSPACE": str(home / "ws"), "PYTHONPATH": str(ROOT),
                    "KOHYA_CAPTION_API_KEY": KEY}  # fmt: skip

    def start(self, *words: str) -> forked.Forked | subprocess.Popen[str]:
        return forked.start("dataset", *words, env=self.env, cwd=self.home)

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def texts(self, version: str) -> dict[str, str]:
        folder = self.home / "ws" / "prepared" / "cat" / version
        return {path.stem: path.read_text(encoding="utf-8").rstrip("\n") for path in sorted(folder.glob("*.txt"))}


@pytest.fixture
def person(odd_path: Path) -> Person:
    return Person(odd_path)


def ask(server, *more: str) -> tuple[str, ...]:
    return ("caption", "cat", "--endpoint", server.url, "--model", "m", "--trigger", "sks", *more)


def test_a_run_that_was_killed_goes_on_and_pays_for_nothing_twice(person: Person):
    with chat_server(said("a cat"), said("a cat"), "hang") as server:
        process = person.start(*ask(server, "--concurrency", "1"))
        wait_for(lambda: len(server.requests) == 3)
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGKILL)
        said_so = "".join(process.communicate())
        server.answers = [said("a dog")]
        before = len(person.texts("001"))
        code, out, err = person.run(*ask(server, "--json"))
    assert before == 2
    assert code == 0, err
    assert json.loads(out)["written"] + json.loads(out)["known"] == 6
    assert len(server.requests) == 3 + 4
    assert sorted(person.texts("001").values()) == ["sks, a cat"] * 2 + ["sks, a dog"] * 4
    files = [path.read_bytes() for path in person.home.rglob("*") if path.is_file()]
    assert [data for data in (*files, seen, said_so.encode(), out.encode(), err.encode()) if KEY.encode() in data] == []


def test_ctrl_c_does_not_wait_for_an_answer(person: Person):
    with chat_server("hang") as server:
        process = person.start(*ask(server))
        wait_for(lambda: server.requests)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
    assert process.returncode == 130


def test_a_refusal_is_an_exit_code_and_the_next_run_asks_again(person: Person):
    with chat_server(said("I'm sorry, I can't."), said("a cat")) as server:
        code, _, err = person.run(*ask(server, "--concurrency", "1"))
        assert (code, len(person.texts("001"))) == (6, 5)
        assert "cat_0.png: refused" in err
        assert person.run(*ask(server))[0] == 0
    assert len(server.requests) == 7
    assert len(person.texts("001")) == 6


def test_another_trigger_word_costs_no_request(person: Person):
    with chat_server() as server:
        person.run(*ask(server))
        code, *_ = person.run(*ask(server)[:-1], "ohwx")
    assert code == 0
    assert len(server.requests) == 6
    assert set(person.texts("002").values()) == {"ohwx, a picture of a cat"}


def test_a_wrong_key_is_told_in_one_line(person: Person):
    with chat_server((401, {"error": {"message": f"Incorrect API key: {KEY}"}}, {})) as server:
        code, out, err = person.run(*ask(server))
    assert code == 4
    assert "the key is missing or wrong" in err
    assert "KOHYA_CAPTION_API_KEY" in err
    assert KEY not in out + err
    assert "Traceback" not in err


def test_an_edit_is_shown_asked_for_and_undone(person: Person):
    assert person.run("caption", "cat", "--template", "{{ words }} {{ height }}")[0] == 0
    version = str(person.home / "ws" / "prepared" / "cat" / "001")
    code, out, err = person.run("edit", version, "--prefix", "pixel art, ")
    assert (code, "nobody is there to ask" in err) == (2, True)
    assert "- cat 16" in out
    assert "+ pixel art, cat 16" in out
    code, out, _ = person.run("edit", version, "--prefix", "pixel art, ", "--json")
    assert (code, json.loads(out)["folder"], len(json.loads(out)["changes"])) == (0, None, 6)
    code, out, _ = person.run("edit", version, "--prefix", "pixel art, ", "--json", "--yes")
    assert person.texts("002")["cat_0"] == "pixel art, cat 16"
    assert person.run("edit", json.loads(out)["folder"], "--undo", "--yes")[0] == 0
    assert person.texts("003") == person.texts("001")


def test_a_deny_list_and_the_order_of_tags(person: Person):
    pair(person.folder, "cat_0", "blurry, a cat, sks, bad hands")
    deny = person.home / "deny.txt"
    deny.write_text("blurry\n\nbad hands\n", encoding="utf-8")
    code, *_ = person.run("edit", "cat", "--deny", str(deny), "--order", "sks,a cat", "--yes")
    assert (code, person.texts("001")) == (0, {"cat_0": "sks, a cat"})


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("caption", "cat"), "who makes the captions"),
        (("caption", "cat", "--template", "{{ nam }}"), "there is no 'nam'"),
        (("caption", "none", "--template", "x"), "No such file"),
        (("edit", "cat"), "one of changes"),
        (("edit", "--prefix", "x"), "the folder is missing"),
        (("edit", "cat", "--undo"), "nothing to undo"),
        (("edit", "--from", "none.json"), "No such file"),
        (("edit", "cat", "--deny", "none"), "--deny"),
    ],
)
def test_a_mistake_is_one_message(person: Person, words: tuple[str, ...], why: str):
    code, out, err = person.run(*words)
    assert code == 2
    assert why in err
    assert "Traceback" not in out + err
