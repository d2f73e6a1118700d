"""The pod of a stay: made once and found again by its name, reached by ssh, watched, ended and told in money."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kohya_runner.errors import RemoteError
from kohya_runner.machine.runpod_api import PodStep, RentedPod, RunPodApi, RunPodError, words
from kohya_runner.remote.place import Stay
from kohya_runner.remote.ssh import SshHost
from kohya_runner.settings import settings_file

LOOK = 5.0  # seconds between two looks at a pod that is on its way
LISTED = (0.0, 3.0, 10.0)
"""Seconds before each look for a pod that may have been made: nobody says how soon it is listed."""
WATCH = "~/.kohya-runner-end-pod"
FOLDERS = ("stays", "runner", "models")
"""A process on the pod that names one of them is work, and keeps the pod."""
_DAYS = 365 / 12


def found(api: RunPodApi, name: str) -> RentedPod | None:
    """The oldest pod of this name, looked for more than once."""
    for wait in LISTED:
        api.sleep(wait)
        mine = [pod for pod in api.pods() if pod.name == name]
        if mine:
            return min(mine, key=lambda pod: pod.created)
    return None


def created(api: RunPodApi, body: Mapping[str, object], tries: int = 3) -> RentedPod:
    """A pod. Where the answer was lost it is looked for by its name before another one is asked for."""
    try:
        return api.create(body)
    except RunPodError as fault:
        pod = found(api, str(body["name"])) if fault.unknown else None
        if pod is not None:
            return pod
        if not fault.unknown or tries <= 1:
            raise
    return created(api, body, tries - 1)


def reached(
    api: RunPodApi, stay: Stay, until: float, say: Callable[[str], None] = lambda _: None
) -> tuple[RentedPod | None, SshHost | None, str]:
    """The pod and its ssh once it answers; else why it does not. ``say`` gets a line for each state on the way."""
    while True:
        pod = api.pod(stay.ticket["pod"])
        if pod is None:
            return None, None, "is gone: it was terminated"
        say(f"pod {pod.id} is {pod.status.lower()}, {pod.cost:.2f} dollars an hour")
        if pod.status == "RUNNING" and pod.direct is not None:
            host = host_of(stay, pod)
            with contextlib.suppress(RemoteError):
                host.check("true", tries=1)
                return pod, host, ""
        if pod.status in ("EXITED", "ERROR") or time.time() >= until:
            late = "" if pod.status in ("EXITED", "ERROR") else " in time, or its ssh does not answer"
            return pod, None, f"did not come{late} (its status is {pod.status})"
        api.sleep(LOOK)


def host_of(stay: Stay, pod: RentedPod) -> SshHost:
    """Its sshd. Each pod has a file of known hosts of its own: its address is given to another pod later."""
    if pod.direct is None:
        raise RemoteError(f"pod {pod.id} has no ssh address (its status is {pod.status})", hint="try again in a minute")
    at, known = pod.direct, _known_hosts(pod.id)
    known.parent.mkdir(parents=True, exist_ok=True)
    return SshHost(f"{at.username}@{at.host}", at.port, stay.ticket["key"], known)


def _known_hosts(pod_id: str) -> Path:
    return settings_file(os.environ).with_name("pods") / f"{pod_id}.known_hosts"


def woken(api: RunPodApi, pod_id: str) -> None:
    """Start a stopped pod; it comes back with other ssh keys."""
    _known_hosts(pod_id).unlink(missing_ok=True)
    api.act(pod_id, "start")


def watch(host: SshHost, stay: Stay, root: str, idle: float) -> None:
    """From here on the pod stops itself, whatever becomes of this machine (end_pod.sh); and it has rsync."""
    left = "-" if stay.max_hours is None else str(round(seconds_left(stay)))
    folders = shlex.quote("\n".join(f"{root}/{name}/" for name in FOLDERS))
    host.check(
        f"umask 077; cat >{WATCH}.sh; command -v rsync >/dev/null || "
        "{ apt-get update -qq && apt-get install -y -qq rsync; } >/dev/null 2>&1; "
        f"END_POD_FOLDERS={folders} setsid -f bash {WATCH}.sh {left} {round(idle)} </dev/null >>{WATCH}.log 2>&1",
        stdin=Path(__file__).with_name("end_pod.sh").read_bytes(),
    )


def alone(api: RunPodApi, stay: Stay) -> None:
    """End what else has its name: a pod of a creation whose answer was lost."""
    for pod in api.pods():
        if pod.name == stay.ticket["name"] and pod.id != stay.ticket["pod"]:
            api.act(pod.id, "terminate")


def seconds_left(stay: Stay) -> float:
    """Of ``--max-hours``, which count from the first paid second."""
    return max(60.0, (stay.max_hours or 0.0) * 3600 - (time.time() - (stay.paid_from or time.time())))


def end(api: RunPodApi, stay: Stay, step: PodStep) -> Stay:
    """Stop or terminate what has this stay's name, and see that it is so; the note says what was and is to pay."""
    named = [pod for pod in api.pods() if pod.name == stay.ticket["name"]]
    # one that was just made may not be listed yet
    own = api.pod(stay.ticket["pod"]) if "pod" in stay.ticket else found(api, stay.ticket["name"])
    rest = []
    for pod in {pod.id: pod for pod in (*named, own) if pod is not None}.values():
        try:
            unpaid = step == "stop" and (pod.status == "EXITED" or (pod.status == "ERROR" and pod.cost == 0))
            left = pod if unpaid else api.act(pod.id, step)
        except RunPodError as fault:
            hint = f"end it by hand: console.runpod.io/pods, or: runpodctl pod delete {pod.id}"
            told = f"pod {pod.id} is STILL BILLED, {pod.cost:.2f} dollars an hour: {fault.message}"
            raise RemoteError(told, hint=hint) from None
        rest += [disk_text(left)] if left else []
        _known_hosts(pod.id).unlink(missing_ok=True)
    stay = stay.changed(paid_until=stay.paid_until or time.time())
    volume, paid = stay.ticket.get("volume"), f"about ${stay.cost(time.time()) or 0.0:.2f} were paid for it"
    more = f"; network volume {volume} is billed whether a pod uses it or not" if volume else ""
    return stay.changed(note=f"{'; '.join(rest) or 'it is terminated'}; {paid}{more}")


