from __future__ import annotations

import pytest

from kohya_runner.text import child_environment

SECRETS = {
    "RUNPOD_API_KEY": "rpa_1", "RUNPOD_POD_ID": "p", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s",
    "KOHYA_NOTIFY_URL": "https://hooks.slack.com/x", "GITHUB_TOKEN": "ghp", "OPENAI_API_KEY": "sk", "HF_TOKEN": "hf_1",
    "WANDB_API_KEY": "w", "HUGGING_FACE_HUB_TOKEN": "hf_2", "PIP_INDEX_URL": "https://u:p@x", "SSH_AUTH_SOCK": "/s",
    "MY_OWN_THING": "x", "LD_SECRET": "x", "HF_ENDPOINT": "https://me:word@mirror",
}  # fmt: skip
NEEDED = {
    "PATH": "/bin", "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C", "LD_LIBRARY_PATH": "/cuda", "CUDA_HOME": "/cuda",
    "CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "all", "NCCL_P2P_DISABLE": "1", "TORCH_HOME": "/t",
    "PYTORCH_CUDA_ALLOC_CONF": "x", "HF_HOME": "/h", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "4", "TMPDIR": "/t",
    "KOHYA_RUNNER_RUN": "r", "https_proxy": "http://me:word@proxy", "TOKENIZERS_PARALLELISM": "false",
    "PYTHONPATH": "/p",
}  # fmt: skip


def test_a_child_gets_what_training_needs_and_no_secret():
    assert child_environment(SECRETS | NEEDED) == NEEDED


@pytest.mark.parametrize(
    ("use", "more"),
    [
        pytest.param({"hub": True}, {"HF_TOKEN"}, id="hub"),
        pytest.param({"wandb": True}, {"WANDB_API_KEY"}, id="wandb"),
        pytest.param({"install": True}, {"PIP_INDEX_URL", "SSH_AUTH_SOCK"}, id="pip"),
    ],
)
def test_a_secret_goes_where_it_is_used(use, more):
    assert child_environment(SECRETS | NEEDED, **use).keys() - NEEDED.keys() == more
