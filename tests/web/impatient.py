"""The web application with no patience, for tests of clients that come slowly. A gunicorn target."""

from qzbrain.web import gunicorn_worker, slow_clients

gunicorn_worker.HEAD_S = 2.0
slow_clients.PacedBody.__init__.__kwdefaults__ = {"grace_s": 1.5, "least_bytes_s": 50_000.0}

from qzbrain.wsgi import app  # noqa: E402

__all__ = ["app"]
