"""Which machine of how many: the variables of each launcher, and what contradicts itself."""

from __future__ import annotations

import pytest

from kohya_runner.machine.rendezvous import ALONE, Rendezvous, first_host, rendezvous

SLURM = {
    "SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_LOCALID": "0",
}  # fmt: skip
SKY = {
    "SKYPILOT_NUM_NODES": "3", "SKYPILOT_NODE_RANK": "2", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2\n10.0.0.3",
    "SKYPILOT_NUM_GPUS_PER_NODE": "8",
}  # fmt: skip
RUNPOD = {
    "NUM_NODES": "2", "NODE_RANK": "0", "PRIMARY_ADDR": "10.65.0.2", "PRIMARY_PORT": "29400", "NUM_TRAINERS": "8",
    "MASTER_ADDR": "10.65.0.2", "MASTER_PORT": "29400", "WORLD_SIZE": "16",
}  # fmt: skip
TORCHRUN = {
    "WORLD_SIZE": "2", "RANK": "1", "GROUP_RANK": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "a", "MASTER_PORT": "29500",
}  # fmt: skip
BY_HAND = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1234"}


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        pytest.param(SLURM, Rendezvous(2, 1, None, "gpu07", 22345, "Slurm"), id="slurm"),
        pytest.param(
            SLURM | {"MASTER_ADDR": "10.1.1.1", "MASTER_PORT": "99", "SLURM_GPUS_ON_NODE": "4"},
            Rendezvous(2, 1, 4, "10.1.1.1", 99, "Slurm"), id="slurm with an address",
        ),
        pytest.param(SKY, Rendezvous(3, 2, 8, "10.0.0.1", 29500, "SkyPilot"), id="sky"),
        pytest.param(RUNPOD, Rendezvous(2, 0, 8, "10.65.0.2", 29400, "RunPod's cluster"), id="runpod"),
        pytest.param(TORCHRUN, Rendezvous(2, 1, None, "a", 29501, "torchrun"), id="torchrun"),
        pytest.param(BY_HAND, Rendezvous(2, 1, None, "a", 1234, "WORLD_SIZE"), id="world size"),
        pytest.param(
            {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "a"}, Rendezvous(2, 0, None, "a", 29500, "NNODES"),
            id="by hand",
        ),
        pytest.param(
            SLURM | {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a"},
            Rendezvous(2, 1, None, "a", 22345, "Slurm"), id="two that agree",
        ),
        pytest.param({}, ALONE, id="nobody"),
        pytest.param(SLURM | {"SLURM_STEP_NUM_NODES": "1", "SLURM_NODEID": "0"}, ALONE, id="a step on one node"),
        pytest.param({"SLURM_JOB_ID": "1", "SLURM_NNODES": "1"}, ALONE, id="a batch script on one node"),
        pytest.param(TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0", "GROUP_RANK": "0"}, ALONE, id="torchrun alone"),
    ],
)  # fmt: skip
def test_a_launchers_variables_say_which_machine_this_is(environ, place):
    assert rendezvous(environ) == (place, ())


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        pytest.param(
            SLURM | {"NNODES": "3", "NODE_RANK": "1", "MASTER_ADDR": "a"}, "Slurm says machine 1 of 2", id="two"
        ),
        pytest.param(SKY | {"SKYPILOT_NODE_RANK": "3"}, "SKYPILOT_NODE_RANK is 3, and there are 3", id="rank"),
        pytest.param(SKY | {"SKYPILOT_NODE_IPS": ""}, "nothing says where machine 0 is", id="address"),
        pytest.param(SKY | {"SKYPILOT_NODE_RANK": ""}, "SKYPILOT_NODE_RANK is ''", id="no rank"),
        pytest.param(RUNPOD | {"NUM_NODES": "two"}, "NUM_NODES is 'two', not a number", id="number"),
        pytest.param(RUNPOD | {"PRIMARY_PORT": "0"}, "is '0', not a port", id="port"),
        pytest.param(SLURM | {"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, "several launches on a machine", id="tasks"),
        pytest.param(TORCHRUN | {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}, "several launches", id="nproc"),
        pytest.param({"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "2"}, "started on one of them alone", id="no srun"),
    ],
)
def test_a_contradiction_is_an_error_and_says_what_to_do(environ, says):
    place, (found,) = rendezvous(environ)
    assert found.code == "device.rendezvous"
    assert says in found.message
    assert found.hint
    assert place.machines == 1 or "says machine" in says


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"), ("n[1-3,5],m7", "n1"), ("node[001-004]", "node001"), ("m7,n[1-2]", "m7"), ("n[7,9]", "n7"),
        ("rack[1-2]n[03-04]", "rack1n03"), ("10.0.0.1\n10.0.0.2", "10.0.0.1"), ("a-b-c2", "a-b-c2"),
    ],
)  # fmt: skip
def test_the_first_host_of_a_list(nodes, first):
    assert first_host(nodes) == first
