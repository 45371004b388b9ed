"""From a query to its rows in blocks, keyed for an operator, without a hop through Python for the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyflink.common import Types
from pyflink.datastream.data_stream import KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment
from thalweg.connector.ddl import quote_name
from thalweg.udfs.flink.functions import pack_function
from thalweg.udfs.flink.shards import shard_keys

__all__ = ["keyed_blocks", "setting"]


def keyed_blocks(
    env: StreamTableEnvironment,
    query: str,
    kinds: Sequence[str],
    key_at: int | None,
    shards: int,
    function: str,
    ttl_ms: int,
) -> KeyedStream:
    """Pack the rows of a query and key the blocks by shard, in Java.

    Parameters
    ----------
    env : StreamTableEnvironment
        Where the query runs.
    query, kinds : str, sequence of str
        The rows, and the kind of each column.
    key_at : int or None
        Which column is the model key; None: all rows are of one shard.
    shards : int
        Into how many parts the keys are dealt.
    function : str
        Name under which the packing function is registered.
    ttl_ms : int
        How long the windows of the query keep their state. More than a label's timeout by far: the state's clock is
        the wall clock, which goes on while a job is down.
    """
    keys = shard_keys(shards, int(env.get_config().get("pipeline.max-parallelism", "-1")))
    env.create_temporary_function(function, pack_function(kinds, key_at, keys))
    with setting(env, "table.exec.state.ttl", f"{ttl_ms} ms"):
        columns = env.sql_query(query).get_schema().get_field_names()
        table = env.sql_query(
            "SELECT shard, ROW(packed) FROM (SELECT p.shard AS shard, p.packed AS packed FROM"
            f" (SELECT {function}({', '.join(map(quote_name, columns))}) AS p FROM ({query}))) WHERE packed IS NOT NULL"
        )
        packed = Types.ROW_NAMED(["packed"], [Types.PRIMITIVE_ARRAY(Types.BYTE())])
        stream = env.to_append_stream(table, Types.ROW_NAMED(["shard", "row"], [Types.INT(), packed]))
    selector = get_gateway().jvm.KeyByKeySelector()
    java = stream._j_data_stream.keyBy(selector, Types.ROW([Types.INT()]).get_java_type_info())
    return KeyedStream(java, packed, stream)


@contextmanager
def setting(env: StreamTableEnvironment, option: str, value: str) -> Iterator[None]:
    """Set an option while queries of the flow are planned, and leave the customer's setting as it was."""
    before = env.get_config().get(option, "0 ms")
    env.get_config().set(option, value)
    try:
        yield
    finally:
        env.get_config().set(option, before)
