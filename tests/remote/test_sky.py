"""SkyPilot: tasks by its own keys, a program of its name that answers as version 0.14.1 does, the run block by bash."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants  # noqa: F401 - it reads variables once: before a test sets them
import pytest
from local_hub import TOKEN

from kohya_runner import yamlio
from kohya_runner.errors import RemoteError
from kohya_runner.remote import engine
from kohya_runner.remote.place import Ask, RemoteOffer
from kohya_runner.remote.sky_place import SkyPlace

SCHEMA = json.loads(Path(__file__).with_name("sky_schema.json").read_text(encoding="utf-8"))
OFFER = RemoteOffer("L40S", 1, 0.86, spec={"infra": "runpod"})
KEPT = {"results": "hub"}
PLACES = {
    "a cluster": ({"infra": "aws"}, {}),
    "a managed spot job": ({"infra": "runpod", **KEPT}, {"spot": True, "max_price": 2.0, "max_hours": 5.0}),
    "a cluster that is taken down": ({"infra": "lambda", "image": "", "managed": False, **KEPT}, {}),
    "machines of Kubernetes": (
        {"infra": "k8s", "folder": "/shared", "volumes": {"/shared": "mine"}, **KEPT}, {"nodes": 2}
    ),
}  # fmt: skip
CARDS = {"L40S": [
    {"cloud": cloud, "instance_type": kind, "accelerator_name": "L40S", "accelerator_count": 1.0, "cpu_count": 8.0,
     "device_memory": 48.0, "memory": 64.0, "price": price, "spot_price": spot, "region": "there"}
    for cloud, kind, price, spot in (("AWS", "g6e.xlarge", 1.86, 0.7), ("RunPod", "1x", 0.86, 0.5),
                                     ("RunPod", "1x_2", 0.99, 0.5), ("Lambda", "gpu", 1.1, float("nan")))]}  # fmt: skip
PROGRAM = """#!{python}
import json, os, pathlib, sys
root, argv = pathlib.Path({root!r}), sys.argv[1:]
with open(root / "asked", "a") as log:
    log.write(json.dumps([argv, os.environ.get("HF_TOKEN", "")]) + "\\n")
def told(name):
    path = root / name
    print("a word of sky's own before the answer\\n" + (path.read_text() if path.exists() else "[]"))
match argv:
    case ["gpus", "list", *_]: told("cards")
    case ["status", *_]: told("clusters")
    case ["queue", name, *_]: told("queue")
    case ["jobs", "queue", *_]: told("jobs")
    case ["jobs", "launch", *_] | ["launch", *_]:
        if (root / "refuses").exists():
            sys.exit("sky.exceptions.ResourcesUnavailableError: no L40S anywhere")
        (root / "task.yaml").write_text(pathlib.Path(argv[-1]).read_text())
    case ["down" | "stop" | "start", *_] | ["jobs", "cancel", *_]: pass
    case _: sys.exit(f"not known: {{argv}}")
