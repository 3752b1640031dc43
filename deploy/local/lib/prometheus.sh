# shellcheck shell=bash
# Prometheus and promtool, unpacked from Debian's package and not installed: tests start their own, and no service of the system
# comes with it.

# Kept outside the clone, so that a fresh clone finds them.
prometheus_folder() {
  printf '%s/file-recycler/prometheus\n' "${XDG_CACHE_HOME:-${HOME:-$STATE}/.cache}"
}

prometheus_is_there() {
  [ -x "$(prometheus_folder)/prometheus" ] && [ -x "$(prometheus_folder)/promtool" ]
}

prometheus_install() {
  if prometheus_is_there; then return 0; fi
  mkdir -p "$(prometheus_folder)"
  locked "$(prometheus_folder).lock" prometheus_install_alone
}

prometheus_install_alone() {
  local folder unpacked
  if prometheus_is_there; then return 0; fi
  folder=$(prometheus_folder)
  unpacked=$(mktemp -d)
  # apt fetches as a user of its own, who must be able to write there.
  chmod 755 "$unpacked"
  if ! prometheus_unpack "$unpacked" >"$STATE/prometheus.log" 2>&1; then
    rm -rf "$unpacked"
    die 2 "Debian's package prometheus could not be fetched and unpacked (its output is in $STATE/prometheus.log): run 'apt-get update' and start again"
  fi
  mv "$unpacked/usr/bin/promtool" "$unpacked/usr/bin/prometheus" "$folder/"
  rm -rf "$unpacked"
}

# Fetching needs no rights; lists that are missing or old do.
prometheus_unpack() {
  cd "$1" || return
  if ! apt-get download prometheus; then
    if is_root; then apt-get -qq update; else sudo -n apt-get -qq update; fi || return
    apt-get download prometheus || return
  fi
  dpkg-deb -x prometheus_*.deb .
}
