"""Tables as streams of rows that are only added: what changes and deletes rows is refused with its name."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment
from pyflink.util.exceptions import TableException
from thalweg.connector.errors import ConfigError, Problem

__all__ = ["added_rows"]

_CHANGES = "doesn't support consuming"  # Flink's words, followed by 'update changes' or 'update and delete changes'


def added_rows(t_env: StreamTableEnvironment, query: str, table: str, where: str) -> DataStream:
    """Return the rows of a query as a stream.

    Parameters
    ----------
    t_env, query :
        Where it runs, and what.
    table, where : str
        What it reads and for whom, for errors.

    Raises
    ------
    ConfigError
        The table has updates or deletes (upsert-kafka, a CDC format, a view with an aggregate): a model that has
        learned from a row cannot unlearn it.
    """
    try:
        return t_env.to_data_stream(t_env.sql_query(query))
    except TableException as error:
        if _CHANGES not in str(error):
            raise
        what = f"table '{table}' changes and deletes rows, and a model reads rows that are only added."
        remedy = (
            "Read a topic with 'connector' = 'kafka' and a plain format: each change is then an event, and a record"
            " without a value only carries time. In a view leave out what changes rows, such as GROUP BY of no window."
        )
        raise ConfigError([Problem(where, what, remedy)]) from None
