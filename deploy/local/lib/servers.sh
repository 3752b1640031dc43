# shellcheck shell=bash
# All servers of one instance: a folder $INSTANCE with one folder for each server.

for part in common process ports postgres rabbitmq seaweedfs moto s3 prometheus packages; do
  # shellcheck source=/dev/null
  . "$(dirname "${BASH_SOURCE[0]}")/$part.sh"
done
unset part

# start_all NAME…: at the same time; fails when one fails.
start_all() {
  local name pid failed=0 pids=()
  mkdir -p "$INSTANCE"
  for name in "$@"; do
    "${name}_start" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=$?; done
  return "$failed"
}

# stop_all: everything of this instance that runs.
stop_all() {
  local name pids=()
  for name in postgres rabbitmq seaweedfs moto s3; do
    "${name}_stop" &
    pids+=($!)
  done
  wait "${pids[@]}"
}
