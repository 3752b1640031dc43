# shellcheck shell=bash
# A private PostgreSQL in $INSTANCE/postgres: loopback only, role and password `crm`.
# FILE_RECYCLER_FSYNC=on makes it as durable (and slow) as a real one.

postgres_folder() { printf '%s\n' "$INSTANCE/postgres"; }
postgres_port() { cat "$INSTANCE/postgres/port"; }
postgres_url() { printf 'postgres://crm:crm@127.0.0.1:%s/%s\n' "$(postgres_port)" "${1:-postgres}"; }

# The newest installed server programs, 15 or later.
postgres_bin() {
  local best=0 version folder
  for folder in /usr/lib/postgresql/*/bin; do
    version=${folder#/usr/lib/postgresql/}
    version=${version%/bin}
    if [[ $version =~ ^[0-9]+$ ]] && [ "$version" -ge 15 ] && [ "$version" -gt "$best" ] && [ -x "$folder/postgres" ]; then
      best=$version
    fi
  done
  [ "$best" -gt 0 ] && printf '/usr/lib/postgresql/%s/bin\n' "$best"
}

# psql_crm DATABASE ARGUMENT…
psql_crm() {
  local database=$1
  shift
  PGPASSWORD=crm PGOPTIONS='-c client_min_messages=warning' "$(postgres_bin)/psql" -X -q -v ON_ERROR_STOP=1 \
    -h 127.0.0.1 -p "$(postgres_port)" -U crm -d "$database" "$@"
}

postgres_start() {
  local folder
  folder=$(postgres_folder)
  if process_runs "$folder" && postgres_answers "$folder"; then return 0; fi
  postgres_stop
  start_server postgres "$folder"
}

postgres_answers() { "$(postgres_bin)/pg_isready" -q -t 2 -h 127.0.0.1 -p "$(cat "$1/port")"; }

postgres_launch() {
  local folder=$1 user bin port
  user=$(server_user postgres)
  bin=$(postgres_bin)
  postgres_initialise "$folder" "$user" "$bin" || return 1
  postgres_unlock "$folder/cluster/data"
  port=$(remembered_port "$folder/port")
  start_process "$folder" "$user" "$bin/postgres" -D "$folder/cluster/data" -p "$port" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c "fsync=${FILE_RECYCLER_FSYNC:-off}" \
    -c "synchronous_commit=${FILE_RECYCLER_FSYNC:-off}" -c max_connections=300 -c max_prepared_transactions=10
  wait_ready "$folder" 60 postgres_answers "$folder"
}

# The data folder gets its name when it is complete, so a killed initdb leaves nothing that looks like one.
postgres_initialise() {
  local folder=$1 user=$2 bin=$3 cluster=$1/cluster
  if [ -e "$cluster/data/PG_VERSION" ] && postgres_data_fits "$cluster/data" "$bin"; then return 0; fi
  postgres_wipe "$folder"
  private_folder "$user" "$cluster"
  printf 'crm\n' >"$folder/password"
  as_user "$user" "$bin/initdb" -D "$cluster/new" -U crm --pwfile="$folder/password" -A scram-sha-256 \
    --no-sync -E UTF8 --locale=C.UTF-8 >>"$folder/log" 2>&1 </dev/null || return 1
  mv "$cluster/new" "$cluster/data"
}

# Same major version, and owned by the user that is to run it.
postgres_data_fits() {
  [[ $2 == */"$(cat "$1/PG_VERSION")"/bin ]] && [ "$(stat -c %U "$1")" = "$(server_user postgres)" ]
}

# A killed server leaves postmaster.pid. PostgreSQL takes it over, unless its process id has been given to another
# process meanwhile: then the file goes.
postgres_unlock() {
  local pid
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || return 0
  if ! tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "$1"; then
    rm -f "$1/postmaster.pid"
  fi
}

postgres_wipe() { rm -rf "$1/cluster"; }

# INT is PostgreSQL's fast stop (TERM would wait for its clients), QUIT the immediate one.
postgres_stop() { stop_process "$(postgres_folder)" 20 INT QUIT; }
