"""deploy.sh on a real Docker engine: from nothing to an answered question; every container killed under load; down and up again.

MySQL, Redis, nginx and Python's base image are stand-ins under the official names (tests/servers/docker_engine.py). The tests use one deployment in turn.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.deployment import SERVICES, Deployment, waited
from tests.running import wait_for
from tests.servers.docker_engine import DockerEngine, docker_engine

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]
QUESTION = "行政处罚的种类有哪些？"


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with docker_engine() as made:
        yield made


@pytest.fixture(scope="module")
def deployment(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Made from nothing by deploy.sh, which builds the image; the administrator has used the link."""
    made = Deployment(engine, tmp_path_factory.mktemp("docker") / "state")
    for image in engine.call("images", "--quiet", "qzbrain").stdout.split():
        engine.call("rmi", "--force", image)  # of an earlier run
    try:
        told = made.deploy("--port", str(made.port), "--bind", "127.0.0.1")
        made.told = told.stdout + told.stderr  # type: ignore[attr-defined]
        made.sign_in(told.stdout)
        yield made
    finally:
        made.remove()


def ask(deployment: Deployment, question: str = QUESTION) -> tuple[int, Any]:
    status, conversation = deployment.call("POST", "/api/conversations", {"knowledge_bases": ["laws"]})
    if status != 201:
        return status, conversation
    status, answer = deployment.call("POST", f"/api/conversations/{conversation['id']}/messages", {"content": question})
    return status, {"conversation": conversation["id"], "answer": answer}


def documents(deployment: Deployment) -> list[Any]:
    """All of the knowledge base `load`, page after page."""
    found: list[Any] = []
    after = ""
    while True:
        status, said = deployment.call("GET", f"/api/knowledge-bases/load/documents?limit=500{after}")
        assert status == 200, said
        found += said["data"]
        if not said["has_more"]:
            return found
        after = f"&after={said['next']}"


def test_from_nothing_to_an_answered_question(deployment: Deployment, engine: DockerEngine) -> None:
    """Over nginx's port, by MySQL, Redis and Celery, with every service healthy."""
    status, said = wait_for(lambda: (found := ask(deployment))[0] == 200 and "警告" in str(found[1]) and found, "an answer", 30)
    assert status == 200 and said["answer"]["citations"]
    states = deployment.states()
    assert states.pop("prepare") == "exited"
    assert states == dict.fromkeys(SERVICES, "healthy")
    count = "SELECT COUNT(*) FROM documents"
    rows = deployment.execute("mysql", "sh", "-c", f'mariadb -h127.0.0.1 -uqiyuan -p"$(cat /run/secrets/mysql_password)" -N chatglm -e "{count}"').stdout
    assert int(rows) >= 12
    log = engine.call("logs", deployment.containers()["worker"])
    assert '"redis:6379"' in log.stdout + log.stderr or "redis:6379" in log.stdout + log.stderr  # it takes its jobs from there
    assert "doctor" in deployment.told  # type: ignore[attr-defined]
    status, triples = deployment.call("POST", "/chat-process-txt", {"text": "行政处罚法"})
    assert status == 200, triples


