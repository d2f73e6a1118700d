"""The app that ``modal run --detach`` takes: one run, in a container that may be taken away and is started again.

A file of its own: it imports nothing but modal, here and in the container. ``job.json`` beside it says what to run
(modal_place.py writes it); in the container the same stands in the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import modal

NAME = "KOHYA_RUNNER_MODAL_JOB"
_FILE = Path(__file__).with_name("job.json")
JOB: dict[str, Any] = json.loads(os.environ[NAME] if NAME in os.environ else _FILE.read_text(encoding="utf-8"))
FOLDER = Path(JOB["environment"]["KOHYA_RUNNER_FOLDER"])
AGAIN = 75  # node.sh asks for another start with it; everything else that it says is final
STAYS = modal.Volume.from_name(JOB["volumes"]["stays"], create_if_missing=True)
SHARED = modal.Volume.from_name(JOB["volumes"]["shared"], create_if_missing=True)


def image() -> modal.Image:
    """The runner, and by its own setup the trainer at the pinned commit; made once, then cached by Modal."""
    base = modal.Image.debian_slim(python_version=JOB["python"]).apt_install(*JOB["packages"])
    for name, path in JOB["folders"].items():
        base = base.add_local_dir(path, f"/opt/kohya-runner/{name}", copy=True, ignore=_not_sent)
    for name, path in JOB["files"].items():
        base = base.add_local_file(path, f"/opt/kohya-runner/{name}", copy=True)
    return base.run_commands(JOB["setup"])


def _not_sent(path: Path) -> bool:
    """Compiled files would make another image each time; what a wheel has in the package is sent from beside it."""
    return path.parts[0] in JOB["shipped"] or "__pycache__" in path.parts


app = modal.App(JOB["name"])


@app.function(
    image=image(),
    gpu=JOB["gpu"],
    timeout=JOB["timeout"],
    volumes={"/stays": STAYS, "/shared": SHARED},
    secrets=[*(modal.Secret.from_name(name) for name in JOB["secrets"]),
             *([modal.Secret.from_local_environ(JOB["variables"])] if JOB["variables"] else [])],
    env={NAME: json.dumps(JOB)},
    retries=modal.Retries(max_retries=JOB["retries"], initial_delay=5.0, backoff_coefficient=1.0),
    single_use_containers=True,
)  # fmt: skip
def train() -> int:
    """The exit code of launch. An exception makes Modal start it again: for what another machine may do better."""
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(ended,), daemon=True)
    keeper.start()
    child = subprocess.Popen(["bash", "-c", JOB["script"]], env={**os.environ, **JOB["environment"]})
    try:
        code = child.wait()
    except BaseException:  # Modal takes the container away: SIGINT, half a minute before its end
        child.terminate()
        child.wait(20)
        raise
    finally:
        ended.set()
        keeper.join()
        _commit()
    if code == AGAIN:
        raise RuntimeError("the run was killed and asks for another start")
    return code


def _keep(ended: threading.Event) -> None:
    """Carry stop requests in, and commit what was written every few minutes: what fails is tried again."""
    waited = 0.0
    while not ended.wait(JOB["tick"]):
        waited += JOB["tick"]
        with contextlib.suppress(Exception):
            _carry()
        if waited >= JOB["every"]:
            waited = 0.0
            with contextlib.suppress(Exception):
                _commit()


def _carry() -> None:
    """A stop request that was put on the volume since: the mount shows only what was there at the start."""
    here = {entry.path.rpartition("/")[2] for entry in STAYS.listdir(FOLDER.name)}
    for stop in here & set(JOB["stops"]):
        (FOLDER / stop).touch()


def _commit() -> None:
    """The volume, with one file of all that a screen reads."""
    run, parts = FOLDER / JOB["run"], [(JOB["log"], FOLDER / JOB["log"])]
    parts += [(str(path.relative_to(run)), path) for path in sorted(run.rglob("*")) if path.suffix not in JOB["large"]]
    with tarfile.open(FOLDER / "view.partial", "w") as view:
        for name, path in parts:
            if path.is_file() and not path.is_symlink():
                view.add(path, name)
    (FOLDER / "view.partial").replace(FOLDER / "view.tar")
    STAYS.commit()


@app.local_entrypoint()
def main() -> None:
    """Start it and leave: with ``--detach`` the app goes on until the run has ended."""
    print(train.spawn().object_id)  # noqa: T201 - modal_place.py reads it
