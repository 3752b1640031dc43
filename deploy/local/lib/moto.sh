# shellcheck shell=bash
# A private moto (an S3 server in Python that others wrote) in $INSTANCE/moto, from its package on PyPI.
# It keeps everything in memory, ignores the newer conditions and checks no signature: our most careless server.

MOTO_VERSION=5.2.5
MOTO_ACCESS_KEY=recycler
MOTO_SECRET_KEY=recycler-secret

moto_folder() { printf '%s\n' "$INSTANCE/moto"; }
moto_url() { printf 'http://127.0.0.1:%s\n' "$(cat "$INSTANCE/moto/port")"; }

# Its virtual environment is kept outside the clone, so that a fresh clone finds it.
moto_venv() {
  printf '%s/file-recycler/moto-%s\n' "${XDG_CACHE_HOME:-${HOME:-$STATE}/.cache}" "$MOTO_VERSION"
}

# Complete, and of a Python that is still there.
moto_is_installed() {
  [ -e "$(moto_venv)/complete" ] && [ -x "$(moto_venv)/bin/python" ]
}

moto_install() {
  if moto_is_installed; then return 0; fi
  mkdir -p "$(dirname "$(moto_venv)")"
  # A virtual environment stays where it was made: two clones that come together make it one after the other.
  locked "$(moto_venv).lock" moto_install_alone
}

# What `moto[server]` would bring for services other than S3 is 180 MB more.
moto_install_alone() {
  local venv
  if moto_is_installed; then return 0; fi
  venv=$(moto_venv)
  rm -rf "$venv"
  if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet --disable-pip-version-check \
    "moto[s3]==$MOTO_VERSION" 'flask>=3,<4' 'flask-cors>=5,<7'; then
    die 2 "moto could not be installed: PyPI must be reachable for 'pip install moto[s3]==$MOTO_VERSION'"
  fi
  : >"$venv/complete"
}

# As the installed package has it.
moto_version() { "$(moto_venv)/bin/python" -c 'import importlib.metadata as m; print(m.version("moto"))'; }

moto_start() {
  local folder
  folder=$(moto_folder)
  if process_runs "$folder" && moto_answers "$folder"; then return 0; fi
  moto_stop
  start_server moto "$folder"
}

# A list of the buckets: it is there when the storage is.
moto_answers() {
  curl -sf -o /dev/null -m 10 -H "$S3_UNSIGNED" --aws-sigv4 aws:amz:us-east-1:s3 --user "$MOTO_ACCESS_KEY:$MOTO_SECRET_KEY" \
    "http://127.0.0.1:$(cat "$1/port")/"
}

moto_launch() {
  local folder=$1 port name clean=(env -C "$1")
  port=$(remembered_port "$folder/port")
  # Nothing that the machine has set for moto or AWS reaches it.
  for name in $(compgen -e MOTO_) $(compgen -e AWS_); do clean+=(-u "$name"); done
  start_process "$folder" "$(id -un)" "${clean[@]}" "$(moto_venv)/bin/python" -m moto.server -H 127.0.0.1 -p "$port"
  wait_ready "$folder" 60 moto_answers "$folder"
}

moto_wipe() { :; }

moto_stop() { stop_process "$(moto_folder)" 5 TERM; }
