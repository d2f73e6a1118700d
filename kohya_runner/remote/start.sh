# Sent by kohya-runner behind lines that set stay, sources, environment, run, seconds and options; started detached.
# Whoever holds .running is this script. It ends with the exit code of launch in the file exit-code, written last.
set -u
cd -- "$stay" || exit 70
[ ! -e exit-code ] || exit 0
exec 8>.running
flock -n 8 || exit 0
if [ -f .secrets ]; then
  set -a
  . ./.secrets
  set +a
  rm -f .secrets
fi
echo $$ >pid
finish() { # CODE: hash what is there, then say so
  if [ ! -d "$run" ]; then
    printf '{"version": 1, "files": {}}\n' >sha256sums.json
  else
    "$python" -m kohya_runner.remote.sums "$run" sha256sums.json 8>&-
  fi
  printf '%s\n' "$1" >.exit-code && mv -- .exit-code exit-code
  exit "$1"
}
trap 'finish 143' TERM # once what runs in the foreground has ended
if [ -n "$environment" ]; then
  export PYTHONPATH="$sources${PYTHONPATH:+:$PYTHONPATH}"
else
  . "$sources/runpod/runner_env.sh"
  environment="$(runner_env runner "$sources" 8>&-)" || finish 5
fi
python="$environment/bin/python"
printf '%s\n' "$python" "$sources" >launcher
# What left no state and has no process any more is begun anew, under the number that is looked for.
if [ -d "$run" ] && ! find "$run/output" -mindepth 1 -maxdepth 1 -type d ! -name sample 2>/dev/null | grep -q . &&
  "$python" -m kohya_runner status "${run#runs/}" --workspace "$stay" --json 2>/dev/null 8>&- |
  grep -qE '^  "state": "(lost|stopped|failed)"'; then
  mv -- "$run" "without-state-$(date +%s)"
fi
# cache and models of the workspace are links to those that all stays share: --allow=disk.link below
limit=()
[ -z "$seconds" ] || limit=(timeout --foreground --kill-after=600 "$seconds")
launch=(bash "$sources/runpod/start_training.sh" pack/recipe.yaml)
case " ${options[*]} " in *" --practice "*) launch=("$environment/bin/kohya-runner" launch pack/recipe.yaml --once) ;; esac
export KOHYA_RUNNER_COMMAND="$environment/bin/kohya-runner"
${limit[@]+"${limit[@]}"} "${launch[@]}" --workspace "$stay" --resume --allow=disk.link ${options[@]+"${options[@]}"} 8>&-
finish $?
