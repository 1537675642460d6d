"""Inside the build of the image: import what a running brain imports, so that its bytecode lies in the image, and no other.

The image's file system is read-only when it runs: what is not compiled here is compiled at every start (0.9 s of a core for all of it). All
bytecode of all packages would be a third of the image.
"""

import importlib
import os
import pkgutil
import tempfile
import warnings

THIRD_PARTY = (
    "alembic.command", "celery.apps.worker", "celery.beat", "celery.bin.worker", "celery.concurrency.solo", "celery.worker.consumer",
    "celery.worker.strategy", "cryptography.hazmat.primitives.asymmetric.rsa", "cryptography.x509", "encodings.idna", "gunicorn.app.wsgiapp",
    "gunicorn.workers.ggevent", "kombu.transport.redis", "lxml.etree", "opensearchpy", "pymysql", "python_calamine", "redis.asyncio", "rich.progress",
    "rich.table", "sqlalchemy.dialects.mysql.pymysql", "sqlalchemy.dialects.sqlite.pysqlite", "supervisor.supervisord", "xlsxwriter",
)  # fmt: skip
NOT_IMPORTED = ("qzbrain.cli.__main__", "qzbrain.web.gunicorn_conf", "qzbrain.web.graph_gunicorn_conf", "qzbrain.web.graph_server", "qzbrain.wsgi")
"""Programs that begin something when they are imported; `qzbrain.wsgi` comes last."""


def main() -> None:
    """Prepare a brain that is thrown away, then import the rest."""
    from gevent import monkey

    monkey.patch_all()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"QZBRAIN_DATA": folder, "QZBRAIN_EMBEDDER": "none"}
        import qzbrain
        from qzbrain.ops.start import prepare
        from qzbrain.settings import load_settings

        prepare(load_settings())
        os.umask(0o022)
        names = [module.name for module in pkgutil.walk_packages(qzbrain.__path__, "qzbrain.")]
        for name in (*THIRD_PARTY, *(name for name in names if name not in NOT_IMPORTED), "qzbrain.wsgi"):
            try:
                importlib.import_module(name)
            except Exception as exc:  # an extra that the image does not have
                print(f"{name}: {exc}", flush=True)
    os._exit(0)  # whatever began to run meanwhile


if __name__ == "__main__":
    main()
