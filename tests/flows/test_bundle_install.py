"""A bundle made here, installed in a clean root without any network: it answers; what is wrong is refused with its reason and leaves nothing; newer ones.

One bundle for all: without the embedder and a Python of its own, so that it is small. What must be different about it (its version, what machine it wants, a
program that does not start) is changed in the unpacked files, which are then signed again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qzbrain.ops.bundle.layout import KEY, MANIFEST, SIGNATURE, SUMS
from qzbrain.ops.bundle.signing import fingerprint, load_key, make_key, public_pem
from tests.deploy.newer import sign_again
from tests.running import ROOT, wait_for
from tests.servers.clean_root import CleanRoot, base

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]

ASK = """curl -s http://127.0.0.1:9025/v1/chat/completions -H 'Content-Type: application/json' \
-d '{"model": "auto@%s", "messages": [{"role": "user", "content": "%s"}]}'"""


USER = "setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/srv"
"""Nobody in particular: an installation needs no root."""


class Site:
    """The clean root, the bundle unpacked in it at /srv/bundle, and the key that signed it."""

    def __init__(self, root: CleanRoot, key: Path) -> None:
        self.root, self.key = root, load_key(key)
        self.fingerprint = fingerprint(self.key)
        self.bundle = root.path / "srv/bundle"

    def install(self, *arguments: str, to: str = "/srv/q", before: str = "", timeout_s: float = 200) -> subprocess.CompletedProcess[str]:
        return self.root.run(f"{before} {USER} sh /srv/bundle/install.sh --to {to} {' '.join(arguments)}", timeout_s=timeout_s)

    def there(self, path: str) -> bool:
        return (self.root.path / path.lstrip("/")).exists()

    @contextmanager
    def changed(self, changes: dict[str, Callable[[bytes], bytes]], *, signed: bool = True) -> Iterator[None]:
        """Other contents for the time being: of files by name, and of what signs them unless it is to be found out."""
        kept = {name: (self.bundle / name).read_bytes() for name in (*changes, SUMS, SIGNATURE, KEY)}
        for name, change in changes.items():
            (self.bundle / name).write_bytes(change(kept[name]))
        if signed:
            sign_again(self.bundle, list(changes), self.key)
        try:
            yield
        finally:
            for name, data in kept.items():
                (self.bundle / name).write_bytes(data)

    @contextmanager
    def other_signer(self, folder: Path) -> Iterator[str]:
        """Signed by somebody else, as the manifest says."""
        key = load_key(make_key(folder / "other").private)
        theirs = fingerprint(key)
        with self.changed({MANIFEST: lambda data: data.replace(self.fingerprint.encode(), theirs.encode())}):
            sign_again(self.bundle, [], key)
            yield theirs

    @contextmanager
    def running(self, to: str = "/srv/q") -> Iterator[None]:
        """The installed brain, served."""
        log = self.root.path / "srv/serve.log"
        log.write_text("")
        process = self.root.popen(f"echo $$ > /srv/serve.pid; exec {USER} {to}/qzbrain serve >> /srv/serve.log 2>&1")
        try:
            wait_for(lambda: "qzbrain is ready" in log.read_text() or process.poll() is not None, "ready")
            assert process.poll() is None, log.read_text()
            yield
        finally:
            self.root.run("kill $(cat /srv/serve.pid)")
            process.wait(40)

    def answer(self, kb: str, question: str) -> dict[str, Any]:
        reply = self.root.run(ASK % (kb, question))
        found: dict[str, Any] = json.loads(reply.stdout)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The bundle as the command makes it, with a pack of a small knowledge base, unpacked in a clean root."""
    base()
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "采购.txt").write_text("第一条 采购金额超过五十万元的，须经董事会批准。", encoding="utf-8")

    def qzbrain(*words: object) -> Any:
        environment = {**os.environ, "QZBRAIN_DATA": str(folder / "data"), "QZBRAIN_EMBEDDER": "none", "QZBRAIN_LANG": "en"}
        command = [sys.executable, "-m", "qzbrain.cli", *map(str, words), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    qzbrain("kb", "add", "rules", folder / "采购.txt", "--create")
    key = qzbrain("bundle", "keygen")
    words = ["--without-embedder", "--python", "system", "--python-version", "3.11", "--cache", ROOT / ".tools" / "bundle-cache"]
    built = qzbrain("bundle", "-o", folder / "bundle.tar", *words, "--kb", "rules")
    assert built["manifest"]["signer"] == key["fingerprint"]
    again = qzbrain("bundle", "-o", folder / "again.tar", *words, "--pack", next((folder / "data/bundle/packs").iterdir()))
    assert again["sha256"] == built["sha256"]
    with CleanRoot(folder) as root:
        root.put(folder / "bundle.tar", "/srv/bundle.tar")
        unpacked = root.run("cd /srv && tar -xf bundle.tar && mv qzbrain-* bundle && rm bundle.tar && chmod 777 /srv")
        assert unpacked.returncode == 0, unpacked.stderr
        yield Site(root, Path(key["private"]))


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_1_what_is_wrong_is_refused_with_its_reason_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    def flipped(data: bytes) -> bytes:
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    wheel = next((site.bundle / "wheels").iterdir()).name
    pack = next((site.bundle / "packs").iterdir()).name
    program = ("bin/uv", "source/qzbrain/errors.py", "source/docs/api.md", "requirements/core.txt")
    for name in (f"wheels/{wheel}", f"packs/{pack}", MANIFEST, SUMS, SIGNATURE, *program):
        with site.changed({name: flipped}, signed=False):
            done = site.install()
        refused(done, "Nothing was installed" if name == SIGNATURE else "amaged")
        assert not site.there("/srv/q"), name
    with site.changed({KEY: lambda data: public_pem(load_key(make_key(tmp_path / "k").private))}, signed=False):
        refused(site.install(), "signature is wrong")
    for name in (f"wheels/{wheel}", "bin/uv", SUMS):
        (site.bundle / name).rename(site.bundle.parent / "away")
        refused(site.install(), Path(name).name)
        (site.bundle.parent / "away").rename(site.bundle / name)
    refused(site.install("--key", "sha256:" + "0" * 64), "another key", site.fingerprint)
    unfit = (('"glibc": "2.', '"glibc": "9.', ("glibc 9.", "2.36")), ('"3.11"', '"3.13"', ("Python 3.13", "3.11")), ("linux-x86_64", "linux-s390x", ("s390x",)))
    for old, new, words in unfit:
        with site.changed({MANIFEST: lambda data, old=old, new=new: data.replace(old.encode(), new.encode())}):  # type: ignore[misc]
            refused(site.install(), *words)
    refused(site.install("--upgrade"), "nothing to upgrade")
    refused(site.install("--with-ocr"), "no OCR")
    refused(site.install("--docker"), "no container images")
    refused(site.install(to="/etc"), "neither empty nor an installation")
    assert site.install("--no-such-option").returncode == 2
    refused(site.install(to="/etc/q"), "cannot be written", "/etc/q")
    refused(site.install(to="/srv/small/q", before="mkdir -p /srv/small && mount -t tmpfs -o size=100m tmpfs /srv/small &&"), "too little room")
    assert site.root.run("ls /srv/small; umount /srv/small").stdout == ""
    hidden = site.root.run("mv /usr/bin/python3.11 /usr/away; sh /srv/bundle/install.sh --to /srv/q; code=$?; mv /usr/away /usr/bin/python3.11; exit $code")
    refused(hidden, "no usable Python")
    assert not site.there("/srv/q")
    whole = site.install("--verify-only", "--key", site.fingerprint)
    assert (whole.returncode, site.there("/srv/q")) == (0, False), whole.stderr


def test_2_a_disk_that_fills_up_half_way_leaves_nothing(site: Site) -> None:
    done = site.root.run(
        f"mkdir -p /srv/full; mount -t tmpfs -o size=900m tmpfs /srv/full; {USER} sh /srv/bundle/install.sh --to /srv/full/q & "
        "until ls -d /srv/full/q/versions/*/.venv/lib >/dev/null 2>&1; do sleep 0.02; done; dd if=/dev/zero of=/srv/full/filler bs=1M 2>/dev/null; wait $!; "
        "code=$?; ls -A /srv/full >&2; umount /srv/full; exit $code"
    )
    refused(done, "too little room")
    assert done.stderr.splitlines()[-1] == "filler"


def test_3_killed_in_the_middle_and_again_it_answers(site: Site) -> None:
    for sign in ("/srv/q/versions/*/.venv/lib/python3.11/site-packages", "/srv/q/install.log"):
        killed = site.root.run(
            f"{USER} sh /srv/bundle/install.sh --to /srv/q & until ls -d {sign} >/dev/null 2>&1; do sleep 0.02; done; kill -9 $!; wait $!; sleep 0.3; "
            "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
        )
        assert not site.there("/srv/q/current"), killed.stderr
        assert "main.py" not in killed.stdout and "pip install" not in killed.stdout
    began = time.monotonic()
    done = site.install("--key", site.fingerprint)
    assert done.returncode == 0, done.stderr
    assert "/srv/q/qzbrain serve" in done.stderr
    print(f"installed in {time.monotonic() - began:.1f} s")
    with site.running():
        law = site.answer("laws", "行政处罚的种类有哪些？")
        assert "警告" in law["choices"][0]["message"]["content"] and law["citations"]
        assert "董事会" in site.answer("rules", "采购由谁批准？")["choices"][0]["message"]["content"]
        again = site.install()
    assert again.returncode == 0 and "was installed already" in again.stderr and "stays as it is" in again.stderr, again.stderr
    nothing_to_do = site.root.run(f"{USER} QZBRAIN_EMBEDDER=none /srv/q/current/run.sh --setup-only")
    assert (nothing_to_do.returncode, nothing_to_do.stderr) == (0, "")


def newer(data: bytes) -> bytes:
    return data.replace(b"0.1.0", b"0.2.0")


def test_4_a_newer_bundle_upgrades_it_and_one_that_does_not_come_up_does_not(site: Site, tmp_path: Path) -> None:
    old = (site.root.path / "srv/q/current").readlink()
    with site.other_signer(tmp_path) as theirs:
        refused(site.install("--upgrade"), theirs, "--key")
    broken = (
        "import os, pathlib, sqlite3, sys, time\n"
        "d = sqlite3.connect(pathlib.Path(os.environ['CURRENT_DIR'], 'data/brain.sqlite'))\n"
        "d.execute(\"UPDATE alembic_version SET version_num = '9999'\"); d.execute('DROP TABLE documents'); d.commit()\n"
        "time.sleep(2); sys.exit('the new version is broken')\n"
    )
    changes = {"source/qzbrain/__init__.py": newer, MANIFEST: newer}
    with site.changed({**changes, "source/main.py": lambda _: broken.encode()}):
        upgrade = f"{USER} sh /srv/bundle/install.sh --to /srv/q --upgrade"
        killed = site.root.run(f"{upgrade} & until [ -e /srv/q/upgrading.json ]; do sleep 0.01; done; kill -9 $!; wait $!")
        assert "an upgrade was interrupted" in site.root.run(f"{USER} /srv/q/qzbrain doctor").stderr, killed.stderr
        refused(site.install("--upgrade"), "putting things back", "the new version is broken", "as it was before")
    assert (site.root.path / "srv/q/current").readlink() == old
    assert [one.name for one in (site.root.path / "srv/q/versions").iterdir() if one.is_dir()] == [old.name]
    with site.changed(changes):
        refused(site.install(), "--upgrade")
        with site.running():
            refused(site.install("--upgrade"), "a brain is running", "http://127.0.0.1:9025")
            assert "董事会" in site.answer("rules", "采购由谁批准？")["choices"][0]["message"]["content"]
        assert (site.root.path / "srv/q/current").readlink() == old
        done = site.install("--upgrade")
    assert done.returncode == 0, done.stderr
    assert "0.2.0" in done.stderr
    assert (site.root.path / "srv/q/current").readlink() != old
    assert site.there(f"/srv/q/{old}") and site.there(f"/srv/q/before-upgrade/{old.name}.sqlite") and not site.there("/srv/q/upgrading.json")
    with site.running():
        assert "董事会" in site.answer("rules", "采购由谁批准？")["choices"][0]["message"]["content"]
