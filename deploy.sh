#!/bin/sh
# One-click deployment in containers: the manual's step 9 (docs/docker.md). Can be run again at any time: it brings up what is not up.
#
#   sh deploy.sh [--port N] [--bind ADDRESS] [--with PROFILE,…] [--without PROFILE,…]
#       checks, makes secrets, builds or pulls images, starts everything, waits until it is healthy, prints the administrator's link
#   sh deploy.sh --upgrade              builds the images of this version anew and starts what has changed; data stays, and the old version
#                                       comes back when the new one does not come up
#   sh deploy.sh --offline IMAGES.tar   takes images from a file; nothing is built or pulled
#   sh deploy.sh --save IMAGES.tar      writes all images of this deployment into such a file
#   sh deploy.sh --restart              the same, and starts the brain anew: after a change of deploy/config/config.toml
#   sh deploy.sh --down                 stops and removes the containers; data stays
#   sh deploy.sh --help
#
# Profiles: search (Elasticsearch), local (embedding model on the CPU), chat (a GGUF model on the CPU), gpu and gpu-embedding (vLLM on NVIDIA GPUs).
# What was chosen is kept in deploy/.env. QZBRAIN_STATE: another folder for .env, secrets, config and tls; COMPOSE_PROJECT_NAME: another name
# than qzbrain, for a second deployment on one host. Exit codes: 0 done, 1 failed, 2 wrong usage.
set -eu

