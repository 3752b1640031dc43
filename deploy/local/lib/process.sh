# shellcheck shell=bash
# Our own server processes: each has a folder with `pid` (its id and start time) and `log`.
# Id and start time together name one process for ever, so a stale file never leads to somebody else's.

# process_start_time PID: in ticks since boot; fails when there is no such process, or only its zombie.
process_start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  local fields
  read -ra fields <<<"${stat##*) }"
  [ "${fields[0]}" != Z ] && printf '%s\n' "${fields[19]}"
}

# process_id FOLDER: the id of the folder's process, if it runs.
process_id() {
  local pid started
  read -r pid started 2>/dev/null <"$1/pid" || return 1
  [ "$(process_start_time "$pid")" = "$started" ] && printf '%s\n' "$pid"
}

process_runs() { process_id "$1" >/dev/null; }
process_gone() { ! process_runs "$1"; }

# start_process FOLDER USER COMMAND…: in a session of its own, so that a Ctrl-C on our terminal does not reach it.
# The process notes its id itself, before it becomes the server: there is no moment in which it runs unnoted.
start_process() {
  local folder=$1 user=$2
  shift 2
  local drop=()
  if [ "$user" != "$(id -un)" ]; then
    drop=(setpriv "--reuid=$user" "--regid=$(id -gn "$user")" --init-groups --)
  fi
  mkdir -p "$folder"
  rm -f "$folder/pid"
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -c '
    folder=$1; shift
    . "$0"
    printf "%s %s\n" "$$" "$(process_start_time "$$")" >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
    exec "$@"' "$LIB/process.sh" "$folder" "${drop[@]}" "$@" </dev/null >>"$folder/log" 2>&1 8>&- 9>&- &
  wait_until 10 test -e "$folder/pid"
}

# stop_process FOLDER SECONDS SIGNAL…: each signal in turn, with that much time for each; KILL is the last.
stop_process() {
  local folder=$1 seconds=$2 signal pid
  shift 2
  for signal in "$@" KILL; do
    pid=$(process_id "$folder") || break
    kill "-$signal" "$pid" 2>/dev/null || true
    wait_until "$seconds" process_gone "$folder" && break
  done
  rm -f "$folder/pid"
}

# ready_or_gone FOLDER COMMAND…: ends a wait early when the server died.
ready_or_gone() {
  local folder=$1
  shift
  "$@" || process_gone "$folder"
}

# wait_ready FOLDER SECONDS COMMAND…
wait_ready() {
  local folder=$1 seconds=$2
  shift 2
  wait_until "$seconds" ready_or_gone "$folder" "$@" && process_runs "$folder"
}

# start_server NAME FOLDER: calls NAME_launch (must return when ready, or fail) up to three times.
# These servers hold nothing of value: a second try is with fresh data.
start_server() {
  local name=$1 folder=$2 try
  mkdir -p "$folder"
  for try in 1 2 3; do
    [ "$try" -eq 1 ] || "${name}_wipe" "$folder"
    : >"$folder/log"
    if "${name}_launch" "$folder"; then return 0; fi
    "${name}_stop"
  done
  tail -n 20 "$folder/log" >&2
  die 1 "$name did not start; its log is $folder/log"
}
