"""The doctor's report from a process of its own: reading a whole database would hold up every stream of the web process. Settings go there by a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import orjson

from qzbrain import logs
from qzbrain.errors import Lang, Unavailable
from qzbrain.settings import ROOT, Settings

log = logs.get(__name__)
_LONGEST_S = 25.0
_NICE = 5
_one_at_a_time = threading.Lock()


def report_apart(settings: Settings, lang: Lang) -> dict[str, Any]:
    """`checks` (see `doctor.Check`) and `system` (see `overview`). One at a time in this process. Raises Unavailable when it does not come to an end."""
    given = orjson.dumps({"lang": lang, "settings": settings.model_dump(mode="json", exclude_unset=True)})
    with _one_at_a_time:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "qzbrain.ops.doctor_apart"], input=given, capture_output=True, timeout=_LONGEST_S, check=True, cwd=ROOT
            )
            found: dict[str, Any] = orjson.loads(done.stdout)
        except (subprocess.SubprocessError, OSError, ValueError) as exc:
            said = getattr(exc, "stderr", None) or b""
            log.warning("doctor_did_not_end", said=said[-500:].decode("utf-8", "replace"), exc_info=exc)
            raise Unavailable(
                "doctor_unavailable",
                zh="检查没有完成。请在服务器上运行 qzbrain doctor 查看原因。",
                en="The checks did not come to an end. Run `qzbrain doctor` on the server to see why.",
                retry_after_s=10,
            ) from exc
    return found


def main() -> None:
    """Settings and language from standard input, the report to standard output."""
    from dataclasses import asdict

    from qzbrain.ops.doctor import examine
    from qzbrain.ops.overview import overview
    from qzbrain.settings import secrets_of

    os.nice(_NICE)
    given = orjson.loads(sys.stdin.buffer.read())
    settings = Settings(**given["settings"])
    logs.configure("error", "doctor")
    logs.hide(secrets_of(settings))
    told = {"checks": [asdict(one) for one in examine(settings, given["lang"])], "system": overview(settings)}
    sys.stdout.buffer.write(orjson.dumps(told))
    sys.stdout.buffer.flush()
    os._exit(0)  # a check that hangs is not waited for


if __name__ == "__main__":
    main()
