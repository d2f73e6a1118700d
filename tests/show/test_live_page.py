"""The live page: who may see it, what it shows, and its stop button, with runs and viewers that are processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import devtools
import pytest
from detached_runs import RECIPE, Machine
from page_clients import address_of, asked
from practice_runs import wait_until
from reported_runs import NASTY, alive, measured, recorded, sampled

from kohya_runner.errors import UsageError
from kohya_runner.run.run_status import StatusReader
from kohya_runner.show import live_server
from kohya_runner.show.live_server import MOST_VIEWERS, LiveServer, Serve

pytestmark = pytest.mark.daily

JSON = "application/json"
LONG = ("--set", "datasets.0.repeats=40")  # 120 steps an epoch
needs_browser = pytest.mark.skipif(devtools.CHROMIUM is None, reason=devtools.WHY)


@pytest.fixture
def run_dir(odd_path):
    return odd_path / "ws" / "runs" / "my cat" / "001"


@pytest.fixture
def machine(odd_path):
    made = Machine(odd_path)
    yield made
    made.clean_up()


@contextlib.contextmanager
def served(run_dir, where=None):
    """A server whose page shows the run as it is."""
    server = LiveServer(run_dir, where or Serve())
    with server.serving() as page:
        page.show(StatusReader(run_dir).look())
        yield server


class Viewer:
    """One stream of events."""

    def __init__(self, address, since=0):
        parts = urlsplit(address)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=180)
        self.connection.request("GET", f"{parts.path}events?since={since}")
        self.answer = self.connection.getresponse()

    def next(self):
        while not (line := self.answer.readline()).startswith(b"data: "):
            assert line, "the stream has ended"
        return json.loads(line[6:])

    def until(self, true):
        """The parts as they are once something is so."""
        parts = {}
        while True:
            told = self.next()
            parts |= told["parts"]
            if true(told, parts):
                return parts

    def close(self):
        self.answer.close()
        self.connection.close()


def test_only_who_knows_the_token_and_comes_by_a_name_of_ours_is_answered(run_dir):
    alive(run_dir)
    with served(run_dir) as server:
        port, path = server.server_port, urlsplit(server.address).path
        assert server.server_address[0] == "127.0.0.1"
        assert len(server.token) >= 32
        assert asked(server.address)[0] == 200
        assert asked(server.address, Host="localhost:9999")[0] == 200  # through ssh -L 9999
        wrong = ("/", "/favicon.ico", "/x/", path[:-1], f"/{'x' * len(server.token)}/", f"{path}x", f"{path}../{path}")
        for one in wrong:
            assert asked(server.address, path=one)[::2] == (403, b""), one
        for host in ("evil.example", f"evil.example:{port}", "10.0.0.1", "[::", f"127.0.0.1.evil.example:{port}"):
            assert asked(server.address, Host=host)[::2] == (403, b""), host
        for method in ("PUT", "DELETE", "OPTIONS"):
            assert asked(server.address, method)[0] == 501


def test_a_stop_of_another_site_is_refused(run_dir, monkeypatch):
    alive(run_dir)
    monkeypatch.setattr(LiveServer, "stop", lambda _, when: (200, when))
    with served(run_dir) as server:
        own, body = f"http://127.0.0.1:{server.server_port}", b'{"when": "after-save"}'
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", f"{own}.evil.example"):
            assert asked(server.address, "POST", "stop", body, Content_Type=JSON, Origin=origin)[::2] == (403, b"")
        assert asked(server.address, "POST", "stop", body, Content_Type=JSON)[0] == 403
        assert asked(server.address, "POST", "stop", body, Content_Type=JSON, Origin=own, Host="evil.example")[0] == 403
        assert asked(server.address, "POST", "/x/stop", body, Content_Type=JSON, Origin=own)[0] == 403
        assert asked(server.address, "GET", "stop")[0] == 403
        for bad in (b"", b"[]", b'{"when": "soon"}', b'{"when": 1}', b"x" * 2000):
            assert asked(server.address, "POST", "stop", bad, Content_Type=JSON, Origin=own)[0] == 400
        assert asked(server.address, "POST", "stop", body, Content_Type="text/plain", Origin=own)[0] == 400
        assert asked(server.address, "POST", "stop", body, Content_Type=JSON, Origin=own)[::2] == (200, b"after-save")


def test_the_page_shows_all_of_it_as_text_and_fetches_nothing(run_dir):
    recorded(run_dir)
    measured(run_dir)
    sampled(run_dir)
    (run_dir / "trainer.log").write_text(f"the last line {NASTY}\n", encoding="utf-8")
    with served(run_dir) as server:
        _, headers, body = asked(server.address)
        page, policy = body.decode(), headers["Content-Security-Policy"]
        for wanted in ("my cat/001", "succeeded", "step 1000 of 1000, epoch 10 of 10", "0.16 spent", "disk.low",
                       "cat-000009.safetensors", "the last line", "removed by the trainer", "<svg"):  # fmt: skip
            assert wanted in page, wanted
        assert "<script>alert" not in page
        assert not re.search(r"<[^>]* on\w+=", page)
        assert not re.findall(r"""(?:src|href)=["'](?!sample/|data:)""", page)
        assert "unsafe" not in policy
        assert f"'nonce-{re.search(r'script nonce=.(.+?).>', page)[1]}'" in policy
        assert asked(server.address)[1]["Content-Security-Policy"] != policy
        assert asked(server.address, path="sample/cat_e000006_01_20261124.png")[1]["Content-Type"] == "image/jpeg"
        assert asked(server.address, path="sample/broken.png")[0] == 404
        for one in ("sample/../record.json", "sample/..%2f..%2frecord.json", "sample/record.json", "sample/"):
            assert asked(server.address, path=one)[0] == 403


