# shellcheck shell=bash
# A private RabbitMQ node in $INSTANCE/rabbitmq, with an epmd of its own: loopback only, user and password `recycler`.

rabbitmq_folder() { printf '%s\n' "$INSTANCE/rabbitmq"; }
rabbitmq_url() { printf 'amqp://recycler:recycler@127.0.0.1:%s/%%2f\n' "$(cat "$INSTANCE/rabbitmq/port")"; }

# The program itself: the wrapper in /usr/sbin insists on the system's user.
rabbitmq_program() { printf '/usr/lib/rabbitmq/bin/rabbitmq-server\n'; }

rabbitmq_start() {
  local folder
  folder=$(rabbitmq_folder)
  if process_runs "$folder" && process_runs "$folder/epmd" && rabbitmq_answers "$folder"; then return 0; fi
  rabbitmq_stop
  start_server rabbitmq "$folder"
}

# Sends AMQP's protocol header; the first octet of Connection.Start is 1. (rabbitmqctl would take a second.)
rabbitmq_answers() {
  local port octet
  port=$(cat "$1/port")
  # shellcheck disable=SC2016 # expanded by the inner shell
  octet=$(timeout 3 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "AMQP\0\0\11\1" >&3 && head -c 1 <&3 | od -An -tu1' - "$port" 2>/dev/null) \
    || return 1
  [ "${octet// /}" = 1 ]
}

rabbitmq_launch() {
  local folder=$1 user node=$1/node epmd_port
  user=$(server_user rabbitmq)
  rabbitmq_configure "$folder" "$user"
  epmd_port=$(cat "$folder/epmd_port")
  start_process "$folder/epmd" "$user" epmd -port "$epmd_port" -address 127.0.0.1
  # The script must become the server, so that the noted process is the right one (RUNNING_UNDER_SYSTEMD).
  start_process "$folder" "$user" env -i -C "$node" PATH="$PATH" LANG=C.UTF-8 HOME="$node" RUNNING_UNDER_SYSTEMD=true \
    ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP_SECONDS=0 \
    RABBITMQ_NODENAME=file-recycler@localhost RABBITMQ_DIST_PORT="$(cat "$folder/dist_port")" \
    RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$folder/advanced.config" \
    RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins" \
    RABBITMQ_MNESIA_BASE="$node/data" RABBITMQ_LOG_BASE="$node/log" RABBITMQ_GENERATED_CONFIG_DIR="$node/config" \
    RABBITMQ_PID_FILE="$node/pid" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none' \
    "$(rabbitmq_program)"
  wait_ready "$folder" 120 rabbitmq_answers "$folder"
}

rabbitmq_configure() {
  local folder=$1 user=$2 port
  port=$(remembered_port "$folder/port")
  remembered_port "$folder/epmd_port" >/dev/null
  remembered_port "$folder/dist_port" >/dev/null
  rabbitmq_settings "$port" >"$folder/rabbitmq.conf"
  # An at-least-once dead letter that found no queue is tried again after this many milliseconds (default 180,000).
  printf '[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].\n' >"$folder/advanced.config"
  printf '[].\n' >"$folder/enabled_plugins"
  if [ -e "$folder/node" ] && [ "$(stat -c %U "$folder/node")" != "$user" ]; then rabbitmq_wipe "$folder"; fi
  private_folder "$user" "$folder/node"
  if ! [ -s "$folder/node/.erlang.cookie" ]; then rabbitmq_cookie "$folder/node/.erlang.cookie" "$user"; fi
}

rabbitmq_settings() {
  cat <<END
listeners.tcp.local = 127.0.0.1:$1
default_vhost = /
default_user = recycler
default_pass = recycler
loopback_users = none
END
}

rabbitmq_cookie() {
  od -An -N 16 -tx1 /dev/urandom | tr -d ' \n' >"$1"
  chmod 400 "$1"
  if is_root; then chown "$2:$(id -gn "$2")" "$1"; fi
}

rabbitmq_wipe() { rm -rf "$1/node"; }

rabbitmq_stop() {
  local folder
  folder=$(rabbitmq_folder)
  stop_process "$folder" 30 TERM
  stop_process "$folder/epmd" 5 TERM
}
