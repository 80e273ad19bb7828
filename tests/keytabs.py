"""Kerberos key tables as MIT krb5 and ktpass write them, with keys of zeros."""

from __future__ import annotations

import struct


def keytab(realm: str, *names: str) -> bytes:
    """One key for each name."""
    return b"\x05\x02" + b"".join(entry(realm, name) for name in names)


def entry(realm: str, name: str) -> bytes:
    """One key: of version 3, AES-256."""
    parts = name.split("/")
    texts = b"".join(struct.pack(">H", len(text)) + text.encode() for text in (realm, *parts))
    body = struct.pack(">H", len(parts)) + texts + struct.pack(">IIBHH", 1, 0, 3, 18, 32) + bytes(32)
    return struct.pack(">i", len(body)) + body