def test_a_sample_that_is_a_link_out_of_the_run_is_not_shown(run_dir, odd_path):
    recorded(run_dir)
    sampled(run_dir)
    (odd_path / "private.png").write_bytes((run_dir / "output/sample/cat_e000001_00_20261124.png").read_bytes())
    (run_dir / "output" / "sample" / "x.png").symlink_to(odd_path / "private.png")
    with served(run_dir) as server:
        assert asked(server.address, path="sample/x.png")[0] == 403


def test_a_viewer_gets_what_has_changed_and_no_more_than_a_few_may_look(run_dir):
    alive(run_dir)
    reader = StatusReader(run_dir)
    with served(run_dir) as server:
        viewers = [Viewer(server.address) for _ in range(MOST_VIEWERS)]
        server.page.show(reader.look())
        first = [viewer.until(lambda _, parts: "progress" in parts) for viewer in viewers]
        assert all("step 420 of 2000" in parts["progress"] for parts in first)
        assert asked(server.address, path="events")[0] == 503
        assert asked(server.address)[0] == 200
        alive(run_dir)
        measured(run_dir)
        server.page.show(reader.look())
        told = viewers[0].until(lambda _, parts: "progress" in parts)
        assert "step 999" in told["progress"]
        assert "findings" not in told
        version = viewers[1].next()["version"]
        for viewer in viewers:
            viewer.close()
        wait_until(lambda: asked_for_events(server.address, version) == 200)


def asked_for_events(address, since):
    viewer = Viewer(address, since)
    viewer.close()
    return viewer.answer.status


def test_a_viewer_that_does_not_read_keeps_nobody_waiting(run_dir):
    alive(run_dir)
    reader = StatusReader(run_dir)
    with served(run_dir) as server:
        deaf, other = Viewer(server.address), Viewer(server.address)
        wait_until(lambda: server.page.viewers == 2)
        for number in range(300):
            (run_dir / "trainer.log").write_text(f"line {number} {'x' * 4000}\n", encoding="utf-8")
            server.page.show(reader.look())
        alive(run_dir)
        measured(run_dir)
        server.page.show(reader.look())
        assert "step 999" in other.until(lambda _, parts: "step 999" in parts.get("progress", ""))["progress"]
        deaf.close()
        other.close()


