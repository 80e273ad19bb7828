"""Turns WS-Management envelopes into what a client asks for, and answers and faults into envelopes."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
IDENTIFY = "http://schemas.dmtf.org/wbem/wsman/identify/1/wsmanidentity.xsd"
MACHINE = "WIN-LAB"
"""The name of the host in its faults."""

_DURATION = re.compile(r"PT(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")
_TIMEOUT_S, _ENVELOPE_BYTES = 60.0, 153600
"""What holds for a request that does not say them."""


class Action(StrEnum):
    """What a request asks for ([MS-WSMV] 3.1.4)."""

    CREATE = f"{TRANSFER}/Create"
    DELETE = f"{TRANSFER}/Delete"
    COMMAND = f"{SHELL}/Command"
    SEND = f"{SHELL}/Send"
    RECEIVE = f"{SHELL}/Receive"
    SIGNAL = f"{SHELL}/Signal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request. ``action``: empty for an Identify. ``body``: the element in its Body, None for none."""

    action: str
    resource: str
    message_id: str
    shell_id: str
    timeout_s: float
    max_bytes: int
    body: ET.Element | None

    def required(self) -> ET.Element:
        """Its body.

        Raises:
            WsmanFaultError: It has none.
        """
        if self.body is None:
            raise bad_message("The SOAP body is empty.")
        return self.body


class WsmanFaultError(Exception):
    """A request that is answered by a fault."""

    def __init__(self, code: int, subcode: str, text: str, *, is_receiver: bool = False) -> None:
        super().__init__(text)
        self.code, self.subcode, self.text = code, subcode, text
        self.role = "s:Receiver" if is_receiver else "s:Sender"


def parse_envelope(text: bytes) -> Envelope:
    """What a request asks for.

    Raises:
        ValueError: The text is no SOAP envelope.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 (a lab's clients are its own)
    except ET.ParseError as exc:
        raise ValueError(str(exc)) from exc
    head, body = root.find(f"{{{SOAP}}}Header"), root.find(f"{{{SOAP}}}Body")
    if body is None:
        raise ValueError("no SOAP envelope")
    said = {child.tag: child for child in head} if head is not None else {}

    def text_of(tag: str) -> str:
        return (said[tag].text or "").strip() if tag in said else ""

    selectors = said.get(f"{{{WSMAN}}}SelectorSet", ())
    return Envelope(
        action=text_of(f"{{{ADDRESSING}}}Action"),
        resource=text_of(f"{{{WSMAN}}}ResourceURI"),
        message_id=text_of(f"{{{ADDRESSING}}}MessageID"),
        shell_id=next((child.text or "" for child in selectors if child.get("Name") == "ShellId"), ""),
        timeout_s=_seconds(text_of(f"{{{WSMAN}}}OperationTimeout")),
        max_bytes=int(text_of(f"{{{WSMAN}}}MaxEnvelopeSize") or _ENVELOPE_BYTES),
        body=body[0] if len(body) else None,
    )


def _seconds(duration: str) -> float:
    found = _DURATION.fullmatch(duration)
    if not found or duration == "PT":
        return _TIMEOUT_S
    return 60 * int(found[1] or 0) + float(found[2] or 0)


def render_answer(action: str, body: str, relates_to: str) -> bytes:
    """The envelope around an answer's body."""
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:x="{TRANSFER}"'
        f' xmlns:w="{WSMAN}" xmlns:rsp="{SHELL}"'
        ' xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"><s:Header>'
        f"<a:Action>{action}</a:Action><a:MessageID>uuid:{_new_id()}</a:MessageID>"
        f"<a:To>{ADDRESSING}/role/anonymous</a:To><a:RelatesTo>{escape(relates_to)}</a:RelatesTo>"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def render_fault(fault: WsmanFaultError, relates_to: str) -> bytes:
    """The envelope of a fault, as Windows writes it."""
    text = escape(fault.text)
    body = (
        f"<s:Fault><s:Code><s:Value>{fault.role}</s:Value>"
        f"<s:Subcode><s:Value>{fault.subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{text}</s:Text></s:Reason>'
        '<s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"'
        f' Code="{fault.code}" Machine="{MACHINE}"><f:Message>{text}</f:Message></f:WSManFault></s:Detail>'
        "</s:Fault>"
    )
    return render_answer("http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", body, relates_to)


def render_identity() -> bytes:
    """The answer to an Identify that has logged in."""
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}"><s:Header/><s:Body>'
        f'<wsmid:IdentifyResponse xmlns:wsmid="{IDENTIFY}">'
        "<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion>"
        "<wsmid:ProductVendor>Microsoft Corporation</wsmid:ProductVendor>"
        "<wsmid:ProductVersion>OS: 10.0.20348 SP: 0.0 Stack: 3.0</wsmid:ProductVersion>"
        "</wsmid:IdentifyResponse></s:Body></s:Envelope>"
    ).encode()


def timed_out() -> WsmanFaultError:
    """A Receive that found nothing within its OperationTimeout."""
    text = (
        "The WS-Management service cannot complete the operation within the time specified in"
        " OperationTimeout. "
    )
    return WsmanFaultError(2150858793, "w:TimedOut", text, is_receiver=True)


def access_denied() -> WsmanFaultError:
    """A login that may not open a shell."""
    return WsmanFaultError(5, "w:AccessDenied", "Access is denied. ")


def quota_exceeded() -> WsmanFaultError:
    """One shell more than an account may have."""
    text = (
        "The WS-Management service cannot process the request. The maximum number of concurrent shells for"
        " this user has been exceeded. Close existing shells or raise the quota for this user. "
    )
    return WsmanFaultError(2150859173, "w:QuotaLimit", text)


def shell_not_found(shell_id: str) -> WsmanFaultError:
    """A shell that was never there, or is no more."""
    text = (
        f"The request for the Windows Remote Shell with ShellId {shell_id} failed because the shell was not"
        " found on the server. Possible causes are: the specified ShellId is incorrect or the shell no longer"
        " exists on the server. Provide the correct ShellId or create a new shell and retry the operation. "
    )
    return WsmanFaultError(2150858843, "w:InvalidSelectors", text)


def unknown_resource(uri: str) -> WsmanFaultError:
    """A resource, such as a session configuration, that the host does not have."""
    text = (
        f"The WS-Management service cannot process the request. The resource URI ({uri}) was not found in the"
        " WS-Management catalog. The catalog contains the metadata that describes resources, or logical"
        " endpoints. "
    )
    return WsmanFaultError(2150858811, "a:DestinationUnreachable", text)


def unknown_action(uri: str) -> WsmanFaultError:
    """An action that the service has not, or not for this resource."""
    text = f"The WS-Management service cannot process the request. The action URI ({uri}) is not supported. "
    return WsmanFaultError(2150858753, "a:ActionNotSupported", text)


def aborted() -> WsmanFaultError:
    """An operation that the host gave up."""
    text = "The I/O operation has been aborted because of either a thread exit or an application request. "
    return WsmanFaultError(995, "w:InternalError", text, is_receiver=True)


def bad_message(why: str) -> WsmanFaultError:
    """A request that makes no sense."""
    return WsmanFaultError(2150858820, "w:SchemaValidationError", f"The request is not valid. {why} ")


def _new_id() -> str:
    return str(uuid.uuid4()).upper()
