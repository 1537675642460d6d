"""One process, one model, the OpenAI protocol on 127.0.0.1: a file by llama.cpp's own server out of the xllamacpp wheel, a folder by CTranslate2.

Run by the Python of the engine's environment, which need not have anything of qzbrain: only the standard library is imported, and xllamacpp, or
`encoder_server.py` beside this file. Of several that are started for one model, one takes the lock and writes the state file; the others end with
code 75. It ends by itself when its parent dies, on SIGTERM, and (code 0) when nobody has touched the state file for `--sleep-after` seconds and it
is not at work. The API key comes in QZBRAIN_ENGINE_KEY.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1
_LOOK_S = 1.0
_LOCK_TRIES = 50
ANOTHER_RUNS = 75
MOST_THREADS = 16
"""Of an encoder, where nothing else is said: each takes memory of its own."""
PROMPT_BATCH = 256
"""Tokens of prompts that a CPU reads in one step. Between two steps other answers go on, and a client that left is noticed."""


def arguments() -> argparse.Namespace:
    """The command line; `engines/llamacpp.py` and `engines/ctranslate2.py` build it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--alias", default="")
    parser.add_argument("--ctx", type=int, default=4096, help="tokens of all slots together")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores; of an encoder 16 at most")
    parser.add_argument("--mode", choices=["chat", "embedding", "rerank"], default="chat")
    parser.add_argument("--pooling", choices=["mean", "cls", "last"], default=None)
    parser.add_argument("--ngl", type=int, default=0, help="layers on GPUs")
    parser.add_argument("--prompt-cache", type=int, default=128, help="MiB of the machine's memory for past prompts")
    parser.add_argument("--memory-limit", type=int, default=0, help="most bytes that it may allocate (what it maps from the file not counted); 0: no bound")
    parser.add_argument("--sleep-after", type=float, default=0.0, help="seconds; 0: never")
    parser.add_argument("--state", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Serve until there is a reason to end."""
    given = arguments()
    if given.memory_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (given.memory_limit, given.memory_limit))
    ends_within = alone(given.state)
    key = os.environ.get("QZBRAIN_ENGINE_KEY", "")
    server = _encoder(given, key) if Path(given.model).is_dir() else _LlamaServer(given, key)
    write_state(given.state, {"pid": os.getpid(), "began": began(os.getpid()), "url": server.listening_address, "key": key})
    while not ends_within(_LOOK_S) and not (given.sleep_after and _unused(given.state, given.sleep_after, server)):
        pass
    given.state.unlink(missing_ok=True)
    os._exit(0)  # without waiting for the server's threads: what they hold is the kernel's to take back


def alone(state: Path) -> Callable[[float], bool]:
    """Be the one engine with this state file, or exit with ANOTHER_RUNS. What comes back waits so many seconds, at most: True when it is time to end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = os.getppid()
    if _take_lock(state.with_suffix(".lock")) is None:
        sys.exit(ANOTHER_RUNS)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return lambda seconds: ended.wait(seconds) or os.getppid() != parent


def began(pid: int) -> str:
    """When a process began, in the kernel's ticks: with the pid it names one process for good. '' for one that has ended. Raises OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _take_lock(path: Path) -> int | None:
    """The one lock on this engine; None when somebody else keeps it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if path.with_suffix(".json").exists():
                return None
            time.sleep(0.02)
        else:
            return handle
    return None


class Engine(Protocol):
    """What listens."""

    listening_address: str

    @property
    def at_work(self) -> bool:
        """Whether somebody waits for an answer."""


class _LlamaServer:
    """llama.cpp's, with this file of a model."""

    def __init__(self, given: argparse.Namespace, key: str) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = given.model
        params.hostnames = [given.host]
        params.port = given.port
        if given.alias:
            params.model_alias = {given.alias} if isinstance(params.model_alias, (set, frozenset)) else [given.alias]
        params.n_ctx, params.n_parallel, params.n_gpu_layers = given.ctx, given.parallel, given.ngl
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads or os.cpu_count() or 1
        params.cont_batching = params.endpoint_metrics = params.endpoint_slots = params.use_jinja = True
        params.cache_ram_mib = given.prompt_cache  # of past prompts, beside those in the slots; 8 GiB by default
        params.warmup = params.ui = params.fit_params = False
        if key:
            params.api_keys = [key]
        if given.mode == "chat" and not given.ngl:
            params.n_batch = max(PROMPT_BATCH, given.parallel)
        if given.mode != "chat":
            pooling = xllamacpp.llama_pooling_type
            params.embedding = True
            params.n_batch = params.n_ubatch = min(given.ctx // given.parallel, 8192)  # a text must fit into one batch
            if given.mode == "rerank":
                params.pooling_type = pooling.LLAMA_POOLING_TYPE_RANK
            elif given.pooling:
                params.pooling_type = getattr(pooling, f"LLAMA_POOLING_TYPE_{given.pooling.upper()}")
        self._server = xllamacpp.Server(params)
        self.listening_address: str = self._server.listening_address

    @property
    def at_work(self) -> bool:
        """See `Engine`."""
        found = re.search(r"^llamacpp:requests_processing (\d+)", str(self._server.handle_metrics()), re.MULTILINE)
        return found is not None and found[1] != "0"


def _encoder(given: argparse.Namespace, key: str) -> Engine:
    sys.path.append(str(Path(__file__).parent))
    import encoder_server  # type: ignore[import-not-found]

    server: Engine = encoder_server.EncoderServer(
        Path(given.model), host=given.host, port=given.port, name=given.alias, key=key, pooling=given.pooling or "",
        threads=given.threads or min(len(os.sched_getaffinity(0)), MOST_THREADS), longest=given.ctx // given.parallel,
    )  # fmt: skip
    return server


def _unused(state: Path, sleep_after_s: float, server: Engine) -> bool:
    try:
        if time.time() - state.stat().st_mtime < sleep_after_s:
            return False
    except OSError:
        return True
    return not server.at_work


def write_state(path: Path, state: dict[str, object]) -> None:
    """Tell that the engine listens: `pid`, `began`, `url`, `key`. For its user alone, and never half written."""
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(state, file)
    temporary.replace(path)


if __name__ == "__main__":
    main()