def test_containers_have_no_rights_and_tell_no_secrets(deployment: Deployment, engine: DockerEngine) -> None:
    secrets = [path.read_text() for path in sorted((deployment.state / "secrets").iterdir())]
    assert len(secrets) == 6 and all(len(one) == 48 for one in secrets) and len(set(secrets)) == 6
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (deployment.state / "secrets").iterdir())
    published = {}
    for service, container in deployment.containers().items():
        told = engine.inspect(container)
        assert not any(one in str(told) for one in secrets), service
        assert not any(one in (engine.call("top", container).stdout if told["State"]["Running"] else "") for one in secrets), service
        published[service] = [port for ports in (told["NetworkSettings"]["Ports"] or {}).values() for port in ports or []]
        assert told["HostConfig"]["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert told["HostConfig"]["Memory"] > 0 or service == "prepare"
        if service not in ("mysql", "prepare"):
            assert told["Config"]["User"].startswith("10001:") and told["HostConfig"]["ReadonlyRootfs"], service
            assert told["HostConfig"]["CapDrop"] == ["ALL"]
    assert {service for service, ports in published.items() if ports} == {"nginx"}
    assert [port["HostPort"] for port in published["nginx"]] == [str(deployment.port)]
    refused = deployment.execute("brain", "sh", "-c", ": >/app/x", check=False)
    assert refused.returncode and "Read-only" in refused.stderr
    assert deployment.execute("brain", "sh", "-c", ": >/data/x; rm /data/x").returncode == 0


def test_run_again_it_changes_nothing(deployment: Deployment) -> None:
    before = {service: container for service, container in deployment.containers().items() if service != "prepare"}
    told = deployment.deploy()
    assert "已有管理员" in told.stderr and not told.stdout.strip()
    after = deployment.containers()
    assert {service: after[service] for service in before} == before


def test_every_container_dies_under_load_and_nothing_acknowledged_is_lost(deployment: Deployment) -> None:
    """Documents and questions go in all the time; each container is killed (-9) or restarted in turn. What got a 2xx is there in the end."""
    assert deployment.call("POST", "/api/knowledge-bases", {"name": "load"})[0] == 201
    uploaded: dict[str, str] = {}
    answered: dict[str, str] = {}
    ended = threading.Event()

    def upload() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                status, said = deployment.upload("load", f"{number}.txt", f"第{number}号规定：编号为{number}的仓库每天检查{number}次。\n" * 5)
            except (OSError, http.client.HTTPException, ValueError):
                status = 0
            if status in (200, 201, 202):
                uploaded[f"{number}.txt"] = str(said)
            time.sleep(0.1)

    def question() -> None:
        while not ended.is_set():
            try:
                status, said = ask(deployment)
            except (OSError, http.client.HTTPException, ValueError):
                status = 0
            if status == 200 and "message_id" in said["answer"]:
                answered[said["answer"]["message_id"]] = said["conversation"]
            time.sleep(0.1)

    threads = [threading.Thread(target=upload), threading.Thread(target=question)]
    for thread in threads:
        thread.start()
    try:
        killed = [(deployment.kill, service) for service in ("worker", "brain", "graph", "redis", "mysql", "nginx")]
        for end, service in (*killed, (deployment.restart, "brain"), (deployment.restart, "worker")):
            before = (len(uploaded), len(answered))
            end(service)
            waited(deployment)
            wait_for(lambda then=before: len(uploaded) > then[0] and len(answered) > then[1], f"work goes on after {service} died", 60)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(uploaded) > 20 and len(answered) > 10

    def all_ready() -> bool:
        found = {one["name"]: one["status"] for one in documents(deployment)}
        return all(found.get(name) == "ready" for name in uploaded)

    wait_for(all_ready, "all documents are ready", 90, step_s=0.5)
    for message, conversation in answered.items():
        status, said = deployment.call("GET", f"/api/conversations/{conversation}/messages")
        assert status == 200 and message in {one["id"] for one in said["data"]}


def test_down_and_up_again_from_a_file_of_images_all_is_there(deployment: Deployment, engine: DockerEngine, tmp_path: Path) -> None:
    """--save, --down, the brain's image removed, --offline: the way to a machine without a network. A file that holds no images is refused."""
    before = documents(deployment)
    assert before
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no images" * 1000)
    refused = deployment.deploy("--offline", str(bad), check=False)
    assert refused.returncode == 1 and "docker save" in refused.stderr
    file = tmp_path / "images.tar"
    deployment.deploy("--save", str(file))
    told = deployment.deploy("--down")
    assert deployment.containers() == {} and "sh deploy.sh" in told.stderr
    image = re.search(r"^QZBRAIN_IMAGE=(.*)$", (deployment.state / ".env").read_text(), re.MULTILINE)
    assert image
    engine.call("rmi", image[1])
    told = deployment.deploy("--offline", str(file))
    assert engine.has(image[1]) and "已有管理员" in told.stderr
    deployment.sign_in_again()
    assert sorted(one["id"] for one in documents(deployment)) == sorted(one["id"] for one in before)
    assert ask(deployment)[0] == 200


def test_lost_secrets_of_a_database_that_is_there_are_not_made_anew(deployment: Deployment) -> None:
    lost = deployment.state / "secrets" / "mysql_password"
    kept = lost.read_text()
    lost.unlink()
    refused = deployment.deploy(check=False)
    assert refused.returncode == 1 and "mysql_password" in refused.stderr and not lost.exists()
    lost.write_text(kept)
    assert deployment.ready()  # what ran goes on
