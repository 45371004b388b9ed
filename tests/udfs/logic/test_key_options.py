"""The options about signatures, held against the rest; a key that stands in a statement is refused and not shown."""

from __future__ import annotations

from typing import Any

import pytest
from test_warm_source import declared
from thalweg.connector.errors import ConfigError
from thalweg.udfs.logic.compare_options import COMPARE_OPTIONS
from thalweg.udfs.logic.key_options import KeyOptions
from thalweg.udfs.logic.options import OPTIONS

SECRET = "hmac-sha256:ci:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtcw"
WARM = {"warm-start": "t?brokers=h:1"}


def test_where_the_keys_lie_is_all_that_a_declaration_knows() -> None:
    options = {
        **WARM, "signing-key": "file:///k/own.key", "trusted-keys": "file:/k/a.pub, env:B", "require-signature": "true",
    }  # fmt: skip
    assert declared(options).keys == KeyOptions("file:/k/own.key", ("file:/k/a.pub", "env:B"), True)
    assert declared({}).keys == KeyOptions()


@pytest.mark.parametrize("option", ["signing-key", "trusted-keys"])
def test_a_key_in_a_statement_is_refused_and_not_shown(option: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"option '{option}': is no reference: write env:NAME or file:/path"
    ) as caught:
        declared({**WARM, option: SECRET})
    assert SECRET[20:] not in str(caught.value)
    for table, name in ((OPTIONS, option), (COMPARE_OPTIONS, "control-keys")):
        with pytest.raises(ValueError, match="no reference"):
            table[name].read(SECRET)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({**WARM, "require-signature": "true"}, "without 'trusted-keys'"),
        ({"trusted-keys": "env:A", "require-signature": "true"}, "without 'warm-start'"),
        ({"require-signature": "yes"}, "require-signature"),
        ({**WARM, "trusted-keys": "env:A,"}, "trusted-keys"),
        (
            {
                **WARM, "trusted-keys": "env:A", "require-signature": "true", "revive": "snapshot", "state-ttl": "1 h",
                "snapshot-every": "1 min",
            },
            "are not signed",
        ),
    ],
)  # fmt: skip
def test_keys_that_make_no_sense_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        declared(options)
