# shellcheck shell=bash
# What every script here needs: the repository, the state folder, messages, bounded waits, locks.

umask 022
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd "$LIB/../../.." && pwd -P)

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# die STATUS MESSAGE…: 1 something failed, 2 something is missing or wrong in the call.
die() {
  local status=$1
  shift
  warn "error: $*"
  exit "$status"
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Ordinary users keep everything in .local of the repository. PostgreSQL refuses to run as root, so root's
# servers run as the users of their packages, who often cannot reach the repository: root's state is elsewhere.
state_folder() {
  if [ -n "${FILE_RECYCLER_LOCAL:-}" ]; then
    printf '%s\n' "$FILE_RECYCLER_LOCAL"
  elif is_root; then
    printf '/var/tmp/file-recycler-%s\n' "$(printf %s "$ROOT" | sha256sum | cut -c1-12)"
  else
    printf '%s\n' "$ROOT/.local"
  fi
}

# Makes the state folder, and refuses one that somebody else made (it may lie in a shared place).
prepare_state() {
  local folder
  folder=$(state_folder)
  mkdir -p "$folder" || die 2 "cannot make the state folder $folder; choose another with FILE_RECYCLER_LOCAL"
  if [ -L "$folder" ] || ! [ -O "$folder" ]; then
    die 2 "the state folder $folder is a link or belongs to another user; choose another with FILE_RECYCLER_LOCAL"
  fi
  STATE=$(cd "$folder" && pwd -P)
  if is_root && ! [ -e "$ROOT/.local" ] && ! [ -L "$ROOT/.local" ]; then
    ln -s "$STATE" "$ROOT/.local" 2>/dev/null || true
  fi
}

# The user that runs a server: the given one when we are root, otherwise ourselves.
server_user() {
  if is_root; then printf '%s\n' "$1"; else id -un; fi
}

# as_user USER COMMAND…: the same process, with that user's rights.
as_user() {
  local user=$1
  shift
  if [ "$user" = "$(id -un)" ]; then
    "$@"
  else
    (cd / && exec setpriv --reuid="$user" --regid="$(id -gn "$user")" --init-groups -- "$@")
  fi
}

# A folder for that user, and only for it.
private_folder() {
  local user=$1 folder=$2
  mkdir -p "$folder"
  chmod 700 "$folder"
  if is_root; then chown "$user:$(id -gn "$user")" "$folder"; fi
  as_user "$user" test -x "$folder" \
    || die 2 "the user $user cannot reach $folder; set FILE_RECYCLER_LOCAL to a folder that it can reach"
}

# wait_until SECONDS COMMAND…: asks again and again until the command succeeds; 1 when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# locked FILE COMMAND…: one at a time; the lock ends with the command, or with its death.
locked() {
  local file=$1
  shift
  (
    flock -w 300 9 || die 1 "another run has held $file for five minutes"
    "$@"
  ) 9>"$file"
}

# install_program FROM TO: without the names of its functions, a quarter of its size, where there is a tool to take them out.
install_program() {
  install -m 755 "$1" "$2"
  if command -v strip >/dev/null; then strip --strip-unneeded "$2"; fi
}

# libraries_of PROGRAM: their paths; none for a static one, of which some say so and others that they are no program.
libraries_of() { { ldd "$1" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; }; }

now_ms() {
  local now=${EPOCHREALTIME/[^0-9]/}
  printf '%s\n' "$((now / 1000))"
}

# since_ms START: "12.3 s"
since_ms() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s\n' $((ms / 1000)) $((ms % 1000 / 100))
}

GROUP=
# run_group COMMAND…: runs it in a process group of its own, so that stop_group ends all of it.
run_group() {
  local status=0
  set -m
  "$@" </dev/null 8>&- 9>&- &
  GROUP=$!
  set +m
  wait "$GROUP" || status=$?
  GROUP=
  return "$status"
}

group_is_gone() { ! kill -0 -- "-$1" 2>/dev/null; }

stop_group() {
  local group=$GROUP
  [ -n "$group" ] || return 0
  GROUP=
  kill -TERM -- "-$group" 2>/dev/null || return 0
  wait_until 40 group_is_gone "$group" || kill -KILL -- "-$group" 2>/dev/null || true
}

# A signal ends the script by the ordinary way, so that the EXIT trap tidies up.
exit_on_signals() {
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# S3 asks for a digest of the body, which older curls leave out; this is its way to go without.
# shellcheck disable=SC2034 # the other parts use it
S3_UNSIGNED='x-amz-content-sha256: UNSIGNED-PAYLOAD'
