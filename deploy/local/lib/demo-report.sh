# shellcheck shell=bash
# What the demo tells at its end: the program's own figures, and a check that does not trust them.

report() {
  # The last events (those that move nothing) may still be on their way.
  wait_until 15 nothing_waits || true
  bucket_list "$OBJECT_BUCKET" >"$INSTANCE/object-after"
  bucket_list "$RECYCLE_BUCKET" >"$INSTANCE/recycle-after"
  row events "$(metrics file_recycler_events_total type | join_counts)"
  row 'files, by outcome' "$(metrics file_recycler_files_total outcome | join_counts)"
  row recycled "$(recycled_count) files"
  row 'left alone' "$(left_alone lives), because the record lives"
  row '' "$(left_alone shared), because a living record shows the file, by FileLink"
  row '' "$(left_alone database), because the row says that the content is in the database"
  row '' "$(fate_keys link | wc -l), because it is a web link and has no content"
  row 'dead letters' "$(metrics file_recycler_dead_letters_total reason | join_counts), repaired and replayed"
  row 'delete to recycled' "$(latency)"
}

row() { printf '   %-20s %s\n' "$1" "$2"; }

# Lines "moved 930" become "moved 930, alive 2"; zeros are left out.
join_counts() { awk '$2 + 0 > 0 { printf "%s%s %d", comma, $1, $2; comma = ", " }'; }

left_alone() { LC_ALL=C join <(fate_keys "$1") <(cut -f1 "$INSTANCE/object-after") | wc -l; }

nothing_waits() {
  [ "$(metrics file_recycler_queue_messages queue | awk '$1 != "dead" { n += $2 } END { print n + 0 }')" = 0 ] \
    && [ "$(sql 'SELECT count(*) FROM file_recycler.outbox')" = 0 ]
}

latency() {
  sql "SELECT format('p50 %s ms, p99 %s ms, of %s files',
      round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds)), round(1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds)), count(*))
    FROM (SELECT extract(epoch FROM recycled_at - deleted_at)::float8 AS seconds FROM file_recycler.ledger WHERE outcome = 'moved') moved"
}

check() {
  local failed=0
  check_moves || failed=1
  if dead_letters_are 0; then note "PASS  no dead letter is left"; else note "FAIL  a dead letter is left"; failed=1; fi
  if [ "$failed" -ne 0 ]; then exit 1; fi
}

# Both buckets must be, key by key with ETag and size, what they were plus the moves and nothing else.
check_moves() {
  local failed=0
  fate_keys moves >"$INSTANCE/moves"
  LC_ALL=C join -t $'\t' "$INSTANCE/moves" "$INSTANCE/before" >"$INSTANCE/recycle-expected"
  LC_ALL=C join -t $'\t' -v 2 "$INSTANCE/moves" "$INSTANCE/before" >"$INSTANCE/object-expected"
  verdict recycle "every file that had to move is in the recycle bucket, same ETag and size, and nothing else" || failed=1
  verdict object "it is gone from the object bucket, where every other file still is, unchanged" || failed=1
  return "$failed"
}

# verdict BUCKET SENTENCE
verdict() {
  if cmp -s "$INSTANCE/$1-expected" "$INSTANCE/$1-after"; then
    note "PASS  $2 ($(wc -l <"$INSTANCE/$1-after") files)"
  else
    note "FAIL  $2; expected (<) and found (>):"
    diff "$INSTANCE/$1-expected" "$INSTANCE/$1-after" | grep '^[<>]' | head -n 10
    return 1
  fi
}
