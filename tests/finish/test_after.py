from __future__ import annotations

import json
import os
import threading
import time

import pytest
from runs import DIAGNOSIS, ended
from servers import body_of, runpodctl, serving

from kohya_runner.errors import TerminatedError
from kohya_runner.finish import after
from kohya_runner.finish.runpod import PodDecision, decide
from kohya_runner.recipe.finish import Finish
from kohya_runner.record import record
from kohya_runner.record.process_identity import this_process


def asked(pod="stop", grace=0.0, **more):
    return {"pod": pod, "grace_minutes": grace, "compare": False, "notify": None, **more}


class Pod:
    def __init__(self, folder, server):
        self.log = runpodctl(folder / "bin", "exit 1")
        self.environ = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "RUNPOD_POD_ID": "pod123",
                        "RUNPOD_API_KEY": "key", "KOHYA_RUNPOD_API": server.url}  # fmt: skip
        self.said = []

    def finish(self, run):
        return after.finish(*run, self.said.append, self.environ)


@pytest.fixture
def server():
    with serving(200) as made:
        yield made


@pytest.fixture
def pod(odd_path, server):
    return Pod(odd_path, server)


def actions(server):
    return [body_of(sent)["action"] for sent in server.requests]


@pytest.mark.parametrize(
    ("state", "why", "pod", "problem", "volume", "decision"),
    [
        ("succeeded", "", "stop", "", False, ("stop", 0)),
        ("succeeded", "", "terminate", "", True, ("terminate", 0)),
        ("succeeded", "", "terminate", "", False, ("stop", 0)),
        ("succeeded", "", "terminate", "a file is gone", True, ("stop", 900)),
        ("failed", "", "terminate", "", True, ("stop", 900)),
        ("failed", "", "stop", "", False, ("stop", 900)),
        ("lost", "", "stop", "", False, ("stop", 900)),
        ("stopped", "SIGINT", "stop", "", False, ("", 0)),
        ("stopped", "SIGTERM", "stop", "", False, ("", 0)),
        ("stopped", "kohya-runner stop", "terminate", "", True, ("", 0)),
        ("stopped", "SIGHUP", "terminate", "", True, ("stop", 900)),
        ("succeeded", "", "", "", True, ("", 0)),
    ],
)
def test_the_policy(odd_path, state, why, pod, problem, volume, decision):  # noqa: PLR0917
    _, run = ended(odd_path, state, why, finish=asked(pod, grace=15.0))
    chosen = decide(run, problem=problem, volume=volume)
    assert (chosen.action, chosen.wait) == decision


def test_practice_leaves_the_pod_alone(odd_path):
    _, run = ended(odd_path, practice=True, finish=asked())
    assert decide(run, problem="", volume=True) == PodDecision("", 0, "practice: the pod is left alone")


def test_a_success_stops_the_pod_once(odd_path, pod, server):
    run_dir, run = ended(odd_path, finish=asked())
    done = pod.finish((run_dir, run))
    assert actions(server) == ["stop"]
    assert record.read(run_dir).after == done.after
    assert [entry["action"] for entry in done.after] == ["pod"]
    pod.finish((run_dir, done))
    assert actions(server) == ["stop"]


def test_outputs_that_changed_are_no_success(odd_path, pod, server):
    run_dir, run = ended(odd_path, finish=asked("terminate"))
    (run_dir / "output" / "my cat.safetensors").write_bytes(b"weightz" * 100)
    pod.finish((run_dir, run))
    assert actions(server) == ["stop"]
    assert "has changed since it was written" in "\n".join(pod.said)


def test_a_missing_output_is_no_success(odd_path):
    run_dir, run = ended(odd_path)
    (run_dir / "output" / "my cat.safetensors").unlink()
    assert "No such file" in after.unverified(run_dir, run)


