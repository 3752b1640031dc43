# shellcheck shell=bash
# What demo and drill share: servers of their own, a small CRM with files, the program between them, and the end of it
# all. $NAME is which of the two it is.

STORAGE=embedded
KEEP=no
DATABASE=crm
STARTER=
BUCKETS_MADE=()

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; }

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --s3) STORAGE=${2:?--s3 needs a value}; shift ;;
      --files) FILES=${2:?--files needs a number}; shift ;;
      --keep) KEEP=yes ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  if ! [[ $FILES =~ ^[0-9]{1,6}$ ]] || [ "$FILES" -lt 20 ]; then die 2 "--files needs a number, at least 20"; fi
  case $STORAGE in
    embedded | seaweedfs) ;;
    http://* | https://*)
      if [ -z "${AWS_ACCESS_KEY_ID:-}" ] || [ -z "${AWS_SECRET_ACCESS_KEY:-}" ]; then
        die 2 "--s3 URL needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
      fi
      ;;
    *) die 2 "--s3 is embedded, seaweedfs or an address that begins with http:// or https://" ;;
  esac
}

# One at a time in a clone. What a killed or kept one left is stopped and removed first.
prepare() {
  prepare_state
  exec 8>"$STATE/$NAME.lock"
  # A killed run's last commands may still hold it for a moment.
  flock -w 10 8 || die 1 "another $NAME is running in this clone"
  INSTANCE=$STATE/$NAME
  stop_process "$INSTANCE/worker" 35 TERM
  stop_all
  rm -rf "$INSTANCE"
  mkdir -p "$INSTANCE"
  chmod 711 "$INSTANCE"
}

step() {
  local number=$1 title=$2 start
  printf '\n%s. %s\n' "$number" "$title"
  start=$(now_ms)
  "$3"
  say "   ($(since_ms "$start"))"
}

note() { printf '   %s\n' "$*"; }

set_up() {
  local needs=(postgres rabbitmq)
  if [ "$STORAGE" = seaweedfs ]; then needs+=(seaweedfs); fi
  if [ -z "${FILE_RECYCLER_BIN:-}" ]; then
    ensure_cargo
    ensure_packages "${needs[@]}" build
  else
    ensure_packages "${needs[@]}"
  fi
  # The times are to be honest ones: PostgreSQL writes as durably as it does in production.
  FILE_RECYCLER_FSYNC=${FILE_RECYCLER_FSYNC:-on} start_all "${needs[@]}" &
  STARTER=$!
  build_program
  wait "$STARTER" || exit
  STARTER=
  if [ "$STORAGE" = embedded ]; then s3_start; fi
  note "PostgreSQL 127.0.0.1:$(postgres_port), RabbitMQ 127.0.0.1:$(cat "$INSTANCE/rabbitmq/port"), S3 $(storage_url)"
}

build_program() {
  BIN=${FILE_RECYCLER_BIN:-$(target_folder)/file-recycler}
  if [ -z "${FILE_RECYCLER_BIN:-}" ]; then
    if ! [ -x "$BIN" ]; then note "building the program; the first time takes some minutes"; fi
    if [ -t 2 ]; then
      (cd "$ROOT" && exec cargo build --workspace --bins)
    else
      run_group cargo build --manifest-path "$ROOT/Cargo.toml" --workspace --bins >"$INSTANCE/build.log" 2>&1 \
        || { tail -n 20 "$INSTANCE/build.log" >&2; die 1 "the program could not be built"; }
    fi
  fi
  [ -x "$BIN" ] || die 2 "there is no program at $BIN"
  BIN=$(cd "$(dirname "$BIN")" && pwd -P)/$(basename "$BIN")
}

storage_url() {
  case $STORAGE in
    embedded) s3_url ;;
    seaweedfs) seaweedfs_url ;;
    *) printf '%s\n' "$STORAGE" ;;
  esac
}

storage_keys() {
  case $STORAGE in
    embedded) STORAGE_KEYS=("$S3_ACCESS_KEY" "$S3_SECRET_KEY") ;;
    seaweedfs) STORAGE_KEYS=("$SEAWEEDFS_ACCESS_KEY" "$SEAWEEDFS_SECRET_KEY") ;;
    *) STORAGE_KEYS=("$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY") ;;
  esac
}

