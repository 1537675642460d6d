"""The doctor's look at where the brain lives: the data folder and who may read it, its disk, the ports, and what earlier runs left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from qzbrain.ops import leftovers
from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.serving import serving
from qzbrain.ops.start import port_is_free, running_brain
from qzbrain.settings import Settings, config_path

_LOW_DISK_MB, _LEAST_DISK_MB = 2_000, 200
_LOW_INODES, _LEAST_INODES = 20_000, 1_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LISTENING = "0A"
_FOLDER: Text = ("数据目录", "data folder")


def data_folder(settings: Settings) -> list[Finding]:
    """The data folder exists, is ours, can be written, and nobody else reads it."""
    folder = settings.data
    if not folder.exists():
        if not _may_write(above := _nearest(folder)):
            command = (f"sudo install -d -o {_user()} -m 700 {_quoted(folder)}",) * 2
            seen = (f"{folder} 无法创建：{above} 不可写", f"{folder} cannot be made: {above} cannot be written")
            return [Finding.fail("data_folder", 5, _FOLDER, seen, command)]
        none_yet = (f"{folder} 尚未创建", f"{folder} does not exist yet")
        return [Finding.skip("data_folder", 5, _FOLDER, none_yet, ("首次启动时会创建", "the first start makes it"))]
    if not folder.is_dir():
        return [Finding.fail("data_folder", 5, _FOLDER, (f"{folder} 不是目录", f"{folder} is no folder"), ("改正 QZBRAIN_DATA", "correct QZBRAIN_DATA"))]
    strangers = [path for path in (folder, *foreign(settings)) if not _is_ours(path)]
    if not _may_write(folder) or strangers:
        return [_not_ours(folder, strangers)]
    if open_to_others(settings):
        command = (f"chmod -R go-rwx {_quoted(folder)}",) * 2
        return [Finding.warn("data_folder", 5, _FOLDER, (f"其他用户可读取 {folder} 中的数据", f"other users may read the data in {folder}"), command)]
    return [Finding.ok("data_folder", 5, _FOLDER, (str(folder), str(folder)))]


def _not_ours(folder: Path, strangers: list[Path]) -> Finding:
    command = (f"sudo chown -R {_user()} {_quoted(folder)}",) * 2
    if strangers:
        owner = strangers[0].stat().st_uid
        seen = (f"{strangers[0]} 属于用户 {owner}，而 qzbrain 以 {_user()} 运行", f"{strangers[0]} belongs to user {owner}, and the brain runs as {_user()}")
        make = Finding.warn if os.geteuid() == 0 else Finding.fail  # root writes it all the same, and then its owner cannot
        return make("data_folder", 5, _FOLDER, seen, command)
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        where = _mount_point(folder)
        seen = (f"{folder} 所在的文件系统是只读的", f"{folder} is on a file system that is read-only")
        return Finding.fail("data_folder", 5, _FOLDER, seen, (f"sudo mount -o remount,rw {_quoted(where)}",) * 2)
    return Finding.fail("data_folder", 5, _FOLDER, (f"{folder} 不可写", f"{folder} cannot be written"), (f"chmod -R u+rwX {_quoted(folder)}",) * 2)


def foreign(settings: Settings) -> list[Path]:
    """What lies right in the data folder and is written at every start."""
    names = (settings.database_path.name, "run", "logs", "files", settings.index_path.name)
    return [path for path in (settings.data / name for name in names) if path.exists()]


def open_to_others(settings: Settings) -> list[Path]:
    """What in the data folder, of our own, others could read: nothing where the folder itself is closed to them."""
    folder = settings.data
    if not folder.is_dir() or not folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        return []
    private = [path for path in (*foreign(settings), *folder.glob("*.sqlite*")) if path.stat().st_mode & _OTHERS and _is_ours(path)]
    return [folder, *dict.fromkeys(private)] if private else []


def config_open_to_others() -> Path | None:
    """config.toml, when it is ours and others may read it."""
    path = config_path()
    return path if path is not None and path.stat().st_mode & _OTHERS and _is_ours(path) else None


def _is_ours(path: Path) -> bool:
    return path.stat().st_uid == os.geteuid()


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _nearest(path: Path) -> Path:
    return next(x for x in (path, *path.parents) if x.exists())


def _mount_point(path: Path) -> Path:
    return next(x for x in (path, *path.parents) if x.is_mount())


def disk(settings: Settings) -> list[Finding]:
    """Room, and room for files, on the data folder's disk."""
    there, title = _nearest(settings.data), ("磁盘空间", "disk space")
    usage, system = shutil.disk_usage(there), os.statvfs(there)
    free_mb = usage.free >> 20
    seen = (f"{there}：可用 {free_mb:,} MiB，共 {usage.total >> 20:,} MiB", f"{there}: {free_mb:,} MiB free of {usage.total >> 20:,} MiB")
    advice = (
        f"df -h {_quoted(there)}；清理磁盘，或用 QZBRAIN_DATA 换到更大的磁盘",
        f"df -h {_quoted(there)}; free some space, or move the data with QZBRAIN_DATA",
    )
    found = [Finding.ok("disk", 5, title, seen)]
    if free_mb < _LOW_DISK_MB:
        make = Finding.fail if free_mb < _LEAST_DISK_MB else Finding.warn
        found = [make("disk", 5, title, seen, advice)]
    if not system.f_files:  # as on btrfs
        return [*found, Finding.ok("inodes", 5, ("可建文件数", "inodes"), ("没有上限", "no bound"))]
    count = (f"还可建 {system.f_favail:,} 个文件", f"{system.f_favail:,} more files may be made")
    if system.f_favail < _LOW_INODES:
        make = Finding.fail if system.f_favail < _LEAST_INODES else Finding.warn
        command = (f"df -i {_quoted(there)}；删除不用的小文件", f"df -i {_quoted(there)}; remove small files that nobody needs")
        return [*found, make("inodes", 5, ("可建文件数", "inodes"), count, command)]
    return [*found, Finding.ok("inodes", 5, ("可建文件数", "inodes"), count)]