"""


@pytest.fixture
def sky(tmp_path, monkeypatch):
    """A program of that name; what it answers are files in a folder."""
    root = tmp_path / "sky"
    (root / "bin").mkdir(parents=True)
    program = root / "bin" / "sky"
    program.write_text(PROGRAM.format(python=sys.executable, root=str(root)), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (root / "cards").write_text(json.dumps(CARDS))
    return root


def says(sky, name, *rows):
    """An answer; of keys that the real one has."""
    known = set(SCHEMA[{"clusters": "status", "jobs": "jobs queue", "queue": "queue"}[name]])
    assert all(set(row) <= known for row in rows)
    (sky / name).write_text(json.dumps({"x": rows} if name == "queue" else rows))


def asked(sky):
    return [json.loads(line) for line in (sky / "asked").read_text().splitlines()]


@pytest.fixture
def account(hub, monkeypatch):
    for name, value in (("HF_ENDPOINT", hub.endpoint), ("HF_TOKEN", TOKEN)):
        monkeypatch.setenv(name, value)
    return hub


@pytest.fixture(params=PLACES)
def task(request, make_job, account):
    settings, ask = PLACES[request.param]
    place = SkyPlace(name="sky", **settings)
    return place.task(make_job(**ask), RemoteOffer("L40S", 1, None, spec={"infra": settings["infra"]}))


def test_a_task_has_only_keys_that_sky_knows(task):
    assert set(task) <= set(SCHEMA["task"])
    assert set(task["resources"]) <= set(SCHEMA["resources"])
    assert set(task["resources"].get("job_recovery", ())) <= set(SCHEMA["job_recovery"])
    assert TOKEN not in json.dumps(task)


def test_a_managed_job_is_recovered_where_another_machine_may_do_better_and_not_where_the_recipe_is_wrong(
    make_job, account
):
    settings, ask = PLACES["a managed spot job"]
    place, job = SkyPlace(name="sky", **settings), make_job(**ask)
    resources = place.task(job, OFFER)["resources"]
    assert resources["job_recovery"] == {"max_restarts_on_errors": 0, "recover_on_exit_codes": [75]}
    assert (resources["use_spot"], resources["max_hourly_cost"]) == (True, 2.0)
    node, problems = yamlio.parse(place.render(job, OFFER)["task.yaml"], "task.yaml", Path())
    assert not problems
    assert node.plain() == place.task(job, OFFER)
    command = place.render(job, OFFER)["commands.txt"].split()
    assert command[:5] == ["sky", "jobs", "launch", "-y", "-d"]
    assert command[-3:] == ["--secret", "HF_TOKEN", "task.yaml"]


def test_a_cluster_is_stopped_when_idle_and_taken_down_only_where_results_are_kept_elsewhere(make_job, account):
    job = make_job()
    stopped = SkyPlace(name="sky", infra="aws").render(job, OFFER)["commands.txt"]
    down = SkyPlace(name="sky", infra="aws", managed=False, idle_minutes=5, **KEPT).render(job, OFFER)["commands.txt"]
    assert "-i 10" in stopped
    assert "--down" not in stopped
    assert "-i 5 --down" in down


@pytest.mark.full
@pytest.mark.parametrize("name", PLACES)
def test_the_real_sdk_takes_each_task(name, make_job, account, tmp_path):
    program = shutil.which("sky")
    if program is None:
        pytest.skip("sky is not on the PATH: its SDK did NOT look at the tasks")
    settings, ask = PLACES[name]
    place, job = SkyPlace(name="sky", **settings), make_job(**ask)
    file = tmp_path / "task.yaml"
    with engine.parcel(job):
        file.write_text(place.render(job, None)["task.yaml"], encoding="utf-8")
        code = "import sys, sky; t = sky.Task.from_yaml(sys.argv[1]); print(t.num_nodes, t.run.count('node.sh'))"
        argv = (Path(program).parent / "python", "-c", code, file)
        done = subprocess.run(
            argv, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == [str(job.ask.nodes), "1"]


@pytest.mark.parametrize(
    ("settings", "ask", "said"),
    [
        ({"infra": "runpd"}, {}, "no cloud runpd; did you mean 'runpod'"),
        ({"infra": "runpod", **KEPT, "folder": "/x"}, {"nodes": 2}, "no several machines there"),
        ({"infra": "runpod"}, {}, "only take machines down there"),
        ({"infra": "lambda", **KEPT}, {}, "places.there.image"),
        ({"infra": "aws"}, {"nodes": 2}, "a folder that they share"),
        ({"infra": "aws"}, {"spot": True}, "places.there.results"),
        ({"infra": "aws"}, {"gpu": None}, "needs the name of a card"),
    ],
)
def test_what_sky_does_not_check_is_checked(sky, account, settings, ask, said):
    problems = SkyPlace(name="there", **settings).problems(Ask(**{"gpu": "L40S", **ask}))
    assert [said in problem for problem in problems] == [True], problems


def test_nothing_is_wrong_with_what_can_be_had(sky, account):
    for settings, ask in PLACES.values():
        assert not SkyPlace(name="sky", **settings).problems(Ask(**{"gpu": "L40S", **ask}))


def test_offers_are_the_catalogues_prices_of_clouds_that_can_do_it(sky):
    assert set(CARDS["L40S"][0]) == set(SCHEMA["gpus list"])
    kept, ask = SkyPlace(name="sky", **KEPT), Ask(gpu="L40S")
    assert [(o.where, o.price) for o in kept.offers(ask)] == [("RunPod", 0.86), ("AWS", 1.86)]  # Lambda takes no image
    assert [(o.where, o.price) for o in SkyPlace(name="sky").offers(ask)] == [
        ("AWS", 1.86)
    ]  # nothing on RunPod is kept
    assert [(o.where, o.price) for o in kept.offers(replace(ask, spot=True, nodes=2))] == [("AWS", 1.4)]
    assert not kept.offers(replace(ask, max_price=0.5))
    assert not kept.offers(replace(ask, vram_bytes=80 << 30))
    (sky / "cards").write_text("{}")
    assert [o.price for o in SkyPlace(name="k", infra="k8s", **KEPT).offers(ask)] == [None]


def test_a_managed_job_from_its_start_to_its_end(sky, account, make_job, stay, tmp_path):
    place, saved, job = SkyPlace(name="sky", infra="runpod", **KEPT), [], make_job()
    begun = place.begin(job, OFFER, stay, saved.append)
    assert [one.phase for one in saved] == ["renting", "waiting"]
    assert asked(sky)[-1][1] == TOKEN
    assert (
        TOKEN
        not in begun.model_dump_json() + json.dumps([row[0] for row in asked(sky)]) + (sky / "task.yaml").read_text()
    )
    row = {"job_id": 4, "job_name": engine.label(job), "status": "RECOVERING", "details": None, "failure_reason": None}
    says(sky, "jobs", {**row, "job_id": 3, "status": "FAILED"}, row)
    place.begin(job, OFFER, begun, saved.append)  # its answer was lost: nothing is launched twice
    assert sum(one[0][:2] == ["jobs", "launch"] for one in asked(sky)) == 1
    assert place.standing(begun).phase == "waiting"
    repo = account.repos[begun.ticket["repo"]]
    place.stop(begun, now=True)
    assert "stop-now" in repo.files
    says(sky, "jobs", {**row, "status": "FAILED", "failure_reason": "user code"})
    assert place.standing(begun).phase == "lost"  # nothing says how it ended
    repo.commit({"exit-code": b"143\n", "sha256sums.json": b'{"version": 1, "files": {}}'})
    assert (place.standing(begun).phase, place.standing(begun).code) == ("ended", 143)
    place.bring(begun, tmp_path / "all", everything=True)
    assert (tmp_path / "all" / "sha256sums.json").exists()
    place.release(begun, verified=True)
    assert not account.repos


def test_a_cluster_from_its_start_to_its_end(sky, make_job, stay, monkeypatch):
    place, job = SkyPlace(name="sky", infra="aws"), make_job()
    begun = place.begin(job, OFFER, stay, lambda _stay: None)
    name, up = engine.label(job), {"name": engine.label(job), "status": "UP"}
    assert place.standing(begun).phase == "lost"
    says(sky, "clusters", {**up, "status": "INIT"})
    assert place.standing(begun).phase == "waiting"
    says(sky, "clusters", up, {"name": "sky-jobs-controller-1", "status": "UP"})
    says(sky, "queue", {"job_id": 1, "status": "FAILED"}, {"job_id": 2, "status": "RUNNING"})
    assert (place.standing(begun).phase, place.standing(begun).billed) == ("running", True)
    assert [one.what for one in place.billed()] == [name, "sky-jobs-controller-1"]
    place.release(begun, verified=False)
    place.release(begun, verified=True)
    assert [row[0] for row in asked(sky) if row[0][0] in ("stop", "down")] == [
        ["stop", "-y", name],
        ["down", "-y", name],
    ]


def test_no_machine_is_told_in_skys_words(sky, make_job, stay):
    (sky / "refuses").touch()
    with pytest.raises(RemoteError, match="no L40S anywhere") as told:
        SkyPlace(name="sky", infra="aws").begin(make_job(), OFFER, stay, lambda _stay: None)
    assert "sky status" in told.value.hint


FAKE = """#!{python}
import json, os, sys
names = ("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES", "KOHYA_RUNNER_NODES_WAIT")
with open({log!r} + os.environ["SKYPILOT_NODE_RANK"], "a") as log:
    log.write(json.dumps([sys.argv[1:], [os.environ.get(name) for name in names], os.getcwd()]) + "\\n")
