#!/bin/bash
# fetch_rsyslog_source.sh UPSTREAM-VERSION SUITE FOLDER
# Puts rsyslog's upstream source, as Debian's SUITE holds it, into FOLDER: it has the headers that no package ships, and the testbench.
# FOLDER appears complete or not at all; when it exists already, nothing is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./apt_aside.sh

[ $# -eq 3 ] || fail "usage: fetch_rsyslog_source.sh UPSTREAM-VERSION SUITE FOLDER"
upstream=$1
suite=$2
folder=$(realpath -m "$3")
[ ! -d "$folder" ] || exit 0

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.part.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Every revision of one upstream version shares its source archive, and an archive may have dropped the revision that an index still
# names. So all places that can hold one are asked, and each revision is tried until one can be fetched.
apt_aside_init "$work/apt"
try_suite() {
  : >"$aside/etc/sources.list"
  apt_aside_source deb-src "$1" "$2"
  apt_aside update 2>>"$work/said" || return 1
  local version
  for version in $(apt_aside_cache showsrc --only-source rsyslog 2>/dev/null | awk '$1 == "Version:" { print $2 }' | sort -ruV); do
    case $version in "$upstream"[.-]*) ;; *) continue ;; esac
    # Without --download-only apt would want dpkg-dev, only to add Debian's patches, which are not wanted.
    if (cd "$work" && apt_aside --download-only source "rsyslog=$version" 2>>"$work/said"); then
      return 0
    fi
  done
  return 1
}
debian=$(debian_site)
security=$(security_site)
: >"$work/said"
try_suite "$debian" "$suite" ||
  try_suite "$debian" "$suite-updates" ||
  try_suite "$debian" "$suite-proposed-updates" ||
  { [ -n "$security" ] && try_suite "$security" "$suite-security"; } || {
  cat "$work/said" >&2
  fail "the source package of rsyslog $upstream cannot be fetched from $suite; check the machine's network and apt configuration"
}

mkdir "$work/tree"
tar --extract --file "$(find "$work" -maxdepth 1 -name 'rsyslog_*.orig.tar.*' ! -name '*.asc' | head -n 1)" \
  --directory "$work/tree" --strip-components 1 --no-same-owner
[ -f "$work/tree/runtime/rsyslog.h" ] || fail "the source archive of rsyslog $upstream has no runtime/rsyslog.h; its layout has changed"
chmod 755 "$work/tree"
mv -T "$work/tree" "$folder"
