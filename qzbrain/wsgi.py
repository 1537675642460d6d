"""What gunicorn serves: `qzbrain.wsgi:app`. The standard library is patched before anything else is imported."""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

from qzbrain import logs
from qzbrain.brain import build
from qzbrain.chat.interrupted import Interrupted
from qzbrain.ops import traces
from qzbrain.settings import load_settings, secrets_of
from qzbrain.web import garbage
from qzbrain.web.app import create_app

_settings = load_settings()
logs.configure(_settings.log_level, "web")
logs.hide(secrets_of(_settings))
traces.begin(_settings, "web")
brain = build(_settings)
_interrupted = Interrupted(brain.db, _settings)
_interrupted.mark()
if brain.shared.several:
    _interrupted.keep_marking()
app = create_app(brain)
garbage.rarely()