def test_who_can_see_it_is_said_and_the_way_through_runpod_is_known(run_dir, monkeypatch):
    alive(run_dir)
    monkeypatch.setenv(live_server.POD, "abc123")
    with served(run_dir) as server:
        assert "--bind 0.0.0.0" in list(server.told())[-1]
    with served(run_dir, Serve(0, "0.0.0.0")) as server:
        first, warning, proxy = server.told()
        assert first.startswith("live page: http://127.0.0.1:")
        assert "can stop it" in warning
        name = f"abc123-{server.server_port}.proxy.runpod.net"
        assert f"https://{name}/{server.token}/" in proxy
        assert asked(server.address, Host=name)[0] == 200
        assert asked(server.address, Host=f"192.168.1.7:{server.server_port}")[0] == 200
        for other in (f"abc124-{server.server_port}.proxy.runpod.net", "evil.example"):
            assert asked(server.address, Host=other)[0] == 403


def test_a_port_that_cannot_be_had_is_told(run_dir):
    alive(run_dir)
    with served(run_dir) as one, served(run_dir) as other:  # without a number there is always one
        assert one.server_port != other.server_port
        with pytest.raises(UsageError, match=f"port {one.server_port}: Address already in use"):
            LiveServer(run_dir, Serve(one.server_port))
    with pytest.raises(UsageError, match=r"203\.0\.113\.7"):
        LiveServer(run_dir, Serve(0, "203.0.113.7"))


def watching(machine, *more):
    process = machine.start("watch", "--serve", *more)
    return process, address_of(process)


@needs_browser
def test_a_run_is_seen_on_a_phone_and_stopped_at_a_save_by_pressing_twice(machine, odd_path):
    machine.detach(*LONG, step=0.1)
    _, address = watching(machine)
    with devtools.tab(odd_path / "profile") as tab:
        tab.open(address, devtools.PHONE)
        wait_until(lambda: re.search(r"step [1-9]\d* of 240", tab.does("return document.body.innerText")))
        assert tab.does("return document.querySelector('.practice') !== null")
        assert tab.sideways() == []
        tab.tap("#stop")
        assert not (machine.run_dir / "stop.json").exists()
        tab.tap("#no")
        tab.tap("#stop")
        assert "next checkpoint" in tab.does("return document.getElementById('question').textContent")
        tab.tap("#yes")
        wait_until((machine.run_dir / "stop.json").exists)
        wait_until(lambda: "after the next save" in tab.does("return document.getElementById('said').textContent"))
        wait_until(lambda: tab.does("return document.getElementById('stop').textContent") == "Stop now")
        assert machine.wait_for_end()["state"] == "stopped"
        wait_until(lambda: tab.does("return document.querySelector('.verdict.stopped') !== null"))
        assert tab.does("return document.getElementById('stop').hidden")
        assert "quickstart-000001.safetensors" in tab.does("return document.body.innerText")
        fetched = "return performance.getEntriesByType('resource').filter(e => new URL(e.name).host !== location.host)"
        assert tab.does(fetched) == []
        assert tab.complaints == []
    record = machine.record()
    assert (record["checkpoints"][0]["file"], record["checkpoints"][0]["complete"]) == (
        "quickstart-000001.safetensors", True,
    )  # fmt: skip