def test_after_a_failure_a_touched_file_keeps_the_pod(odd_path, pod, server):
    run_dir, run = ended(odd_path, "failed", "it broke", finish=asked(grace=5.0), diagnosis=DIAGNOSIS)
    threading.Timer(0.3, (run_dir / "keep-pod").touch).start()
    begun = time.monotonic()
    pod.finish((run_dir, run))
    assert time.monotonic() - begun < 150  # of five minutes
    assert server.requests == []
    assert pod.said[0].startswith("my cat/001: failed\nit broke\nout-of-vram: the GPU's memory is full")
    assert any("touch" in line and "5 min" in line for line in pod.said)


def test_after_a_failure_the_pod_is_stopped_when_the_grace_is_over(odd_path, pod, server):
    begun = time.monotonic()
    pod.finish(ended(odd_path, "failed", finish=asked("terminate", grace=0.01)))
    assert time.monotonic() - begun >= 0.6
    assert actions(server) == ["stop"]


def test_a_pod_on_which_another_run_goes_on_is_kept(odd_path, pod, server):
    other = odd_path / "runs" / "dog" / "001"
    other.mkdir(parents=True)
    _, run = ended(odd_path, finish=asked())
    alive = run.changed(name="dog", state="running", runner=this_process())
    record.write(other, alive)
    pod.finish((odd_path / "runs" / "my cat" / "001", run))
    assert server.requests == []
    assert "dog/001 is running" in "\n".join(pod.said)


def test_where_nothing_works_it_is_said_so_that_nobody_overlooks_it(odd_path):
    with serving(500) as server:
        pod = Pod(odd_path, server)
        run_dir, run = ended(odd_path, finish=asked())
        done = pod.finish((run_dir, run))
    assert "STILL BILLING" in pod.said[-1]
    assert "STILL BILLING" in done.after[0]["said"]
    assert "pod123" in (run_dir / "STILL-BILLING.txt").read_text(encoding="utf-8")


def test_elsewhere_nothing_is_stopped_and_it_is_said(odd_path):
    said = []
    after.finish(*ended(odd_path, finish=asked()), said.append, {})
    assert "not a RunPod pod" in said[0]


def test_the_message_goes_before_the_pod(odd_path, pod, server):
    notify = {"url": f"{server.url}/hook", "kind": "json"}
    pod.finish(ended(odd_path, finish=asked(notify=notify)))
    assert [sent["path"] for sent in server.requests] == ["/v2/hook", "/v2/pods/pod123/action"]


def test_a_record_that_says_nonsense_costs_nothing_else(odd_path, pod, server):
    done = pod.finish(ended(odd_path, finish=asked(notify={"url": 3})))
    assert done.after[0]["said"].startswith("notify: ValidationError")
    assert actions(server) == ["stop"]


def test_a_runner_that_dies_while_it_stops_the_pod_leaves_that_open(odd_path, pod, monkeypatch):
    run_dir, run = ended(odd_path, finish=asked())

    def closed(*_, **__):
        raise TerminatedError("stopped by SIGHUP")

    monkeypatch.setattr(after.runpod, "end", closed)
    with pytest.raises(TerminatedError):
        pod.finish((run_dir, run))
    left = record.read(run_dir)
    assert [entry["action"] for entry in left.after] == ["pod.asked"]
    assert after.open_actions(left)


def test_ctrl_c_in_the_grace_period_leaves_the_pod_alone(odd_path, pod, server, monkeypatch):
    run_dir, run = ended(odd_path, "failed", finish=asked(grace=5.0))

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(after.time, "sleep", interrupted)

    class Screen:
        def notice(self, line):
            pod.said.append(line)

    done = after.conclude(run_dir, Screen(), pod.environ, run)
    assert server.requests == []
    assert "Ctrl-C" in done.after[0]["said"]
    assert not after.open_actions(done)


def test_what_the_recipe_asks_for_goes_into_the_record_without_secrets():
    said = Finish.model_validate({"stop_pod": True, "notify": {"env": "HOOK", "kind": "slack"}}).recorded()
    assert said == {
        "compare": False, "publish": None, "pod": "stop", "grace_minutes": 15.0,
        "notify": {"env": "HOOK", "kind": "slack"},
    }  # fmt: skip
    assert json.loads(json.dumps(said)) == said
