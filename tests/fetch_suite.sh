#!/bin/bash
# fetch_suite.sh SUITE FOLDER PACKAGE...
# Lays out packages of another Debian suite, with all they depend on, in FOLDER/root and makes FOLDER/bin/<program>, wrappers that run
# the programs with that suite's own loader and libraries. FOLDER/packages lists what it holds. Nothing is installed.
# RUN_UNDER in the environment of a wrapper is a program, with its options, that runs the loader: valgrind for instance.
# FOLDER appears complete or not at all. When it is there already and holds the packages, nothing is done; an older one that lacks some
# is made anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./apt_aside.sh

[ $# -ge 3 ] || fail "usage: fetch_suite.sh SUITE FOLDER PACKAGE..."
suite=$1
folder=$(realpath -m "$2")
shift 2
has_all() {
  local package
  for package in "$@"; do
    grep -q "^$package " "$folder/packages" || return 1
  done
}
if [ -d "$folder" ] && has_all "$@"; then exit 0; fi

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.part.XXXXXX")
trap 'rm -rf "$work"' EXIT

apt_aside_init "$work/apt"
apt_aside_source deb "$(debian_site)" "$suite"
apt_aside update || fail "the package index of $suite cannot be fetched; check the machine's network and apt configuration"
apt_aside --download-only install "$@" ||
  fail "packages of $suite cannot be fetched ($*); see apt's words above, they may be missing in $suite at the moment"

mkdir -p "$work/whole/root" "$work/whole/bin"
for package in "$work"/apt/cache/archives/*.deb; do
  dpkg-deb --extract "$package" "$work/whole/root"
  dpkg-deb --show --showformat "\${Package} \${Version}\n" "$package" >>"$work/whole/packages"
done

# The loader's name ends with its architecture; suites put it below /lib, /lib64 or their twins in /usr.
loader=$(cd "$work/whole/root" && find . -name 'ld-linux*.so.*' -print | sort | head -n 1)
[ -n "$loader" ] || fail "the packages of $suite hold no dynamic loader, so their programs cannot be run beside the machine's own"
triplet=$(basename "$(dirname "$(cd "$work/whole/root" && find . -name libc.so.6 -print | head -n 1)")")

# A wrapper finds its tree from its own place, so that the folder can be moved. The program's path is passed as it is called, not
# resolved: valkey-server is reached by several names and looks at the one it was called by.
for program in "$work"/whole/root/usr/bin/{valkey,redis}-* "$work"/whole/root/usr/sbin/rsyslogd; do
  [ -x "$program" ] || continue
  wrapper=$work/whole/bin/$(basename "$program")
  cat >"$wrapper" <<WRAPPER
#!/bin/sh
root=\$(cd "\${0%/*}/../root" && pwd) || exit 127
exec \${RUN_UNDER-} "\$root/${loader#./}" --library-path "\$root/usr/lib/$triplet:\$root/usr/lib/$triplet/systemd:\$root/lib/$triplet" \\
  "\$root/${program#"$work"/whole/root/}" "\$@"
WRAPPER
  chmod +x "$wrapper"
done

# Debuggers look for a library's symbols beside it; valgrind does not start without the loader's.
if [ -d "$work/whole/root/usr/lib/debug/.build-id" ]; then
  mkdir "$work/whole/root/usr/lib/$triplet/.debug"
  (cd "$work/whole/root/usr/lib/$triplet/.debug" && ln -s ../../debug/.build-id/*/*.debug .)
fi

chmod 755 "$work/whole"
[ ! -d "$folder" ] || mv -T "$folder" "$work/old"
mv -T "$work/whole" "$folder"
