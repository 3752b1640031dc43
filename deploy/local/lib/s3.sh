# shellcheck shell=bash
# The project's own in-memory S3 server (tests/s3) in $INSTANCE/s3.

S3_ACCESS_KEY=recycler
S3_SECRET_KEY=recycler-secret

s3_folder() { printf '%s\n' "$INSTANCE/s3"; }
s3_url() { printf 'http://127.0.0.1:%s\n' "$(cat "$INSTANCE/s3/port")"; }

# Beside the program that FILE_RECYCLER_BIN names, or where cargo puts it.
s3_program() {
  local beside
  beside=$(dirname "${FILE_RECYCLER_BIN:-/nowhere}")/recycler-test-s3
  if [ -x "$beside" ]; then printf '%s\n' "$beside"; else printf '%s/recycler-test-s3\n' "$(target_folder)"; fi
}

# Where cargo puts the programs of a plain build.
target_folder() { printf '%s/debug\n' "${CARGO_TARGET_DIR:-$ROOT/target}"; }

s3_start() {
  local folder
  [ -x "$(s3_program)" ] || die 2 "there is no S3 server at $(s3_program); 'cargo build --workspace --bins' makes it"
  folder=$(s3_folder)
  if process_runs "$folder" && s3_answers "$folder"; then return 0; fi
  s3_stop
  start_server s3 "$folder"
}

s3_answers() {
  curl -sf -o /dev/null -m 3 -H "$S3_UNSIGNED" --aws-sigv4 aws:amz:us-east-1:s3 --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" \
    "http://127.0.0.1:$(cat "$1/port")/"
}

s3_launch() {
  local folder=$1 port
  port=$(remembered_port "$folder/port")
  start_process "$folder" "$(id -un)" "$(s3_program)" --listen "127.0.0.1:$port" \
    --access-key "$S3_ACCESS_KEY" --secret-key "$S3_SECRET_KEY"
  wait_ready "$folder" 20 s3_answers "$folder"
}

s3_wipe() { :; }

s3_stop() { stop_process "$(s3_folder)" 5 TERM; }
