#!/bin/sh
# Tells file-recycler that a record was deleted, with the files that went with it.
#
#   FILE_RECYCLER_URL=http://127.0.0.1:8077 FILE_RECYCLER_TOKEN_FILE=/run/secrets/token \
#     post-event.sh Contact RECORD_ID [FILE_ID…]
#
# Ends with 0 once the broker has the event. It is tried again for five minutes on 503, on time-outs, while nobody
# listens, and where the answer was lost; the same event is posted each time, which does no harm. The token is read from
# a file by curl itself, so that it is in no list of processes.
set -eu

url=${FILE_RECYCLER_URL:-http://127.0.0.1:8077}
token_file=${FILE_RECYCLER_TOKEN_FILE:?the file with http.token}
schema=${1:?the schema of the record, as in Contact}
record=${2:?the id of the record}
shift 2

files=
for file in "$@"; do
  files="$files${files:+,}{\"file_id\":\"$file\"}"
done
id=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)

# Names and ids are put into JSON as they are: do not pass what may hold a quotation mark or a backslash.
event=$(cat <<EOF
{
  "specversion": "1.0",
  "id": "$id",
  "source": "/examples/curl",
  "type": "crm.record.deleted.v1",
  "time": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "data": { "schema": "$schema", "record_id": "$record", "files": [$files] }
}
EOF
)

header=$(mktemp)
trap 'rm -f "$header"' EXIT
chmod 600 "$header"
{ printf 'Authorization: Bearer ' && cat "$token_file"; } >"$header"

post() {
  printf '%s' "$event" | curl --silent --show-error --fail-with-body \
    --retry 30 --retry-connrefused --retry-max-time "$1" --max-time 15 \
    --header @"$header" --header 'Content-Type: application/cloudevents+json' \
    --data-binary @- "$url/v1/events"
}

deadline=$(($(date +%s) + 300))
while :; do
  left=$((deadline - $(date +%s)))
  status=0
  post "$((left > 0 ? left : 1))" || status=$?
  case $status in
    0) break ;;
    # The answer was cut (18), empty (52), or the connection broke (55, 56). curl itself tries these again with
    # --retry-all-errors alone, and then also what is refused for good.
    18 | 52 | 55 | 56) ;;
    *) exit "$status" ;;
  esac
  [ "$left" -gt 5 ] || exit "$status"
  sleep 5
done
echo
