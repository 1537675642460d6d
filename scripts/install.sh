#!/bin/sh
# Installs this offline bundle; no network is used and root is not needed. Run it where the bundle was unpacked:
#
#   sh install.sh [--to DIR]            bare metal, into DIR (/opt/qzbrain as root, else ~/qzbrain)
#   sh install.sh --upgrade [--to DIR]  the same over an older version: data stays, and so does the old version if the new one does not come up
#   sh install.sh --docker [--to DIR]   in containers; further arguments are those of deploy.sh
#   sh install.sh --verify-only         only checks the bundle
#   sh install.sh --help                all options
#
# Needs coreutils, and Python 3.11 to 3.13 unless the bundle holds one (folder python). Exit codes: 0 done, 1 not possible (nothing is left half
# done), 2 wrong usage. All of it is in functions, so that a script that was cut short does nothing.
set -eu

die() {
    printf 'qzbrain: %s\nqzbrain: %s\n' "$1" "$2" >&2
    exit 1
}

# What is about to run is checked with sha256sum before it runs; it then checks all the rest, and the signature.
check_program() {
    [ -f SHA256SUMS ] && [ -f bundle.json ] || die "这里没有完整的离线包：缺少 SHA256SUMS 或 bundle.json。请重新解压。" \
        "There is no whole bundle here: SHA256SUMS or bundle.json is missing. Unpack it again."
    if ! said=$(while read -r sum name; do
        case $name in install.sh | bundle.json | bin/* | python/* | source/qzbrain/*) printf '%s  %s\n' "$sum" "$name" ;; esac
    done <SHA256SUMS | sha256sum --check --strict --quiet - 2>&1); then
        die "离线包已损坏，未安装：$said
qzbrain: 请重新复制离线包并再次解压。" "The bundle is damaged, nothing was installed (see above). Copy the bundle again, and unpack it anew."
    fi
    for name in install.sh bundle.json source/qzbrain/errors.py source/qzbrain/ops/bundle/__main__.py; do
        while read -r _ listed; do [ "$listed" != "$name" ] || continue 2; done <SHA256SUMS
        die "离线包已损坏，未安装：SHA256SUMS 中没有 $name。" "The bundle is damaged, nothing was installed: $name is not in SHA256SUMS."
    done
}

# fits PYTHON: it is one of the versions that the bundle is for, with all of the standard library that is needed
fits() {
    "$1" -I -c 'import ctypes, json, sqlite3, ssl, sys, zlib
sys.exit("%d.%d" % sys.version_info[:2] not in json.load(open("bundle.json", encoding="utf-8"))["pythons"])' 2>/dev/null
}

# The bundle's own Python, else the first here that fits; else any that can at least say why it does not.
find_python() {
    chmod +x python/bin/python3.* 2>/dev/null || true
    for candidate in python/bin/python3.?? python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null 2>&1 && fits "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -I -c 'import sys, ctypes, sqlite3; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

main() {
    QZBRAIN_FROM=$(pwd)
    export QZBRAIN_FROM
    case $0 in */*) cd "${0%/*}" ;; esac
    here=$(pwd -P)
    command -v sha256sum >/dev/null 2>&1 || die "没有 sha256sum（coreutils），无法核对离线包。" "There is no sha256sum (coreutils) to check the bundle with."
    check_program
    python=$(find_python) || die "没有可用的 Python，离线包中也没有。请安装 bundle.json 中 pythons 所列的版本之一（例如 apt-get install python3），或在联网的机器上用 qzbrain bundle --python auto 重新制作。" \
        "There is no usable Python here, nor in the bundle. Install a version that bundle.json lists under pythons (for example: apt-get install python3), or make a bundle with: qzbrain bundle --python auto"
    case $python in /*) ;; *) python=$here/$python ;; esac
    cd source
    exec "$python" -B -E -s -m qzbrain.ops.bundle --bundle "$here" "$@"
}

main "$@"
