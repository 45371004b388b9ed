"""Names the views that a model gives, whatever its provider."""

from __future__ import annotations

from pyflink.table import StreamTableEnvironment
from thalweg.connector.ddl import quote_name
from thalweg.connector.errors import ConfigError, Problem

__all__ = ["create_model_view"]


def create_model_view(t_env: StreamTableEnvironment, model: str, suffix: str, query: str) -> None:
    """Create the view ``<model>_<suffix>``.

    Raises
    ------
    ConfigError
        There is a view of that name.
    """
    name = f"{model}_{suffix}"
    if name in t_env.list_views():
        what = f"gives a view '{name}', and there is one of that name."
        raise ConfigError([Problem(f"model {model}", what, "Give the model or the view another name.")])
    t_env.execute_sql(f"CREATE TEMPORARY VIEW {quote_name(name)} AS {query}")
