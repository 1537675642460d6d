"""The web application with short times, for tests of what happens when a client stays away. A gunicorn target."""

from qzbrain.chat import elsewhere
from qzbrain.web import socket

socket.GRACE_S = 1.5
elsewhere.AWAITED_S, elsewhere.ANNOUNCED_EVERY_S = 1.5, 0.3

from qzbrain.wsgi import app  # noqa: E402

__all__ = ["app"]
