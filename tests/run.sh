#!/usr/bin/env bash
# All set-up, then everything that checks this project: ruff, mypy, import-linter, shellcheck, the tests.
#
#   bash tests/run.sh                     the tier `daily`, as continuous integration
#   bash tests/run.sh --tier quick        what needs no trainer and little time, and without looking for one
#   bash tests/run.sh --tier full         every case
#   bash tests/run.sh tests/recipe -x     arguments go to pytest
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
export HOME="${HOME:-/root}"
cd -- "$root"
# shellcheck source-path=SCRIPTDIR source=../runpod/runner_env.sh
. runpod/runner_env.sh

environment="$(runner_env dev "$root" --group dev)" || exit $?
bin="$environment/bin"

tier=daily named="" before=""
for argument in "$@"; do
  case "$argument" in --tier=*) tier="${argument#--tier=}" ;; esac
  if [ "$before" = --tier ]; then tier="$argument"; elif [ -e "${argument%%::*}" ]; then named=yes; fi
  before="$argument"
done

# The checks run beside what makes the trainers ready, and are shown when they are through.
check() {
  say "$*"
  "$@" || printf '%s\n' "${1##*/} ${2:-}" >&3
}
check_all() {
  check "$bin/ruff" check --quiet --output-format concise .
  check "$bin/ruff" format --quiet --check .
  check "$bin/mypy" kohya_runner
  check "$bin/lint-imports" --no-logo
  if command -v shellcheck >/dev/null; then
    check shellcheck --external-sources runpod/*.sh kohya_runner/remote/end_pod.sh tests/run.sh .ci/run
  else
    say "shellcheck is not installed: the shell scripts were not checked"
  fi
}
checks="$(mktemp -d)"
trap 'rm -rf -- "$checks"' EXIT
check_all 3>"$checks/broken" >"$checks/said" 2>&1 &

# Hundreds of tests start the runner, which is a third faster compiled; PYTHONDONTWRITEBYTECODE would not keep that.
"$bin/python" -m compileall -q kohya_runner

# The engine tests need the real trainers: the configured ones, or the default one that setup can make.
if [ "$tier" != quick ] && "$bin/kohya-runner" setup; then
  while IFS='=' read -r name value; do
    [ -z "$value" ] || export "$name=$value"
  done < <("$bin/python" tests/support/trainers.py)
elif [ "$tier" != quick ]; then
  printf '\n%s\n\n' "ENGINE TESTS SKIPPED: no trainer here, and none could be set up (see above)" >&2
  set -- "$@" --ignore-glob 'tests/engine/*'
fi

wait
cat -- "$checks/said" >&2

# Everything runs three files at a time on two cores (a third of the time a test waits), each trainer on one core, and
# what takes longest first, so that no core is idle at the end; named tests run as pytest itself would.
paths=()
if [ -z "$named" ]; then
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
  paths=(--numprocesses "${KOHYA_RUNNER_TEST_PROCESSES:-3}" --dist loadfile --no-loadscope-reorder)
  long=(tests/engine/ tests/run/ tests/install/ tests/finish/ tests/compare/ tests/practice/)
  paths+=("${long[@]}")
  for path in tests/*/ tests/test_*.py; do
    [[ " ${long[*]} " == *" $path "* ]] || paths+=("$path")
  done
fi

code=0
"$bin/python" -m pytest "${paths[@]+"${paths[@]}"}" "$@" || code=$?
if [ -s "$checks/broken" ]; then
  sed 's/^/NOT CLEAN: /' "$checks/broken" >&2
  [ "$code" -ne 0 ] || code=1
fi
exit "$code"
