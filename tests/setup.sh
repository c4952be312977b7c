#!/bin/bash
# setup.sh [build] [headers] [servers] [testbench] [lint]
# Makes a Debian 12 or 13 able to build and test the plugin. Without an argument: all of
#   build      C toolchain, libclang, rsyslog's development packages and its 8.2302 source: what `make` needs
#   headers    rsyslog's 8.2504 source, to compile the shim against newer headers too
#   servers    rsyslog, redis-server and jq of this Debian; rsyslog and Valkey of trixie and of sid,
#              and Redis of trixie, below target/host/
#   testbench  what rsyslog's own testbench needs to be built and run: a C toolchain, valgrind, redis-server
#   lint       shellcheck
# Packages are installed with apt-get (as root or through sudo); all else goes to target/host/, or to the folder that the environment's
# OMVALKEYAUDIT_HOST_DIR names. What is there already is not done again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./apt_aside.sh

rust_wanted=1.89
valkey_wanted=9.1
host=$(realpath -m "${OMVALKEYAUDIT_HOST_DIR:-../target/host}")

packages=()
fetches=()
add() {
  case $1 in
    build)
      # zlib's header is included by rsyslog's; libclang is what bindgen reads headers with.
      packages+=(gcc make libc6-dev pkg-config libclang-dev libestr-dev libfastjson-dev zlib1g-dev)
      fetches+=(source_8_2302)
      rust_needed=yes
      ;;
    headers)
      packages+=(libestr-dev libfastjson-dev zlib1g-dev)
      fetches+=(source_8_2504)
      ;;
    servers)
      # jq stands in the commands of docs/reading.md.
      packages+=(rsyslog redis-server jq)
      fetches+=(suite_trixie redis_trixie suite_sid)
      ;;
    testbench)
      packages+=(gcc make libc6-dev pkg-config libestr-dev libfastjson-dev zlib1g-dev procps valgrind redis-server)
      fetches+=(source_8_2302)
      ;;
    lint)
      packages+=(shellcheck)
      ;;
    *) fail "there is no part named $1; the parts are build, headers, servers, testbench and lint" ;;
  esac
}

check_rust() {
  local have
  command -v cargo >/dev/null ||
    fail "cargo is missing; install Rust $rust_wanted or later with rustup, Debian's own is too old"
  have=$(cargo --version | awk '{ print $2 }')
  [ "$(printf '%s\n' "$rust_wanted" "$have" | sort -V | head -n 1)" = "$rust_wanted" ] ||
    fail "cargo is $have, at least $rust_wanted is needed; update it with rustup"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "root is needed to run: $*; run setup.sh as root or install sudo"
  fi
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

# Debian starts a service when its package is installed, unless /usr/sbin/policy-rc.d says no. Where the machine has no such policy, one
# stands there for the time of the installation. The services that came new are also disabled, so that the next boot does not
# start them either: tests start their own servers.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
remove_policy() {
  [ "$policy_is_ours" = no ] || as_root rm -f "$policy"
  policy_is_ours=no
}
trap remove_policy EXIT

install_packages() {
  local missing=() package service
  for package in $(printf '%s\n' "$@" | sort -u); do
    dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing: ${missing[*]}"
  apt_get update || fail "apt-get update failed; check the machine's network and /etc/apt"
  if [ ! -e "$policy" ]; then
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  apt_get install --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install ${missing[*]}; see its words above"
  remove_policy
  command -v systemctl >/dev/null || return 0
  for service in rsyslog redis-server; do
    case " ${missing[*]} " in
      *" $service "*)
        as_root systemctl --quiet disable "$service" ||
          echo "setup.sh: $service could not be disabled and may start at the next boot; try systemctl disable $service" >&2
        ;;
    esac
  done
}

source_8_2302() { ./fetch_rsyslog_source.sh 8.2302 bookworm "$host/rsyslog-8.2302"; }
source_8_2504() { ./fetch_rsyslog_source.sh 8.2504 trixie "$host/rsyslog-8.2504"; }
suite_trixie() { ./fetch_suite.sh trixie "$host/trixie" rsyslog rsyslog-hiredis valkey-server valkey-tools; }
# In a folder of its own: what an earlier set-up has fetched stays as it is.
redis_trixie() { ./fetch_suite.sh trixie "$host/trixie-redis" redis-server; }

# The audit source is a module for the command events that Valkey has since 9.1, which only sid packages. Valgrind runs that server, and
# needs the symbols of its loader.
suite_sid() {
  ./fetch_suite.sh sid "$host/sid" rsyslog rsyslog-hiredis valkey-server valkey-tools libc6-dbg
  local have
  have=$(awk '$1 == "valkey-server" { print $2 }' "$host/sid/packages")
  dpkg --compare-versions "$have" ge "$valkey_wanted" ||
    fail "sid has valkey-server $have, at least $valkey_wanted is needed; remove $host/sid and try again when sid has it"
}

rust_needed=no
[ $# -gt 0 ] || set -- build headers servers testbench lint
for part in "$@"; do add "$part"; done

install_packages "${packages[@]}"
[ "$rust_needed" = no ] || check_rust

# Two runs at the same time must not fetch the same thing twice.
mkdir -p "$host"
exec 9>"$host/.lock"
flock 9
for fetch in $(printf '%s\n' ${fetches[@]+"${fetches[@]}"} | sort -u); do
  "$fetch"
done
