"""What azcmagent prints (``show``, ``version``, ``config list``) to agent state, version and settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from fleet.model.observation import AgentState
from fleet.parse.text import clean, decode, parse_instant, to_utf8

MAX_SHOW_BYTES = 1 << 20
_MAX_VALUE = 1000
_LABEL = re.compile(r"^ {0,4}([A-Za-z][A-Za-z ()/]{2,60}?) *:(?: (.*))?$")
_VERSION = re.compile(r"\b(\d{1,3}\.\d{1,5}(?:\.\d{1,8}){0,2}(?:-\d{1,6})?)\b")
_CONFIG = re.compile(r"^\s+([A-Za-z][A-Za-z.]*)(?: \(preview\))?\s*:\s?(.*)$")

# Labels of the text form and keys of the JSON form, both folded to lower case without blanks.
_FIELDS = {
    "agentstatus": "status",
    "status": "status",
    "agentversion": "version",
    "agentlastheartbeat": "heartbeat",
    "lastheartbeat": "heartbeat",
    "resourcename": "resource_name",
    "resourcegroupname": "resource_group",
    "resourcegroup": "resource_group",
    "subscriptionid": "subscription_id",
    "tenantid": "tenant_id",
    "location": "location",
    "cloud": "cloud",
    "agenterrorcode": "error_code",
    "agenterrordetails": "error_details",
    "usinghttpsproxy": "https_proxy",
    "httpsproxy": "https_proxy",
}


def show_fields(data: bytes) -> Mapping[str, str] | None:
    """Folded label or key to its text, from either form of ``show``; None when it is neither."""
    data = to_utf8(data[:MAX_SHOW_BYTES])
    found = _json_fields(data) or _text_fields(decode(data))
    return found if "status" in found or "agentstatus" in found else None


def parse_show(data: bytes) -> AgentState | None:
    """The agent state ``azcmagent show`` prints (any version, text or JSON); None when it is none."""
    fields = show_fields(data)
    if fields is None:
        return None
    known = {name: fields[key][:_MAX_VALUE] for key, name in _FIELDS.items() if fields.get(key)}
    heartbeat = parse_instant(known.pop("heartbeat", ""))
    return AgentState(installed=True, last_heartbeat_at=heartbeat, **known)


def show_document(data: bytes) -> Mapping[str, object] | None:
    """The JSON object in ``data``, text before and after it ignored; None when there is none."""
    text = decode(to_utf8(data[:MAX_SHOW_BYTES]))
    at = text.find("{")
    if at < 0:
        return None
    try:
        document, _ = json.JSONDecoder().raw_decode(text[at:])
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def parse_version(data: bytes) -> str:
    """The version in the output of ``azcmagent version``, "" when there is none."""
    match = _VERSION.search(decode(data[:4096]))
    return match[1] if match else ""


def parse_config_list(data: bytes) -> tuple[tuple[str, str], ...]:
    """(key, value) pairs of ``azcmagent config list``, keys without "(preview)"."""
    lines = decode(to_utf8(data[: 1 << 16])).splitlines()
    found = (_CONFIG.match(line) for line in lines)
    return tuple((match[1], match[2].strip()[:_MAX_VALUE]) for match in found if match)


def _json_fields(data: bytes) -> dict[str, str]:
    document = show_document(data)
    return {
        clean(key).lower().replace(" ", ""): clean(str(value))
        for key, value in (document or {}).items()
        if isinstance(value, str | int | float)
    }


def _text_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines()[:2000]:
        match = _LABEL.match(line)
        if match:
            fields.setdefault(match[1].lower().replace(" ", ""), (match[2] or "").strip())
    return fields if "agentstatus" in fields else {}
