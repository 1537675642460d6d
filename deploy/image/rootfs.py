"""Inside the build of an image: lay the root file system that it shall have, from the one it is built in.

    rootfs.py OUT ENVIRONMENT

Taken are the interpreter with its standard library, a shell and a few commands to look round with, and every shared library that these and the
packages of ENVIRONMENT load; no more. ENVIRONMENT itself is copied by the Dockerfile. Works on any Debian-like base, whichever place its Python has.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

COMMANDS = (
    "bash", "cat", "chown", "cp", "date", "df", "env", "find", "flock", "grep", "head", "id", "ls", "mkdir", "mv", "rm", "sed", "setpriv", "sh",
    "sleep", "sort", "stat", "tail", "tr", "true", "wc",
)  # fmt: skip
FILES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf", "/etc/os-release", "/etc/ld.so.conf", "/usr/share/zoneinfo/Asia/Shanghai",
    "/usr/share/zoneinfo/UTC",
)  # fmt: skip
LATE_LIBRARIES = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")
"""Loaded while a program runs, so that nothing names them."""
UNUSED = re.compile(r"(^|/)(test|tests|idlelib|ensurepip|lib2to3|tkinter|turtledemo|pydoc_data|site-packages|dist-packages|config-[^/]*)(/|$)")
UNUSED_MODULES = re.compile(r"/(nis|_dbm|_gdbm|_tkinter|_test\w*|_ctypes_test|xxlimited\w*|_xxtestfuzz)\.")
USER, UID = "qzbrain", 10001


class Root:
    """The folder that becomes the image's root."""

    def __init__(self, out: Path) -> None:
        self.out = out
        for folder in ("usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "usr/local/bin", "etc/qzbrain", "tmp", "models", "run", "var"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            (out / name).symlink_to(f"usr/{name}")

    def add(self, path: Path) -> None:
        """A file, by its own name and with what it leads to as its content."""
        if not path.exists():
            return
        place = self.out / (path.parent.resolve() / path.name).relative_to("/")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)

    def link(self, path: Path) -> None:
        """A link as it is."""
        place = self.out / (path.parent.resolve() / path.name).relative_to("/")
        if not place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.readlink())

    def add_tree(self, folder: Path) -> None:
        """The standard library without what is of use to its own developers only."""
        for path in folder.rglob("*"):
            inside = path.relative_to(folder).as_posix()
            if path.is_file() and not UNUSED.search(inside) and not UNUSED_MODULES.search(f"/{inside}"):
                self.add(path)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of our own."""
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_text(text, encoding="utf-8")
        (self.out / path).chmod(mode)


def main() -> None:
    """Lay it."""
    root, environment = Root(Path(sys.argv[1])), Path(sys.argv[2])
    python = (environment / "bin" / "python").resolve()
    library = Path(sysconfig.get_path("stdlib"))
    programs = [python, *commands()]
    for program in programs:
        root.add(program)
    for link in links(environment / "bin" / "python"):
        if environment not in link.parents:
            root.link(link)
    root.add_tree(library)
    for needed in libraries([*programs, *root.out.joinpath(library.relative_to("/")).rglob("*.so"), *environment.rglob("*.so"), *environment.rglob("*.so.*")]):
        if environment not in needed.parents:
            root.add(needed)
    for name in FILES:
        root.add(Path(name))
    for path in Path("/etc/ld.so.conf.d").glob("*.conf"):
        root.add(path)
    openssl = Path("/usr/lib/ssl")
    if openssl.is_dir():
        (root.out / "usr/lib/ssl").mkdir(exist_ok=True)
        (root.out / "usr/lib/ssl/certs").symlink_to("/etc/ssl/certs")
        (root.out / "usr/lib/ssl/openssl.cnf").symlink_to("/etc/ssl/openssl.cnf")
        (root.out / "usr/lib/ssl/cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
    root.write("etc/passwd", f"root:x:0:0:root:/:/bin/sh\n{USER}:x:{UID}:{UID}:{USER}:/data:/bin/sh\n")
    root.write("etc/group", f"root:x:0:\n{USER}:x:{UID}:\n")
    root.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    healthy = Path(__file__).with_name("healthy").read_text(encoding="utf-8")
    root.write("usr/local/bin/healthy", healthy, 0o755)
    (root.out / "tmp").chmod(0o1777)
    subprocess.run(["ldconfig", "-r", str(root.out)], check=True)


def commands() -> Iterator[Path]:
    """Those of COMMANDS that are there."""
    for name in COMMANDS:
        found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        if found:
            yield Path(found)


def links(path: Path) -> Iterator[Path]:
    """`path` and the further links that lead from there to a file."""
    while path.is_symlink():
        yield path
        path = path.parent / path.readlink()


def libraries(binaries: Iterable[Path]) -> set[Path]:
    """Every shared library that these load."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in LATE_LIBRARIES:
        found |= {Path(path) for path in re.findall(rf"^\s*{re.escape(name)} .*=> (/\S+)$", known, re.MULTILINE)}
    return found


if __name__ == "__main__":
    main()
