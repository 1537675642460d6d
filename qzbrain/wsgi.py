"""What gunicorn serves: `qzbrain.wsgi:app`. The standard library is patched before anything else is imported."""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import gc

from qzbrain import logs
from qzbrain.brain import build
from qzbrain.chat.interrupted import Interrupted
from qzbrain.ops import traces
from qzbrain.settings import load_settings, secrets_of
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

# Streams make many short-lived objects and few cycles: with Python's defaults the collector took an eighth of the CPU at 200
# streams (2026-11-24). What is there now stays for good and is never looked at again.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 100)
