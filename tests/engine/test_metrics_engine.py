"""The event files of the real torch and TensorBoard, and the metrics of a real run."""

from __future__ import annotations

import subprocess

import pytest

from kohya_runner.run.event_files import EventFile, Scalar, scalar_record, version_record

pytestmark = pytest.mark.engine


def test_torch_and_tensorboard_agree(odd_path, trainer_python):
    """Written by torch, read by us; written by us, read by TensorBoard."""
    path, folder = odd_path / "events.out.tfevents.1.pod", odd_path / "torch"
    code = (
        "import sys\nfrom torch.utils.tensorboard import SummaryWriter\n"
        "w = SummaryWriter(sys.argv[1])\n"
        "for n in range(5): w.add_scalar('lr/unet', 0.5 / 2**n, n + 1)\n"
        "w.add_text('note', 'x' * 5000); w.close()\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "a = EventAccumulator(sys.argv[2]); a.Reload(); print([(e.step, e.value) for e in a.Scalars('lr/unet')])\n"
    )
    path.write_bytes(version_record(1.0) + scalar_record(Scalar(1.5, 3, "lr/unet", 0.0001)))
    command = (trainer_python, "-c", code, str(folder), str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (written,) = folder.iterdir()
    assert [(s.step, s.tag, s.value) for s in EventFile(written).read()] == [
        (n + 1, "lr/unet", 0.5 / 2**n) for n in range(5)
    ]
    assert done.stdout.strip().startswith("[(3, 9.99")
