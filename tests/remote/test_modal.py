"""Modal: the app is built by the real client without a token, its function's body runs here; the rest by a program
of the client's name that answers as it does. Modal itself is never asked."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import sys
import tarfile
from dataclasses import replace

import pytest

from kohya_runner.errors import RemoteError
from kohya_runner.remote import engine, modal_place, sums
from kohya_runner.remote.modal_place import ModalPlace
from kohya_runner.remote.place import Ask, RemoteOffer

PLACE = ModalPlace(name="modal")
OFFER = RemoteOffer("H100", 2, None, spec={"gpu": "H100"})


@pytest.fixture
def load_app(tmp_path, monkeypatch):
    """The app's module, as ``modal run`` loads it; ``values`` replace what would be in the container."""
    modal = pytest.importorskip("modal", reason="modal is not installed: its app was NOT built")
    commits = []
    monkeypatch.setattr(modal.Volume, "commit", lambda _self: commits.append(1))
    monkeypatch.setattr(modal.Volume, "listdir", lambda _self, _folder: [])

    def load(place, job, **values):
        rendered = place.render(job, OFFER)
        folder = tmp_path / "app"
        folder.mkdir()
        for name, text in rendered.items():
            (folder / name).write_text(text, encoding="utf-8")
        if values:
            told = json.loads(rendered["job.json"])
            told["environment"].update(values.pop("environment", {}))
            monkeypatch.setenv("KOHYA_RUNNER_MODAL_JOB", json.dumps({**told, **values}))
        spec = importlib.util.spec_from_file_location("modal_app", folder / "modal_app.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "modal_app", module)
        spec.loader.exec_module(module)
        module.commits = commits
        return module

    return load


def test_the_app_is_built_without_a_token(load_app, make_job, monkeypatch):
    made, modal = {}, pytest.importorskip("modal")
    real = modal.App.function
    monkeypatch.setattr(modal.App, "function", lambda self, **told: made.update(told) or real(self, **told))
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    job = make_job(gpus=2, max_hours=30)
    module = load_app(PLACE, replace(job, secrets=("HF_TOKEN",)))
    assert made["gpu"] == "H100:2"
    assert made["timeout"] == 24 * 3600
    assert set(made["volumes"]) == {"/stays", "/shared"}
    assert made["retries"].max_retries == 2
    assert made["single_use_containers"] is True
    assert len(made["secrets"]) == 1
    assert "hf_xxx" not in json.dumps(made["env"])
    assert isinstance(module.train, modal.Function)
    assert callable(module.main)


def test_the_body_of_the_function_runs_a_stay(load_app, make_job, tmp_path, quick_node):
    job = make_job()
    folder = tmp_path / "stays" / engine.label(job)
    folder.mkdir(parents=True)
    with engine.parcel(job) as file:
        file.rename(folder / engine.PARCEL)
    there = {"KOHYA_RUNNER_FOLDER": str(folder), "KOHYA_RUNNER_SHARED": str(tmp_path / "shared"),
             "KOHYA_RUNNER_ENVIRONMENT": os.environ["KOHYA_RUNNER_ENVIRONMENT"]}  # fmt: skip
    script = engine.node_script(job, f"'{folder}/{engine.PARCEL}'")
    module = load_app(PLACE, job, environment=there, script=script, tick=0.2, every=0.4)
    assert module.train.local() == 0
    assert len(module.commits) > 1
    with tarfile.open(folder / "view.tar") as view:
        names = view.getnames()
    assert {"launch.log", "record.json", "trainer.log"} <= set(names)
    assert not [name for name in names if name.endswith(".safetensors")]


def test_a_stop_request_on_the_volume_reaches_the_run(load_app, make_job, tmp_path, monkeypatch):
    modal = pytest.importorskip("modal")
    job = make_job()
    folder = tmp_path / "stays" / engine.label(job)
    folder.mkdir(parents=True)
    entry = type("Entry", (), {"path": f"{folder.name}/stop-now"})
    module = load_app(PLACE, job, environment={"KOHYA_RUNNER_FOLDER": str(folder)}, tick=0.05,
                      script=f"until [ -e '{folder}/stop-now' ]; do sleep 0.1; done; exit 143")  # fmt: skip
    monkeypatch.setattr(modal.Volume, "listdir", lambda _self, _folder: [entry])
    assert module.train.local() == 143


def test_only_what_another_machine_may_do_better_is_started_again(load_app, make_job, tmp_path):
    job = make_job()
    folder = tmp_path / "stays" / "x"
    folder.mkdir(parents=True)
    module = load_app(PLACE, job, environment={"KOHYA_RUNNER_FOLDER": str(folder)}, script="exit 75")
    with pytest.raises(RuntimeError, match="another start"):
        module.train.local()
    module.JOB["script"] = "exit 4"
    assert module.train.local() == 4


@pytest.mark.parametrize(
    ("settings", "asked", "said"),
    [
        ({}, {"gpu": "H10O"}, "no card H10O; did you mean 'H100'"),
        ({"gpu": "A10"}, {"gpus": 8}, "at most 4 x A10"),
        ({}, {"nodes": 2}, "several machines need a folder"),
        ({}, {"spot": True}, "no spot price"),
        ({}, {"max_price": 2.0}, "places.there.price"),
        ({}, {"max_hours": 300.0}, "at most 264 hours"),
    ],
)
def test_what_the_client_does_not_check_is_checked(settings, asked, said):
    problems = ModalPlace(name="there", **settings).problems(Ask(**asked))
    assert any(said in problem for problem in problems), problems


def test_offers_are_the_cards_that_bear_the_run_and_no_price_is_invented():
    offers = PLACE.offers(Ask(vram_bytes=60 * 10**9))
    assert [offer.gpu for offer in offers][:2] == ["A100-80GB", "H100"]
    assert {offer.price for offer in offers} == {None}
    priced = ModalPlace(name="m", gpu="a100", price=2.1).offers(Ask(gpus=2))
    assert [(offer.gpu, offer.price) for offer in priced] == [("A100-40GB", 4.2)]
    assert not ModalPlace(name="m", gpu="a100", price=2.1).offers(Ask(gpus=2, max_price=4.0))


CLIENT = """#!{python}
# Volumes are folders of {root}; what else was asked is in its file "asked".
import json, os, pathlib, shutil, sys
root, argv = pathlib.Path({root!r}), sys.argv[1:]
with open(root / "asked", "a") as log:
    log.write(json.dumps([argv, os.environ.get("HF_TOKEN", ""), os.environ.get("MODAL_ENVIRONMENT", "")]) + "\\n")
if (root / "refuses").exists():
    print("Token missing. Could not authenticate client.", file=sys.stderr)
    sys.exit(1)
words = [word for word in argv if not word.startswith("-") or word == "-"]
match words:
    case ["volume", "create", *_]:
        pass
    case ["volume", "put", name, here, there]:
        to = root / name / there.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here, to)
    case ["volume", "get", name, there, here]:
        source = root / name / there
        if not source.exists():
            sys.exit("no such file")
        if here == "-":
            sys.stdout.write(source.read_text())
        elif source.is_dir():
            shutil.copytree(source, pathlib.Path(here) / source.name, dirs_exist_ok=True)
        else:
            shutil.copy(source, here)
    case ["volume", "rm", name, there]:
        shutil.rmtree(root / name / there.lstrip("/"))
    case ["run", name, app]:
        (root / "apps").write_text(json.dumps([{{"app_id": "ap-1", "description": name, "state": "ephemeral (detached)",
                                                "tasks": "1"}}]))
        print("Initialized. View run at https://modal.com/apps/ap-1")
    case ["app", "list"]:
        print((root / "apps").read_text() if (root / "apps").exists() else "[]")
    case ["app", "stop", _]:
        (root / "apps").unlink()
    case _:
        sys.exit(f"not known: {{argv}}")
"""


@pytest.fixture
def account(tmp_path, monkeypatch):
    """Modal's client as a program that keeps volumes in a folder."""
    root = tmp_path / "account"
    (root / "bin").mkdir(parents=True)
    program = root / "bin" / "modal"
    program.write_text(CLIENT.format(python=sys.executable, root=str(root)), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(modal_place.importlib.util, "find_spec", lambda _name: None)
    return root


def asked(account):
    return [json.loads(line) for line in (account / "asked").read_text().splitlines()]


def test_a_stay_goes_there_and_comes_back(account, make_job, stay, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    place, saved = ModalPlace(name="modal", environment="mine"), []
    job = replace(make_job(), secrets=("HF_TOKEN",))
    begun = place.begin(job, OFFER, stay, saved.append)
    assert [one.phase for one in saved] == ["sending", "waiting"]
    run = next(row for row in asked(account) if row[0][0] == "run")
    assert run[0][1] == "--detach"
    assert run[1:] == ["hf_" + "x" * 30, "mine"]
    assert "hf_xxx" not in begun.model_dump_json() + json.dumps([row[0] for row in asked(account)])

    place.begin(job, OFFER, begun, saved.append)  # its answer was lost: nothing is started twice
    assert sum(row[0][0] == "run" for row in asked(account)) == 1
    assert place.standing(begun).phase == "running"
    assert [one.what for one in place.billed()] == [f"{engine.label(job)} (ap-1)"]

    there = account / place.stays / engine.label(job)
    (there / "runs" / "tiny" / "001" / "output").mkdir(parents=True)
    (there / "runs" / "tiny" / "001" / "output" / "a.safetensors").write_bytes(b"weights")
    with tarfile.open(there / "view.tar", "w") as view:
        (tmp_path / "record.json").write_text("{}")
        view.add(tmp_path / "record.json", "record.json")
    place.bring(begun, tmp_path / "small", everything=False)
    assert {path.name for path in (tmp_path / "small").iterdir()} == {"record.json"}

    place.stop(begun, now=False)
    assert (there / "stop-after-save").exists()
    sums.write(there / "runs" / "tiny" / "001", there / "sha256sums.json")
    (there / "launch.log").write_text("done")
    (there / "exit-code").write_text("0\n")
    (account / "apps").write_text("[]")
    assert (place.standing(begun).phase, place.standing(begun).code) == ("ended", 0)
    place.bring(begun, tmp_path / "all", everything=True)
    assert not list(sums.wrong(tmp_path / "all"))
    place.release(begun, verified=False)
    assert there.exists()
    assert place.release(begun, verified=True).paid_until
    assert not there.exists()


def test_an_app_that_is_gone_without_a_result_is_lost(account, make_job, stay):
    begun = PLACE.begin(make_job(), OFFER, stay, lambda _stay: None)
    (account / "apps").write_text("[]")
    assert PLACE.standing(begun).phase == "lost"


def test_the_clients_words_and_what_to_do_are_told(account, make_job, stay):
    (account / "refuses").touch()
    with pytest.raises(RemoteError, match="Token missing") as told:
        PLACE.begin(make_job(), OFFER, stay, lambda _stay: None)
    assert told.value.hint == "is there a token? modal setup"
