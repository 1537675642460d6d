"""What `install.sh --docker` does before deploy.sh has its turn: which version is in force, what is refused, what older versions leave."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from qzbrain.errors import Conflict
from qzbrain.ops.bundle.checking import Checked
from qzbrain.ops.bundle.docker import into_docker
from qzbrain.ops.bundle.layout import IMAGES, Manifest


class Place:
    """A folder to install into, and what was executed last."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.executed = folder / "a place", list[str]()
        self.bundle = folder / "bundle"
        (self.bundle / "source").mkdir(parents=True)
        (self.bundle / "source/deploy.sh").write_text('echo "$0 $QZBRAIN_STATE $*"\n')
        patch.setattr("os.execvp", lambda _program, arguments: self.executed.extend(arguments))

    def install(self, identity: str, *more: str, upgrade: bool = False, images: bool = True) -> None:
        self.folder.mkdir(exist_ok=True)
        self.executed.clear()
        sums = {"source/deploy.sh": "", **({IMAGES: ""} if images else {})}
        checked = Checked(Manifest("0.1.0", "", "linux-x86_64", "2.17", ["3.11"], "", {}), "sha256:abc", sums, identity * 8)
        into_docker(self.bundle, checked, self.folder, more, upgrade=upgrade)

    def versions(self) -> list[str]:
        return sorted(one.name[6] for one in (self.folder / "versions").iterdir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_the_launcher_is_the_deploy_sh_of_the_version_in_force_with_the_state_of_all(place: Place) -> None:
    place.install("a", "--port", "9100")
    launcher = place.folder / "deploy.sh"
    assert place.executed == ["sh", str(launcher), "--offline", str(place.bundle / IMAGES), "--port", "9100"]
    told = subprocess.run(["sh", str(launcher), "--down"], capture_output=True, text=True, check=True).stdout
    assert told == f"{place.folder}/versions/0.1.0-aaaaaaaa-docker/deploy.sh {place.folder}/deploy --down\n"
    assert shlex.split(launcher.read_text(), comments=True) and (place.folder / "trusted-key").read_text() == "sha256:abc\n"


def test_another_version_takes_an_upgrade_and_the_one_before_stays(place: Place) -> None:
    place.install("a")
    place.install("a")  # again, as after one that was interrupted
    with pytest.raises(Conflict, match="--upgrade"):
        place.install("b")
    assert not place.executed
    place.install("b", upgrade=True)
    assert "--upgrade" in place.executed and place.versions() == ["a", "b"]
    place.install("c", upgrade=True)
    assert place.versions() == ["b", "c"]


def test_a_bundle_without_images_is_refused_before_anything_is_made(place: Place) -> None:
    with pytest.raises(Conflict, match="no container images"):
        place.install("a", images=False)
    assert not list(place.folder.iterdir())
