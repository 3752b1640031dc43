# shellcheck shell=bash
# The program under demonstration: its configuration, its commands, and what it says about itself.

# As the CRM has it; nothing else is needed but an address for health and metrics.
recycler_configure() {
  local port name
  port=$(random_free_port)
  LISTEN=127.0.0.1:$port
  (umask 077 && connection_strings >"$INSTANCE/ConnectionStrings.config")
  # An empty configuration here keeps one that the machine may have in /etc out of the demo.
  : >"$INSTANCE/file-recycler.toml"
  RECYCLER_ENV=(env -C "$INSTANCE")
  for name in $(compgen -e FILE_RECYCLER_); do RECYCLER_ENV+=(-u "$name"); done
  RECYCLER_ENV+=("FILE_RECYCLER_CRM__CONNECTION_STRINGS=$INSTANCE/ConnectionStrings.config" "FILE_RECYCLER_HTTP__LISTEN=$LISTEN")
  printf 'export %s\nexport %s\n' "${RECYCLER_ENV[@]: -2}" >"$INSTANCE/env"
}

connection_strings() {
  cat <<END
<?xml version="1.0" encoding="utf-8"?>
<connectionStrings>
  <add name="db" connectionString="Server=127.0.0.1;Port=$(postgres_port);Database=$DATABASE;User ID=crm;password=crm;Timeout=500;CommandTimeout=400;MaxPoolSize=1024;" />
  <add name="messageBroker" connectionString="$(rabbitmq_url)" />
  <add name="s3Connection" connectionString="ServiceUrl=$(storage_url | xml_text); AccessKey=$(xml_text <<<"${STORAGE_KEYS[0]}"); SecretKey=$(xml_text <<<"${STORAGE_KEYS[1]}"); ObjectBucketName=$OBJECT_BUCKET; RecycleBucketName=$RECYCLE_BUCKET;" />
</connectionStrings>
END
}

xml_text() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/"/\&quot;/g'; }

recycler() { "${RECYCLER_ENV[@]}" "$BIN" "$@"; }

# recycler_quietly COMMAND…: its output is shown only when it failed.
recycler_quietly() {
  if ! recycler "$@" >"$INSTANCE/command.log" 2>&1 </dev/null; then
    tail -n 30 "$INSTANCE/command.log" >&2
    die 1 "'file-recycler $*' failed"
  fi
}

recycler_start() {
  start_process "$INSTANCE/worker" "$(id -un)" "${RECYCLER_ENV[@]}" "$BIN" run
  if ! wait_ready "$INSTANCE/worker" 60 recycler_ready; then
    curl -s -m 3 "http://$LISTEN/readyz" >&2 || true
    die 1 "file-recycler did not become ready within a minute"
  fi
}

recycler_ready() { curl -sf -m 3 -o /dev/null "http://$LISTEN/readyz"; }

sql() { psql_crm "$DATABASE" -At -c "$1"; }

recycled_count() { sql "SELECT count(*) FROM file_recycler.ledger WHERE outcome IN ('moved', 'already_moved')"; }

# metrics NAME LABEL: lines of the label's value and the metric's.
metrics() {
  curl -sf -m 5 "http://$LISTEN/metrics" \
    | sed -n "s/^$1{\(.*,\)\{0,1\}$2=\"\([^\"]*\)\".*} \([0-9.e+]*\).*/\2 \3/p"
}

# dead_letter FIELD: of the first message in the dead-letter queue. PostgreSQL reads the JSON for us.
dead_letter() { dead_letters_json "document->'messages'->0->>'$1'"; }

dead_letters_are() { [ "$(dead_letters_json "document->>'total'")" = "$1" ]; }

dead_letters_json() {
  local document
  document=$(recycler dlq list --json 2>>"$INSTANCE/command.log" </dev/null) || return 1
  psql_crm "$DATABASE" -At -v "document=$document" <<<"SELECT $1 FROM (SELECT :'document'::json AS document) d"
}

show_worker_log() {
  [ -s "$INSTANCE/worker/log" ] || return 0
  warn "--- the last lines of $INSTANCE/worker/log"
  tail -n 20 "$INSTANCE/worker/log" >&2
}
