"""The client of RunPod's API v2 against a server that speaks it: what is asked again, and what is told."""

from __future__ import annotations

import pytest
from runpod_cloud import KEY, Fault, runpod_cloud

from kohya_runner.errors import RemoteError
from kohya_runner.machine.runpod_api import RunPodApi, RunPodError

BODY = {
    "name": "kohya-runner-a-001-0f0f0f0f", "image": "runpod/pytorch:x", "cloud": "SECURE", "disk": 40,
    "gpu": {"id": "NVIDIA L4", "count": 1, "minCudaVersion": "12.8"}, "env": {"PUBLIC_KEY": "ssh-ed25519 AAAA"},
    "mounts": {"persistent": {"size": 50, "path": "/workspace"}}, "ports": ["22/tcp"], "startSsh": True,
}  # fmt: skip


@pytest.fixture
def cloud():
    with runpod_cloud() as account:
        yield account


class Client(RunPodApi):
    """It notes how long it would have waited."""

    def __init__(self, cloud, **other):
        self.waited = []
        super().__init__({**cloud.environ(), **other}, self.waited.append)


@pytest.fixture
def api(cloud):
    return Client(cloud)


def test_a_pod_is_made_runs_stops_and_is_gone(api, cloud):
    pod = api.create(BODY)
    assert (pod.status, pod.direct, pod.volume, pod.cost) == ("PROVISIONING", None, 50, 0.43)
    running = api.pod(pod.id)
    assert (running.status, running.direct.port) == ("RUNNING", 22)
    api.act(pod.id, "stop")
    assert (api.pod(pod.id).status, api.pod(pod.id).cost) == ("EXITED", 0.0)
    api.act(pod.id, "terminate")
    assert api.pod(pod.id) is None
    assert api.pods() == ()


def test_what_is_so_already_is_no_error(api, cloud):
    pod = api.create(BODY)
    for step in ("stop", "stop", "start", "start", "terminate", "terminate"):
        api.act(pod.id, step)
    assert cloud.living() == []


def test_what_the_pods_state_does_not_allow_is_told(api, cloud):
    pod = api.create(BODY)
    cloud.set("ERROR")
    with pytest.raises(
        RunPodError, match=r"the pod's state does not allow that \(HTTP 409: cannot stop a pod that is ERROR"
    ):
        api.act(pod.id, "stop")


def test_the_key_is_in_a_header_alone(api, cloud):
    api.create(BODY)
    assert KEY not in repr(cloud.requests)


def test_an_error_that_repeats_the_key_is_shown_without_it(api, cloud):
    cloud.faults.append(Fault("GET /v2/pods", 403, detail=f"{KEY} may not"))
    with pytest.raises(RunPodError, match=r"HTTP 403: \*\*\* may not"):
        api.pods()


def test_without_a_key_nobody_is_asked(cloud):
    with pytest.raises(RemoteError, match="needs your key") as caught:
        RunPodApi({"KOHYA_RUNPOD_API": cloud.url}).pods()
    assert "export KOHYA_RUNPOD_API_KEY" in caught.value.hint
    assert cloud.requests == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "does not know this key"), (402, "not enough money"), (403, "may not do that"), (404, "is not there"),
        (409, "state does not allow"), (422, "does not understand the request"), (418, "does not understand"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_and_not_asked_again(api, cloud, status, says):
    cloud.faults.append(Fault("GET /v2/pods", status, times=9))
    with pytest.raises(RunPodError, match=says) as caught:
        api.pods()
    assert (len(cloud.requests), api.waited, caught.value.unknown) == (1, [], False)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        ("You have exceeded your hourly spend limit of $80", "spend limit of the account is reached"),
        ("Your balance is too low to rent this pod", "not enough money"),
        ("There are no longer any instances available", "cannot be had now"),
    ],
)
def test_money_is_told_in_plain_words_whatever_the_status(api, cloud, detail, says):
    cloud.faults.append(Fault("POST /v2/pods", 400, detail=detail))
    with pytest.raises(RunPodError, match=says) as caught:
        api.create(BODY)
    assert detail in caught.value.message


def test_a_body_that_the_contract_does_not_know_is_told_with_each_violation(api, cloud):
    with pytest.raises(RunPodError, match=r"additional properties 'spot' not allowed; \$: missing property 'image'"):
        api.create({"name": "x", "gpu": {"id": "NVIDIA L4"}, "spot": True})


def test_retry_after_is_waited_for_also_by_a_creation(api, cloud):
    cloud.faults.append(Fault("POST /v2/pods", 429, retry_after=12))
    assert api.create(BODY).status == "PROVISIONING"
    assert (api.waited, cloud.made) == ([12.0], 1)


def test_a_day_is_not_waited_for(api, cloud):
    cloud.faults.append(Fault("GET /v2/pods", 429, retry_after=45012, detail="rate limit exceeded for the day window"))
    with pytest.raises(RunPodError, match=r"too many requests .*day window; wait 12 h 30 min") as caught:
        api.pods()
    assert (api.waited, caught.value.unknown) == ([], False)


@pytest.mark.parametrize("kind", [500, 503, "cut", "lost", "page"])
def test_a_question_is_asked_again_and_then_told(api, cloud, kind):
    cloud.faults.append(Fault("GET /v2/pods", kind, times=2))
    assert api.pods() == ()
    assert api.waited == [1.0, 4.0]
    cloud.faults.append(Fault("GET /v2/pods", kind, times=9))
    with pytest.raises(RunPodError, match="RunPod, pods: ") as caught:
        api.pods()
    assert caught.value.unknown


@pytest.mark.parametrize("kind", [500, "cut", "lost", "page"])
def test_a_creation_is_asked_once(api, cloud, kind):
    cloud.faults.append(Fault("POST /v2/pods", kind))
    with pytest.raises(RunPodError) as caught:
        api.create(BODY)
    assert caught.value.unknown
    assert len(cloud.asked("POST /v2/pods")) == 1
    assert api.waited == []


def test_a_stop_whose_answer_was_lost_is_asked_again_and_was_done(api, cloud):
    pod = api.create(BODY)
    cloud.faults.append(Fault(f"POST /v2/pods/{pod.id}/action", "lost"))
    api.act(pod.id, "terminate")
    assert cloud.living() == []


@pytest.mark.parametrize(
    ("pods", "where"),
    [([{"id": "x"}], "name: Field required"), ([7], "valid dictionary"), ({}, "no list pods"), (None, "no list pods")],
)
def test_an_answer_of_another_shape_is_told(api, cloud, monkeypatch, pods, where):
    monkeypatch.setattr(cloud, "answer", lambda *_: (200, {"pods": pods}))
    with pytest.raises(RunPodError, match=f"not what its documentation says .*{where}"):
        api.pods()


def test_nobody_listens(cloud):
    api = Client(cloud, KOHYA_RUNPOD_API="http://127.0.0.1:1/v2")
    with pytest.raises(RunPodError, match=r"no answer came \(Connection refused\)"):
        api.pods()
    assert api.waited == [1.0, 4.0, 10.0]


def test_an_address_of_a_stranger_is_not_asked(cloud):
    assert Client(cloud, KOHYA_RUNPOD_API="http://example.org/v2").url == "https://api.runpod.io/v2"
