# shellcheck shell=bash
# Sourced by the fetch scripts: an apt that works beside the machine's own. It has its own sources, lists, cache and (empty)
# package status, so that any suite's packages can be fetched without installing them and without a trace in /etc/apt.
# What it takes from the machine's apt: the archive it is fetched from, proxy settings and keyrings.

# fail SENTENCE: says what went wrong and what to do, and ends the script.
fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

# apt_site RELEASE: the archive that the machine's own apt uses for RELEASE; nothing when it uses none.
apt_site() {
  # shellcheck disable=SC2016 # the variables are apt's, not the shell's
  apt-get --no-release-info indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
    awk -v release="$1" '$2 == release && !done { print $1; done = 1 }'
}

# host_codename: the Debian release this machine runs, e.g. bookworm.
host_codename() {
  local codename
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  [ -n "$codename" ] || fail "/etc/os-release names no VERSION_CODENAME; this script knows Debian releases only"
  printf '%s' "$codename"
}

# debian_site: the machine's Debian archive, which carries every supported suite.
debian_site() {
  local codename site name
  codename=$(host_codename)
  for name in "$codename" stable oldstable testing unstable sid; do
    site=$(apt_site "$name")
    [ -z "$site" ] || break
  done
  [ -n "$site" ] || fail "the machine's apt configuration has no Debian archive for $codename; add one to /etc/apt/sources.list"
  printf '%s' "$site"
}

# security_site: the machine's archive for security updates; nothing when it has none.
security_site() {
  local codename
  codename=$(host_codename)
  apt_site "$codename-security"
}

# apt_aside_init FOLDER: prepares the apt state in FOLDER.
apt_aside_init() {
  aside=$1
  mkdir -p "$aside"/lists/partial "$aside"/cache/archives/partial "$aside"/etc/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d}
  : >"$aside/status"
  : >"$aside/etc/sources.list"
  local keyring
  for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp} /etc/apt/trusted.gpg; do
    [ ! -r "$keyring" ] || break
  done
  [ -r "$keyring" ] || fail "Debian's keyring is missing; install the package debian-archive-keyring"
  aside_keyring=$keyring
  # apt reads this file after the machine's configuration, so it can take back what would reach outside of the folder: hooks that
  # run after an update or a download. A mirror's index of a moving suite may be past its date by hours.
  cat >"$aside/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
Dir::Etc "$aside/etc";
Dir::Etc::sourcelist "$aside/etc/sources.list";
Dir::Etc::sourceparts "$aside/etc/sources.list.d";
Dir::State "$aside";
Dir::State::lists "$aside/lists";
Dir::State::status "$aside/status";
Dir::Cache "$aside/cache";
Dir::Cache::archives "$aside/cache/archives";
Dir::Log "$aside";
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Keep-Downloaded-Packages "true";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
}

# apt_aside_source KIND SITE SUITE: adds a suite; KIND is deb or deb-src. Only the package index is fetched, because hooks of other
# tools (apt-file and the like) would add hundreds of megabytes.
apt_aside_source() {
  local target=Packages
  [ "$1" = deb ] || target=Sources
  printf '%s [arch=%s target=%s signed-by=%s] %s %s main\n' \
    "$1" "$(dpkg --print-architecture)" "$target" "$aside_keyring" "$2" "$3" >>"$aside/etc/sources.list"
}

# apt_aside COMMAND...: apt-get with that state. Quiet; on failure what it said goes to standard error.
apt_aside() {
  if ! apt-get -c "$aside/apt.conf" -q -y "$@" >"$aside/output" 2>&1; then
    tail -n 20 "$aside/output" >&2
    return 1
  fi
}

# apt_aside_cache COMMAND...: apt-cache with that state.
apt_aside_cache() {
  apt-cache -c "$aside/apt.conf" "$@"
}
