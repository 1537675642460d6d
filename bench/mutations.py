"""What comes of damaged documents: for each format how many were read and refused, why, how long the slowest took, what died.

    python bench/mutations.py --data DIR [--count 2000] [--seed 1]      DIR holds D_parsing/files

Every file gets its share of the mutants, which the reading child of the product reads under the product's bounds. Prints one JSON object; how far
it is goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from qzbrain.errors import ParseFailed
from qzbrain.knowledge import answers
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.settings import ROOT, Settings

sys.path.insert(0, str(ROOT))

from tests.mutants import mutants

_TIME_S = 60
_TELL = 50


def main() -> None:
    """Damage, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    files = sorted(path for path in (given.data / "D_parsing" / "files").rglob("*") if path.is_file())
    bugs: Counter[str] = Counter()
    answers.log.error = lambda _event, **fields: bugs.update([str(fields["traceback"]).strip().splitlines()[-1][:200]])  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measured(files, given.count, given.seed, Path(folder)) | {"parser_bugs": bugs}, ensure_ascii=False, indent=2))


def _measured(files: list[Path], count: int, seed: int, folder: Path) -> dict[str, object]:
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: list[tuple[float, str, str]] = []
    reader = Reader(Settings(qzbrain_data=folder / "data", parse_timeout_s=_TIME_S))
    began = last = time.monotonic()
    try:
        for request in _requests(files, count, seed, folder):
            for _, outcome in reader.read([request], beat=lambda _: None):
                code = outcome.code if isinstance(outcome, ParseFailed) else "read"
                outcomes[Path(request.name).suffix][code] += 1
                slowest.append((round(time.monotonic() - last, 2), request.name, code))
                last = time.monotonic()
                if len(slowest) % _TELL == 0:
                    sys.stderr.write(f"{len(slowest)} / {count}, {last - began:.0f} s\n")
    finally:
        reader.close()
    told = sum(sum(some.values()) for some in outcomes.values())
    died = {suffix: {code: some[code] for code in ("crashed", "timeout", "too_large") if some[code]} for suffix, some in outcomes.items()}
    return {
        "mutants": told,
        "missing": count - told,
        "seconds": round(time.monotonic() - began, 1),
        "outcomes": outcomes,
        "died": {suffix: codes for suffix, codes in died.items() if codes},
        "slowest": sorted(slowest, reverse=True)[:5],
    }


def _requests(files: list[Path], count: int, seed: int, folder: Path) -> Iterator[ReadRequest]:
    for number, path in enumerate(files):
        share = count // len(files) + (number < count % len(files))
        for each, data in enumerate(islice(mutants(path.read_bytes(), seed * 1000 + number), share)):
            place = folder / "mutant"
            place.write_bytes(data)
            yield ReadRequest(f"{path.name}-{each}", "k", path.name, 250, 50, path=place, size_bytes=len(data))


if __name__ == "__main__":
    main()
