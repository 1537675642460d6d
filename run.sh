#!/usr/bin/env bash
# Sets everything up on the first run, then starts the brain in the foreground; Ctrl-C or SIGTERM stops all of it.
#
#   ./run.sh                start (address and data folder: QZBRAIN_PORT, QZBRAIN_DATA; all settings: docs/settings.md)
#   ./run.sh --setup-only   only make the environment
set -euo pipefail

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/scripts/environment.sh"

case "${1:-}" in
    "" | --setup-only) ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$ROOT/run.sh"; exit 0 ;;
    *) printf 'qzbrain: 不认识的参数 %s · unknown argument %s\n用法 · usage: ./run.sh [--setup-only]\n' "$1" "$1" >&2; exit 2 ;;
esac

ensure_environment "$ROOT/.venv" "$ROOT/requirements.txt"
if [ "${1:-}" = --setup-only ]; then
    ensure_embedder again || true
    exit 0
fi
ensure_embedder || true
exec "$ROOT/.venv/bin/python" "$ROOT/main.py"
