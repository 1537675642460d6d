"""What gunicorn serves as the graph service: `qzbrain.web.graph_server:app`. The standard library is patched before anything else is imported."""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

from qzbrain import logs
from qzbrain.brain import build
from qzbrain.settings import load_settings
from qzbrain.web.graph_app import create_graph_app

_settings = load_settings()
logs.configure(_settings.log_level, "graph")
brain = build(_settings.model_copy(update={"graph_url": "", "qzbrain_graph_service": "off"}))  # whoever is asked does not ask on
app = create_graph_app(brain)
