"""The container deployment: sizes of images, seconds of deploy.sh, memory of idle containers. Prints one JSON object.

    PYTHONPATH=. python bench/docker.py [--with PROFILE,…]

On a Docker engine of its own (root; tests/servers/docker_engine.py), with local stand-ins for mysql, redis, nginx and Python's base image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.deploy.deployment import Deployment, memory_mb
from tests.servers.docker_engine import DockerEngine, docker_engine

IDLE_S = 45
"""The worker starts itself anew, smaller, when it has had nothing to do for 30 s."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with", dest="profiles", default="")
    arguments = parser.parse_args()
    with docker_engine() as engine, tempfile.TemporaryDirectory(prefix="qzbrain-docker-bench-") as folder:
        deployment = Deployment(engine, Path(folder) / "state")
        deployment.environment.pop("HEALTH_INTERVAL")  # as for everybody
        try:
            print(json.dumps(measure(engine, deployment, arguments.profiles), indent=1))
        finally:
            deployment.remove()


def measure(engine: DockerEngine, deployment: Deployment, profiles: str) -> dict[str, Any]:
    """All figures; seconds, MB (10^6 bytes)."""
    chosen = ["--with", profiles] if profiles else []
    begun = time.monotonic()
    deployment.deploy("--port", str(deployment.port), "--bind", "127.0.0.1", *chosen)
    figures: dict[str, Any] = {"first_deploy_s": round(time.monotonic() - begun, 1)}
    images = engine.call("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=qzbrain*").stdout.split()
    figures["image_mb"] = {image: int(engine.call("image", "inspect", "--format", "{{.Size}}", image).stdout) / 1e6 for image in images if "test" not in image}
    deployment.remove()
    begun = time.monotonic()
    told = deployment.deploy()
    figures["deploy_with_images_s"] = round(time.monotonic() - begun, 1)
    deployment.sign_in(told.stdout)
    begun = time.monotonic()
    status, conversation = deployment.call("POST", "/api/conversations", {"knowledge_bases": ["laws"]})
    assert status == 201, conversation
    status, answer = deployment.call("POST", f"/api/conversations/{conversation['id']}/messages", {"content": "行政处罚的种类有哪些？"})
    assert status == 200 and answer["citations"], answer
    figures["first_answer_s"] = round(time.monotonic() - begun, 2)
    time.sleep(IDLE_S)
    figures["idle_pss_mb"] = {service: memory_mb(engine, id_) for service, id_ in sorted(deployment.containers().items()) if service != "prepare"}
    begun = time.monotonic()
    deployment.deploy("--down")
    figures["down_s"] = round(time.monotonic() - begun, 1)
    begun = time.monotonic()
    deployment.deploy()
    figures["up_again_s"] = round(time.monotonic() - begun, 1)
    return figures


if __name__ == "__main__":
    main()
