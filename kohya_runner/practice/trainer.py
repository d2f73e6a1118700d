"""The practice trainer: ``python -m kohya_runner.practice.trainer SCRIPT <the very same arguments>``.

It reads the same command line and folders as the script, prints its lines, writes files under its names, and trains
nothing. It is for trying what is around a trainer; the files say so, and so does every screen.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines.diffusers import DIFFUSERS
from kohya_runner.engines.musubi import MUSUBI_TUNER
from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import info_of, options_for
from kohya_runner.errors import TrainerError
from kohya_runner.options.script_options import argparse_parser
from kohya_runner.practice import diffusers, loop, musubi, sd_scripts
from kohya_runner.practice import faults as practice_faults
from kohya_runner.practice.loop import BANNER, say

if TYPE_CHECKING:
    import argparse

    Prepare = Callable[[argparse.Namespace, str, practice_faults.Faults], loop.StandIn | None]

STAND_INS: Mapping[str, Prepare] = {
    SD_SCRIPTS.name: sd_scripts.prepare,
    MUSUBI_TUNER.name: musubi.prepare,
    DIFFUSERS.name: diffusers.prepare,
}
"""By engine: everything up to the first step. None where the script has nothing to train."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Practise one script; the exit code is the one that the script would end with."""
    if not argv:
        raise TrainerError("name a train script, then its arguments")
    script = Path(argv[0]).name
    args = argparse_parser(options_for(script, None)).parse_args(list(argv[1:]))
    faults = practice_faults.read(environ)
    say(BANNER)
    trainer = STAND_INS[info_of(script).name](args, script, faults)
    if trainer is None:
        return 0
    time.sleep(faults.seconds.get("silent", 0.0))
    trainer.announce()
    pace = float(environ.get(practice_faults.STEP_SECONDS, practice_faults.DEFAULT_STEP_SECONDS))
    loop.run(trainer, faults, pace=pace)
    say(BANNER)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], os.environ))
    except loop.SettingsError as fault:
        sys.stderr.write(f"AssertionError: {fault}\n")
        sys.exit(1)
    except (TrainerError, practice_faults.FaultSyntaxError) as fault:
        sys.exit(f"practice: {fault}")
