"""Logs as other programs hand them on: the same failure is found behind each of their prefixes."""

from __future__ import annotations

import json

import pytest
from thread_logs import LOGS, flat

from kohya_runner.diagnosis.diagnose import diagnose
from kohya_runner.diagnosis.lines import parse

NAMES = (
    "betas with a space kohya_ss#2343",
    "python.h sd-scripts#2239",
    "half installed kohya_ss#1683",
    "refiner kohya_ss#2526",
    "bash says killed",
    "quota in safetensors",
    "accelerate fluxgym#318",
    "access violation kohya_ss#2556",
)


def each(prefix):
    return lambda text: "".join(f"{prefix}{line}\n" for line in text.splitlines())


def docker_json(text):
    return "".join(
        json.dumps({"log": line + "\n", "stream": "stderr", "time": "t"}) + "\n" for line in text.splitlines()
    )


WAYS = {
    "fluxgym": flat,
    "docker compose": each("trainer-1  | "),
    "docker compose, a time": each("trainer-1  | 2026-11-30T11:40:42.123456789Z "),
    "docker's json": docker_json,
    "kubectl": each("2026-11-30T11:40:42.123456789Z "),
    "kubectl --prefix": each("[pod/train-0/trainer] "),
    "containerd": each("2026-11-30T11:40:42.123456789Z stderr F "),
    "journald": each("Nov 30 11:40:42 pod-7 train.sh[4711]: "),
    "a clock": each("[11:40:42] "),
    "date and level": each("2026-11-30 11:40:42,123 - INFO - "),
    "a quoted mail": each("> "),
    "a gui of musubi-tuner": each("Training STDERR: "),
    "srun --label": each("0: "),
    "a wrapper that nobody knows": each("[Some Node] TRAINER: "),
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "colours": each("\x1b[32m"),
    "a rank": each("[rank0]: "),
    "carriage returns": lambda text: text.replace("\n", "\n 25%|##   | 1/4 [00:01<00:03,  1.00s/it]\r"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_the_failure_is_found_behind_the_prefix(way, name):
    code, log = LOGS[name]
    found = diagnose(parse(WAYS[way](log).encode()))
    assert [cause.code for cause in found.causes][:1] == [code]


@pytest.mark.parametrize("code", ["utf-16-le", "utf-16-be"])
def test_what_powershell_redirected_is_read(code):
    expected, log = LOGS["refiner kohya_ss#2526"]
    found = diagnose(parse(("\ufeff" + log).encode(code)))
    assert [cause.code for cause in found.causes] == [expected]


def test_the_columns_of_rich_are_no_part_of_the_text():
    text = (
        "2026-11-30 11:40:42 INFO     loading model                                       train_util.py:5245\n"
        "                    ERROR    No data found. Please verify arguments             train_network.py:577\n"
    )
    assert diagnose(parse(text.encode())).causes[0].code == "no-data"