case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
ROOT=$(cd -P "$here" && pwd)
STATE=${QZBRAIN_STATE:-$ROOT/deploy}
case $STATE in /*) ;; *) STATE=$(pwd)/$STATE ;; esac
WAIT_S=${QZBRAIN_DEPLOY_WAIT:-600}
MOST_RESTARTS=3 # of a container that is not healthy: more, and it will not be
LEAST_MEMORY_MB=1800
LEAST_DISK_MB=3000
PROFILES="search local chat gpu gpu-embedding"
SECRETS="mysql_root_password mysql_password redis_password graph_token engine_key es_password"
IMAGE_UID=10001
OWN_IMAGES="qzbrain=QZBRAIN_IMAGE qzbrain-engine=QZBRAIN_ENGINE_IMAGE"

say() { printf 'qzbrain: %s · %s\n' "$1" "$2" >&2; }
warn() { printf 'qzbrain: 注意：%s\nqzbrain: NOTICE: %s\n' "$1" "$2" >&2; }
die() {
    printf 'qzbrain: %s\nqzbrain: %s\n' "$1" "$2" >&2
    exit 1
}
wrong() {
    printf 'qzbrain: %s · %s\nsh deploy.sh --help\n' "$1" "$2" >&2
    exit 2
}

# -- what is kept from one run to the next: NAME=VALUE lines of .env

kept() {
    [ -f "$STATE/.env" ] || return 0
    sed -n "s/^$1=//p" "$STATE/.env" | tail -n 1
}

keep() {
    touch "$STATE/.env"
    { grep -v "^$1=" "$STATE/.env" || true; printf '%s=%s\n' "$1" "$2"; } >"$STATE/.env.new"
    mv "$STATE/.env.new" "$STATE/.env"
}

compose() {
    QZBRAIN_STATE=$STATE docker compose --project-name "$PROJECT" --env-file "$STATE/.env" --file "$ROOT/deploy/compose.yaml" "$@"
}

# -- checks

check_docker() {
    command -v docker >/dev/null 2>&1 ||
        die "没有安装 Docker。Debian/Ubuntu：apt-get install -y docker.io；其他系统见 docs/docker.md 第 1 步。" \
            "Docker is not installed. On Debian or Ubuntu: apt-get install -y docker.io; for others see step 1 of docs/docker.md."
    if ! said=$(docker version --format '{{.Server.Version}}' 2>&1); then
        case $said in
            *"permission denied"*) die "当前用户无权使用 Docker。请用 sudo sh deploy.sh，或 sudo usermod -aG docker \$USER 后重新登录。" \
                "This user may not use Docker. Run sudo sh deploy.sh, or: sudo usermod -aG docker \$USER, and sign in again." ;;
            *) die "Docker 没有运行（$(printf '%s' "$said" | tail -n 1)）。请运行 sudo systemctl start docker，再试一次。" \
                "Docker does not run ($(printf '%s' "$said" | tail -n 1)). Run sudo systemctl start docker, then this again." ;;
        esac
    fi
    version=$(docker compose version --short 2>/dev/null) ||
        die "没有 Docker Compose 插件（需要 2.20 或更新）。Debian/Ubuntu：apt-get install -y docker-compose-plugin，或 docker-compose-v2；见 docs/docker.md 第 1 步。" \
            "There is no Compose plugin of Docker (2.20 or later is needed). On Debian or Ubuntu: apt-get install -y docker-compose-plugin, or docker-compose-v2; see step 1 of docs/docker.md."
    version=${version#v}
    major=${version%%.*} minor=${version#*.}
    minor=${minor%%[!0-9]*}
    if [ "$major" -lt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -lt 20 ]; }; then
        die "Docker Compose $version 太旧，需要 2.20 或更新。请更新 docker-compose-plugin，见 docs/docker.md 第 1 步。" \
            "Docker Compose $version is too old; 2.20 or later is needed. Update docker-compose-plugin, see step 1 of docs/docker.md."
    fi
    say "Docker $said，Compose $version" "Docker $said, Compose $version"
}

check_memory() {
    mb=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null || echo 0)
    [ "$mb" -gt 0 ] || return 0
    [ "$mb" -ge "$LEAST_MEMORY_MB" ] ||
        die "内存只有 $mb MB，至少需要 $LEAST_MEMORY_MB MB（建议 4 GB）。请换一台机器，或不用容器：./run.sh（需要 512 MB）。" \
            "This machine has $mb MB of memory, $LEAST_MEMORY_MB MB are needed at least (4 GB advised). Take another machine, or run without containers: ./run.sh (512 MB)."
    [ "$mb" -ge 3800 ] || warn "内存 $mb MB，建议 4 GB 以上。" "$mb MB of memory; 4 GB or more are advised."
}

check_disk() {
    folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null || echo /)
    [ -d "$folder" ] || return 0 # the engine runs on another machine, or the folder is not for this user to see
    mb=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
    [ "${mb:-$LEAST_DISK_MB}" -ge "$LEAST_DISK_MB" ] ||
        die "Docker 的磁盘（$folder）只剩 $mb MB，需要 $LEAST_DISK_MB MB。请清理（例如 docker image prune），再试一次。" \
            "The disk of Docker ($folder) has $mb MB left, $LEAST_DISK_MB MB are needed. Free some space (for example docker image prune), then run this again."
}

check_port() {
    case $1 in "" | *[!0-9]*) wrong "端口 $1 不是数字" "the port $1 is not a number" ;; esac
    { [ "$1" -ge 1 ] && [ "$1" -le 65535 ]; } || wrong "端口 $1 不在 1–65535 之间" "the port $1 is not between 1 and 65535"
    ours=$(compose ps --format '{{.Publishers}}' nginx 2>/dev/null || true)
    case $ours in *" $1 "*) return 0 ;; esac
    hexadecimal=$(printf '%04X' "$1")
    if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hexadecimal" '$4 == "0A" { n = split($2, part, ":"); if (part[n] == port) found = 1 } END { exit !found }'; then
        die "端口 $1 已被其他程序占用。请关闭它，或换一个端口：sh deploy.sh --port $(($1 + 1))" \
            "The port $1 is taken by another program. Close it, or take another port: sh deploy.sh --port $(($1 + 1))"
    fi
}

check_gpu() {
    case ",$CHOSEN," in *,gpu,* | *,gpu-embedding,*) ;; *) return 0 ;; esac
    docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q '"nvidia"' ||
        die "Docker 没有 NVIDIA 运行时。请安装 nvidia-container-toolkit，运行 nvidia-ctk runtime configure --runtime=docker 并重启 Docker；验证方法见 docs/docker.md 第 2 步。" \
            "Docker has no NVIDIA runtime. Install nvidia-container-toolkit, run nvidia-ctk runtime configure --runtime=docker, and restart Docker; step 2 of docs/docker.md says how to verify it."
}

# -- steps

make_state() {
    if ! { mkdir -p "$STATE/secrets" "$STATE/config" "$STATE/tls" && touch "$STATE/.env"; } 2>/dev/null; then
        die "无法写入 $STATE。请以该目录的所有者运行，或用 QZBRAIN_STATE 指定另一个目录。" \
            "$STATE cannot be written. Run this as the owner of that folder, or name another one with QZBRAIN_STATE."
    fi
    chmod 700 "$STATE/secrets" "$STATE/tls"
    chmod 755 "$STATE/config"
    if [ -z "$(kept QZBRAIN_UID)" ]; then # who runs the containers: the user of the image, or who may read what this user makes
        if [ "$(id -u)" = 0 ]; then
            keep QZBRAIN_UID "$IMAGE_UID"
            keep QZBRAIN_GID "$IMAGE_UID"
        else
            keep QZBRAIN_UID "$(id -u)"
            keep QZBRAIN_GID "$(id -g)"
        fi
    fi
    [ -z "$PORT" ] || keep QZBRAIN_PORT "$PORT"
    [ -z "$BIND" ] || keep QZBRAIN_BIND "$BIND"
    [ -n "$(kept QZBRAIN_PORT)" ] || keep QZBRAIN_PORT 9025
    for name in $OWN_IMAGES; do
        [ -n "$(kept "${name#*=}")" ] || keep "${name#*=}" "${name%=*}:$VERSION"
    done
    keep COMPOSE_PROJECT_NAME "$PROJECT"
    keep COMPOSE_PROFILES "$CHOSEN"
    if [ "$STATE" != "$ROOT/deploy" ]; then # so that docker compose, run in that folder, knows what it is about
        keep COMPOSE_FILE "$ROOT/deploy/compose.yaml"
        keep QZBRAIN_STATE "$STATE"
    fi
    case ",$CHOSEN," in
        *,search,*)
            keep ES_URL_ADD http://elasticsearch:9200
            keep ES_USER elastic
            keep ES_PASSWORD_FILE /run/secrets/es_password
            ;;
        *) for name in ES_URL_ADD ES_USER ES_PASSWORD_FILE; do keep "$name" ""; done ;;
    esac
    if [ -f "$STATE/tls/fullchain.pem" ] && [ -f "$STATE/tls/key.pem" ]; then keep QZBRAIN_SCHEME https; else keep QZBRAIN_SCHEME http; fi
}

make_secrets() {
    made=''
    for name in $SECRETS; do
        file=$STATE/secrets/$name
        [ -s "$file" ] && continue
        case $name in
            mysql_*)
                if docker volume inspect "${PROJECT}_mysql" >/dev/null 2>&1; then
                    die "数据库卷 ${PROJECT}_mysql 已存在，但它的密码文件 $file 不见了。请从备份恢复该文件；若确实要从头开始：docker volume rm ${PROJECT}_mysql ${PROJECT}_data（数据将丢失）。" \
                        "The database's volume ${PROJECT}_mysql is there, and its password file $file is not. Restore that file from your backup; or, to begin from nothing: docker volume rm ${PROJECT}_mysql ${PROJECT}_data (all data is lost)."
                fi
                ;;
        esac
        (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file.new") && mv "$file.new" "$file"
        made=$made$name' '
    done
    chmod 600 "$STATE"/secrets/*
    if [ "$(id -u)" = 0 ]; then
        owner=$(kept QZBRAIN_UID):$(kept QZBRAIN_GID)
        chown "$owner" "$STATE"/secrets/* "$STATE/tls"
        for file in "$STATE"/tls/*; do [ ! -f "$file" ] || chown "$owner" "$file"; done
    fi
    [ -z "$made" ] || say "已生成密码文件：$STATE/secrets（请备份）" "made the secrets in $STATE/secrets (back them up)"
}

make_config() {
    file=$STATE/config/config.toml
    [ -f "$file" ] || cat >"$file" <<'END'
# 启智大脑的设置（容器部署）。全部设置见 docs/settings.md；改后运行 sh deploy.sh --restart 使其生效。
# Settings of the brain in containers. All of them: docs/settings.md. After a change: sh deploy.sh --restart
END
    case ",$CHOSEN," in *,local,*) add_model multilingual-e5-small embedding http://embedder:8080/v1 'context = 512
slots = 2
pooling = "mean"
query_prefix = "query: "
passage_prefix = "passage: "' ;; esac
    case ",$CHOSEN," in *,chat,*) add_model chat chat http://chat:8080/v1 "context = $(default "$(kept CHAT_CONTEXT)" 8192)
slots = $(default "$(kept CHAT_SLOTS)" 2)" ;; esac
    case ",$CHOSEN," in *,gpu,*) add_model vllm chat http://vllm:8000/v1 "model = \"chat\"
context = $(default "$(kept VLLM_CONTEXT)" 8192)
slots = $(default "$(kept VLLM_SLOTS)" 16)" ;; esac
    case ",$CHOSEN," in *,gpu-embedding,*) add_model vllm-embedding embedding http://vllm-embedding:8000/v1 "model = \"embedding\"
context = $(default "$(kept VLLM_EMBEDDING_CONTEXT)" 1024)
slots = 8" ;; esac
    chmod 600 "$file"
    [ "$(id -u)" != 0 ] || chown "$(kept QZBRAIN_UID):$(kept QZBRAIN_GID)" "$file"
}

default() { printf '%s' "${1:-$2}"; }

# add_model NAME KIND URL MORE: a table at the end of config.toml, unless there is one of that name, which then is the administrator's own.
add_model() {
    grep -Eq "^ *\\[models\\.\"?$1\"?\\]" "$STATE/config/config.toml" || {
        printf '\n[models.%s]\nengine = "external"\nkind = "%s"\nbase_url = "%s"\napi_key_env = "ENGINE_KEY"\n%s\n' "$1" "$2" "$3" "$4" >>"$STATE/config/config.toml"
        [ -z "$(states)" ] || RESTART=yes
    }
}

images() { compose config --images | sort -u; }

missing_images() {
    for image in $(images); do
        docker image inspect "$image" >/dev/null 2>&1 || printf '%s ' "$image"
    done
}

get_images() {
    if [ -n "$OFFLINE" ]; then
        [ -r "$OFFLINE" ] || die "无法读取 $OFFLINE。请检查路径。" "$OFFLINE cannot be read. Check the path."
        say "正在载入镜像 $OFFLINE …" "loading the images of $OFFLINE …"
        docker load --input "$OFFLINE" >&2 ||
            die "$OFFLINE 不是 docker save 生成的镜像文件，或磁盘已满。请重新复制，并核对校验和。" \
                "$OFFLINE is no file of images as docker save writes it, or the disk is full. Copy it again and compare its checksum."
        missing=$(missing_images)
        [ -z "$missing" ] ||
            die "$OFFLINE 中没有：${missing}。请在联网的机器上用相同的 --with 运行 sh deploy.sh --save IMAGES.tar，得到完整的文件。" \
                "$OFFLINE lacks: ${missing}. Run sh deploy.sh --save IMAGES.tar with the same --with on a connected machine for a whole file."
        return 0
    fi
    for image in $(missing_images); do
        case $image in qzbrain:* | qzbrain-engine:*) continue ;; esac
        say "正在拉取 $image …" "pulling $image …"
        docker pull "$image" >&2 ||
            die "无法拉取镜像 $image。请检查网络，或在 /etc/docker/daemon.json 中设置 registry-mirrors；没有网络时用 --offline IMAGES.tar。" \
                "The image $image cannot be pulled. Check the network, or set registry-mirrors in /etc/docker/daemon.json; without a network use --offline IMAGES.tar."
    done
    case "$UPGRADE $(missing_images)" in
        yes* | *qzbrain*)
            say "正在构建镜像（首次约 1–3 分钟）…" "building images (1 to 3 minutes the first time) …"
            compose build >&2 ||
                die "构建镜像失败（见上）。无法访问 PyPI 时设置 PIP_INDEX_URL 指向镜像源；无法访问 Docker Hub 时设置 registry-mirrors；没有网络时用 --offline IMAGES.tar。" \
                    "Building the images failed (see above). Where PyPI cannot be reached, set PIP_INDEX_URL to a mirror; where Docker Hub cannot, set registry-mirrors; without a network use --offline IMAGES.tar."
            ;;
    esac
}

# One line for each container: service, state, exit code, health, how often it was restarted.
states() {
    containers=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.oneoff=False 2>/dev/null) || return 0
    # shellcheck disable=SC2086  # a list of words
    [ -z "$containers" ] || docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}} {{.RestartCount}}' $containers 2>/dev/null || true
}

# Of such lines: services that are not up yet; "!NAME" for one that failed.
lacking() {
    awk '
        !NF { next }
        $1 == "prepare" { if ($2 != "exited") print $1; else if ($3 != 0) print "!" $1; next }
        $2 == "running" && ($4 == "healthy" || $4 == "-") { next }
        $2 == "exited" || $2 == "dead" { print "!" $1; next }
        { print $1 }'
}

# Of such lines: a service that ends as often as it is started.
crashing() { awk -v most="$MOST_RESTARTS" '$4 != "healthy" && $5 > most { print $1; exit }'; }

# The service to be told of: one that failed before one that is only late.
worst() { states | lacking | LC_ALL=C sort | tr -d '!' | head -n 1; }

start() {
    say "正在启动 …" "starting …"
    log=$STATE/.up.log
    compose up --detach --no-build --pull never --remove-orphans >"$log" 2>&1 &
    up=$!
    trap '[ -z "$up" ] || kill "$up" 2>/dev/null; exit 130' INT TERM
    began=$(date +%s)
    before=''
    while :; do
        if [ -n "$up" ] && ! kill -0 "$up" 2>/dev/null; then
            wait "$up" || failed "$(worst)"
            up=''
        fi
        seen=$(states)
        now=$(printf '%s\n' "$seen" | lacking | sort | tr '\n' ' ')
        if [ "$now" != "$before" ] && [ -n "$now" ]; then
            printf 'qzbrain: %3ss  %s\n' "$(($(date +%s) - began))" "等待 · waiting for: $now" >&2
            before=$now
        fi
        if [ -z "$up" ] && [ -n "$seen" ]; then
            [ -n "$now" ] || break
            crashed=$(printf '%s\n' "$seen" | crashing)
            [ -z "$crashed" ] || failed "$crashed"
        fi
        [ "$(($(date +%s) - began))" -lt "$WAIT_S" ] || failed "$(worst)"
        sleep 1
    done
    trap - INT TERM
    rm -f "$log"
    say "全部服务健康（$(($(date +%s) - began)) 秒）" "all services are healthy ($(($(date +%s) - began)) s)"
}

# failed SERVICE: the end of what it said, and what to do.
failed() {
    [ -z "$up" ] || kill "$up" 2>/dev/null || true
    tail -n 5 "$STATE/.up.log" >&2 2>/dev/null || true
    service=${1:-}
    if [ -n "$service" ]; then
        compose logs --no-color --tail 25 "$service" >&2 2>/dev/null || true
        [ -z "$UPGRADE" ] || die "新版本的服务 $service 没有正常启动（日志见上）。" "The service $service of the new version did not come up (its log is above)."
        die "服务 $service 没有正常启动（日志见上）。处理后再运行 sh deploy.sh；全部日志：cd $STATE && docker compose logs $service" \
            "The service $service did not come up (its log is above). Mend it and run sh deploy.sh again; the whole log: cd $STATE && docker compose logs $service"
    fi
    die "启动失败（见上）。处理后再运行 sh deploy.sh。" "Starting failed (see above). Mend it and run sh deploy.sh again."
}

tell_link() {
    address=$(kept QZBRAIN_SCHEME)://127.0.0.1:$(kept QZBRAIN_PORT)
    if said=$(compose exec -T brain qzbrain user setup-link 2>&1); then
        link=$(printf '%s\n' "$said" | sed -n 's#^https*://[^/]*\(/setup?token=.*\)$#\1#p' | tail -n 1)
        printf 'qzbrain: %s\nqzbrain: %s\n' "请在 24 小时内用此链接创建管理员（仅可使用一次；其他机器上把 127.0.0.1 换成本机地址）：" \
            "make the administrator with this link, once, within 24 hours (on another machine put this one's address in place of 127.0.0.1):" >&2
        printf '%s%s\n' "$address" "$link"
        return 0
    fi
    case $said in
        *"set up already"* | *已完成设置*) say "已有管理员账号，请直接登录。" "there is an administrator already; sign in." ;;
        *) die "无法生成管理员链接：$said" "The administrator's link could not be made: $said" ;;
    esac
}

# In the container of web: it alone sees its port and whether it answers.
run_doctor() {
    say "检查部署（qzbrain doctor）…" "checking the deployment (qzbrain doctor) …"
    compose exec -T brain qzbrain doctor >&2 ||
        warn "doctor 发现问题（✗ 行，含处理办法）。" "the doctor found something (the lines with ✗ say what to do)."
}

save() {
    missing=$(missing_images)
    [ -z "$missing" ] || die "缺少镜像：${missing}。请先运行 sh deploy.sh。" "Images are missing: ${missing}. Run sh deploy.sh first."
    say "正在保存镜像到 $1 …" "saving the images into $1 …"
    # shellcheck disable=SC2046  # a list of words
    docker save --output "$1.new" $(images) || { rm -f "$1.new"; die "无法写入 $1。请检查磁盘空间与权限。" "$1 cannot be written. Check the disk's space and the folder's rights."; }
    mv "$1.new" "$1"
    say "完成。在没有网络的机器上：sh deploy.sh --offline $1" "done. On a machine without a network: sh deploy.sh --offline $1"
}

# -- upgrade: the images in .env are the old ones until the new ones have come up

upgrade() {
    keep_working
    QZBRAIN_IMAGE=qzbrain:$VERSION QZBRAIN_ENGINE_IMAGE=qzbrain-engine:$VERSION
    export QZBRAIN_IMAGE QZBRAIN_ENGINE_IMAGE # they come before .env
    if ! (get_images); then
        say "没有改动任何内容，旧版本照常运行。" "nothing was changed; the old version runs on."
        exit 1
    fi
    since=$(date +%s)
    compose stop brain worker graph >&2 # no old program on new tables
    code=0
    (start) || code=$?
    [ "$code" != 130 ] || exit 130
    [ "$code" = 0 ] || go_back
    keep QZBRAIN_IMAGE "$QZBRAIN_IMAGE"
    keep QZBRAIN_ENGINE_IMAGE "$QZBRAIN_ENGINE_IMAGE"
    forget_working
}

# The images that work get a name that no build and no file takes away. After an upgrade that was interrupted they have it already.
keep_working() {
    for name in $OWN_IMAGES; do
        image=$(working "${name#*=}")
        [ -z "$image" ] || docker tag "$image" "${name%=*}:$BEFORE"
    done
}

# working VARIABLE: the image of healthy containers; where there are none at all, the one that .env names
working() {
    case $1 in QZBRAIN_IMAGE) service=brain ;; *) service=embedder ;; esac
    container=$(compose ps --all --quiet "$service" 2>/dev/null | head -n 1)
    if [ -n "$container" ]; then
        docker inspect --format '{{.State.Health.Status}} {{.Image}}' "$container" | sed -n 's/^healthy //p'
    else
        docker image inspect --format '{{.Id}}' "$(kept "$1")" 2>/dev/null || true
    fi
}

forget_working() {
    for name in $OWN_IMAGES; do docker rmi "${name%=*}:$BEFORE" >/dev/null 2>&1 || true; done
}

# Ends with exit code 1, with the old version up again or with the commands that are left to do.
go_back() {
    docker image inspect "qzbrain:$BEFORE" >/dev/null 2>&1 ||
        die "没有可退回的旧版本。数据都在卷中；处理后再运行 sh deploy.sh --upgrade。" \
            "There is no old version to go back to. All data is in the volumes; mend it and run sh deploy.sh --upgrade again."
    say "正在退回旧版本 $(kept QZBRAIN_IMAGE) …" "going back to the old version, $(kept QZBRAIN_IMAGE) …"
    compose stop brain worker graph >&2
    # So it says when it changes the schema, after a backup. Of this upgrade: what an earlier one has changed must stay.
    if compose logs --since "$since" prepare 2>/dev/null | grep -q 'qzbrain db downgrade'; then
        compose run --rm --no-deps -T brain qzbrain db downgrade >&2 ||
            die "数据库已升级，自动退回没有成功（见上）；服务已停止，数据在卷和备份中。处理后运行：cd $STATE && QZBRAIN_IMAGE=$QZBRAIN_IMAGE docker compose run --rm --no-deps brain qzbrain db downgrade，再运行 sh deploy.sh 启动旧版本；或再次 sh deploy.sh --upgrade。" \
                "The database was upgraded, and going back did not succeed (see above). The services are stopped; all data is in the volumes and in the backup. Mend it and run: cd $STATE && QZBRAIN_IMAGE=$QZBRAIN_IMAGE docker compose run --rm --no-deps brain qzbrain db downgrade; then sh deploy.sh for the old version. Or run sh deploy.sh --upgrade again."
        say "数据库已恢复为升级前的表结构；所有用户需要重新登录。" "the database has the schema of before the upgrade again; everybody has to sign in again."
    fi
    unset QZBRAIN_IMAGE QZBRAIN_ENGINE_IMAGE
    for name in $OWN_IMAGES; do docker tag "${name%=*}:$BEFORE" "$(kept "${name#*=}")" 2>/dev/null || true; done
    UPGRADE=''
    (start) || exit 1
    forget_working
    die "升级没有成功，已退回旧版本 $(kept QZBRAIN_IMAGE)，数据完好。新版本的日志见上；处理后再运行 sh deploy.sh --upgrade。" \
        "The upgrade did not succeed. The old version, $(kept QZBRAIN_IMAGE), runs again with all data. The new one's log is above; mend it and run sh deploy.sh --upgrade again."
}

# choose LIST sign: takes profiles into CHOSEN, or out of it
choose() {
    for profile in $(printf '%s' "$1" | tr ',' ' '); do
        case " $PROFILES " in *" $profile "*) ;; *) wrong "没有 $profile 这个 profile（可用：$PROFILES）" "there is no profile $profile (there are: $PROFILES)" ;; esac
        CHOSEN=$(printf '%s\n' "$CHOSEN" | tr ',' '\n' | grep -vx "$profile" | paste -sd, -)
        [ "$2" = out ] || CHOSEN=${CHOSEN:+$CHOSEN,}$profile
    done
}

needs() { [ "$2" -ge 2 ] || wrong "$1 需要一个值" "$1 needs a value"; }

# -- the command line

PORT='' BIND='' UPGRADE='' OFFLINE='' SAVE='' ACTION=up RESTART=''
PROJECT=${COMPOSE_PROJECT_NAME:-$(kept COMPOSE_PROJECT_NAME)}
PROJECT=${PROJECT:-qzbrain}
BEFORE=before-upgrade-$PROJECT # what images that work are called while an upgrade is under way
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$ROOT/qzbrain/__init__.py")
CHOSEN=$(kept COMPOSE_PROFILES)

while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) sed -n '2,17s/^# \{0,1\}//p' "$ROOT/deploy.sh"; exit 0 ;;
        --upgrade) UPGRADE=yes ;;
        --restart) RESTART=yes ;;
        --down) ACTION=down ;;
        --port) needs "$1" $#; PORT=$2; shift ;;
        --bind) needs "$1" $#; BIND=$2; shift ;;
        --with) needs "$1" $#; choose "$2" in; shift ;;
        --without) needs "$1" $#; choose "$2" out; shift ;;
        --offline) needs "$1" $#; OFFLINE=$2; shift ;;
        --save) needs "$1" $#; SAVE=$2; ACTION=save; shift ;;
        *) wrong "不认识的参数 $1" "unknown argument $1" ;;
    esac
    shift
done
if [ -n "$PORT" ]; then
    case $PORT in *[!0-9]*) wrong "端口 $PORT 不是数字" "the port $PORT is not a number" ;; esac
fi
[ -z "$OFFLINE" ] || [ -z "$UPGRADE" ] || say "--upgrade 使用 $OFFLINE 中的镜像" "--upgrade takes the images of $OFFLINE"

check_docker
case $ACTION in
    down)
        [ -f "$STATE/.env" ] || die "$STATE 中没有部署。" "There is no deployment in $STATE."
        compose --profile '*' down --remove-orphans >&2
        say "已停止并移除容器；数据仍在卷中。再次启动：sh deploy.sh" "containers are stopped and removed; data stays in the volumes. To start again: sh deploy.sh"
        exit 0
        ;;
    save)
        [ -f "$STATE/.env" ] || die "$STATE 中没有部署。请先运行 sh deploy.sh。" "There is no deployment in $STATE. Run sh deploy.sh first."
        save "$SAVE"
        exit 0
        ;;
esac
make_state
check_memory
check_disk
check_port "$(kept QZBRAIN_PORT)"
check_gpu
make_secrets
make_config
if [ -n "$UPGRADE" ]; then
    upgrade
else
    ! docker image inspect "qzbrain:$BEFORE" >/dev/null 2>&1 ||
        warn "上次升级被中断。若下面没有正常启动，请运行 sh deploy.sh --upgrade 完成升级。" \
            "the last upgrade was interrupted. If what follows does not come up, finish it: sh deploy.sh --upgrade"
    get_images
    start
fi
if [ -n "$RESTART" ]; then
    compose restart brain worker graph >&2
    start
fi
tell_link
run_doctor
say "已就绪：$(kept QZBRAIN_SCHEME)://127.0.0.1:$(kept QZBRAIN_PORT)" "ready: $(kept QZBRAIN_SCHEME)://127.0.0.1:$(kept QZBRAIN_PORT)"
[ "$(kept QZBRAIN_SCHEME)" = https ] || case $(kept QZBRAIN_BIND) in
    127.* | localhost) ;;
    *) warn "密码经 http 明文传输：请把证书放进 $STATE/tls（fullchain.pem、key.pem）再运行 sh deploy.sh，或用 --bind 127.0.0.1。" \
        "passwords cross the network in the clear by http: put a certificate into $STATE/tls (fullchain.pem, key.pem) and run sh deploy.sh, or use --bind 127.0.0.1." ;;
esac
