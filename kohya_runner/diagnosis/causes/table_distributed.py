"""Several processes and GPUs: how they start, find each other, and what they cannot do together."""

from __future__ import annotations

from kohya_runner.diagnosis.signature import Do, row, sign

_ONE = "launch: {num_processes: 1}"

DISTRIBUTED = (
    row(
        "p2p-4000",
        r"RTX 4000 series doesn't support faster communication",
        "several RTX 40xx cards are visible, and they cannot talk to each other directly (no P2P, no InfiniBand)",
        "export NCCL_P2P_DISABLE=1 NCCL_IB_DISABLE=1   before the start (kohya-runner's accelerate launch sets them)",
        f"or one GPU: CUDA_VISIBLE_DEVICES=0 and {_ONE}",
        source="cocktailpeanut/fluxgym#283, #41; accelerate state.py:304",
    ),
    row(
        "libuv",
        r"use_libuv was requested but PyTorch was buil[dt] without libuv",
        "torch for Windows has no libuv, and the start of several processes asked for it; one GPU needs no such start",
        f"{_ONE}   (accelerate launch --num_processes=1)",
        "or set USE_LIBUV=0 in the environment before the start (PowerShell: $env:USE_LIBUV=0)",
        source="pytorch/pytorch#148283; bmaltais/kohya_ss#2763; cocktailpeanut/fluxgym#302",
    ),
    row(
        "nccl-missing",
        r"Distributed package doesn't have NCCL|built without NCCL|ProcessGroupNCCL is only supported with GPUs|no GPUs found!|Unsupported backend.{0,30}nccl",
        "this torch has no NCCL (Windows never has), so several processes cannot train together here",
        _ONE,
        source="torch/distributed/distributed_c10d.py",
    ),
    row(
        "gpu-twice",
        (sign(r"NCCL error", also=r"Duplicate GPU detected"), sign(r"Duplicate GPU detected")),
        "two processes were given the same GPU: more processes than GPUs",
        f"{_ONE}, or as many as nvidia-smi -L lists",
        source="huggingface/trl#397; nccl init.cc",
    ),
    row(
        "processes-number",
        r"You need to use at least 2 processes to use `--multi_gpu`|Less than two GPU ids were configured|Invalid `num_processes`|more processes than available",
        "accelerate is set to several GPUs and there is one, or the number of processes does not fit",
        f"{_ONE}; or run: accelerate config",
        source="accelerate commands/launch.py",
    ),
    row(
        "rendezvous",
        r"environment variable (?:MASTER_ADDR|MASTER_PORT|RANK|WORLD_SIZE|LOCAL_RANK) expected, but not set|Default process group has not been initialized"
        r"|client socket has (?:failed|timed out)|The server socket has failed to (?:listen|bind)(?!.{0,200}(?:EADDRINUSE|in use))|makeDeviceForHostname|RendezvousConnectionError"
        r"|store->get\('\d+'\) got error|Socket Timeout|waiting for clients|Rendezvous\w*Error",
        "the processes of a distributed start did not find each other: the start is set to several processes or machines, or the name of "
        "this machine leads nowhere",
        _ONE,
        "or with several: launch: {accelerate: {main_process_ip: 127.0.0.1, main_process_port: 0}}",
        source="torch/distributed/rendezvous.py; torch csrc/distributed/c10d/socket.cpp",
    ),
    row(
        "rank-timeout",
        r"Watchdog caught collective operation timeout|Timed out initializing process group|Some NCCL operations have failed or timed out"
        r"|watchdog thread terminated.{0,80}timeout|Timed out waiting \d+ms for",
        "one GPU's process waited for another longer than it may, often while the first one caches latents",
        Do("args: {ddp_timeout: 120}   minutes", unless="ddp_timeout"),
        "or fill the caches first with one process: launch: {num_processes: 1}",
        source="sd-scripts#971",
    ),
    row(
        "port-taken",
        r"EADDRINUSE|[Aa]ddress already in use|WinError 10048|Only one usage of each socket address",
        "another training on this machine holds the port through which the processes find each other",
        "launch: {accelerate: {main_process_port: 0}}",
        source="accelerate commands/launch.py",
    ),
    row(
        "window-port",
        r"Cannot find empty port in range",
        "another program, or an older window of this one, holds the port of the web page",
        "end the other one, or export GRADIO_SERVER_PORT=7861 before the start",
        source="gradio http_server.py",
    ),
    row(
        "nccl-shm",
        (
            sign(r"NCCL error|nccl\w+Error", also=r"Error while (?:creating|attaching) shared memory segment|/dev/shm/nccl"),
            sign(r"Error while creating shared memory segment .{0,40}nccl"),
        ),
        "NCCL, through which the GPUs talk, has too little shared memory in this container",
        "docker run --shm-size 8g --ipc=host; or export NCCL_SHM_DISABLE=1",
        f"or {_ONE}",
        source="docs.nvidia.com/deeplearning/nccl troubleshooting",
    ),
    row(
        "nccl-system",
        r"ncclSystemError|ncclUnhandledCudaError|unhandled (?:system|cuda) error.{0,60}NCCL|NCCL.{0,200}unhandled (?:system|cuda) error|ncclInternalError|ncclInvalidUsage"
        r"|NCCL WARN .{0,200}(?:fail|No space|error)|ncclRemoteError",
        "NCCL, through which the GPUs talk, could not set up its connection: too little shared memory, no direct path between the cards, "
        "or a network interface that does not work",
        "NCCL_DEBUG=INFO before the start names it; docker run --shm-size 8g --ipc=host; export NCCL_P2P_DISABLE=1 NCCL_IB_DISABLE=1",
        f"or {_ONE}",
        source="docs.nvidia.com/deeplearning/nccl troubleshooting",
    ),
    row(
        "ddp-swap",
        r"DistributedDataParallel's input module must be on the same type of devices|DistributedDataParallel device_ids.{0,120}multi-device",
        "with several processes every part of the model must stay on its GPU: blocks_to_swap and cpu offloading do not go with them",
        f"args: {{blocks_to_swap: 0}}{{now:blocks_to_swap}}, or {_ONE}",
        source="sd-scripts PR#1374; torch nn/parallel/distributed.py",
    ),
    row(
        "ddp-fp8",
        sign(r"not implemented for 'Float8_", frame=r"torch/(?:distributed|nn/parallel)/"),
        "weights in fp8 cannot be spread over several processes",
        f"{_ONE}, or args: {{fp8_base: false}}{{now:fp8_base}}",
        source="sd-scripts#1711",
    ),
    row(
        "ddp-attribute",
        r"'DistributedDataParallel' object has no attribute '(?P<name>\w+)'",
        "this version of the trainer does not work with several processes here: it uses {found:name} of the wrapped model",
        _ONE,
        "or a newer version of the trainer",
        source="sd-scripts#1083, #1272",
    ),
    row(
        "ddp-twice",
        r"Expected to mark a variable ready only once",
        "with several processes a part of the network got its gradient twice in a step, as gradient checkpointing does",
        Do("args: {ddp_static_graph: true, ddp_gradient_as_bucket_view: true}", unless="ddp_static_graph"),
        f"or {_ONE}",
        source="library/train_util.py:4010-4015; torch nn/parallel/distributed.py",
    ),
    row(
        "unused-parameters",
        r"Expected to have finished reduction in the prior iteration",
        "with several GPUs a part of the network got no gradient in a step",
        f"{_ONE}, or train every part of the network: args: {{network_train_unet_only: false}}",
        source="torch nn/parallel/distributed.py",
    ),
    row(
        "deepspeed",
        r"DeepSpeed is not installed|DeepSpeed version must be|No module named 'deepspeed'|MissingCUDAException: CUDA_HOME does not exist|DeepSpeed.{0,80}requires",
        "DeepSpeed was asked for and is missing or cannot be built here (it has no Windows build)",
        "args: {deepspeed: false}{now:deepspeed}   and accelerate config without DeepSpeed",
        source="accelerate accelerator.py; library/deepspeed_utils.py:79",
    ),
    row(
        "accelerate-file",
        r"(?:ClusterConfig|SageMakerConfig)\.?(?:__init__)?\(?\)? got an unexpected keyword argument|The config file at .{1,200} had unknown keys|default_config\.yaml.{0,80}(?:error|invalid)"
        r"|ClusterConfig.{0,30}unexpected keyword",
        "accelerate's own settings file was written by another version of accelerate",
        "remove ~/.cache/huggingface/accelerate/default_config.yaml, or run: accelerate config",
        source="bmaltais/kohya_ss#505, #942, #965",
    ),
)  # fmt: skip
