"""end_pod.sh, which stops the pod it runs on, with stand-ins of RunPod's API and of runpodctl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers import body_of, runpodctl, serving, wait_for

from kohya_runner.remote import runpod_pod

SCRIPT = Path(runpod_pod.__file__).with_name("end_pod.sh")
KEY = "rp_thisIsNobodysKey"
WORKS = 'echo "pod stopped"'
LIES = 'echo "pod pod123 stop failed"; exit 0'


class Pod:
    """This machine as a pod: what RunPod sets, a work folder, and the script as it is started there."""

    def __init__(self, folder, server, ctl, volume=""):
        self.folder, self.work = folder, folder / "stays"
        self.log = runpodctl(folder / "bin", ctl)
        (folder / "rp").write_text(
            f"export RUNPOD_POD_ID=pod123 RUNPOD_API_KEY={KEY} RUNPOD_VOLUME_ID={volume}\n"
            f"export KOHYA_RUNPOD_API={server.url}\n"
        )

    def start(self, seconds="-", idle="600"):
        return subprocess.Popen(
            ("bash", SCRIPT, seconds, idle), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env={"HOME": str(self.folder), "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                 "TMPDIR": str(self.folder),
                 "RP_ENVIRONMENT": str(self.folder / "rp"),
                 "END_POD_FOLDERS": f"/nowhere/\n{self.work}/",
                 "END_POD_LOOK": "0.1", "END_POD_PAUSE": "0.1"},
        )  # fmt: skip

    def ran(self, *arguments):
        process = self.start(*arguments)
        return process.communicate(timeout=180)[0]

    def calls(self):
        return self.log.read_text(encoding="utf-8").splitlines()


def test_after_its_hours_the_pod_is_stopped_by_the_api_with_its_own_key(odd_path):
    with serving(200) as server:
        said = Pod(odd_path, server, WORKS).ran("0", "600")
    (sent,) = server.requests
    assert (sent["path"], body_of(sent)) == ("/v2/pods/pod123/action", {"action": "stop"})
    assert sent["headers"]["Authorization"] == f"Bearer {KEY}"
    assert "0 seconds are over: stopping pod pod123" in said
    assert KEY not in said


def test_a_pod_that_nobody_uses_is_stopped(odd_path):
    with serving(200) as server:
        said = Pod(odd_path, server, WORKS).ran("-", "0")
    assert f"nothing has used /nowhere/, {odd_path}/stays/ for 0 seconds" in said
    assert len(server.requests) == 1


def test_a_process_that_names_the_folder_keeps_it(odd_path):
    with serving(200) as server:
        pod = Pod(odd_path, server, WORKS)
        words = (sys.executable, "-c", "import time; time.sleep(600)", f"{pod.work}/a-001/pack/recipe.yaml")
        training = subprocess.Popen(words)
        watching = pod.start("-", "1")
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                watching.wait(4)
            assert server.requests == []
            training.kill()
            training.wait()
            assert watching.wait(180) == 0
        finally:
            training.kill()
            watching.kill()
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [403, 409, 500])
def test_where_the_api_refuses_the_program_is_asked(odd_path, status):
    with serving(status) as server:
        pod = Pod(odd_path, server, WORKS)
        pod.ran("0")
    assert pod.calls() == [f"pod stop pod123|{KEY}"]


def test_a_program_that_says_that_it_failed_is_not_believed(odd_path):
    ctl = f'[ "$1" = pod ] && {{ {LIES}; }}; {WORKS}'
    with serving(403) as server:
        pod = Pod(odd_path, server, ctl)
        pod.ran("0")
    assert [call.split("|")[0] for call in pod.calls()] == ["pod stop pod123", "stop pod pod123"]


def test_it_is_tried_until_it_works(odd_path):
    with serving(500, 500, 200) as server:
        said = Pod(odd_path, server, LIES).ran("0")
    assert said.count("STILL BILLING: pod pod123") == 2
    assert len(server.requests) == 3


def test_a_pod_on_a_network_volume_that_cannot_be_stopped_is_terminated(odd_path):
    with serving(409, 204) as server:
        pod = Pod(odd_path, server, LIES, volume="vol1")
        pod.ran("0")
    assert [body_of(sent)["action"] for sent in server.requests] == ["stop", "terminate"]


def test_one_of_them_is_enough(odd_path):
    with serving(200) as server:
        pod = Pod(odd_path, server, WORKS)
        first = pod.start("-", "600")
        try:
            wait_for((odd_path / "kohya-runner-end-pod" / "folders").exists)
            assert pod.ran("0") == ""
        finally:
            first.kill()
            first.wait()
    assert server.requests == []


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="NOT TESTED: needs shellcheck")
def test_shellcheck_finds_nothing():
    done = subprocess.run(("shellcheck", "--external-sources", SCRIPT), check=False, capture_output=True, text=True)
    assert done.stdout == ""
