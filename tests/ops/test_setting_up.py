"""The first start's set-up: both environments are made side by side, whoever ends the script ends all of it, and the embedder alone may fail.

The package index is one that takes connections and never answers, or gives errors, so that real installers are in the middle of their work.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.running import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = ("run.sh", "main.py", "scripts", "qzbrain/models/hub", "requirements.txt", "requirements-local.txt", "requirements-ocr.txt")


class Index:
    """A package index that keeps who asks waiting; `asked` has the packages. It has no uv, so pip has to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        asked, over = self.asked, self.over

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path.strip("/").split("/")[-1])
                if asked[-1] == "uv":
                    self.send_error(404)
                else:
                    over.wait(60)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def index() -> Iterator[Index]:
    one = Index()
    yield one
    one.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip alone, as the set-up makes one first: made once, it takes seconds."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, empty: Path) -> Path:
    """What the set-up needs of the tree, and two environments that have been begun."""
    root = tmp_path / "brain"
    for name in (".venv", ".venv-local"):
        shutil.copytree(empty, root / name, symlinks=True)
    for name in SCRIPTS:
        source, target = REPOSITORY / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else shutil.copy2(source, target)
    return root


def environment(index_url: str) -> dict[str, str]:
    """As on a machine without uv, and with a Python of its own."""
    python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    path = os.pathsep.join([str(Path(python).parent), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    return {"PATH": path, "HOME": "/nonexistent", "LANG": "C.UTF-8", "PIP_INDEX_URL": index_url, "UV_DEFAULT_INDEX": index_url, "PIP_RETRIES": "0"}


def made(root: Path) -> None:
    """As if the brain's own environment had been made: the stamp of what it was made from."""
    digest = sha256((root / "requirements.txt").read_bytes()).hexdigest()
    (root / ".venv/qzbrain.stamp").write_text(f"{root} {digest}  -\n")


def processes_in(root: Path) -> list[str]:
    """Command lines of all that runs from there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if str(root) in command and state != "Z":
                found.append(command)
    return found


def hearing() -> None:
    """Signals do what they do by default, also where the tests run under nohup: a shell can trap none that was ignored before it began."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(checkout: Path, index: Index) -> Iterator[Start]:
    """run.sh, in a session of its own so that a test which fails leaves nothing."""
    begun: list[subprocess.Popen[str]] = []

    def one(*arguments: str) -> subprocess.Popen[str]:
        command = [str(checkout / "run.sh"), *arguments]
        process = subprocess.Popen(
            command, env=environment(index.url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=hearing
        )
        begun.append(process)
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.communicate()


def first_of(checkout: Path, name: str) -> str:
    """The package that a file of requirements begins with."""
    return next(line.split("==")[0] for line in (checkout / name).read_text().splitlines() if "==" in line)


def both_at_work(checkout: Path, index: Index) -> None:
    wanted = {first_of(checkout, "requirements.txt"), first_of(checkout, "requirements-local.txt")}
    assert len(wanted) == 2
    wait_for(lambda: wanted <= set(index.asked), "both environments being made", 60)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)])
def test_both_are_made_at_once_and_a_signal_ends_both(checkout: Path, index: Index, start: Start, number: signal.Signals, status: int) -> None:
    script = start("--setup-only")
    both_at_work(checkout, index)
    assert any("requirements-local.txt" in line for line in processes_in(checkout))
    script.send_signal(number)
    assert script.wait(10) == status
    wait_for(lambda: not processes_in(checkout), "the end of all that it started", 10)


def test_a_signal_while_only_the_embedder_is_waited_for_ends_that(checkout: Path, index: Index, start: Start) -> None:
    made(checkout)
    script = start("--setup-only")
    wait_for(lambda: first_of(checkout, "requirements-local.txt") in index.asked, "the embedder being made", 60)
    script.terminate()
    assert script.wait(10) == 143
    wait_for(lambda: not processes_in(checkout), "the end of all that it started", 10)


@pytest.mark.parametrize("told", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "a file", "a named file"])
def test_uv_is_looked_for_where_pip_would_look(checkout: Path, index: Index, tmp_path: Path, told: str) -> None:
    variables = {name: value for name, value in environment(index.url).items() if name not in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")}
    file = tmp_path / (".config/pip/pip.conf" if told == "a file" else "mirror.conf")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"[global]\ntimeout = 5\nindex-url = {index.url}\n")
    variables |= {told: index.url} if told.isupper() else {"HOME": str(tmp_path)} if told == "a file" else {"PIP_CONFIG_FILE": str(file)}
    script = subprocess.Popen([checkout / "run.sh", "--setup-only"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "uv" in index.asked, "uv being asked for", 20)
    finally:
        script.terminate()
        script.wait(10)


def test_without_its_own_packages_it_ends_and_so_does_the_embedder(checkout: Path, index: Index, start: Start) -> None:
    (checkout / "requirements.txt").write_text("alembic==not a version\n")
    script = start("--setup-only")
    told, _ = script.communicate(timeout=60)
    assert script.returncode == 1 and "安装依赖失败" in told and "setup.log" in told
    wait_for(lambda: not processes_in(checkout), "the end of all that it started", 10)


def test_without_the_embedder_the_set_up_goes_on_and_says_so(checkout: Path, index: Index, start: Start) -> None:
    made(checkout)
    index.over.set()
    script = start("--setup-only")
    told, _ = script.communicate(timeout=60)
    assert script.returncode == 0 and "未安装语义检索" in told and "searches by words" in told
    assert first_of(checkout, "requirements.txt") not in index.asked


def test_two_first_starts_at_once_install_once(checkout: Path, index: Index, start: Start) -> None:
    made(checkout)
    name = first_of(checkout, "requirements-local.txt")
    first = start("--setup-only")
    wait_for(lambda: name in index.asked, "the embedder being made", 60)
    second = start("--setup-only")
    time.sleep(2)  # as long as it takes a start alone to ask, several times over
    assert index.asked.count(name) == 1
    index.over.set()
    assert [script.wait(60) for script in (first, second)] == [0, 0]
