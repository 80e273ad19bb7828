"""Tells a WSMan answer from anything else that an HTTP server may say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

_NAMES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "f": "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault",
}
_ENVELOPE = f"{{{_NAMES['s']}}}Envelope"


def is_wsman(status: int, said: bytes) -> bool:
    """Whether it is what a service gives to those it let in: an answer's envelope or a WSMan fault's."""
    try:
        root = ET.fromstring(said)  # noqa: S314 - pypsrp is about to parse the same
    except (ET.ParseError, ValueError, LookupError):
        return False
    if root.tag != _ENVELOPE or root.find("s:Header/a:Action", _NAMES) is None:
        return False
    return status == 200 or root.find("s:Body/s:Fault/s:Detail/f:WSManFault", _NAMES) is not None
