# shellcheck shell=bash
# Installs what is missing with apt-get, without starting or enabling a service of the system.
# Where nothing is missing it asks nobody and takes no time.

POLICY=/usr/sbin/policy-rc.d
CREATECLUSTER=/etc/postgresql-common/createcluster.conf
NEWTONSOFT_JSON=/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll
OUR_MARK='# file-recycler, while it installs'

# missing_packages NEED…: the Debian packages that are not there, for postgres, rabbitmq, seaweedfs, moto, build, python,
# pgbouncer, mono, packages, fuzz.
missing_packages() {
  local need
  for need in "$@"; do
    case $need in
      postgres) postgres_bin >/dev/null || printf 'postgresql\n' ;;
      rabbitmq) [ -x "$(rabbitmq_program)" ] || printf 'rabbitmq-server\n' ;;
      seaweedfs) [ -x "$(seaweedfs_program)" ] || missing_python ;;
      moto) moto_is_installed || missing_python ;;
      build) missing_build_tools ;;
      python) missing_python ;;
      mono) missing_mono ;;
      pgbouncer) [ -x /usr/sbin/pgbouncer ] || printf 'pgbouncer\n' ;;
      packages) missing_package_tools ;;
      # libFuzzer is C++.
      fuzz) has c++ || printf 'g++\n' ;;
    esac
  done
  has curl || printf '%s\n' curl ca-certificates
  has perl || printf 'perl-base\n'
}

has() { command -v "$1" >/dev/null 2>&1; }

missing_python() {
  python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || printf '%s\n' python3 python3-venv ca-certificates
}

missing_build_tools() {
  has cc || printf '%s\n' gcc libc6-dev
  has make || printf 'make\n'
  # Looks the man pages over.
  has groff || printf 'groff-base\n'
}

# Compiles and runs the example in C#.
missing_mono() {
  has mcs || printf 'mono-mcs\n'
  has mono || printf 'mono-runtime\n'
  [ -e /usr/lib/mono/4.5/System.Net.Http.dll ] || printf 'libmono-system-net-http4.0-cil\n'
  [ -e "$NEWTONSOFT_JSON" ] || printf 'libnewtonsoft-json5.0-cil\n'
}

# What looks at the packages that we make; none of it is needed to make them.
missing_package_tools() {
  has lintian || printf 'lintian\n'
  has umoci || printf 'umoci\n'
  has systemd-analyze || printf 'systemd\n'
}

# ensure_packages NEED…
ensure_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@" | sort -u)
  if [ "${#missing[@]}" -gt 0 ]; then
    say "installing with apt-get: ${missing[*]}"
    locked "$STATE/install.lock" install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages "$@" | sort -u)
    [ "${#missing[@]}" -eq 0 ] || die 2 "still missing after the installation (too old a distribution?): ${missing[*]}"
  fi
  if [[ " $* " == *' seaweedfs '* ]]; then locked "$STATE/install.lock" seaweedfs_install; fi
  if [[ " $* " == *' moto '* ]]; then locked "$STATE/install.lock" moto_install; fi
  if [[ " $* " == *' prometheus '* ]]; then prometheus_install; fi
}

# Cargo comes from rustup, not from a distribution: theirs are too old.
ensure_cargo() {
  has cargo || die 2 "cargo is missing; install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml") or newer from https://rustup.rs"
}

install_packages() {
  local as_root=() log=$STATE/install.log
  has apt-get || die 2 "there is no apt-get here; install these yourself (names as on Debian): $*"
  if ! is_root; then
    if ! has sudo || ! { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
      die 2 "installing needs root: run 'sudo apt-get install $*' and start again"
    fi
    as_root=(sudo)
  fi
  : >"$log"
  # One process does it all, so that what is set for the time of the installation is put back even after a Ctrl-C.
  # shellcheck disable=SC2016 # expanded by the inner shell
  if ! "${as_root[@]}" bash -euo pipefail -c '. "$0"; . "$1/packages.sh"; LOG=$2; shift 2; install_as_root "$@"' \
    "$LIB/common.sh" "$LIB" "$log" "$@"; then
    tail -n 5 "$log" >&2
    die 2 "apt-get could not install: $* (its output is in $log); install these yourself and start again"
  fi
}

install_as_root() {
  local new_units=()
  trap restore_settings EXIT
  exit_on_signals
  forbid_services
  forget_enabled_units
  if [[ " $* " == *' postgresql '* ]]; then
    apt_install postgresql-common
    printf 'create_main_cluster = false %s\n' "$OUR_MARK" >>"$CREATECLUSTER"
  fi
  apt_install "$@"
  disable_new_units
}

apt_install() {
  local command=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -o DPkg::Lock::Timeout=300 -qq -y)
  "${command[@]}" --no-install-recommends install "$@" </dev/null >>"$LOG" 2>&1 && return 0
  # No lists yet, or old ones; or an earlier installation was cut off.
  env DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null >>"$LOG" 2>&1 || true
  "${command[@]}" update </dev/null >>"$LOG" 2>&1 \
    && "${command[@]}" --no-install-recommends install "$@" </dev/null >>"$LOG" 2>&1
}

# Debian's hook by which packages are told not to start their services. A hook that is there already is asked.
forbid_services() {
  if [ -e "$POLICY" ] && ! grep -qF "$OUR_MARK" "$POLICY"; then
    local answer=0
    "$POLICY" rabbitmq-server start >/dev/null 2>&1 || answer=$?
    [ "$answer" -eq 101 ] || die 2 "$POLICY lets packages start services; install the packages yourself"
    return 0
  fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$OUR_MARK" >"$POLICY"
  chmod 755 "$POLICY"
}

# Units that this installation brings do not start with the next boot either; those that were there stay as they are.
SERVICES=(postgresql pgbouncer rabbitmq-server epmd.socket epmd)

forget_enabled_units() {
  local unit
  has systemctl || return 0
  for unit in "${SERVICES[@]}"; do
    systemctl cat "$unit" >/dev/null 2>&1 || new_units+=("$unit")
  done
}

disable_new_units() {
  [ "${#new_units[@]}" -eq 0 ] || systemctl --quiet disable "${new_units[@]}" >>"$LOG" 2>&1 || true
}

restore_settings() {
  if grep -qsF "$OUR_MARK" "$POLICY"; then rm -f "$POLICY"; fi
  if [ -e "$CREATECLUSTER" ]; then sed -i "/$OUR_MARK/d" "$CREATECLUSTER"; fi
}