def port(settings: Settings) -> list[Finding]:
    """The ports are free, or it is this brain that has them."""
    ours, server = running_brain(settings), serving(settings)
    served = {ours.get("url"), server.url if server is not None and server.is_here else None}
    found = [_port("port", ("端口", "port"), settings.qzbrain_host, settings.qzbrain_port, "QZBRAIN_PORT", ours=settings.url in served)]
    if settings.qzbrain_graph_service == "on":
        title = ("图谱服务端口", "graph service's port")
        host, number = settings.qzbrain_graph_host, settings.qzbrain_graph_port
        found.append(_port("graph_port", title, host, number, "QZBRAIN_GRAPH_PORT", ours=bool(ours)))
    return found


def _port(id: str, title: Text, host: str, number: int, name: str, *, ours: bool) -> Finding:
    where = f"{host}:{number}"
    if port_is_free(host, number):
        if ours:
            free = (f"{where} 空闲，尽管 qzbrain 在运行", f"{where} is free, although the brain runs")
            return Finding.skip(id, 8, title, free, ("qzbrain doctor --step 8",) * 2)
        return Finding.ok(id, 8, title, (f"{where} 空闲", f"{where} is free"))
    if ours:
        return Finding.ok(id, 8, title, (f"{where} 由本 qzbrain 使用", f"{where} is used by this brain"))
    holder = _holder(number)
    if not holder and not _is_here(host):
        seen = (f"{where} 不能监听：本机没有地址 {host}，或无权使用该端口", f"{where} cannot be listened on: no address {host} here, or no right to the port")
        return Finding.fail(id, 8, title, seen, ("ip addr；改正 QZBRAIN_HOST", "ip addr; correct QZBRAIN_HOST"))
    who = f"（{holder}）" if holder else ""
    who_en = f" ({holder})" if holder else ""
    advice = (f"ss -ltnp 'sport = :{number}' 查看；关闭那个程序，或设置 {name}={number + 1}",
              f"ss -ltnp 'sport = :{number}' shows it; close that program, or set {name}={number + 1}")  # fmt: skip
    return Finding.fail(id, 8, title, (f"{where} 被其他程序占用{who}", f"{where} is taken by another program{who_en}"), advice)


def _is_here(host: str) -> bool:
    return port_is_free(host, 0)


def _holder(number: int) -> str:
    """Command and process id of who listens on a port, as far as this user may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening(number)}
    for folder in Path("/proc").iterdir() if sockets else ():
        if not folder.name.isdigit():
            continue
        try:
            if any(str(one.readlink()) in sockets for one in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()}, PID {folder.name}"
        except OSError:
            continue
    return ""


def _listening(number: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            parts = line.split()
            if parts[3] == _LISTENING and int(parts[1].rpartition(":")[2], 16) == number:
                yield parts[9]


def left_behind(settings: Settings) -> list[Finding]:
    """What runs that were killed left: engines without anybody who minds them, sockets, unfinished files."""
    title: Text = ("遗留", "leftovers")
    found = leftovers.found(settings)
    if not found:
        return [Finding.ok("leftovers", 8, title, ("没有", "none"))]
    seen = ("；".join(one.zh for one in found[:5]), "; ".join(one.en for one in found[:5]))
    return [Finding.warn("leftovers", 8, title, seen, ("qzbrain doctor --fix",) * 2)]
