"""Prints what the engine tests are told of the trainers: VARIABLE=path, a line each, empty where there is none."""

from __future__ import annotations

import os
import sys

from kohya_runner.engines.table import INFOS, user_settings
from kohya_runner.install.checkout import find_trainer

for engine in INFOS.values():
    checkout, python = find_trainer(os.environ, user_settings(os.environ), engine=engine)
    sys.stdout.write(f"{engine.variable}={checkout.root if checkout else ''}\n")
    sys.stdout.write(f"{engine.python_variable}={python.path if python else ''}\n")
