"""The keys that a model's options name, read where its operator runs: they are in no job graph and no state."""

from __future__ import annotations

from collections.abc import Callable

from thalweg.connector.signing import Trust, open_signer, open_trust
from thalweg.connector.snapshot import Snapshot
from thalweg.connector.snapshot_signature import sign_snapshot
from thalweg.udfs.logic.declaration import Declaration

__all__ = ["signing", "trusted"]


def signing(declaration: Declaration) -> Callable[[Snapshot], Snapshot]:
    """Return what each snapshot goes through before it is published: it is signed, or stays as it is without a key.

    Raises
    ------
    ConfigError
        The key of ``'signing-key'`` cannot be read here.
    """
    source = declaration.keys.signing_key
    if source is None:
        return lambda snapshot: snapshot
    key = open_signer(source, f"model {declaration.name}, option 'signing-key'")
    return lambda snapshot: sign_snapshot(snapshot, key)


def trusted(declaration: Declaration) -> Trust | None:
    """Return whose signatures a model believes; None where it looks at none.

    Raises
    ------
    ConfigError
        A key of ``'trusted-keys'`` cannot be read here.
    """
    keys = declaration.keys
    return open_trust(keys.trusted_keys, keys.required, f"model {declaration.name}, option 'trusted-keys'")
