"""A Kerberos key table into the principals whose keys it holds; an account's name into a principal."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# MIT krb5's documentation, "The keytab file format"; the version before this one is of the 1990s.
_VERSION_2 = b"\x05\x02"
_SIZE = struct.Struct(">i")
_COUNT = struct.Struct(">H")


def parse_keytab(data: bytes) -> tuple[str, ...] | None:
    """The principals, ``fleet@CORP.EXAMPLE``, each once; None for what is no key table. Total."""
    if not data.startswith(_VERSION_2):
        return None
    return tuple(dict.fromkeys(_principals(data)))


def _principals(data: bytes) -> Iterator[str]:
    at = len(_VERSION_2)
    while at + _SIZE.size <= len(data):
        (size,) = _SIZE.unpack_from(data, at)
        at += _SIZE.size
        # What was deleted leaves a hole of a negative size.
        if size > 0 and (name := _principal(data[at : at + size])):
            yield name
        at += abs(size)


def _principal(entry: bytes) -> str:
    """What an entry begins with: how many parts the name has, the realm, the parts."""
    try:
        (count,) = _COUNT.unpack_from(entry)
        texts, at = [], _COUNT.size
        for _ in range(count + 1):
            (size,) = _COUNT.unpack_from(entry, at)
            texts.append(entry[at + _COUNT.size : at + _COUNT.size + size].decode("utf-8", "replace"))
            at += _COUNT.size + size
    except struct.error:
        return ""
    return f"{'/'.join(texts[1:])}@{texts[0]}"


def principal_of(user: str) -> str:
    """``svc@corp.example`` or ``CORP.EXAMPLE\\svc`` as Kerberos writes it; no realm is the default one."""
    domain, _, name = user.rpartition("\\")
    if domain:
        return f"{name}@{domain.upper()}" if "." in domain else name
    name, _, realm = user.rpartition("@")
    return f"{name}@{realm.upper()}" if name else user


def keytab_trouble(data: bytes, principal: str) -> str:
    """Why the key table has no key for that principal, "" when it has one. Without a realm any will do."""
    held = parse_keytab(data)
    if held is None:
        return "it is no key table (keytab)"
    if principal in held or principal in (name.partition("@")[0] for name in held):
        return ""
    others = f"only for {', '.join(held[:5])}" if held else "nor for anybody else"
    return f"it has no key for {principal}, {others}"
