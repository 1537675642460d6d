"""Locked requirements: read, put together, and written again for the wheels that a bundle holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qzbrain.errors import Conflict

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """A package in the version that the lock names, and the hashes of the files that it allows."""

    name: str
    version: str
    hashes: frozenset[str]


def pins(files: Iterable[Path], *, without: frozenset[str] = frozenset()) -> list[Pin]:
    """All packages of these files, each once. Raises Conflict when two of them lock a package differently."""
    found: dict[str, Pin] = {}
    for file in files:
        text = re.sub(r"\\\n", " ", re.sub(r"^#.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE))
        for line in filter(None, map(str.strip, text.splitlines())):
            match = _PIN.match(line)
            if match is None:
                raise ValueError(f"{file.name}: {line[:80]}")
            pin = Pin(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2], frozenset(_HASH.findall(line)))
            if pin.name in without:
                continue
            there = found.setdefault(pin.name, pin)
            if there.version != pin.version:
                raise Conflict(
                    "locks_differ",
                    zh=f"{file.name} 锁定 {pin.name} {pin.version}，另一个文件锁定 {there.version}。请运行 make lock。",
                    en=f"{file.name} locks {pin.name} {pin.version}, another file {there.version}. Run: make lock",
                )
    return [found[name] for name in sorted(found)]


def written(chosen: Mapping[Pin, Iterable[str]]) -> bytes:
    """A requirements file that allows these files alone: hashes by package."""
    lines = [f"{pin.name}=={pin.version}" + "".join(f" \\\n    --hash=sha256:{one}" for one in sorted(set(hashes))) for pin, hashes in chosen.items()]
    return ("\n".join(sorted(lines)) + "\n").encode()
