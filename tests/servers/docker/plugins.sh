#!/usr/bin/env bash
# plugins.sh FOLDER: Docker's plugins compose and buildx, as programs in FOLDER. Debian 12 has none: they come from the next release, through apt folders
# of their own, so that the machine's packages and lists stay as they are.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
mkdir -p "$T"/{sources,debs,lists/partial,cache/archives/partial}
: >"$T/status"
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    sed -E 's/\bbookworm/trixie/g' /etc/apt/sources.list.d/debian.sources >"$T/sources/next.sources"
else
    printf 'deb http://deb.debian.org/debian trixie main\n' >"$T/sources/next.list"
fi
own=(-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$T/sources" -o Dir::State::lists="$T/lists" -o Dir::Cache="$T/cache"
    -o Dir::State::status="$T/status" -o APT::Sandbox::User=root)
apt-get "${own[@]}" update -qq
(cd "$T/debs" && apt-get "${own[@]}" download -qq docker-compose docker-buildx)
for package in "$T"/debs/*.deb; do dpkg-deb -x "$package" "$T/x"; done
install -D -m 755 -t "$1" "$T"/x/usr/libexec/docker/cli-plugins/*