def disk_text(pod: RentedPod) -> str:
    """A stopped pod, with what its disk costs a day."""
    day = pod.volume * words()["month"]["stopped"] / _DAYS
    return f"it is stopped; its {pod.volume} GB disk costs about ${day:.2f} a day until: runpodctl pod delete {pod.id}"


def survives(stay: Stay) -> str:
    """What is left of a run whose pod is gone."""
    volume = stay.ticket.get("volume")
    kept = f"what it saved is on network volume {volume}, in {stay.root}: attach it to another pod"
    return kept if volume else "what was not brought here before is gone with its disk"


def ssh_keys(named: str | None) -> tuple[Path, str]:
    """A private key without a passphrase and its public half: of the settings, of the user, or made for this.

    Raises ``RemoteError``: the settings name one that cannot be used.
    """
    made = settings_file(os.environ).with_name("runpod_ed25519")
    own = [Path("~/.ssh").expanduser() / f"id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
    for path in (made, *own) if named is None else (Path(named).expanduser(),):
        if public := _public(path):
            return path, public
    if named is not None:
        hint = f"it must be there and need no passphrase; or leave key out: {made} is made then"
        raise RemoteError(f"the ssh key {named} cannot be used", hint=hint)
    made.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kohya-runner", "-f", made), check=True)
    return made, _public(made) or ""


def _public(private: Path) -> str | None:
    """An empty passphrase is tried: a key that needs one would ask for it in the middle of a run."""
    argv = ("ssh-keygen", "-y", "-P", "", "-f", private)
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        raise RemoteError("ssh-keygen is not installed here", hint="apt-get install openssh-client") from None
    return done.stdout.strip() if private.is_file() and done.returncode == 0 else None
