"""Inside the build of the image: make the program importable in its environment, and drop what a running brain never opens.

    install.py ENVIRONMENT PROGRAM

Tests, C sources and static libraries are an eighth of the packages' size, symbols of libraries for debuggers another.
"""

import shutil
import struct
import sys
import sysconfig
from pathlib import Path

UNUSED_FOLDERS = ("tests", "test", "f2py", "distutils", "include", "sboms")
UNUSED_FILES = (".c", ".h", ".hpp", ".cpp", ".pyx", ".pxd", ".pxi", ".pyi", ".a", ".lib")
UNUSED_PATHS = ("numpy/_core/lib", "opencc/clib/bin", "opencc/clib/lib64/pkgconfig", "opencc/clib/lib64/cmake", "lxml/isoschematron")

LAUNCHER = """#!/bin/sh
exec {environment}/bin/python -P -m qzbrain.cli "$@"
"""


def main() -> None:
    """Trim the packages, then write the path file and the launcher."""
    environment, program = Path(sys.argv[1]), Path(sys.argv[2])
    (site,) = environment.glob("lib/python3*/site-packages")
    trim(site)
    (site / "qzbrain.pth").write_text(f"{program}\n", encoding="utf-8")
    launcher = environment / "bin" / "qzbrain"
    launcher.write_text(LAUNCHER.format(environment=environment), encoding="utf-8")
    launcher.chmod(0o755)
    for path in program.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for path in Path(sysconfig.get_path("stdlib")).rglob("__pycache__"):  # warm.py makes those that are used
        shutil.rmtree(path)


def trim(site: Path) -> None:
    """Remove what nothing imports."""
    for unused in UNUSED_PATHS:
        shutil.rmtree(site / unused, ignore_errors=True)
    for path in sorted(site.rglob("*"), reverse=True):
        inside = path.relative_to(site).parts
        if path.is_dir() and path.name in UNUSED_FOLDERS and len(inside) > 1:
            shutil.rmtree(path)
        elif path.is_file() and path.suffix in UNUSED_FILES:
            path.unlink()
        elif path.is_file() and ".so" in path.suffixes:
            shorten(path)


def shorten(library: Path) -> None:
    """Cut off what lies behind the parts of a shared library that are loaded: symbols for debuggers, and the table that leads there."""
    data = bytearray(library.read_bytes())
    if data[:6] != b"\x7fELF\x02\x01":  # 64 bits, little endian
        return
    (table,) = struct.unpack_from("<Q", data, 32)
    size, number = struct.unpack_from("<HH", data, 54)
    end = table + size * number
    for entry in range(table, end, size):
        (offset,), (length,) = struct.unpack_from("<Q", data, entry + 8), struct.unpack_from("<Q", data, entry + 32)
        end = max(end, offset + length)
    struct.pack_into("<Q", data, 40, 0)
    struct.pack_into("<HHH", data, 58, 0, 0, 0)
    library.write_bytes(data[:end])


if __name__ == "__main__":
    main()