@needs_browser
def test_three_viewers_see_that_the_runner_was_killed_and_that_the_page_is_gone(machine, odd_path):
    kept = machine.detach(*LONG, step=0.1)
    process, address = watching(machine)
    others = [Viewer(address), Viewer(address)]
    with devtools.tab(odd_path / "profile") as tab:
        tab.open(address, devtools.PHONE)
        wait_until(lambda: "running" in tab.does("return document.querySelector('.verdict').textContent"))
        os.kill(kept["runner"]["pid"], signal.SIGKILL)
        wait_until(lambda: "the runner is gone since" in tab.does("return document.body.innerText"))
        for viewer in others:
            parts = viewer.until(lambda _, parts: "the runner is gone" in parts.get("head", ""))
            assert "--adopt" in parts["head"]
        os.killpg(kept["process"]["pid"], signal.SIGKILL)
        for viewer in others:
            assert "lost" in viewer.until(lambda _, parts: "verdict lost" in parts.get("head", ""))["head"]
            viewer.close()
        wait_until(lambda: tab.does("return document.querySelector('.verdict.lost') !== null"))
        assert tab.does("return document.getElementById('stop').hidden")
        process.kill()
        wait_until(lambda: tab.does("return document.querySelector('#line.gone') !== null"))


def test_an_orphaned_run_is_stopped_from_the_page(machine):
    kept = machine.detach(*LONG, step=0.1)
    os.kill(kept["runner"]["pid"], signal.SIGKILL)
    _, address = watching(machine)
    parts = urlsplit(address)
    own = f"{parts.scheme}://{parts.netloc}"
    assert asked(address, "POST", "stop", b'{"when": "now"}', Content_Type=JSON, Origin=own)[0] == 200
    assert machine.wait_for_end()["state"] == "stopped"


def test_the_page_of_a_launch_stays_until_ctrl_c(machine):
    process = machine.start("launch", RECIPE, "--practice", "--serve", KOHYA_PRACTICE_STEP_SECONDS="0.05")
    address = address_of(process)
    viewer = Viewer(address)
    viewer.until(lambda _, parts: "verdict succeeded" in parts.get("head", ""))
    assert process.poll() is None
    assert "succeeded" in asked(address)[2].decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(180) == 0
    with pytest.raises(OSError):
        asked(address)


def test_the_page_of_a_launch_outlives_a_killed_runner(machine):
    process = machine.start("launch", RECIPE, "--practice", "--serve", *LONG)
    address = address_of(process)
    viewer = Viewer(address)
    viewer.until(lambda _, parts: "verdict running" in parts.get("head", ""))
    page = next(int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal() and is_child(p, process.pid))
    process.kill()
    process.wait()
    try:
        assert "the runner is gone" in viewer.until(lambda _, parts: "runner is gone" in parts.get("head", ""))["head"]
    finally:
        os.kill(page, signal.SIGKILL)


def is_child(folder, parent):
    """A fork of the launch, with its command line: the page, not the trainer."""
    with contextlib.suppress(OSError):
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        return int(fields[1]) == parent and b"launch" in (folder / "cmdline").read_bytes()
    return False


def test_ctrl_c_ends_a_run_and_its_page(machine):
    process = machine.start("launch", RECIPE, "--practice", "--serve", *LONG)
    address = address_of(process)
    machine.wait_for_step(2, 240)
    process.send_signal(signal.SIGINT)
    assert process.wait(180) == 130
    with pytest.raises(OSError):
        asked(address)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("launch", RECIPE, "--practice", "--serve", "--detach"), "no end"),
        (("launch", RECIPE, "--practice", "--bind", "0.0.0.0"), "--serve"),
        (("watch", "--serve", "70000"), "65535"),
    ],
    ids=["detached", "bind alone", "port"],
)
def test_what_does_not_go_is_said(machine, words, why):
    if words[0] == "watch":
        recorded(machine.run_dir)
    code, _, err = machine.run(*words)
    assert code == 2
    assert why in err


def test_a_run_is_named_behind_serve(machine):
    recorded(machine.run_dir)
    process = machine.start("watch", "--serve", "quickstart")
    assert "quickstart/001" in asked(address_of(process))[2].decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(180) == 0
