"""A program that stands in for vLLM and SGLang where there is no GPU: their command lines, health, metrics, keys and chat protocol, with faults.

    python engine_stand_in.py serve PATH --host … (vLLM)      python engine_stand_in.py --model-path PATH … (SGLang)

Unknown flags end it, as they end the real ones. `BEHAVIOUR.json` beside the model (read anew for each request) tells how it behaves:
`start_s`, `exit` (ends at the start with this code and `says`), `lies` (healthy, but every answer is 500), `empty` (answers without content),
`tokens`, `token_s`, `grandchild` (starts a process that leaves the group, and writes its pid to `grandchild.pid`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VLLM = ["max-model-len", "max-num-seqs", "max-num-queued-reqs", "tensor-parallel-size", "gpu-memory-utilization", "runner", "hf-config-path", "tokenizer"]
SGLANG = ["context-length", "max-running-requests", "max-queued-requests", "tp-size", "mem-fraction-static", "tokenizer-path", "device", "config"]


class State:
    """What the server shares with its requests."""

    def __init__(self) -> None:
        parser = argparse.ArgumentParser(allow_abbrev=False)
        self.sglang = "--model-path" in sys.argv
        if self.sglang:
            parser.add_argument("--model-path", required=True)
            for flag in ("enable-metrics", "is-embedding"):
                parser.add_argument(f"--{flag}", action="store_true")
        else:
            parser.add_argument("verb", choices=["serve"])
            parser.add_argument("model_path")
        for flag in ["host", "served-model-name", *(SGLANG if self.sglang else VLLM)]:
            parser.add_argument(f"--{flag}")
        parser.add_argument("--port", type=int, required=True)
        given = parser.parse_args()
        self.given = given
        self.folder = Path(given.model_path)
        self.name = given.served_model_name
        self.slots = int(given.max_running_requests if self.sglang else given.max_num_seqs)
        key = re.search(r'api-key: "(.*)"', Path(given.config).read_text()) if self.sglang else None
        self.key = key[1] if key else os.environ.get("VLLM_API_KEY", "")
        self.lock = threading.Lock()
        self.running = 0

    def behaviour(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "BEHAVIOUR.json").read_text())
        except FileNotFoundError:
            return {}
        return found


STATE = State()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        gauge = "sglang:num_running_reqs" if STATE.sglang else "vllm:num_requests_running"
        if self.path == "/health":
            return self.reply(200, b"")
        if self.path == "/metrics":
            return self.reply(200, f'# TYPE {gauge} gauge\n{gauge}{{model_name="{STATE.name}"}} {float(STATE.running)}\n'.encode())
        return self.reply(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        behaviour = STATE.behaviour()
        if self.headers.get("Authorization") != f"Bearer {STATE.key}":
            return self.reply(401, b'{"error": "Unauthorized"}')
        if behaviour.get("lies"):
            return self.reply(500, b'{"error": {"message": "CUDA error: out of memory"}}')
        if body.get("model") != STATE.name:
            return self.reply(404, b'{"error": {"message": "The model does not exist"}}')
        if self.path != "/v1/chat/completions":
            return self.reply(404, b"{}")
        with STATE.lock:
            STATE.running += 1
        try:
            self.stream(body, behaviour)
        except OSError:
            self.close_connection = True
        finally:
            with STATE.lock:
                STATE.running -= 1
        return None

    def stream(self, body: dict[str, Any], behaviour: dict[str, Any]) -> None:
        tokens = 0 if behaviour.get("empty") else min(int(body.get("max_tokens") or 1000), int(behaviour.get("tokens", 5)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
        for number in range(tokens):
            self.event({"choices": [{"index": 0, "delta": {"content": f"{STATE.name}{number} "}, "finish_reason": None}]})
            time.sleep(float(behaviour.get("token_s", 0)))
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self.event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def event(self, value: dict[str, Any]) -> None:
        self.chunk(b"data: " + json.dumps({"object": "chat.completion.chunk", "model": STATE.name, **value}).encode() + b"\n\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    behaviour = STATE.behaviour()
    with (STATE.folder / "starts").open("a") as starts:
        starts.write(f"{os.getpid()} {time.time()}\n")
    (STATE.folder / "environment.json").write_text(json.dumps(dict(os.environ)))
    time.sleep(float(behaviour.get("start_s", 0)))
    if "exit" in behaviour:
        sys.stderr.write(f"{behaviour.get('says', '')}\n")
        sys.exit(int(behaviour["exit"]))
    if behaviour.get("grandchild"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        (STATE.folder / "grandchild.pid").write_text(str(child.pid))
    ThreadingHTTPServer(("127.0.0.1", STATE.given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
