"""README's first command and the deployment manual, command by command, in a clean Debian. What is executed is parsed out of the documents."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest

from tests.deploy.manual import Block, blocks, missing
from tests.running import ROOT, wait_for
from tests.servers.clean_root import CleanRoot

_ENDED = re.compile(r"^@@@ (\d+)$", re.MULTILINE)
_BLOCK_S = 330


def plain(block: Block) -> str:
    """A block without what differs between languages: comments, where it is not executed, and the one line that names the language."""
    if block.executed:
        return re.sub(r"QZBRAIN_LANG=\w+$", "QZBRAIN_LANG", block.text, flags=re.MULTILINE)
    return "\n".join(line for line in (re.sub(r"(^|\s+)#.*$", "", line) for line in block.text.splitlines()) if line)


def test_both_languages_have_the_same_commands_in_the_same_steps() -> None:
    english, chinese = blocks("en"), blocks("zh")
    assert [plain(one) for one in english] == [plain(one) for one in chinese]
    assert [(one.tags, len(one.expected)) for one in english] == [(one.tags, len(one.expected)) for one in chinese]
    assert [re.sub(r"\D", "", one.step) for one in english] == [re.sub(r"\D", "", one.step) for one in chinese]


def test_each_step_is_verified_by_the_doctor_and_by_an_expected_output() -> None:
    commands = blocks("en")
    for step in range(1, 10):
        assert any(re.search(rf"qzbrain doctor --step {step}\b", one.text) for one in commands), step
        if step < 9:
            assert any(one.step.startswith(f"Step {step}:") and one.executed and one.expected for one in commands), step


def test_what_is_expected_is_found_in_order_and_what_is_not_there_is_told() -> None:
    assert missing(("✓ MySQL…8", "two"), "✓ MySQL: 127.0.0.1 8\none two") == ""
    assert missing(("two", "one"), "one\ntwo") == "one"
    assert missing(("a…b",), "a\nb") == "a…b"


class Shell:
    """One bash inside a root, fed block by block as a person would; knows what each printed and whether a command in it failed."""

    def __init__(self, root: CleanRoot, log: Path) -> None:
        self._root, self._log, self._count = root, log, 0
        command = root.command("exec bash")
        with log.open("wb") as out:
            self._bash = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
        self._send("trap 'FAILED=1; echo \"FAILED: $BASH_COMMAND\"' ERR\n")

    def run(self, text: str) -> str:
        """Standard output and standard error together. Fails with them when a command fails."""
        self._count += 1
        inside = f"/tmp/block-{self._count}.sh"
        (self._root.path / inside[1:]).write_text(text, encoding="utf-8")
        before = self._log.stat().st_size
        self._send(f"FAILED=0; source {inside} < /dev/null; echo; echo \"@@@ $FAILED\"\n")

        def ended() -> re.Match[str] | None:
            assert self._bash.poll() is None, self._output(before)
            return _ENDED.search(self._output(before))

        found = wait_for(ended, f"the end of:\n{text}\n--- so far:\n{self._output(before)}", _BLOCK_S)
        output = self._output(before)[: found.start()]
        assert found[1] == "0", f"{text}\n--- printed:\n{output}"
        return output

    def _send(self, text: str) -> None:
        pipe: IO[bytes] | None = self._bash.stdin
        assert pipe is not None
        pipe.write(text.encode())
        pipe.flush()

    def _output(self, start: int) -> str:
        return self._log.read_bytes()[start:].decode(errors="replace")

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._bash.kill()
        self._bash.wait()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as a release has it: what git knows of this folder."""
    target = tmp_path_factory.mktemp("archive") / "qzbrain.tar.gz"
    known = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(known, cwd=ROOT, capture_output=True, check=True)
    names = b"\0".join(name for name in listed.stdout.split(b"\0") if name and (ROOT / name.decode()).is_file())
    command = ["tar", "--null", "--no-recursion", "--files-from=-", "--owner=0", "--group=0", "--transform=s,^,qzbrain/,", "-czf", str(target)]
    subprocess.run(command, cwd=ROOT, input=names, check=True)
    return target


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[CleanRoot]:
    """A clean Debian with the archive at the place that the manual names."""
    with CleanRoot(tmp_path_factory.mktemp("manual")) as clean:
        clean.put(archive, "/root/qzbrain.tar.gz")
        yield clean


pytest_marks = (pytest.mark.servers, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900))


def marked(test):  # type: ignore[no-untyped-def]
    """The marks of a test in a clean root."""
    for mark in pytest_marks:
        test = mark(test)
    return test


@marked
def test_the_first_command_of_readme_starts_a_brain_that_answers(root: CleanRoot, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (\./\S+\.sh) ", readme, re.MULTILINE)
    assert commands == ["./run.sh", "./test.sh"]  # the second is what .ci/run runs, on a machine as bare as this one
    assert re.search(r"\bexec ./test\.sh$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    question = next(x for x in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if x.startswith("curl"))
    folder = "/opt/qzbrain"  # the manual's own place: its set-up then has nothing left to do, and need not be waited for twice
    assert root.run(f"mkdir {folder} && tar -xzf /root/qzbrain.tar.gz -C {folder} --strip-components=1").returncode == 0
    log = tmp_path / "run.log"
    began = time.monotonic()
    process = root.popen(f"cd {folder} && exec {commands[0]}", network=True, log=log)
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            return "qzbrain is ready: http://127.0.0.1:9025" in log.read_text(encoding="utf-8")

        wait_for(is_ready, f"ready: {log.read_text(encoding='utf-8')}", 400, step_s=0.2)
        print(f"{time.monotonic() - began:.1f} s from nothing to ready")
        done = root.run(question, network=True)
        assert "警告" in done.stdout and '"citations"' in done.stdout, done
    finally:
        stopped = root.run(f"{folder}/.venv/bin/qzbrain stop; code=$?; rm -rf {folder}/data; exit $code")
    assert stopped.returncode == 0, stopped
    assert process.wait(30) == 0


@marked
def test_every_command_of_the_manual_does_what_it_says(root: CleanRoot, tmp_path: Path) -> None:
    english, chinese = blocks("en"), blocks("zh")
    took: list[tuple[float, str]] = []
    with Shell(root, tmp_path / "shell.log") as shell:
        for block, other in zip(english, chinese, strict=True):
            if not block.executed:
                continue
            began = time.monotonic()
            if "network" in block.tags:
                done = root.run(f"set -e\n{block.text}", network=True, timeout_s=400)
                output = done.stdout + done.stderr
                assert done.returncode == 0, f"{block.step}: {block.text}\n{output}"
            else:
                output = shell.run(block.text)
            lacking = missing(block.expected, output)
            assert not lacking, f"{block.step}: {block.text}\n--- lacks: {lacking}\n--- printed:\n{output}"
            if missing(other.expected, output):
                assert "check" in block.tags, f"{other.step}: what the Chinese manual expects is not there: {other.expected}"
                output = shell.run(f"export QZBRAIN_LANG=zh\n{block.text}\nexport QZBRAIN_LANG=en\n")
                assert not missing(other.expected, output), f"{other.step}: {other.text}\n--- printed:\n{output}"
            took.append((time.monotonic() - began, block.text.splitlines()[0]))
    for seconds, first in sorted(took, reverse=True)[:8]:
        print(f"{seconds:6.1f} s  {first}")
