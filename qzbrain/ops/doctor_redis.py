"""The doctor's look at Redis and Celery: reachable, new enough, guarded, safe for a queue, and a worker that takes from it."""

from __future__ import annotations

import ipaddress
import secrets
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError

from qzbrain.brain import database_of
from qzbrain.errors import BrainError
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.start import running_brain
from qzbrain.settings import Settings
from qzbrain.storage.tables import jobs

if TYPE_CHECKING:
    from redis import Redis

_OLDEST = (6, 0)
_TIMEOUT_S = 2.0
_PING_S = 1.0
_TITLE: Text = ("Redis", "Redis")
_CELERY: Text = ("Celery", "Celery")


def redis(settings: Settings) -> list[Finding]:
    """The server, its settings, and whether it takes what is written."""
    if not settings.redis_host:
        without = ("内置实现，无需安装", "built in; nothing to install")
        return [Finding.skip("redis", 2, ("Redis 与 Celery", "Redis and Celery"), ("任务由内置队列处理", "the built-in queue dispatches jobs"), without)]
    from redis import RedisError

    client = _client(settings)
    try:
        began = time.monotonic()
        info: dict[str, Any] = client.info()
        took_ms = (time.monotonic() - began) * 1000
    except (RedisError, OSError) as exc:
        return [_unreachable(settings, exc)]
    finally:
        client.close()
    return [_server(settings, info, took_ms), _password(settings), _memory(settings, info), _databases(settings), _writes(settings, info)]


def celery(settings: Settings) -> list[Finding]:
    """Whether a worker answers, where there is a broker."""
    return [_celery(settings)] if settings.redis_host else []


def _client(settings: Settings) -> Redis:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        password=settings.redis_password or None,
        db=settings.celery_db,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),  # the library's own default would try for several seconds
    )


def _where(settings: Settings) -> str:
    return f"{settings.redis_host}:{settings.redis_port}"


def _unreachable(settings: Settings, exc: Exception) -> Finding:
    from redis import AuthenticationError, ResponseError

    evidence = (f"{_where(settings)}：{exc}", f"{_where(settings)}: {exc}")
    if isinstance(exc, AuthenticationError) or "NOAUTH" in str(exc):
        advice = ("改正 REDIS_PASSWORD（Redis 配置中的 requirepass）", "correct REDIS_PASSWORD; the server's is `requirepass` in redis.conf")
    elif isinstance(exc, ResponseError) and "DB index" in str(exc):
        advice = ("减小 CELERY_DB，或在 redis.conf 中增大 databases", "take a smaller CELERY_DB, or raise `databases` in redis.conf")
    else:
        advice = (
            "启动 Redis，或改正 REDIS_HOST、REDIS_PORT；在此之前任务直接从数据库取出，不会丢失",
            "start Redis, or correct REDIS_HOST and REDIS_PORT; until then jobs are taken from the database, and none is lost",
        )
    return Finding.fail("redis", 2, _TITLE, evidence, advice)


def _server(settings: Settings, info: dict[str, Any], took_ms: float) -> Finding:
    version = str(info.get("redis_version", "?"))
    shown = (
        f"{_where(settings)}，{version}，{took_ms:.0f} ms；无需持久化：任务以数据库为准",
        f"{_where(settings)}, {version}, {took_ms:.0f} ms; it need not persist anything: the database has the jobs",
    )
    if tuple(int(x) for x in version.split(".")[:2] if x.isdigit()) < _OLDEST:
        return Finding.fail("redis", 2, _TITLE, shown, ("升级到 Redis 6 或更新版本", "upgrade to Redis 6 or later"))
    return Finding.ok("redis", 2, _TITLE, shown)


def _password(settings: Settings) -> Finding:
    title = ("Redis 密码", "Redis password")
    if settings.redis_password:
        return Finding.ok("redis_password", 2, title, ("已设置", "set"))
    if _is_loopback(settings.redis_host):
        return Finding.ok("redis_password", 2, title, ("未设置，仅本机可达", "none; only this machine reaches it"))
    advice = (
        "在 redis.conf 中设置 requirepass，并把同一密码填入 REDIS_PASSWORD：没有密码的 Redis 任何人都可以读写",
        "set `requirepass` in redis.conf and the same as REDIS_PASSWORD: anybody can read and write a Redis without one",
    )
    return Finding.warn("redis_password", 2, title, ("未设置，且不在本机", "none, and the server is not on this machine"), advice)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _memory(settings: Settings, info: dict[str, Any]) -> Finding:
    """`noeviction`: any other policy lets Redis drop a queue, or what workers share, when its memory is full."""
    title, policy, bound = ("Redis 内存策略", "Redis memory policy"), str(info.get("maxmemory_policy", "?")), int(info.get("maxmemory", 0))
    shown = (f"{policy}，上限 {bound >> 20} MiB", f"{policy}, bound {bound >> 20} MiB") if bound else (f"{policy}，无上限", f"{policy}, no bound")
    if policy == "noeviction":
        return Finding.ok("redis_memory", 2, title, shown)
    command = f"redis-cli -h {settings.redis_host} -p {settings.redis_port} --askpass CONFIG SET maxmemory-policy noeviction"
    advice = (f"{command}；并写入 redis.conf：maxmemory-policy noeviction", f"{command}; and in redis.conf: maxmemory-policy noeviction")
    if bound and policy.startswith("allkeys"):
        return Finding.fail("redis_memory", 2, title, shown, advice)
    return Finding.warn("redis_memory", 2, title, shown, advice)


