"""What gunicorn serves as the graph service: `qzbrain.web.graph_server:app`. The standard library is patched before anything else is imported."""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import threading
import time

from qzbrain import logs
from qzbrain.brain import build
from qzbrain.errors import BrainError
from qzbrain.graph.service import OPEN_GRAPHS
from qzbrain.settings import load_settings, secrets_of
from qzbrain.web.graph_app import create_graph_app

_settings = load_settings()
logs.configure(_settings.log_level, "graph")
logs.hide(secrets_of(_settings))
brain = build(_settings.model_copy(update={"graph_url": "", "qzbrain_graph_service": "off"}))  # whoever is asked does not ask on
app = create_graph_app(brain)


def _read_ahead() -> None:
    """Read the graphs now: a large one takes more than a second, and whoever asks waits two at most."""
    begun = time.perf_counter()
    try:
        having = [ref.id for ref in brain.access.resolve(brain.access.local_caller()) if brain.graph.version(ref.id)][:OPEN_GRAPHS]
        for kb_id in having:
            brain.local_graph.view(kb_id)
            brain.local_passages.near(kb_id, "", [], top_k=1)
    except BrainError as exc:
        logs.get(__name__).warning("graphs_not_read_ahead", code=exc.code)
        return
    logs.get(__name__).info("graphs_read_ahead", graphs=len(having), took_ms=round((time.perf_counter() - begun) * 1e3))


threading.Thread(target=_read_ahead, name="read-ahead", daemon=True).start()
