"""The one MetaData object and the column kinds that all tables share. What they are on MySQL is said in the migrations."""

from typing import Any

from sqlalchemy import Dialect, LargeBinary, MetaData, String, Text, TypeDecorator
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


class ExactText(TypeDecorator[str]):
    """A text that is the same as another only byte for byte: bytes on MySQL, where blanks at the end do not count in a comparison of texts."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Bytes on MySQL."""
        return dialect.type_descriptor(LargeBinary() if dialect.name == "mysql" else self.impl_instance)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """To the database."""
        return value.encode() if dialect.name == "mysql" and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """From the database."""
        return value.decode() if isinstance(value, bytes) else value
