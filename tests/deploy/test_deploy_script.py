"""deploy.sh where no engine is needed: its usage, what it refuses, what Compose makes of each profile; scripts and Dockerfiles as linters see them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qzbrain import __version__
from tests.running import ROOT
from tests.servers.docker_engine import KEPT
from tests.servers.programs import missing

SCRIPTS = [ROOT / name for name in ("run.sh", "run_celery.sh", "deploy.sh", "test.sh", ".ci/run", "deploy/image/healthy")]
SCRIPTS += sorted([*(ROOT / "scripts").glob("*.sh"), *(ROOT / "tests" / "servers" / "docker").glob("*.sh")])
DOCKERFILES = [ROOT / "Dockerfile", *sorted((ROOT / "tests" / "servers" / "docker").glob("*.Dockerfile"))]
TOOLS = Path(sys.executable).parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "deploy.sh"), *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60, cwd="/"
    )


def fake_docker(folder: Path, compose: str) -> dict[str, str]:
    """A `docker` on the path that says which version it is, and no more."""
    folder.mkdir()
    program = folder / "docker"
    program.write_text(
        f'#!/bin/sh\ncase "$1 $2" in "version "*) echo 20.10.24 ;; "compose version") {compose} ;; "info "*) echo /nowhere ;; *) exit 1 ;; esac\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "QZBRAIN_STATE": str(folder / "state")}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run([str(TOOLS / "shellcheck"), "-x", str(path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_shellcheck_would_say_something(tmp_path: Path) -> None:
    (tmp_path / "bad.sh").write_text("#!/bin/sh\nrm -rf $1/*\n")
    assert "SC2086" in subprocess.run([str(TOOLS / "shellcheck"), str(tmp_path / "bad.sh")], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run([str(TOOLS / "hadolint"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# syntax=" not in path.read_text()  # it would be fetched from a hub


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN apt-get install -y curl\n")
    assert "DL3006" in subprocess.run([str(TOOLS / "hadolint"), str(tmp_path / "Dockerfile")], capture_output=True, text=True, check=False).stdout


def test_usage() -> None:
    told = run("--help")
    assert told.returncode == 0 and all(word in told.stdout for word in ("--upgrade", "--down", "--offline", "--with")) and "set -eu" not in told.stdout
    for arguments in (("--strange",), ("--port",), ("--port", "many"), ("--with", "nothing")):
        wrong = run(*arguments)
        assert wrong.returncode == 2 and "--help" in wrong.stderr, arguments


def test_without_docker_it_says_how_to_get_it(tmp_path: Path) -> None:
    for name in ("sh", "sed", "tail", "cat", "grep", "mv", "touch", "tr", "paste"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    told = run(PATH=str(tmp_path), QZBRAIN_STATE=str(tmp_path / "state"))
    assert told.returncode == 1 and "apt-get install" in told.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("compose", "word"), [("exit 1", "2.20"), ("echo v2.19.1", "2.19.1"), ("echo 1.29.2", "1.29.2")])
def test_a_compose_that_is_missing_or_too_old_is_named(compose: str, word: str, tmp_path: Path) -> None:
    told = run(**fake_docker(tmp_path / "bin", compose))
    assert told.returncode == 1 and word in told.stderr


@pytest.mark.parametrize("compose", ["echo 2.20.0", "echo v2.26.1-4", "echo 5.0.1"])
def test_one_that_is_new_enough_passes_on_to_the_port(compose: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = run("--port", str(port), **fake_docker(tmp_path / "bin", compose))
    assert told.returncode == 1 and f"--port {port + 1}" in told.stderr
    assert not list((tmp_path / "bin" / "state" / "secrets").iterdir())


def failing_upgrade(folder: Path, *, migrated: bool) -> subprocess.CompletedProcess[str]:
    """`--upgrade` where nothing comes up, and nothing can be put back either, by a `docker` that writes down what it is asked."""
    environment = fake_docker(folder, "echo 2.30.0")
    said = "echo back again: qzbrain db downgrade" if migrated else "true"
    (folder / "docker").write_text(
        f"""#!/bin/sh
printf '%s %s\\n' "${{QZBRAIN_IMAGE:--}}" "$*" >>{folder}/asked
case "$*" in
    "version "*) echo 28.0.0 ;; "compose version "*) echo 2.30.0 ;; "image inspect "*) echo sha256:old ;; "volume inspect "*) exit 1 ;;
    *" logs --since "*) {said} ;; *" up --detach "*) exit 1 ;; *" db downgrade") exit 1 ;;
