from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from practice_runs import wait_until

from kohya_runner.errors import RemoteError
from kohya_runner.remote.ssh import SshHost

SENDER = """import sys; from pathlib import Path; from kohya_runner.remote.ssh import SshHost
host = SshHost(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), ())
host.send(Path(sys.argv[5]), sys.argv[6], '--bwlimit=2000')"""


def test_a_command_says_what_it_printed_and_its_own_code(sshd):
    answer = sshd.host.run("""echo "it's $((6 * 7))"; echo 'a "b"' >&2; exit 3""")
    assert (answer.code, answer.out, answer.err) == (3, "it's 42\n", 'a "b"\n')


def test_stdin_is_for_what_no_argv_may_hold(sshd):
    assert sshd.host.check("cat", stdin=b"HF_TOKEN='x y'\n") == "HF_TOKEN='x y'\n"


def test_a_command_that_must_succeed_says_its_last_words(sshd):
    with pytest.raises(RemoteError, match="no room"):
        sshd.host.check("echo no room >&2; exit 1")


def test_files_travel_with_links_followed_and_odd_names(sshd, odd_path):
    (odd_path / "pack" / "in ner").mkdir(parents=True)
    (odd_path / "far.bin").write_bytes(b"weights")
    (odd_path / "pack" / "in ner" / "model's.bin").symlink_to(odd_path / "far.bin")
    sshd.host.send(odd_path / "pack", f"{odd_path}/there")
    sent = odd_path / "there" / "in ner" / "model's.bin"
    assert sent.read_bytes() == b"weights"
    assert not sent.is_symlink()
    sshd.host.bring((f"{odd_path}/there/", f"{odd_path}/never"), odd_path / "back", "--exclude=*.txt")
    assert (odd_path / "back" / "in ner" / "model's.bin").read_bytes() == b"weights"


def test_a_link_on_the_other_machine_names_no_file_of_this_one(sshd, odd_path):
    (odd_path / "there").mkdir()
    (odd_path / "there" / "secret").symlink_to("/etc/hostname")
    sshd.host.bring((f"{odd_path}/there/", f"{odd_path}/never"), odd_path / "back")
    assert list((odd_path / "back").iterdir()) == []


@pytest.mark.parametrize("how", ["cut", "freeze"])
def test_a_connection_that_is_cut_or_says_nothing_any_more_is_tried_again(sshd, odd_path, monkeypatch, how):
    monkeypatch.setattr("kohya_runner.remote.ssh.SILENCE", 1)
    counter = odd_path / "tries"
    script = f'echo x >> "{counter}"; [ $(wc -l < "{counter}") -ge 2 ] || sleep 60; echo done'
    answers: list[str] = []
    asked = threading.Thread(target=lambda: answers.append(sshd.host.run(script).out))
    asked.start()
    wait_until(counter.exists)
    getattr(sshd, how)()
    asked.join(60)
    assert answers == ["done\n"]


def test_a_transfer_that_was_cut_goes_on_where_it_was(sshd, odd_path):
    (odd_path / "pack").mkdir()
    (odd_path / "pack" / "big.bin").write_bytes(os.urandom(8 << 20))
    host = replace(sshd.host, waits=())
    sender = subprocess.Popen((sys.executable, "-c", SENDER, host.address, str(host.port), host.key, host.known_hosts,
                               odd_path / "pack", f"{odd_path}/there"), stderr=subprocess.DEVNULL)  # fmt: skip
    wait_until(lambda: any(file.stat().st_size > 1 << 20 for file in (odd_path / "there").glob(".*big.bin*")))
    sshd.cut()
    assert sender.wait(60) != 0
    kept = odd_path / "there" / ".rsync-partial" / "big.bin"
    wait_until(kept.exists)
    assert kept.stat().st_size > 1 << 20
    sshd.host.send(odd_path / "pack", f"{odd_path}/there")
    assert (odd_path / "there" / "big.bin").read_bytes() == (odd_path / "pack" / "big.bin").read_bytes()
    assert not kept.exists()


def test_a_host_that_does_not_answer_is_told_with_the_command_to_try(sshd):
    host = sshd.host
    sshd.stop()
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        host.run("true")
    assert f"ssh -p {host.port}" in caught.value.hint


def test_a_wrong_key_is_refused_at_once_and_nobody_is_asked(sshd, odd_path):
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", odd_path / "other"), check=True)
    with pytest.raises(RemoteError, match="Permission denied"):
        replace(sshd.host, key=str(odd_path / "other"), waits=(1000.0,)).run("true")


def test_a_known_host_with_another_key_is_refused(sshd):
    sshd.host.run("true")
    known = sshd.host.known_hosts
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", sshd.folder / "stranger"), check=True)
    stranger = (sshd.folder / "stranger.pub").read_text().split()[:2]
    known.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(stranger)}\n")
    with pytest.raises(RemoteError, match="cannot be reached"):
        replace(sshd.host, waits=(1000.0,)).run("true")


def test_a_session_that_hangs_is_given_up(sshd):
    with pytest.raises(RemoteError, match="no answer within"):
        replace(sshd.host, waits=()).run("sleep 20", timeout=0.3)


def test_the_users_own_ssh_settings_decide_what_is_not_said():
    assert SshHost("pod").ssh[-1] == "ServerAliveCountMax=3"
    assert SshHost("pod", 2200, "~/.ssh/k").shown("bash -l") == "ssh -p 2200 -i '~/.ssh/k' pod 'bash -l'"
