"""A deployment by deploy.sh on the tests' own Docker engine, and how to talk to it through nginx's port."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.running import ROOT, free_port, wait_for
from tests.servers.docker_engine import DockerEngine

PASSWORD = "vier graue Kraniche"
LINK = re.compile(r"^http://127\.0\.0\.1:(\d+)/setup\?token=([\w-]{43})$", re.MULTILINE)
OFTEN = {"HEALTH_INTERVAL": "3s"}
"""Docker looks after containers more often than it would: a test waits until each was seen to be healthy."""
SERVICES = ("brain", "graph", "mysql", "nginx", "redis", "worker")


class Deployment:
    """One of them: under a name, in a folder and at a port of its own, or under the usual name at the usual port."""

    def __init__(self, engine: DockerEngine, state: Path, *, usual: bool = False) -> None:
        self.engine, self.state = engine, state
        self.port, self.project = (9025, "qzbrain") if usual else (free_port(), f"qzt{secrets.token_hex(3)}")
        named = {} if usual else {"QZBRAIN_STATE": str(state), "COMPOSE_PROJECT_NAME": self.project}
        self.environment = {**engine.environment, **named, "QZBRAIN_DEPLOY_WAIT": "150", **OFTEN}
        self.cookie = ""

    def deploy(self, *arguments: str, program: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`sh deploy.sh …`, of the program in this folder."""
        return self.run("sh", str(program / "deploy.sh"), *arguments, check=check)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of whoever deploys."""
        done = subprocess.run(
            [*self.engine.inside(), *command], env=self.environment, capture_output=True, text=True, check=False, timeout=500, cwd="/",
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or not done.returncode, done.stdout + done.stderr
        return done

    def compose(self, commands: str) -> str:
        """Commands as a person types them in the folder that holds `.env`; what they print. Fails when one does."""
        environment = {**self.engine.environment, **OFTEN}
        done = subprocess.run(
            [*self.engine.inside(), "sh", "-ec", commands], env=environment, capture_output=True, text=True, check=False, timeout=300, cwd=self.state
        )
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    def sign_in(self, told: str) -> None:
        """As who was given the link."""
        ((port, token),) = LINK.findall(told)
        assert int(port) == self.port
        status, said = self.call("POST", "/api/setup", {"username": "root", "password": PASSWORD, "token": token})
        assert status == 201, said

    def sign_in_again(self) -> None:
        """By the password."""
        self.cookie = ""
        status, said = self.call("POST", "/api/session", {"username": "root", "password": PASSWORD})
        assert status == 200, said

    def call(self, method: str, path: str, payload: Any = None, *, timeout_s: float = 30) -> tuple[int, Any]:
        """A JSON request, signed in; bytes go as they are (a multipart body of one file)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with self.engine.ports():
            connection.connect()
        headers = {"Cookie": self.cookie} if self.cookie else {}
        body = payload
        if isinstance(payload, bytes):
            headers["Content-Type"] = "multipart/form-data; boundary=edge"
        elif payload is not None:
            body, headers["Content-Type"] = json.dumps(payload).encode(), "application/json"
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            data = reply.read()
            if cookie := reply.getheader("Set-Cookie"):
                self.cookie = cookie.split(";")[0]
            kind = reply.getheader("Content-Type") or ""
            return reply.status, json.loads(data) if data and "json" in kind else data
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether a question would be answered now."""
        with suppress(OSError, http.client.HTTPException, ValueError):
            return self.call("GET", "/readyz", timeout_s=5)[0] == 200
        return False

    def upload(self, kb: str, name: str, text: str) -> tuple[int, Any]:
        """One document."""
        head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
        return self.call("POST", f"/api/knowledge-bases/{kb}/documents", head.encode() + text.encode() + b"\r\n--edge--\r\n")

    def ask(self, question: str, kb: str = "laws") -> tuple[int, Any]:
        """In a conversation of its own: the status, and `conversation` with `answer`."""
        status, conversation = self.call("POST", "/api/conversations", {"knowledge_bases": [kb]})
        if status != 201:
            return status, conversation
        status, answer = self.call("POST", f"/api/conversations/{conversation['id']}/messages", {"content": question})
        return status, {"conversation": conversation["id"], "answer": answer}

    def documents(self, kb: str) -> dict[str, Any]:
        """All of a knowledge base by name, page after page."""
        found: dict[str, Any] = {}
        after = ""
        while True:
            status, said = self.call("GET", f"/api/knowledge-bases/{kb}/documents?limit=500{after}")
            assert status == 200, said
            found |= {one["name"]: one for one in said["data"]}
            if not said["has_more"]:
                return found
            after = f"&after={said['next']}"

    def add(self, kb: str, name: str, text: str) -> None:
        """Upload a document, and wait until it is read."""
        status, said = self.upload(kb, name, text)
        assert status in (200, 201, 202), said
        wait_for(lambda: self.documents(kb)[name]["status"] == "ready", f"{name} is read", 60, step_s=0.3)

    # -- containers

    def containers(self) -> dict[str, str]:
        """Ids by service."""
        listed = self.engine.call(
            "ps", "--all", "--filter", f"label=com.docker.compose.project={self.project}", "--format", '{{.Label "com.docker.compose.service"}} {{.ID}}'
        ).stdout
        return {line.split()[0]: line.split()[1] for line in listed.splitlines()}

    def states(self) -> dict[str, str]:
        """`healthy`, or what else each is."""
        found = {}
        for service, container in self.containers().items():
            state = self.engine.inspect(container)["State"]
            found[service] = state.get("Health", {}).get("Status", state["Status"])
        return found

    def execute(self, service: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command in a container."""
        return self.engine.call("exec", self.containers()[service], *command, check=check)

    def kill(self, service: str) -> None:
        """kill -9 of a container's first process, as a crash would; returns when Docker has started it again."""
        container = self.containers()[service]
        state = self.engine.inspect(container)["State"]
        os.kill(state["Pid"], signal.SIGKILL)
        wait_for(lambda: self._begun_after(container, state["StartedAt"]), f"{service} runs again", 60, step_s=0.2)

    def restart(self, service: str) -> None:
        """`docker restart`."""
        self.engine.call("restart", self.containers()[service])

    def _begun_after(self, container: str, then: str) -> bool:
        state = self.engine.inspect(container)["State"]
        return bool(state["Running"] and state["StartedAt"] != then)

    def remove(self) -> None:
        """Containers, volumes, networks."""
        for listing, removal in (
            (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
            (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
            (("network", "ls", "--quiet"), ("network", "rm")),
        ):
            if found := self.engine.call(*listing, "--filter", f"label=com.docker.compose.project={self.project}").stdout.split():
                self.engine.call(*removal, *found, check=False)


def memory_mb(engine: DockerEngine, container: str) -> float:
    """Proportional memory of all processes in a container, MB."""
    pids = engine.call("top", container, "-eo", "pid").stdout.split()[1:]
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return round(total / 1e3 * 1.024, 1)


def waited(deployment: Deployment, limit_s: float = 60) -> float:
    """Seconds until it is ready."""
    begun = time.monotonic()
    wait_for(deployment.ready, "ready", limit_s, step_s=0.2)
    return round(time.monotonic() - begun, 2)
