#!/usr/bin/env bash
# What Modal, SkyPilot and HF Jobs run on every machine of a stay: start.sh, with the runner and the pack that were sent. It
# goes on where an earlier machine ended, keeps to the hours, and brings what the run writes to where it is kept.
# Its options are those of launch.
#
#   KOHYA_RUNNER_NAME         of the run
#   KOHYA_RUNNER_FOLDER       of this stay: the workspace; pack/ and runner/ are in it
#   KOHYA_RUNNER_SHARED       the folder of cache/ and models/ of all stays
#   KOHYA_RUNNER_ENVIRONMENT  with a Python for the runner; unset: one is made
#   KOHYA_RUNNER_HOURS        after so many hours from the first start it is stopped, whatever it does
#   KOHYA_RUNNER_KEPT         OWNER/NAME of a dataset repository, where results are kept up to date; unset: nowhere
#   KOHYA_RUNNER_AGAIN        how often another start is asked for (exit code 75) where the machine killed the run
set -uo pipefail

stay="${KOHYA_RUNNER_FOLDER:?}" sources="$KOHYA_RUNNER_FOLDER/runner" shared="${KOHYA_RUNNER_SHARED:?}"
name="${KOHYA_RUNNER_NAME:?}" environment="${KOHYA_RUNNER_ENVIRONMENT:-}" seconds="" run="runs/$KOHYA_RUNNER_NAME/001"
kept="${KOHYA_RUNNER_KEPT:-}" rank="${SKYPILOT_NODE_RANK:-0}"
export HOME="${HOME:-/root}"
say() { printf '%s\n' "kohya-runner: $*" >&2; }

mkdir -p -- "$stay" "$shared/cache" "$shared/models" && cd -- "$stay" || exit 4
shared="$(readlink -f -- "$shared")"
for one in cache models; do [ -e "$one" ] || ln -s -- "$shared/$one" "$one"; done
if [ -z "$environment" ]; then
  # shellcheck source-path=SCRIPTDIR source=../../runpod/runner_env.sh
  . "$sources/runpod/runner_env.sh"
  environment="$(runner_env runner "$sources")" || exit 5
fi
export PYTHONDONTWRITEBYTECODE=1
runner() { PYTHONPATH="$sources${PYTHONPATH:+:$PYTHONPATH}" "$environment/bin/kohya-runner" "$@"; }
hub() { "$environment/bin/hf" "$@" --repo-type dataset --quiet >/dev/null; }

# What the user sees, and another machine needs to go on. A large file that was written just now waits for the next time,
# unless this is the end.
keep() {
  [ -d "$run" ] || [ "$1" = all ] || return 0
  rm -rf -- .kept && mkdir .kept || return
  [ ! -d "$run" ] || cp -al -- "$run/." .kept/ || return
  for one in launch.log sha256sums.json exit-code began tries; do [ ! -e "$one" ] || cp -- "$one" .kept/; done
  find .kept -mindepth 1 -name '.*' -type f -delete # locks, and room that is held for a last save
  [ "$1" = all ] || find .kept -type f -size +8M -newermt '-20 seconds' -delete
  hub upload "$kept" .kept . --commit-message kohya-runner --exclude '*.partial' --delete 'output/*'
}
restore() {
  rm -rf -- .kept && mkdir .kept || return
  hub download "$kept" --local-dir .kept --exclude stay.tar --exclude 'stop-*' || return
  for one in began tries launch.log; do [ ! -e ".kept/$one" ] || mv -- ".kept/$one" .; done
  rm -rf -- .kept/.cache .kept/exit-code .kept/sha256sums.json
  [ ! -e .kept/record.json ] || { mkdir -p -- "${run%/*}" && mv -- .kept "$run"; }
}
# A stop that was asked for is carried out once; Modal's app puts the file here itself.
heed() {
  for one in stop-after-save stop-now; do
    [ ! -e "$one.done" ] || continue
    if [ "$1" = far ] && [ -n "$kept" ]; then hub download "$kept" "$one" --local-dir . 2>/dev/null; fi
    if [ -e "$one" ]; then runner stop "$name/001" "--${one#stop-}" --no-wait --workspace "$stay" && touch "$one.done"; fi
  done
}

if [ "$rank" -ne 0 ]; then # its trainer, then to wait for the first, which may have models to fetch
  export KOHYA_RUNNER_NODES_WAIT="${KOHYA_RUNNER_NODES_WAIT:-3600}"
  runner setup --recipe pack/recipe.yaml >/dev/null || exit
  runner launch pack/recipe.yaml --workspace "$stay" --resume --once --allow=disk.link "$@"
  exit
fi
[ ! -e .final ] || exit "$(cat .final)" # it was done on this disk
rm -f exit-code
if [ -n "$kept" ] && [ ! -e "$run/record.json" ]; then
  restore || { say "what an earlier machine kept at $kept could not be fetched"; exit 12; }
fi
[ -s began ] || date +%s >began
if [ -n "${KOHYA_RUNNER_HOURS:-}" ]; then
  seconds="$(awk -v h="$KOHYA_RUNNER_HOURS" -v b="$(cat began)" -v n="$(date +%s)" 'BEGIN { printf "%d", h * 3600 - (n - b) }')"
  [ "$seconds" -gt 0 ] || { say "its $KOHYA_RUNNER_HOURS hours are over: nothing was started"; exit 143; }
fi
{
  for one in stay sources environment run seconds; do printf '%s=%q\n' "$one" "${!one}"; done
  printf 'options=(%s)\n' "$(printf '%q ' "$@")"
  cat -- "$sources/kohya_runner/remote/start.sh"
} >start.sh

bash start.sh > >(tee -a launch.log) 2>&1 </dev/null &
child=$!
taken=""
# The machine is taken away. Where there is no run yet there is nothing to save.
leave() { taken=1; runner stop "$name/001" --now --no-wait --workspace "$stay" || kill -TERM "$child"; }
trap leave TERM INT HUP
tick="${KOHYA_RUNNER_TICK:-5}" passed=0
while kill -0 "$child" 2>/dev/null; do
  sleep "$tick" &
  wait $!
  passed=$((passed + tick))
  if [ "$passed" -lt "${KOHYA_RUNNER_EVERY:-120}" ]; then
    heed near
  else
    passed=0
    heed far
    [ -z "$kept" ] || keep some || say "not kept at $kept; tried again in a while"
  fi
done
code=0
wait "$child" || code=$?
if [ "$code" -eq 124 ]; then code=143; fi # of timeout: the hours are over

# Killed by the machine (no memory, a bus error) or taken away: another start may do better. What the runner says is final.
tries="$(cat tries 2>/dev/null || echo 0)"
if [ "$code" -gt 128 ] && [ "$code" -ne 130 ] && [ "$code" -ne 143 ] && [ "$tries" -lt "${KOHYA_RUNNER_AGAIN:-0}" ]; then
  echo $((tries + 1)) >tries
  taken=1 code=75
  say "the run was killed: another start is asked for"
fi
for wait in 0 5 60 300; do
  sleep "$wait"
  if [ -z "$kept" ] || keep all; then
    [ -n "$taken" ] || echo "$code" >.final
    exit "$code"
  fi
done
say "the results could not be sent to $kept; they are in $stay/$run on this machine alone"
exit 12