load_crm() {
  local url bucket
  psql_crm postgres -c "CREATE DATABASE $DATABASE"
  psql_crm "$DATABASE" -f "$ROOT/tests/it/fixtures/crm.sql" >/dev/null
  psql_crm "$DATABASE" -v "files=$FILES" -f "$LIB/demo.sql" >"$INSTANCE/plan"
  storage_keys
  url=$(storage_url)
  bucket_access "$INSTANCE/s3.curl" "$url" "${STORAGE_KEYS[@]}"
  OBJECT_BUCKET=file-recycler-$NAME-$(date +%s)-$$
  RECYCLE_BUCKET=$OBJECT_BUCKET-recycle
  for bucket in "$OBJECT_BUCKET" "$RECYCLE_BUCKET"; do
    bucket_create "$bucket"
    BUCKETS_MADE+=("$bucket")
  done
  make_files
  bucket_upload "$OBJECT_BUCKET" "$INSTANCE/files"
  bucket_list "$OBJECT_BUCKET" >"$INSTANCE/before"
  (cd "$INSTANCE/files" && stat -c '%n %s' -- * | LC_ALL=C sort | paste -d ' ' - <(md5sum -- * | LC_ALL=C sort -k2 | cut -d' ' -f1)) \
    | awk '{ print $1 "\t" $3 "\t" $2 }' >"$INSTANCE/made"
  cmp -s "$INSTANCE/made" "$INSTANCE/before" || die 1 "the object bucket does not hold what was uploaded"
  note "$(wc -l <"$INSTANCE/before") files in $(cut -f3 "$INSTANCE/plan" | sort -u | wc -l) tables," \
    "$(du -h --apparent-size -s "$INSTANCE/files" | cut -f1)B, uploaded with curl; $(fate_keys moves | wc -l) of them belong to records that will go"
}

# Contents that differ from file to file and are the same in every run.
make_files() {
  mkdir -p "$INSTANCE/files"
  awk '$4 != "link" { print $1, $2 }' "$INSTANCE/plan" | perl -e '
    srand 1; my $noise = pack "N*", map { int rand 2**32 } 1 .. 32768;
    while (<STDIN>) {
      my ($id, $size) = split; open my $file, ">", "$ARGV[0]/$id" or die $!;
      print $file substr($noise . $noise, ($. * 4093) % length $noise, $size) }' "$INSTANCE/files"
}

# fate_keys FATE: the keys (they are the files' ids) with that fate in the plan.
fate_keys() { awk -v fate="$1" '$4 == fate { print $1 }' "$INSTANCE/plan" | LC_ALL=C sort; }

start_recycler() {
  recycler_configure
  recycler_quietly listener install
  recycler_quietly adopt --apply
  recycler_start
  note "running; health at http://$LISTEN/readyz, metrics at http://$LISTEN/metrics"
}

# show_progress EXPECTED: until so many files are recycled; gives up when nothing moves for 90 seconds.
show_progress() {
  local expected=$1 count=-1 last=-1 shown=0 since=$SECONDS
  while [ "$count" -lt "$expected" ]; do
    count=$(recycled_count)
    if [ "$count" -ne "$last" ]; then since=$SECONDS; fi
    last=$count
    if [ -t 1 ]; then
      printf '\r   recycled %s/%s' "$count" "$expected"
    elif [ "$count" -ge "$expected" ] || [ $((count - shown)) -ge $((expected / 5 + 1)) ]; then
      note "recycled $count/$expected"
      shown=$count
    fi
    process_runs "$INSTANCE/worker" || die 1 "file-recycler ended"
    [ $((SECONDS - since)) -lt 90 ] || die 1 "no file has moved for 90 seconds"
    sleep 0.2
  done
  if [ -t 1 ]; then printf '\n'; fi
}

finish() {
  local status=$? bucket
  trap - EXIT
  trap '' HUP INT TERM
  stop_group
  if [ -n "$STARTER" ]; then wait "$STARTER" || true; fi
  if [ "$status" -ne 0 ]; then
    show_worker_log
    warn "the $NAME did not finish; what it left for reading: $INSTANCE"
    [ "$status" -le 2 ] || [ "$status" -ge 128 ] || status=1
  fi
  if [ "$status" -eq 0 ] && [ "$KEEP" = yes ]; then exit 0; fi
  stop_process "$INSTANCE/worker" 35 TERM
  if [[ $STORAGE == http* ]]; then
    for bucket in "${BUCKETS_MADE[@]}"; do
      bucket_remove_all "$bucket" || warn "the bucket $bucket could not be removed from $STORAGE"
    done
  fi
  stop_all
  if [ "$status" -eq 0 ]; then rm -rf "$INSTANCE"; fi
  exit "$status"
}
