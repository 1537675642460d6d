"""Which wheels another machine needs, and fetching them: for its processor, its C library and its Python, not for those of this one."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import urllib3
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from qzbrain.errors import Conflict, Unavailable
from qzbrain.models.hub.download import download, file_hash
from qzbrain.models.hub.hubs import Source
from qzbrain.ops.bundle.index import Index, WheelFile, unreachable
from qzbrain.ops.bundle.requirements import Pin

AT_ONCE = 6
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}


@dataclass(frozen=True, slots=True)
class Target:
    """The machine to be installed on. `glibc`: the minor version of 2.N that it has at least; `pythons`: minor versions of 3.N."""

    processor: str
    glibc: int
    pythons: Sequence[int]

    @property
    def platform(self) -> str:
        """As `sys.platform` and `platform.machine()` say it there."""
        return f"linux-{self.processor}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was chosen. `glibc`: the minor version of 2.N that it needs, 0 for none."""

    pin: Pin
    file: WheelFile
    glibc: int


def choose(index: Index, pins: Iterable[Pin], target: Target, tell: Callable[[int, int], None]) -> list[Wheel]:
    """The best wheel of each package for each of the target's Pythons. Raises Conflict (`no_wheel`), Unavailable."""
    pins = list(pins)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pages = []
        for files in pool.map(index.wheels, pins):
            pages.append(files)
            tell(len(pages), len(pins))
    found = {}
    for pin, files in zip(pins, pages, strict=True):
        for python in target.pythons:
            wheel = best(pin, files, target, python)
            found[wheel.file.name] = wheel
    return [found[name] for name in sorted(found)]


def best(pin: Pin, files: Sequence[WheelFile], target: Target, python: int) -> Wheel:
    """The wheel that pip would take on that machine. Raises Conflict (`no_wheel`)."""
    ranks = {tag: rank for rank, tag in reversed(list(enumerate(tags(target, python))))}
    fitting = []
    for file in files:
        try:
            of_file = parse_wheel_filename(file.name)[3]
        except InvalidWheelFilename:
            continue
        usable = [tag for tag in of_file if tag in ranks]
        if usable:
            fitting.append((min(ranks[tag] for tag in usable), file, min(_glibc_of(tag.platform) for tag in usable)))
    if not fitting:
        there = ", ".join(sorted({file.name.removesuffix(".whl").rpartition("-")[2] for file in files})) or "-"
        raise Conflict(
            "no_wheel",
            zh=f"{pin.name} {pin.version} 没有适合 {target.platform}、glibc 2.{target.glibc}、Python 3.{python} 的安装包（有：{there[:300]}）。"
            "请调整 --glibc、--python-version 或 --with。",
            en=f"There is no wheel of {pin.name} {pin.version} for {target.platform}, glibc 2.{target.glibc}, Python 3.{python} (there are: {there[:300]}). "
            "Change --glibc, --python-version or --with.",
        )
    _, file, glibc = min(fitting, key=lambda one: (one[0], one[1].name))
    return Wheel(pin, file, glibc)


def tags(target: Target, python: int) -> Iterator[Tag]:
    """What that machine takes, best first."""
    platforms = []
    for minor in range(target.glibc, _OLDEST[target.processor] - 1, -1):
        platforms.append(f"manylinux_2_{minor}_{target.processor}")
        if minor in _OLD_NAMES:
            platforms.append(f"{_OLD_NAMES[minor]}_{target.processor}")
    platforms.append(f"linux_{target.processor}")
    interpreter = f"cp3{python}"
    yield from cpython_tags((3, python), abis=[interpreter], platforms=platforms)
    yield from compatible_tags((3, python), interpreter=interpreter, platforms=platforms)


def fetch(index: Index, wheels: Sequence[WheelFile], cache: Path, http: urllib3.PoolManager, tell: Callable[[int, int], None]) -> dict[str, Path]:
    """Files by name. What is in the cache with the right hash is not fetched again; a part of one is gone on with. Raises Unavailable, Conflict."""
    folder, done = cache / "wheels", 0

    def one(wheel: WheelFile) -> Path:
        target = folder / wheel.sha256 / wheel.name
        if target.exists() and file_hash(target) == wheel.sha256:
            return target
        same_host = urllib3.util.parse_url(wheel.url).host == urllib3.util.parse_url(index.url).host
        source = Source("index", wheel.url, headers=index.headers if same_host else {})
        try:
            download(source, target, sha256=wheel.sha256, size_bytes=0, tell=lambda _done, _total: None, http=http)
        except Unavailable as exc:
            raise unreachable(index.url, f"{wheel.name} ({exc.en[:120]})") from exc
        return target

    found = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for wheel, path in zip(wheels, pool.map(one, wheels), strict=True):
            found[wheel.name] = path
            done += 1
            tell(done, len(wheels))
    return found


def installed_bytes(wheels: Iterable[Path]) -> int:
    """What they take on the disk, bytecode included, about."""
    total = 0
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            total += sum(one.file_size * (2 if one.filename.endswith(".py") else 1) + 2048 for one in archive.infolist())
    return total


def program_of(wheel: Path, name: str, target: Path) -> Path:
    """A program out of a wheel's scripts, made executable."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(one for one in archive.namelist() if one.endswith(f".data/scripts/{name}"))
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        with archive.open(member) as read, new.open("wb") as written:
            shutil.copyfileobj(read, written)
    new.chmod(0o755)
    new.replace(target)
    return target


def _glibc_of(platform: str) -> int:
    parts = platform.split("_")
    if platform.startswith("manylinux_2_"):
        return int(parts[2])
    return next((minor for minor, old in _OLD_NAMES.items() if parts[0] == old), 0)
