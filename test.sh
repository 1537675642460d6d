#!/usr/bin/env bash
# Sets everything up and runs all tests and checks.
#
#   ./test.sh                        ruff, mypy, import-linter, pytest
#   ./test.sh tests/docs -k readme   pytest alone, with these arguments
#   ./test.sh --offline [ARGUMENTS]  pytest alone, where there is no network
#   ./test.sh --checks-only          without pytest
#   ./test.sh --setup-only           only make .venv-test
#
# The tests have an environment of their own, .venv-test: what users run (.venv) stays what requirements.txt says.
# Browser tests need Chromium and a Chinese font. As root on Debian or Ubuntu they are installed; elsewhere, when they are missing,
# browser tests are skipped with a notice, or, with CI=true, the run fails. The same holds for the real servers that tests marked
# `servers` start by themselves: MariaDB, Redis, nginx, (Java, Maven) Elasticsearch, OpenSearch and Neo4j, and a Docker engine (as root).
#
# As root on Linux the whole run (and --offline) is without a network, once everything is set up: whatever tries to leave the machine, by name or
# by address, is seen, told, and fails the run (tests/offline/silence.py). Tests marked `network` run after it, with one.
set -euo pipefail

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/scripts/environment.sh"
cd "$ROOT"

has_browser() {
    { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1
}

has_chinese_font() {
    command -v fc-list >/dev/null 2>&1 && [ -n "$(fc-list :lang=zh family 2>/dev/null)" ]
}

ensure_browser() {
    if ! { has_browser && has_chinese_font; } && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "正在安装 Chromium 与中文字体（约 1 分钟）…" "installing Chromium and a Chinese font (about a minute) …"
        LOG=$TOOLS/browser.log
        mkdir -p "$TOOLS"
        : >"$LOG"
        export DEBIAN_FRONTEND=noninteractive
        if ! { step apt-get update -q && step apt-get install -y -q --no-install-recommends chromium fontconfig fonts-noto-cjk; }; then
            tail -n 5 "$LOG" >&2
        fi
    fi
    has_browser && return 0
    if [ "${CI:-}" = true ]; then
        die "没有 Chromium，浏览器测试无法运行；CI 中不允许跳过。" "There is no Chromium, so browser tests cannot run; in CI they must not be skipped."
    fi
    say "注意：没有 Chromium，浏览器测试将被跳过（安装：apt-get install chromium fonts-noto-cjk）" \
        "NOTICE: there is no Chromium, browser tests will be skipped (to install: apt-get install chromium fonts-noto-cjk)"
}

SERVER_PROGRAMS="mariadbd redis-server nginx slapd java mvn ip mmdebstrap dockerd iptables"
SERVER_PACKAGES="mariadb-server redis-server nginx-light slapd openjdk-17-jdk-headless maven iproute2 mmdebstrap docker.io iptables"

missing_servers() {
    local program
    for program in $SERVER_PROGRAMS; do
        PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$program" >/dev/null 2>&1 || printf '%s ' "$program"
    done
}

fetch_servers() {  # 220 MB from Maven, 150 MB from Debian, once: no test should have to wait for it. A test that finds them missing says why.
    LOG=$TOOLS/servers.log
    mkdir -p "$TOOLS"
    step "$BIN/python" -m tests.servers.search_distribution || tail -n 5 "$LOG" >&2
    step "$BIN/python" -m tests.servers.neo4j_distribution || tail -n 5 "$LOG" >&2
    [ "$(id -u)" != 0 ] || step "$BIN/python" -m tests.servers.docker_engine || tail -n 5 "$LOG" >&2
}

ensure_servers() {
    if [ -n "$(missing_servers)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "正在安装测试所需的服务程序（约 1 分钟）…" "installing the servers that tests start (about a minute) …"
        LOG=$TOOLS/servers.log
        mkdir -p "$TOOLS"
        : >"$LOG"
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        # shellcheck disable=SC2086  # a list of words
        if ! { step apt-get update -q && step apt-get install -y -q --no-install-recommends $SERVER_PACKAGES; }; then
            tail -n 5 "$LOG" >&2
        fi
    fi
    local missing
    missing=$(missing_servers)
    [ -n "$missing" ] || { fetch_servers; return 0; }
    if [ "${CI:-}" = true ]; then
        die "缺少 ${missing}，真实服务的测试无法运行；CI 中不允许跳过。" "${missing}not installed, so tests on real servers cannot run; in CI they must not be skipped."
    fi
    say "注意：缺少 ${missing}，相应的测试将被跳过（安装：apt-get install $SERVER_PACKAGES）" \
        "NOTICE: ${missing}not installed, tests on them will be skipped (to install: apt-get install $SERVER_PACKAGES)"
}

can_leave_network() {
    [ "$(id -u)" = 0 ] && "$BIN/python" -m tests.offline.silence -- true
}

without_network() {  # pytest's arguments
    "$BIN/python" -m tests.offline.silence -- "$BIN/python" -m pytest -p tests.offline.watch -m "not network" "$@"
}

everything() {
    if can_leave_network; then
        without_network -q -n 2 --dist loadfile --durations 40
        "$BIN/python" -m pytest -q -m network -n 3 --dist loadfile
    else    # in CI, too: what runs there may not be allowed to make namespaces
        say "注意：无法离开网络（需要 root、命名空间、/dev/net/tun、iproute2），测试在有网络的情况下运行，没有对外连接未得到证明。" \
            "NOTICE: the network cannot be left (that takes root, namespaces, /dev/net/tun, iproute2); the tests run with one, and silence is not proved."
        "$BIN/python" -m pytest -q -n 2 --dist loadfile
    fi
}

checks() {
    "$BIN/ruff" check .
    "$BIN/mypy"
    "$BIN/lint-imports"
}

[ "${1:-}" = --checks-only ] || begin ensure_embedder again
ensure_environment "$ROOT/.venv-test" "$ROOT/requirements-test.txt"
BIN=$ROOT/.venv-test/bin
case "${1:-}" in
    --checks-only) ;;
    *)
        ocr=0
        ensure_ocr install || ocr=1
        if ! finish && [ "${CI:-}" = true ]; then
            die "没有内置向量模型，语义检索的测试无法运行；CI 中不允许跳过。" "The built-in embedder is not there, so tests of semantic search cannot run; in CI they must not be skipped."
        fi
        if [ "$ocr" = 1 ]; then
            if [ "${CI:-}" = true ]; then
                die "没有文字识别环境，扫描件的测试无法运行；CI 中不允许跳过。" "The OCR environment is not there, so tests of scans cannot run; in CI they must not be skipped."
            fi
            say "注意：没有文字识别环境，扫描件的测试将被跳过。" "NOTICE: there is no OCR environment, tests of scans will be skipped."
        fi
        tidy
        ;;
esac
export PATH=$BIN:$PATH

case "${1:-}" in
    --setup-only) exit 0 ;;
    --checks-only) checks; exit 0 ;;
    "")
        checks
        ensure_browser
        ensure_servers
        everything
        ;;
    --offline)
        has_browser || ensure_browser
        [ -z "$(missing_servers)" ] || ensure_servers
        shift
        without_network "$@"
        ;;
    *)
        has_browser || ensure_browser
        [ -z "$(missing_servers)" ] || ensure_servers
        exec "$BIN/python" -m pytest "$@"
        ;;
esac
