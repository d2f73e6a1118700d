# Sourced by start_training.sh and tests/run.sh: the runner's own light environment, on a local disk, made once.
# shellcheck shell=bash

say() { printf '%s\n' "kohya-runner: $*" >&2; }

# A Python that can run the runner: 3.10 or newer, with a venv module.
find_python() {
  local name
  for name in "${KOHYA_RUNNER_BOOTSTRAP_PYTHON:-}" python3.12 python3.11 python3.10 python3.13 python3 python; do
    [ -n "$name" ] || continue
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
      command -v "$name"
      return 0
    fi
  done
  say "no Python 3.10 or newer with its venv module; install one, for instance: apt-get install python3 python3-venv"
  return 5
}

# Whether a folder, or the nearest one above it that exists, is on a network volume (kohya_runner/workspace.py knows the same).
on_network() {
  local folder="$1"
  until [ -e "$folder" ]; do folder="$(dirname -- "$folder")"; done
  case "$(df --output=source,fstype -- "$folder" 2>/dev/null | tail -n 1)" in
    mfs\#* | *' nfs' | *' nfs4' | *' cifs' | *' smb'* | *' lustre' | *' ceph' | *' glusterfs' | *' 9p' | *' beegfs' | *' gpfs') return 0 ;;
    *' fuse.mfs' | *' fuse.juicefs' | *' fuse.sshfs' | *' fuse.s3fs' | *' fuse.rclone') return 0 ;;
    *) return 1 ;;
  esac
}

# Where environments belong: as kohya_runner/install/environment.py decides for the trainer's.
runner_home() {
  local home="${KOHYA_RUNNER_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/kohya-runner}"
  if on_network "$home"; then
    home="/var/tmp/kohya-runner-$(id -u)"
    [ "$(id -u)" -ne 0 ] || on_network /root || home=/root/.local/share/kohya-runner
  fi
  mkdir -p -- "$home" || return 5
  if [ ! -O "$home" ]; then
    say "$home belongs to another user; set KOHYA_RUNNER_HOME to a folder of your own"
    return 5
  fi
  printf '%s\n' "$home"
}

# runner_env KIND ROOT [PIP ARGUMENTS...]: prints the folder of an environment with the project installed from ROOT.
# Every package is of runpod/requirements.lock, by its hash. Made once for each of these files; the stamp is written last, so a half-made one is made anew. Offline once it is there.
runner_env() {
  local kind="$1" root="$2" home python stamp folder
  shift 2
  home="$(runner_home)" || return
  python="$(find_python)" || return
  stamp="$({ printf '%s\n' "$root" "$python" "$@"; "$python" --version; cat -- "$root/pyproject.toml" "$root/runpod/requirements.lock"; } | sha256sum | cut -c1-12)"
  folder="$home/$kind-$stamp"
  exec 9>"$home/$kind.lock"
  ! command -v flock >/dev/null || flock 9
  if [ ! -e "$folder/complete" ] || ! "$folder/bin/python" -c '' 2>/dev/null; then
    say "making the $kind environment in $folder (about 50 MB to download, half a minute)"
    fill_env "$python" "$folder" "$root" "$@" || return 5
  fi
  exec 9>&-
  printf '%s\n' "$folder"
}

# link_command ENVIRONMENT: a link ~/.local/bin/kohya-runner to it. A file there that is none of ours is left as it is.
link_command() {
  local target="$1/bin/kohya-runner" ours="${1%/*}/runner-" folder="$HOME/.local/bin" link
  link="$folder/kohya-runner"
  if [ -e "$link" ] || [ -L "$link" ]; then
    case "$(readlink -- "$link")" in
      "$target") ;;
      "$ours"*) ln -sfn -- "$target" "$link" ;;
      *)
        say "$link is another program and is left as it is; this one is $target"
        return 0
        ;;
    esac
  elif ! { mkdir -p -- "$folder" && ln -s -- "$target" "$link"; } 2>/dev/null; then
    say "no link in $folder could be made; the command is $target"
    return 0
  fi
  case ":$PATH:" in
    *":$folder:"*) ;;
    *) say "the command kohya-runner is in $folder, which is not on your PATH: export PATH=\"\$HOME/.local/bin:\$PATH\"" ;;
  esac
}

fill_env() (
  python="$1" folder="$2" project="$3"
  shift 3
  unset PIP_BREAK_SYSTEM_PACKAGES PIP_USER PIP_TARGET PIP_PREFIX PYTHONPATH PYTHONHOME
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
  if on_network "${PIP_CACHE_DIR:-$HOME/.cache/pip}"; then export PIP_CACHE_DIR="${folder%/*}/cache/pip"; fi
  rm -rf -- "$folder"
  if "$python" -m venv "$folder" >&2 &&
    "$folder/bin/python" -m pip install --quiet --require-hashes --requirement "$project/runpod/requirements.lock" >&2 &&
    (cd -- "$project" && "$folder/bin/python" -m pip install --quiet --no-build-isolation --no-deps --editable . >&2) &&
    { [ "$#" -eq 0 ] || (cd -- "$project" && "$folder/bin/python" -m pip install --quiet "$@" >&2); }; then
    touch -- "$folder/complete"
  else
    say "the runner's environment could not be made; pip's own words are above. Check the network and start again"
    return 5
  fi
)
