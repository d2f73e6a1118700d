from __future__ import annotations

import pytest

from kohya_runner.machine.host import available, oom_kills, total

GIB = 1 << 30


def put(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return root


MACHINE = {"proc/meminfo": "MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable:   33554432 kB\n"}
V2 = {
    "proc/self/cgroup": "0::/pod\n",
    "sys/fs/cgroup/pod/memory.max": f"{8 * GIB}\n",
    "sys/fs/cgroup/pod/memory.current": f"{7 * GIB}\n",
    "sys/fs/cgroup/pod/memory.stat": f"anon 5\ninactive_file {GIB}\n",
    "sys/fs/cgroup/pod/memory.events": "low 0\noom 3\noom_kill 2\n",
}
V1 = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB}\n",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
}
NESTED = {
    "proc/self/cgroup": "4:cpu,memory:/pods/mine\n3:cpuset:/\n0::/\n",
    **{
        name.replace("memory/", "memory/pods/mine/"): text.replace("oom_kill 5", "oom_kill 7")
        for name, text in V1.items()
    },
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill 0\n",
}
UNLIMITED = {**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n"}


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        (MACHINE, (32 * GIB, 64 * GIB)),
        ({**MACHINE, **V2}, (2 * GIB, 8 * GIB)),
        ({**MACHINE, **V1}, (GIB, 4 * GIB)),
        ({**MACHINE, **NESTED}, (GIB, 4 * GIB)),
        ({**MACHINE, **UNLIMITED}, (32 * GIB, 64 * GIB)),
        ({**MACHINE, **V2, "sys/fs/cgroup/pod/memory.max": "max\n"}, (32 * GIB, 64 * GIB)),
        ({}, None),
    ],
    ids=["machine", "version 2", "version 1", "a group of version 1", "unlimited 1", "unlimited 2", "nothing"],
)
def test_the_tighter_of_machine_and_container_counts(tmp_path, files, memory):
    assert available(put(tmp_path, files)) == memory
    assert total(tmp_path) == (memory[1] if memory else None)


@pytest.mark.parametrize(
    ("files", "kills"),
    [(V2, 2), (V1, 5), (NESTED, 7), ({"proc/vmstat": "nr_free 3\noom_kill 7\n"}, 7), ({}, None)],
    ids=["version 2", "version 1", "a group of version 1", "machine", "nothing"],
)
def test_the_kernels_count_of_kills(tmp_path, files, kills):
    assert oom_kills(put(tmp_path, files)) == kills


def test_this_machine_says_something():
    left, total = available()
    assert 0 < left <= total
