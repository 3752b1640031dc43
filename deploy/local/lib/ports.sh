# shellcheck shell=bash
# Free ports on 127.0.0.1, below the range that the kernel gives to clients.

# port_is_free PORT: no socket listens there, on any address.
port_is_free() {
  local hex
  printf -v hex ':%04X' "$1"
  ! awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

random_free_port() {
  local port try
  for try in {1..200}; do
    port=$((20000 + (RANDOM * 32768 + RANDOM + try) % 12000))
    if port_is_free "$port"; then
      printf '%s\n' "$port"
      return 0
    fi
  done
  die 1 "found no free port between 20000 and 32000"
}

# remembered_port FILE: the port noted there while it is free, otherwise another one, noted.
# Ask only while the own server is down: a busy port is then somebody else's.
remembered_port() {
  local file=$1 port
  port=$(cat "$file" 2>/dev/null) || port=
  if ! [[ $port =~ ^[0-9]+$ ]] || ! port_is_free "$port"; then
    port=$(random_free_port)
    printf '%s\n' "$port" >"$file"
  fi
  printf '%s\n' "$port"
}
