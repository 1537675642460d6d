#!/bin/sh
# Starts the Celery worker in the foreground: the manual's step 8. Ctrl-C or SIGTERM stops it; jobs under way are given back.
#
#   sh run_celery.sh [ARGUMENTS OF "celery worker"]      for example: sh run_celery.sh --loglevel INFO
#
# It needs REDIS_HOST, in the environment or in config.toml. `python main.py` starts a worker of its own; this one then waits for the data
# folder and takes over when that one ends, or, where a search server is configured, shares the work.
set -eu

case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
ROOT=$(cd -P "$here" && pwd)

say() { printf 'qzbrain: %s\nqzbrain: %s\n' "$1" "$2" >&2; }

# The environment that run.sh makes; else the one that is active, if it has what is needed; else run.sh makes it now.
if [ -x "$ROOT/.venv/bin/python" ]; then
    python=$ROOT/.venv/bin/python
elif python=$(command -v python || command -v python3) && PYTHONPATH=$ROOT "$python" -c 'import qzbrain.settings, celery, redis, typer' 2>/dev/null; then
    :
elif command -v bash >/dev/null 2>&1 && bash "$ROOT/run.sh" --setup-only; then
    python=$ROOT/.venv/bin/python
else
    say "没有可用的 Python 环境。请先运行 ./run.sh --setup-only，或激活已安装依赖（requirements.txt）的环境。" \
        "There is no usable Python environment. Run ./run.sh --setup-only first, or activate one with the packages of requirements.txt."
    exit 1
fi

PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
exec "$python" -m qzbrain.cli worker --celery "$@"
