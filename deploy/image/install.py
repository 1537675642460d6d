"""Inside the build of the image: make the program importable in its environment, and drop what a running brain never opens.

    install.py ENVIRONMENT PROGRAM

Tests, C sources and static libraries are an eighth of the packages' size.
"""

import shutil
import sys
import sysconfig
from pathlib import Path

UNUSED_FOLDERS = ("tests", "test", "f2py", "distutils", "include", "sboms")
UNUSED_FILES = (".c", ".h", ".hpp", ".cpp", ".pyx", ".pxd", ".pxi", ".pyi", ".a", ".lib")
UNUSED_PATHS = ("numpy/_core/lib", "opencc/clib/bin", "opencc/clib/lib64/pkgconfig", "opencc/clib/lib64/cmake")

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


if __name__ == "__main__":
    main()
