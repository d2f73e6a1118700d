#!/usr/bin/env bash
# Stops the pod that it runs on, whatever became of the machine that rented it: when SECONDS are over, or when for IDLE_SECONDS
# no process has named one of FOLDERS (a training, its set-up, an rsync). remote/runpod_pod.py sends it and starts it before all else.
#
#   END_POD_FOLDERS=$'A\nB' bash end_pod.sh SECONDS|- IDLE_SECONDS        (on its command line they would find itself)
#
# Three ways are tried, as in kohya_runner/finish/runpod.py, again and again until one works: this process ends with the pod.
set -uo pipefail

folders="$END_POD_FOLDERS" seconds="$1" idle="$2"
look="${END_POD_LOOK:-20}"
notes="${TMPDIR:-/tmp}/kohya-runner-end-pod"
mkdir -p -- "$notes"
if command -v flock >/dev/null; then # one of these on a pod
  exec 9>"$notes/lock"
  flock -n 9 || exit 0
fi

# RunPod's own variables are in the environment of its first process, not in every SSH session.
if [ -r "${RP_ENVIRONMENT:-/etc/rp_environment}" ]; then
  set +u
  # shellcheck source=/dev/null
  . "${RP_ENVIRONMENT:-/etc/rp_environment}"
  set -u
fi
for name in RUNPOD_POD_ID RUNPOD_API_KEY RUNPOD_VOLUME_ID; do
  if [ -z "${!name:-}" ]; then
    export "$name=$({ tr '\0' '\n' </proc/1/environ | sed -n "s/^$name=//p"; } 2>/dev/null)"
  fi
done
pod="$RUNPOD_POD_ID" key="${KOHYA_RUNPOD_API_KEY:-$RUNPOD_API_KEY}"
case "${KOHYA_RUNPOD_API:-}" in # another address counts only for this machine itself: the key must not go to a stranger
  http://127.0.0.1:*) api="$KOHYA_RUNPOD_API" ;;
  *) api=https://api.runpod.io/v2 ;;
esac

say() { printf '%(%F %T)T end_pod: %s\n' -1 "$*"; }

printf '%s\n' "$folders" >"$notes/folders"
busy() { grep -qsaF -f "$notes/folders" /proc/[0-9]*/cmdline; }

by_api() { # the key comes by stdin: argv is public
  printf 'header = "Authorization: Bearer %s"\n' "$key" |
    curl --config - --silent --fail --max-time 30 --output /dev/null --header 'Content-Type: application/json' \
      --data "{\"action\":\"$1\"}" "$api/pods/$pod/action"
}
by_command() { # "stop failed" may come with exit code 0
  local said
  said="$(timeout 60 runpodctl "$@" "$pod" 2>&1)" && ! [[ "${said,,}" =~ fail|error|unauthori|forbidden|denied|invalid|"not found" ]]
}
end() {
  local new=stop old=stop
  if [ "$1" = terminate ]; then new=delete old=remove; fi
  by_api "$1" || by_command pod "$new" || by_command "$old" pod
}

began="$(date +%s)" active="$began" why=""
until [ -n "$why" ]; do
  now="$(date +%s)"
  if busy; then active="$now"; fi
  if [ "$seconds" != - ] && [ $((now - began)) -ge "$seconds" ]; then
    why="$seconds seconds are over"
  elif [ $((now - active)) -ge "$idle" ]; then
    why="nothing has used ${folders//$'\n'/, } for $idle seconds"
  else
    sleep "$look"
  fi
done

say "$why: stopping pod $pod"
until end stop || { [ -n "${RUNPOD_VOLUME_ID:-}" ] && end terminate; }; do # what is on a network volume outlives the pod
  say "STILL BILLING: pod $pod could not be stopped; again in a minute; by hand: https://console.runpod.io/pods"
  sleep "${END_POD_PAUSE:-60}"
done
say "pod $pod was asked to stop"
