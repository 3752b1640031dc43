# shellcheck shell=bash
# Scenes of a benchmark: a database, buckets and queues of their own on servers of their own, processes of ours in them,
# and deletions. Needs $INSTANCE, $FILE_RECYCLER_BIN, servers.sh and bucket.sh.

FILE_TYPE=529bc2f8-0ee0-df11-971b-001d60e938c6
S3_STORAGE=7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11
# shellcheck disable=SC2034
MACHINE="$(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), $(date -u +%F)"

finish() {
  stop_processes
  stop_all
}

stop_processes() {
  local folder
  for folder in "$INSTANCE"/process-*; do
    [ ! -d "$folder" ] || stop_process "$folder" 35 TERM
  done
}

# A scene of its own: database, buckets, queues.
scene() {
  SCENE=$1
  stop_processes
  psql_crm postgres -q -c "CREATE DATABASE $SCENE"
  psql_crm "$SCENE" -q -f "$ROOT/tests/it/fixtures/crm.sql" >/dev/null
  bucket_create "$SCENE-objects"
  bucket_create "$SCENE-recycled"
  FILE_RECYCLER_DATABASE__URL=$(postgres_url "$SCENE")
  FILE_RECYCLER_BROKER__URL=$(rabbitmq_url)
  FILE_RECYCLER_STORAGE__SERVICE_URL=$(s3_url)
  export FILE_RECYCLER_DATABASE__URL FILE_RECYCLER_BROKER__URL FILE_RECYCLER_STORAGE__SERVICE_URL
  export FILE_RECYCLER_BROKER__PREFIX=$SCENE
  export FILE_RECYCLER_STORAGE__ACCESS_KEY=$S3_ACCESS_KEY FILE_RECYCLER_STORAGE__SECRET_KEY=$S3_SECRET_KEY
  export FILE_RECYCLER_STORAGE__OBJECT_BUCKET_NAME=$SCENE-objects
  export FILE_RECYCLER_STORAGE__RECYCLE_BUCKET_NAME=$SCENE-recycled
  "$FILE_RECYCLER_BIN" listener install >/dev/null
  "$FILE_RECYCLER_BIN" adopt --apply >/dev/null
}

# sql QUERY [-c QUERY…]
sql() { psql_crm "$SCENE" -qAt -c "$@"; }

# records N FILES: contacts with files each, and their objects.
records() {
  sql "INSERT INTO \"Contact\" (\"Name\") SELECT 'n' FROM generate_series(1, $1);
       INSERT INTO \"ContactFile\" (\"TypeId\", \"SysFileStorageId\", \"Size\", \"ContactId\")
       SELECT '$FILE_TYPE', '$S3_STORAGE', 1024, \"Id\" FROM \"Contact\", generate_series(1, $2);
       ANALYZE \"Contact\", \"ContactFile\""
  upload 'SELECT "Id" FROM "ContactFile"'
}

# upload QUERY: an object for each id.
upload() {
  local ids portion
  ids=$INSTANCE/ids
  sql "$1" >"$ids"
  # A file has at most some 65,000 names.
  split -l 50000 "$ids" "$ids."
  for portion in "$ids".*; do
    rm -rf "$INSTANCE/files"
    mkdir "$INSTANCE/files"
    (cd "$INSTANCE/files" && while read -r id; do ln ../content "$id"; done <"$portion")
    bucket_upload "$SCENE-objects" "$INSTANCE/files"
  done
  rm -rf "$INSTANCE/files" "$ids".*
}

# start NAME COMMAND: a process of ours, ready.
start() {
  local folder=$INSTANCE/process-$1 port
  port=$(random_free_port)
  FILE_RECYCLER_HTTP__LISTEN=127.0.0.1:$port \
    start_process "$folder" "$(id -un)" "$FILE_RECYCLER_BIN" "$2"
  wait_ready "$folder" 60 curl -sf -o /dev/null -m 3 "http://127.0.0.1:$port/readyz"
}

# Each record is deleted by a transaction of its own, so that each gives an event of its own, with its file.
one_by_one() {
  sql 'SET synchronous_commit = off' -c 'DO $$ DECLARE record uuid; BEGIN
    FOR record IN SELECT "Id" FROM "Contact" LOOP DELETE FROM "Contact" WHERE "Id" = record; COMMIT; END LOOP; END $$'
}

handled() {
  curl -sf "http://127.0.0.1:$(process_port run)/metrics" | awk '/^file_recycler_events_total/ { sum += $2 } END { printf "%d", sum }'
}


# The address is in the process's own environment.
process_port() {
  tr '\0' '\n' <"/proc/$(process_id "$INSTANCE/process-$1")/environ" | sed -n 's/^FILE_RECYCLER_HTTP__LISTEN=.*:\([0-9]*\)$/\1/p'
}

# victims: a table of the records with a number each, in the order of their ids, and pgbench's script that deletes the next one.
victims() {
  sql 'CREATE TABLE victim AS SELECT row_number() OVER (ORDER BY "Id") AS n, "Id" AS id FROM "Contact";
       CREATE UNIQUE INDEX ON victim (n); CREATE SEQUENCE victim_n; ANALYZE victim'
  # shellcheck disable=SC2016
  printf "SELECT nextval('victim_n') AS n \\\\gset\nDELETE FROM \"Contact\" WHERE \"Id\" = (SELECT id FROM victim WHERE n = :n);\n" >"$INSTANCE/delete.sql"
}

# delete_at RATE SECONDS: an open loop: a deletion begins when its time has come, whatever became of the others.
delete_at() {
  PGPASSWORD=crm "$(postgres_bin)/pgbench" -n -h 127.0.0.1 -p "$(postgres_port)" -U crm -M prepared -c 16 -j 1 \
    -T "$2" -R "$1" -f "$INSTANCE/delete.sql" "$SCENE" >"$INSTANCE/pgbench.txt" 2>&1 || die 1 "$(cat "$INSTANCE/pgbench.txt")"
}

all_deleted_are_recycled() {
  [ "$(sql "SELECT (SELECT count(*) FROM victim) - (SELECT count(*) FROM \"Contact\") = (SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved')")" = t ]
}