esac
"""
    )
    (folder / "state").mkdir()
    (folder / "state" / ".env").write_text("QZBRAIN_IMAGE=qzbrain:0.0.9\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return run("--upgrade", "--port", str(port), **environment)


def test_an_upgrade_that_cannot_be_undone_says_what_is_left_to_do(tmp_path: Path) -> None:
    told = failing_upgrade(tmp_path / "bin", migrated=True)
    image = f"qzbrain:{__version__}"
    command = f"cd {tmp_path}/bin/state && QZBRAIN_IMAGE={image} docker compose run --rm --no-deps brain qzbrain db downgrade"
    assert told.returncode == 1 and command in told.stderr and "sh deploy.sh --upgrade" in told.stderr
    asked = (tmp_path / "bin/asked").read_text()
    assert asked.rstrip().endswith("qzbrain db downgrade") and asked.splitlines()[-1].startswith(image)
    assert "QZBRAIN_IMAGE=qzbrain:0.0.9" in (tmp_path / "bin/state/.env").read_text()


def test_an_upgrade_that_changed_no_schema_puts_no_backup_back(tmp_path: Path) -> None:
    told = failing_upgrade(tmp_path / "bin", migrated=False)
    asked = (tmp_path / "bin/asked").read_text()
    assert told.returncode == 1 and "going back to the old version, qzbrain:0.0.9" in told.stderr
    assert "db downgrade" not in asked and "tag qzbrain:before-upgrade-qzbrain qzbrain:0.0.9" in asked
    assert [line.split()[0] for line in asked.splitlines() if " up --detach " in line] == [f"qzbrain:{__version__}", "-"]


def configuration(tmp_path: Path, *profiles: str, **environment: str) -> dict[str, Any]:
    """What Compose makes of compose.yaml."""
    if shutil.which("docker") is None:
        missing("docker is not installed (apt-get install --no-install-recommends docker.io)")
    command = ["docker", "compose", "--file", str(ROOT / "deploy" / "compose.yaml"), *(word for one in profiles for word in ("--profile", one))]
    given = {**os.environ, "DOCKER_CONFIG": str(KEPT / "config"), "QZBRAIN_STATE": str(tmp_path), **environment}
    done = subprocess.run([*command, "config", "--format", "json"], env=given, capture_output=True, text=True, check=False)
    if "is not a docker command" in done.stderr or "unknown" in done.stderr:
        missing(f"docker compose is not there: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.servers
def test_profiles_add_what_they_name(tmp_path: Path) -> None:
    plain = set(configuration(tmp_path)["services"])
    assert plain == {"prepare", "brain", "worker", "graph", "nginx", "mysql", "redis"}
    for profile, service in (("search", "elasticsearch"), ("local", "embedder"), ("chat", "chat"), ("gpu", "vllm"), ("gpu-embedding", "vllm-embedding")):
        assert set(configuration(tmp_path, profile)["services"]) - plain == {service}


@pytest.mark.servers
def test_backups_have_a_volume_of_their_own_or_a_folder_that_is_named(tmp_path: Path) -> None:
    for given, source in (({}, "backups"), ({"QZBRAIN_BACKUPS": "/mnt/backup/qzbrain"}, "/mnt/backup/qzbrain")):
        services = configuration(tmp_path, **given)["services"]
        for name in ("brain", "worker", "prepare", "graph"):
            mounted = {one["target"]: one["source"] for one in services[name]["volumes"]}
            assert mounted["/backups"] == source and mounted["/data"] == "data" and services[name]["environment"]["BACKUP_DIR"] == "/backups"


@pytest.mark.servers
def test_engines_on_gpus_take_the_devices_that_are_named(tmp_path: Path) -> None:
    made = configuration(tmp_path, "gpu", CUDA_VISIBLE_DEVICES="0,1", VLLM_TENSOR_PARALLEL="2", VLLM_MODEL="Qwen3-32B")
    vllm = made["services"]["vllm"]
    assert vllm["runtime"] == "nvidia" and vllm["environment"]["NVIDIA_VISIBLE_DEVICES"] == "0,1"
    assert "/models/Qwen3-32B" in vllm["command"][0] and "--tensor-parallel-size 2" in vllm["command"][0]
    assert vllm["environment"]["HF_HUB_OFFLINE"] == "1" and list(vllm["networks"]) == ["inner"]
    assert made["networks"]["inner"]["internal"] is True and "ports" not in vllm


@pytest.mark.servers
def test_only_nginx_is_published_and_its_port_can_be_changed(tmp_path: Path) -> None:
    services = configuration(tmp_path, "search", "local", "chat", "gpu", "gpu-embedding", QZBRAIN_PORT="9100", QZBRAIN_BIND="127.0.0.1")["services"]
    assert [name for name, one in services.items() if one.get("ports")] == ["nginx"]
    (port,) = services["nginx"]["ports"]
    assert (port["published"], port["host_ip"], port["target"]) == ("9100", "127.0.0.1", 8080)
    for name, one in services.items():
        assert one["logging"]["options"] == {"max-file": "3", "max-size": "10m"}, name
        assert name == "prepare" or int(one["deploy"]["resources"]["limits"]["memory"]) > 0, name
