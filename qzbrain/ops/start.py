"""Start a brain: look whether it can run, prepare its data, write the supervisor's configuration, become the supervisor.

The process replaces itself in the end, so that whoever started it (run.sh, main.py, `qzbrain serve`) signals the supervisor by
the same process id, and nothing of what the preparation imported stays in memory.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import socket
import sys

from qzbrain.errors import BrainError, Conflict, StorageFull
from qzbrain.models.engines.manager import is_needed
from qzbrain.models.engines.wishes import expect_manager
from qzbrain.ops import sample
from qzbrain.ops.supervision import configuration, log_folder, run_folder
from qzbrain.settings import ROOT, Settings, load_settings, require_graph_secret


def main() -> None:
    """Start, or say in both languages why that cannot be and end with exit code 1. Does not return."""
    try:
        start(load_settings())
    except BrainError as exc:
        sys.stderr.write(f"qzbrain: {exc.zh}\nqzbrain: {exc.en}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def start(settings: Settings) -> None:
    """Become the supervisor of a brain with these settings. Raises SettingsInvalid, Conflict, StorageFull, StorageBusy."""
    os.umask(0o077)
    prepare_folders(settings)
    lock = take_lock(settings)
    require_free_port(settings)
    if settings.qzbrain_graph_service == "on":
        require_graph_port(settings)
    first = _prepare_database(settings)
    told = _tell_setup_link(settings) if settings.accounts else []
    if is_needed(settings):
        expect_manager(settings)
    conf = run_folder(settings) / "supervisord.conf"
    conf.write_text(configuration(settings), encoding="utf-8")
    allow_many_connections()
    os.set_inheritable(lock, True)  # held by the supervisor from here on; its children do not get it
    os.chdir(ROOT)  # `-m qzbrain…` is found there without being installed
    wait = ["--await-knowledge-base", sample.NAME] if first and not settings.accounts else []
    os.execv(sys.executable, [sys.executable, "-m", "qzbrain.ops.supervise", str(conf), settings.url, *wait, *told])


def prepare(settings: Settings) -> None:
    """What a start does before its processes, for managers that run web and worker by themselves (containers): folders, tables, the sample.

    Raises SettingsInvalid, Conflict, StorageFull, StorageBusy.
    """
    os.umask(0o077)
    prepare_folders(settings)
    if not _prepare_database(settings):
        _build(settings)


def _prepare_database(settings: Settings) -> bool:
    """Bring the database to this version; True for the first start, which also brings the sample.

    Whoever starts a brain hears what is wrong with its database server, instead of finding it in the logs. Raises SettingsInvalid, StorageBusy.
    """
    first = sample.needed(settings)
    if first:
        sys.stderr.write("qzbrain: 首次启动：正在建立数据库和示例知识库 laws… · first start: making the database and the sample knowledge base laws …\n")
        sample.add(settings)
    elif settings.mysql_host:
        _build(settings)
    return first


def _build(settings: Settings) -> None:
    from qzbrain.brain import build

    build(settings).close()


def _tell_setup_link(settings: Settings) -> list[str]:
    """Where nobody has an account yet: a new set-up link in a file that the supervisor shows and removes; its arguments for that.

    In no argument and no variable: others on this machine could read those.
    """
    from qzbrain.brain import build

    file = run_folder(settings) / "setup-link"
    file.unlink(missing_ok=True)
    brain = build(settings)
    try:
        if not brain.accounts.setup.needed():
            return []
        file.write_text(brain.accounts.setup.link(), encoding="utf-8")
    finally:
        brain.close()
    return ["--setup-link", str(file)]


def prepare_folders(settings: Settings) -> None:
    """Make the data folder and see that it can be written. Raises Conflict, StorageFull."""
    try:
        for folder in (settings.data, run_folder(settings), log_folder(settings)):
            folder.mkdir(parents=True, exist_ok=True)
        probe = run_folder(settings) / ".writable"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from exc
        raise Conflict(
            "data_folder_not_writable",
            zh=f"数据目录 {settings.data} 不可写（{exc.strerror}）。请改正其权限，或用 QZBRAIN_DATA 指定另一个目录。",
            en=f"The data folder {settings.data} cannot be written ({exc.strerror}). Correct its rights, or name another one with QZBRAIN_DATA.",
        ) from exc


def take_lock(settings: Settings) -> int:
    """Be the only brain on this data folder as long as the returned file stays open. Raises Conflict when another one runs."""
    path = run_folder(settings) / "brain.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        running = running_brain(settings)
        where = f"{running.get('url', '?')} (PID {running.get('pid', '?')})"
        os.close(lock)
        raise Conflict(
            "already_running",
            zh=f"这个数据目录上已有一个 qzbrain 在运行：{where}。请先停止它，或用 QZBRAIN_DATA 和 QZBRAIN_PORT 启动另一个。",
            en=f"A brain is running on this data folder already: {where}. Stop it, or start another one with its own QZBRAIN_DATA and QZBRAIN_PORT.",
        ) from exc
    os.truncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": os.getpid(), "url": settings.url}).encode(), 0)
    return lock


def running_brain(settings: Settings) -> dict[str, object]:
    """`pid` and `url` of the brain that holds the data folder, empty when none does."""
    path = run_folder(settings) / "brain.lock"
    try:
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                found = json.loads(lock.read() or b"{}")
                return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
    return {}


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def require_free_port(settings: Settings) -> None:
    """Raises Conflict when something else listens on the port."""
    if port_is_free(settings.qzbrain_host, settings.qzbrain_port):
        return
    where = f"{settings.qzbrain_host}:{settings.qzbrain_port}"
    raise Conflict(
        "port_taken",
        zh=f"无法监听 {where}：端口被其他程序占用，或无权使用。请关闭那个程序，或换一个端口，例如 QZBRAIN_PORT=9026 ./run.sh",
        en=f"Cannot listen on {where}: another program has the port, or it may not be used. Close that program, "
        "or take another port, for example QZBRAIN_PORT=9026 ./run.sh",
    )


def require_graph_port(settings: Settings) -> None:
    """See that the graph service may listen where it is to. Raises SettingsInvalid, Conflict."""
    require_graph_secret(settings)
    if port_is_free(settings.qzbrain_graph_host, settings.qzbrain_graph_port):
        return
    where = f"{settings.qzbrain_graph_host}:{settings.qzbrain_graph_port}"
    raise Conflict(
        "port_taken",
        zh=f"图谱服务无法监听 {where}：端口被其他程序占用，或本机没有这个地址。请关闭那个程序，或换一个端口，例如 QZBRAIN_GRAPH_PORT=8001",
        en=f"The graph service cannot listen on {where}: another program has the port, or the address is not this machine's. Close that program, "
        "or take another port, for example QZBRAIN_GRAPH_PORT=8001",
    )


def allow_many_connections() -> None:
    """Each stream takes two open files; the usual soft limit of 1,024 would end at some 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
