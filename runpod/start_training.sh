#!/usr/bin/env bash
# Everything a fresh machine needs, then the training. Again and again the same: what is there already is used.
#
#   bash runpod/start_training.sh [RECIPE] [options of: kohya-runner launch]
#   bash runpod/start_training.sh recipes/quickstart.yaml           proof that it all works: no GPU, no download of models
#   bash runpod/start_training.sh                                   recipes/bespoke_baby_sdxl.yaml
#   KOHYA_RUNNER_ARCHIVE=/workspace/environments bash ...           keep the trainer's environment on the volume, for the next pod
#   bash runpod/start_training.sh RECIPE --resume                   for machines that may be taken away: repeat it on each start
#
# Exit codes are kohya-runner's own (docs/exit-codes.md). A run that is complete is not started again, and that is a success.
set -euo pipefail

root="$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)"
export HOME="${HOME:-/root}"
# shellcheck source-path=SCRIPTDIR source=runner_env.sh
. "$root/runpod/runner_env.sh"

# RunPod's own variables are in the environment of its first process, not in every SSH session.
if [ -r "${RP_ENVIRONMENT:-/etc/rp_environment}" ]; then
  set +eu
  # shellcheck source=/dev/null
  . "${RP_ENVIRONMENT:-/etc/rp_environment}"
  set -eu
fi
unset PIP_BREAK_SYSTEM_PACKAGES

# From here on the machine is paid for: the run's record says what each minute went to.
printf -v KOHYA_RUNNER_BEGAN '%(%s)T' -1
export KOHYA_RUNNER_BEGAN

recipe="$root/recipes/bespoke_baby_sdxl.yaml"
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  recipe="$1"
  shift
  if [ ! -f "$recipe" ] && [ -f "$root/$recipe" ]; then recipe="$root/$recipe"; fi
fi
if [ ! -f "$recipe" ]; then
  say "$recipe: no such recipe; there are: $(cd -- "$root/recipes" && printf 'recipes/%s ' *.yaml)"
  exit 2
fi

# The options that set-up and launch share.
shared=(--recipe "$recipe")
for ((i = 1; i <= $#; i++)); do
  case "${!i}" in
    --sd-scripts=* | --set=* | --trust=*) shared+=("${!i}") ;;
    --sd-scripts | --set | --trust) next=$((i + 1)) && shared+=("${!i}=${!next:-}") ;;
  esac
done

runner="${KOHYA_RUNNER_COMMAND:-}" # a kohya-runner that is installed already
if [ -n "$runner" ] && ! command -v -- "$runner" >/dev/null; then
  say "KOHYA_RUNNER_COMMAND names $runner, which cannot be run"
  exit 2
fi
if [ -z "$runner" ]; then
  environment="$(runner_env runner "$root")" || exit $?
  runner="$environment/bin/kohya-runner"
  link_command "$environment"
fi

for option in "$@"; do
  case "$option" in
    -h | --help) exec "$runner" launch --help ;;
    --dry-run) exec "$runner" launch "$recipe" "$@" ;;
  esac
done

# A wrong recipe, wrong options or wrong pictures are told before minutes of set-up.
code=0
shown="$("$runner" launch "$recipe" --practice --dry-run "$@" 2>&1)" || code=$?
if [ "$code" -ne 0 ]; then
  printf '%s\n' "$shown" >&2
  exit "$code"
fi

# The models and the dataset come while the trainer is installed; what one of the two finds wrong ends the other at once.
# Each has a process group of its own, so that Ctrl-C and an end reach pip and all that it started.
notes="$(mktemp -d)"
set -m
"$runner" setup --json "${shared[@]}" </dev/null >"$notes/answer" &
installing=$!
"$runner" launch "$recipe" --prepare "$@" </dev/null >"$notes/prepared" 2>&1 &
preparing=$!
set +m
end_all() {
  kill -TERM -- "-$installing" "-$preparing" 2>/dev/null || true
  wait "$installing" "$preparing" 2>/dev/null || true
  if [ -n "${showing:-}" ]; then kill "$showing" 2>/dev/null || true; fi
  rm -rf -- "$notes"
}
trap 'end_all; exit 130' INT
trap 'end_all; exit 143' TERM HUP

# Whichever ends first; the pids of both are known, so nobody else's end is taken for theirs.
ended() { ! kill -0 "$1" 2>/dev/null; }
until ended "$installing" || ended "$preparing"; do sleep 0.2; done
if ended "$preparing"; then
  wait "$preparing" || code=$?
  if [ "$code" -ne 0 ]; then
    why="$(cat -- "$notes/prepared")"
    end_all
    printf '%s\n' "$why" >&2
    say "the models or the dataset are not in order (exit code $code, above): the installation was stopped; nothing was started"
    exit "$code"
  fi
fi
wait "$installing" || code=$?
answer="$(cat -- "$notes/answer")"
if [ "$code" -eq 0 ]; then
  printf -v KOHYA_RUNNER_INSTALLED '%(%s)T' -1
  export KOHYA_RUNNER_INSTALLED
  tail -n +1 -f -s 0.1 --pid="$preparing" -- "$notes/prepared" >&2 2>/dev/null &
  showing=$!
  wait "$preparing" || code=$?
  wait "$showing" 2>/dev/null || true
  if [ "$code" -ne 0 ]; then
    end_all
    say "the models or the dataset are not in order (exit code $code, above); nothing was started"
    exit "$code"
  fi
  rm -rf -- "$notes"
  trap - INT TERM HUP
  if [ -n "${KOHYA_RUNNER_ARCHIVE:-}" ]; then # for the next machine, while this one trains
    nice -n 19 "$runner" setup --keep "${shared[@]}" </dev/null >/dev/null 2>&1 &
  fi
  exec "$runner" launch "$recipe" --once "$@"
fi
end_all

# Only the quickstart goes on, only where the trainer's sources cannot be fetched, and nobody can overlook it.
if [ "$code" -eq 5 ] && [[ "$answer" == *'"trainer.sources"'* ]] && [ "$recipe" -ef "$root/recipes/quickstart.yaml" ]; then
  cat >&2 <<'BANNER'

################################################################################
##                                                                            ##
##   PRACTICE   PRACTICE   PRACTICE   PRACTICE   PRACTICE   PRACTICE          ##
##                                                                            ##
##   The trainer's sources could not be fetched (the reason is above).        ##
##   What follows is NOT a training: a stand-in goes through the motions.     ##
##   It proves layout, options, launch and records. Its files are no LoRA.    ##
##                                                                            ##
################################################################################

BANNER
  exec "$runner" launch "$recipe" --once --practice "$@"
fi
say "set-up ended with exit code $code; nothing was started"
exit "$code"
