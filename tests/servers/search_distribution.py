"""The programs of the search servers, fetched once through Maven into `.tools/search` of the clone.

As root the servers run as nobody; a clone that nobody cannot enter has them in /var/tmp instead.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from tests.running import ROOT
from tests.servers.programs import missing, need

Flavour = Literal["elasticsearch", "opensearch"]
VERSIONS: dict[Flavour, str] = {"elasticsearch": "8.19.21", "opensearch": "2.19.1"}
READY = ".ready-3"
"""Stands in a folder that is whole; raise the number when what belongs into it changes."""
SOURCES = Path(__file__).resolve().parent / "search"


def _place() -> Path:
    there = ROOT / ".tools" / "search"
    open_to_all = all(one.stat().st_mode & 0o001 for one in ROOT.parents) and ROOT.stat().st_mode & 0o001
    return there if os.geteuid() or open_to_all else Path("/var/tmp/qzbrain-search")


FETCHED = _place()


def java_home() -> Path:
    """The newest JDK that both servers run on (17 to 21)."""
    need("javac", "openjdk-17-jdk-headless")
    found = {version: home for home in Path("/usr/lib/jvm").glob("*") if 17 <= (version := _java_version(home)) <= 21}
    if not found:
        missing("there is no JDK 17 to 21 (apt-get install --no-install-recommends openjdk-17-jdk-headless)")
    return found[max(found)]


def _java_version(home: Path) -> int:
    release = home / "release"
    if not (home / "bin/javac").exists() or not release.is_file():
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else 0


def distribution(flavour: Flavour) -> Path:
    """The folder of a server's program; fetched (some 60 MB) when it is not there yet. Processes that ask at once wait for one of them."""
    there = FETCHED / f"{flavour}-{VERSIONS[flavour]}"
    if (there / READY).exists():
        return there
    maven, jdk = need("mvn", "maven"), java_home()
    mask = os.umask(0o022)  # the server runs as another user; a test that ran before may have called what keeps files to their owner
    try:
        FETCHED.mkdir(parents=True, exist_ok=True)
        with (FETCHED / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (there / READY).exists():
                _fetch(flavour, there, maven, jdk)
    finally:
        os.umask(mask)
    return there


def _fetch(flavour: Flavour, there: Path, maven: str, jdk: Path) -> None:
    part = FETCHED / f"{flavour}.part"
    for old in (part, there):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir()
    shutil.copy(SOURCES / f"{flavour}.xml", part / "pom.xml")
    goals = ["dependency:unpack", *(["dependency:copy-dependencies"] if flavour == "opensearch" else [])]
    command = [maven, "-q", "-B", *goals, f"-Ddest={part}"]
    done = subprocess.run(command, cwd=part, env={**os.environ, "JAVA_HOME": str(jdk)}, capture_output=True, text=True, timeout=600)
    if done.returncode:
        missing(f"Maven could not fetch {flavour}: {done.stdout[-500:]}")
    home = part / there.name
    for program in (home / "bin").iterdir():
        program.chmod(0o755)
    if flavour == "elasticsearch":
        _add_stub(home, jdk)
    else:
        _add_painless(home, part / "jars")
    (home / READY).touch()
    home.rename(there)
    shutil.rmtree(part)


def _add_stub(home: Path, jdk: Path) -> None:
    """Compile the plugin that stands in for what the test distribution lacks."""
    plugin, classes = home / "plugins/test-stub", home.parent / "classes"
    plugin.mkdir(parents=True)
    shutil.copy(SOURCES / "plugin-descriptor.properties", plugin)
    subprocess.run([jdk / "bin/javac", "-nowarn", "-d", classes, "-cp", f"{home}/lib/*", SOURCES / "StubPlugin.java"], check=True)
    subprocess.run([jdk / "bin/jar", "cf", plugin / "test-stub.jar", "-C", classes, "."], check=True)


def _add_painless(home: Path, jars: Path) -> None:
    """The script module, as the full distribution has it: the k-NN plugin extends it."""
    module = home / "modules/lang-painless"
    module.mkdir(parents=True)
    for pattern in ("lang-painless-*.jar", "opensearch-scripting-painless-spi-*.jar", "antlr4-*.jar", "asm-*.jar"):
        for jar in jars.glob(pattern):
            jar.rename(module / jar.name)
    version = VERSIONS["opensearch"]
    values = {
        "description": "lang-painless", "version": version, "name": "lang-painless", "classname": "org.opensearch.painless.PainlessPlugin",
        "java.version": "11", "opensearch.version": version, "custom.foldername": "", "extended.plugins": "", "has.native.controller": "false",
    }  # fmt: skip
    (module / "plugin-descriptor.properties").write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
    needed = "".join(f'permission java.lang.RuntimePermission "{right}"; ' for right in ("createClassLoader", "getClassLoader"))
    (module / "plugin-security.policy").write_text(f"grant {{ {needed}}};\n", encoding="utf-8")


if __name__ == "__main__":
    for one in VERSIONS:
        distribution(one)
