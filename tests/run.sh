#!/usr/bin/env bash
# All set-up, then everything that checks this project: ruff, mypy, shellcheck, the unit tests, the engine tests.
#
#   bash tests/run.sh                     everything
#   bash tests/run.sh tests/recipe -x     arguments go to pytest
#   KOHYA_RUNNER_TESTS=unit bash tests/run.sh     without the engine tests, and without looking for a trainer
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
export HOME="${HOME:-/root}"
cd -- "$root"
# shellcheck source-path=SCRIPTDIR source=../runpod/runner_env.sh
. runpod/runner_env.sh

environment="$(runner_env dev "$root" --group dev)" || exit $?
bin="$environment/bin"

broken=()
check() {
  say "$*"
  "$@" || broken+=("${1##*/} ${2:-}")
}
check "$bin/ruff" check --quiet --output-format concise .
check "$bin/ruff" format --quiet --check .
check "$bin/mypy" kohya_runner
if command -v shellcheck >/dev/null; then
  check shellcheck --external-sources runpod/*.sh tests/run.sh .ci/run
else
  say "shellcheck is not installed: the shell scripts were not checked"
fi

# The engine tests need the real trainer: the configured one, or one that setup can make.
reason=""
if [ "${KOHYA_RUNNER_TESTS:-}" = unit ]; then
  reason="KOHYA_RUNNER_TESTS=unit"
elif "$bin/kohya-runner" setup; then
  trainer="$("$bin/python" - <<'PYTHON'
import os
from kohya_runner.settings import read_settings
from kohya_runner.install.setup import find_trainer

checkout, python = find_trainer(os.environ, read_settings(os.environ))
print(checkout.root if checkout else "", python.path if python else "", sep="\n")
PYTHON
  )"
  KOHYA_RUNNER_SD_SCRIPTS="${trainer%%$'\n'*}" KOHYA_RUNNER_PYTHON="${trainer##*$'\n'}"
  export KOHYA_RUNNER_SD_SCRIPTS KOHYA_RUNNER_PYTHON
  # The other engines are tested where they are there; setup does not make them by itself.
  while IFS='=' read -r name value; do
    [ -z "$value" ] || export "$name=$value"
  done < <("$bin/python" - <<'PYTHON'
import os
from kohya_runner.settings import read_settings
from kohya_runner.engine_info import ENGINES
from kohya_runner.install.setup import find_trainer

for engine in (engine for engine in ENGINES.values() if not engine.default):
    checkout, python = find_trainer(os.environ, read_settings(os.environ), engine=engine)
    print(f"{engine.variable}={checkout.root if checkout else ''}")
    print(f"{engine.python_variable}={python.path if python else ''}")
PYTHON
  )
else
  reason="no trainer here, and none could be set up (see above)"
fi

# Unit tests first, engine tests last, unless the arguments say which.
paths=()
named=""
for argument in "$@"; do
  [ ! -e "${argument%%::*}" ] || named=yes
done
if [ -z "$named" ]; then
  for path in tests/test_*.py tests/*/; do
    case "$path" in tests/engine/ | tests/__pycache__/) ;; *) [ ! -e "$path" ] || paths+=("$path") ;; esac
  done
  [ -n "$reason" ] || paths+=(tests/engine/)
fi

# Everything runs two files at a time, each trainer on one core; named tests run as pytest itself would.
if [ -z "$named" ]; then
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
  paths=(--numprocesses "${KOHYA_RUNNER_TEST_PROCESSES:-2}" --dist loadfile "${paths[@]}")
fi

code=0
if [ -n "$reason" ]; then
  printf '\n%s\n\n' "ENGINE TESTS SKIPPED: $reason" >&2
  "$bin/python" -m pytest -m "not engine" "${paths[@]+"${paths[@]}"}" "$@" || code=$?
else
  "$bin/python" -m pytest "${paths[@]+"${paths[@]}"}" "$@" || code=$?
fi
if [ ${#broken[@]} -gt 0 ]; then
  printf 'NOT CLEAN: %s\n' "${broken[@]}" >&2
  [ "$code" -ne 0 ] || code=1
fi
exit "$code"
