"""The one MetaData object and the column kinds that all tables share."""

from sqlalchemy import MetaData, String, Text
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(32)
Time = String(32)
Name = String(255)
LongText: TypeEngine[str] = Text(length=2**31 - 1)
