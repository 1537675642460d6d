#!/usr/bin/env bash
# Sets everything up on the first run, then starts the brain in the foreground; Ctrl-C or SIGTERM stops all of it.
#
#   ./run.sh                start (address and data folder: QZBRAIN_PORT, QZBRAIN_DATA; all settings: docs/settings.md)
#   ./run.sh --setup-only   only make the environment
#   ./run.sh --with-ocr     install OCR for scans and images, too (alone or with --setup-only; once is enough)
set -euo pipefail

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/scripts/environment.sh"

SETUP_ONLY='' WITH_OCR=''
for argument in "$@"; do
    case "$argument" in
        --setup-only) SETUP_ONLY=again ;;
        --with-ocr) WITH_OCR=install ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$ROOT/run.sh"; exit 0 ;;
        *)
            printf 'qzbrain: 不认识的参数 %s · unknown argument %s\n用法 · usage: ./run.sh [--setup-only] [--with-ocr]\n' "$argument" "$argument" >&2
            exit 2
            ;;
    esac
done

begin ensure_embedder $SETUP_ONLY
ensure_environment "$ROOT/.venv" "$ROOT/requirements.txt"
ocr=0
ensure_ocr $WITH_OCR || ocr=1
finish || true
tidy
if [ -n "$SETUP_ONLY" ]; then
    [ -z "$WITH_OCR" ] || exit "$ocr"
    exit 0
fi
exec "$ROOT/.venv/bin/python" "$ROOT/main.py"
