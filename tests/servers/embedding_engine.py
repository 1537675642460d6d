"""A real embedding engine for tests, llama.cpp or CTranslate2: on demand at a port of its own, ended with its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from qzbrain.errors import EngineUnavailable
from qzbrain.models.engines.llamacpp import LAUNCHER, SPINS
from tests.local_engine import local_python, need_embedder, tiny_model

TINY, E5 = "embedding", "e5"

_LLAMA = """
import ctypes, json, signal, sys, threading
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
import xllamacpp as x
c = x.CommonParams()
c.model.path, c.port, c.n_ctx, c.n_parallel = sys.argv[1], int(sys.argv[2]), 1024, 2
c.n_batch = c.n_ubatch = 512
c.embedding, c.warmup, c.fit_params = True, False, False
c.cpuparams.n_threads = c.cpuparams_batch.n_threads = 2
s = x.Server(c)
print(json.dumps({"url": s.listening_address}), flush=True)
threading.Event().wait()
"""


_ENCODER = """
import ctypes, json, os, signal, sys, threading
from pathlib import Path
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
import encoder_server
s = encoder_server.EncoderServer(
    Path(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), name="e5", key="", threads=os.cpu_count(), pooling="mean", longest=512
)
print(json.dumps({"url": s.listening_address}), flush=True)
threading.Event().wait()
"""


class EmbeddingEngine:
    """Its `EngineAddresses`, too: `address` gives where it listens, or says that it is away."""

    def __init__(self, model: str) -> None:
        """`model`: TINY, of random weights, under llama.cpp, or E5, the built-in one."""
        self._program = _ENCODER if model == E5 else _LLAMA
        self._model = need_embedder() if model == E5 else tiny_model(model)
        self._process, self._url, self._port = None, "", 0
        self._process: subprocess.Popen[str] | None

    def start(self) -> EmbeddingEngine:
        """Start it; after a stop at the port where it was."""
        environment = {**os.environ, "GOMP_SPINCOUNT": SPINS, "PYTHONPATH": str(LAUNCHER.parent)}
        command = [str(local_python()), "-c", self._program, str(self._model), str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        assert self._process.stdout is not None
        self._url = next(json.loads(line)["url"] for line in self._process.stdout if line.startswith("{"))
        self._port = int(self._url.rsplit(":", 1)[1])
        return self

    def kill(self) -> None:
        """As kill -9 does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def base_url(self) -> str:
        """Where it listens or listened."""
        return f"{self._url}/v1"

    def address(self, name: str, *, timeout_s: float) -> str:
        """See `EngineAddresses`."""
        if self._process is None:
            raise EngineUnavailable(zh=f"{name} 没有运行。", en=f"{name} does not run.")
        return self.base_url

    def wake(self, name: str, *, timeout_s: float) -> None:
        """See `EngineAddresses`."""

    def key(self, name: str) -> str:
        """See `EngineAddresses`."""
        return ""