print("{{}}")
"""


def test_the_run_block_starts_one_launch_on_each_of_two_machines(make_job, tmp_path, monkeypatch):
    shared, environment = tmp_path / "shared", tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "kohya-runner").write_text(FAKE.format(python=sys.executable, log=str(tmp_path / "rank")))
    (environment / "bin" / "kohya-runner").chmod(0o755)
    (environment / "bin" / "python").symlink_to(sys.executable)
    place = SkyPlace(name="sky", infra="k8s", folder=str(shared))
    job = replace(make_job(options=("--allow=disk.space",), nodes=2), name="tiny $(touch bad)")
    run, name = place.task(job, None)["run"], engine.label(job)
    with engine.parcel(job) as file:
        sent = tmp_path / "home" / "kohya-runner" / f"{name}.tar"
        sent.parent.mkdir(parents=True)
        file.rename(sent)
    machine = {**os.environ, "HOME": str(tmp_path / "home"), "KOHYA_RUNNER_ENVIRONMENT": str(environment),
               "KOHYA_RUNNER_TICK": "1", "SKYPILOT_NUM_NODES": "2",
               "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1"}  # fmt: skip
    both = [subprocess.Popen(["bash", "-c", run], env={**machine, "SKYPILOT_NODE_RANK": str(rank)}) for rank in (1, 0)]
    assert [one.wait(120) for one in both] == [0, 0]
    rows = {rank: [json.loads(line) for line in (tmp_path / f"rank{rank}").read_text().splitlines()] for rank in (0, 1)}
    launches = {rank: [row for row in rows[rank] if "--once" in row[0]] for rank in rows}
    assert [len(launches[rank]) for rank in (0, 1)] == [1, 1]
    for rank, patience in ((0, None), (1, "3600")):
        argv, said, folder = launches[rank][0]
        assert argv[0] == "launch"
        assert {"--resume", "--allow=disk.space"} <= set(argv)
        assert argv[argv.index("--workspace") + 1] == f"{shared}/stays/{name}" == folder
        assert said == [str(rank), "2", patience]
    assert not list(tmp_path.rglob("bad"))
    assert (shared / "stays" / name / "exit-code").read_text() == "0\n"