def _writes(settings: Settings, info: dict[str, Any]) -> Finding:
    """By a key that is written and removed: a copy of another Redis, a full one and one that cannot save refuse it, and still answer to all else."""
    from redis import RedisError

    title, client, key = ("Redis 写入", "Redis takes writes"), _client(settings), f"qzbrain:doctor:{secrets.token_hex(8)}"
    try:
        client.set(key, "1", ex=5)
        client.delete(key)
    except (RedisError, OSError) as exc:
        return Finding.fail("redis_writes", 2, title, (str(exc), str(exc)), _why_refused(settings, info, str(exc)))
    finally:
        client.close()
    return Finding.ok("redis_writes", 2, title, (f"可以写入，角色 {info.get('role', '?')}", f"it does, as {info.get('role', '?')}"))


def _why_refused(settings: Settings, info: dict[str, Any], said: str) -> Text:
    ask = f"redis-cli -h {settings.redis_host} -p {settings.redis_port} --askpass"
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        return (f"{ask} REPLICAOF NO ONE；或把 REDIS_HOST 指向主服务器 {master}", f"{ask} REPLICAOF NO ONE; or set REDIS_HOST to its master {master}")
    if "MISCONF" in said:
        stop = f"{ask} CONFIG SET stop-writes-on-bgsave-error no"
        return (f"{stop}；并查明它为何不能保存（磁盘、目录权限）", f"{stop}; and find out why it cannot save (disk, rights of its folder)")
    if "OOM" in said or "maxmemory" in said:
        return (f"{ask} CONFIG SET maxmemory 256mb；并写入 redis.conf", f"{ask} CONFIG SET maxmemory 256mb; and in redis.conf")
    return (f"{ask} ACL WHOAMI；检查该用户的权限", f"{ask} ACL WHOAMI; look at that user's rights")


def _databases(settings: Settings) -> Finding:
    title, shown = ("Redis 库号", "Redis databases"), f"REDIS_DB={settings.redis_db}, CELERY_DB={settings.celery_db}"
    if settings.redis_db == settings.celery_db:
        advice = ("为 CELERY_DB 另选一个库号，例如 1", "give CELERY_DB a number of its own, for example 1")
        return Finding.warn("redis_databases", 2, title, (shown, shown), advice)
    return Finding.ok("redis_databases", 2, title, (shown, shown))


def _celery(settings: Settings) -> Finding:
    """Whether a worker answers. One that is at a job answers only afterwards: then the job shows that it is there."""
    from qzbrain.jobs import broker

    app = broker.application(settings)
    try:
        waiting = broker.waiting(app)
        answered = len(app.control.ping(timeout=_PING_S))
    except Exception as exc:  # noqa: BLE001  a probe of an outside service
        return Finding.fail("celery", 2, _CELERY, (str(exc), str(exc)), ("检查 Redis，然后重试", "look after Redis, then try again"))
    finally:
        app.close()
    due, running = _jobs(settings)
    counts = (f"队列 {waiting} 条消息，待处理任务 {due}，正在处理 {running}", f"{waiting} messages in the queue, {due} jobs due, {running} running")
    if answered:
        return Finding.ok("celery", 2, _CELERY, (f"{answered} 个 worker 应答；{counts[0]}", f"{answered} workers answer; {counts[1]}"))
    if running or worker_is_alive(settings.data):
        return Finding.ok("celery", 2, _CELERY, (f"worker 正忙；{counts[0]}", f"the worker is busy; {counts[1]}"))
    start = ("sh run_celery.sh（python main.py 也会启动它）", "sh run_celery.sh (python main.py starts one too)")
    if not running_brain(settings) and not due:
        return Finding.skip("celery", 2, _CELERY, (f"没有 worker 运行；{counts[0]}", f"no worker runs; {counts[1]}"), start)
    return Finding.fail("celery", 2, _CELERY, (f"没有 worker 应答；{counts[0]}", f"no worker answers; {counts[1]}"), start)


def _jobs(settings: Settings) -> tuple[int, int]:
    """How many jobs are due, and how many are held by a living lease; zeros when the database cannot tell."""
    if not settings.mysql_host and not settings.database_path.exists():
        return 0, 0
    database, now = database_of(settings), time.time()
    try:
        due = select(func.count()).where(jobs.c.status == "pending", jobs.c.run_after <= now)
        held = select(func.count()).where(jobs.c.status == "running", jobs.c.lease_until >= now)
        return int(database.rows(due)[0][0]), int(database.rows(held)[0][0])
    except (BrainError, DatabaseError):  # the server is away, or there are no tables yet
        return 0, 0
    finally:
        database.close()
