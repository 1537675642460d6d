"""Alembic's entry: runs on the connection that `storage.migrate` hands over, inside its transaction, or writes SQL for a dialect."""

from typing import Any

from alembic import context
from alembic.ddl.mysql import MySQLImpl
from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table

from qzbrain.storage.tables import metadata


class OurMySQL(MySQLImpl):
    """Alembic's MySQL, with the revision in a table like all others, whatever the database's own character set is."""

    __dialect__ = "mysql"

    def version_table_impl(self, *, version_table: str, **options: Any) -> Table:
        """The table `alembic_version`."""
        key = PrimaryKeyConstraint("version_num", name=f"{version_table}_pkc")
        how: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_default_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
        return Table(version_table, MetaData(), Column("version_num", String(32), nullable=False), key, **how)


context.configure(
    connection=context.config.attributes.get("connection"),
    dialect_name=context.config.attributes.get("dialect"),
    target_metadata=metadata,
    compare_server_default=False,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
