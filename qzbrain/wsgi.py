"""What gunicorn serves: `qzbrain.wsgi:app`. The standard library is patched before anything else is imported."""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

from qzbrain import logs
from qzbrain.brain import build
from qzbrain.settings import load_settings
from qzbrain.web.app import create_app

_settings = load_settings()
logs.configure(_settings.log_level, "web")
app = create_app(build(_settings))
