"""What to tell people who look after a brain: where a process' log is, and what starts it. As containers of Compose each process is minded by Docker."""

from __future__ import annotations

from pathlib import Path

from qzbrain.ops.finding import Text
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervision import log_folder
from qzbrain.settings import ROOT, Settings

_INSIDE = (Path("/.dockerenv"), Path("/run/.containerenv"))


def in_container() -> bool:
    """Whether this process runs in a container."""
    return any(path.exists() for path in _INSIDE)


def by_compose(settings: Settings) -> bool:
    """Whether containers of our image run web and worker each by itself. A clone in some container has run.sh, a whole brain in one has supervisord."""
    return in_container() and not (ROOT / "run.sh").exists() and not running_brain(settings)


def log_of(process: str, settings: Settings) -> Text:
    """The command that shows the end of what `web` or `worker` has logged."""
    if by_compose(settings):
        service = {"web": "brain"}.get(process, process)
        return (f"docker compose logs --tail 50 {service}",) * 2
    return (f"tail -n 50 {log_folder(settings) / f'{process}.log'}",) * 2


def start_of(settings: Settings) -> Text:
    """The command that starts a brain."""
    return ("sh deploy.sh",) * 2 if by_compose(settings) else ("./run.sh",) * 2
