"""TLS of one visit: which certificates are taken, and how a wrong one is told."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from fleet.errors import CredentialError, IdentityError, UnreachableError
from fleet.transport.winrm.frames import Target
from fleet.transport.winrm.wire import Wire
from fleet.transport.wording import shown, why

_Key = tuple[str | None, str, str | None, str | None]

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_CERTIFICATE_TROUBLE = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed",
    19: "was signed by an authority that signs itself and is not trusted",
    20: "was signed by an authority that is not trusted",
    21: "was signed by an authority that is not trusted",
    62: "is for another name",
    64: "is for another address",
}
_SELF_MADE = range(18, 22)
_OTHER_NAME = (62, 64)
_COMPARE = (
    "on the host (`Get-ChildItem Cert:\\LocalMachine\\My | ForEach-Object { [BitConverter]::ToString("
    "[Security.Cryptography.SHA256]::Create().ComputeHash($_.RawData)) }` prints them)"
)
_TRUST = (
    f"Name the file of its authority in ca_file; or compare that fingerprint with those {_COMPARE} and pin "
    "it with `cert_validation: sha256:...`."
)
_RENEW = (
    "Give the host a valid certificate for its name and bind the listener to it "
    "(`winrm enumerate winrm/config/listener`)."
)
_RENAME = (
    "Set `address` to a name that the certificate has, or give the host one for its name and bind the "
    "listener to it (`winrm enumerate winrm/config/listener`)."
)
# What OpenSSL says of bytes that are no TLS.
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
)
_HTTP_PORT = (
    "It may be an HTTP listener's: set `scheme: http`, or the `port` of the HTTPS listener (usually 5986)."
)
_HANDSHAKE = (
    "See that the HTTPS listener has a certificate (`winrm enumerate winrm/config/listener`), that it is one "
    "(an HTTP listener wants `scheme: http`), and that both sides have a TLS version and a cipher suite in "
    "common."
)
_MAX_NAMES = 3


class Contexts:
    """One SSLContext for all hosts of the same settings: loading the authorities costs 30 ms."""

    def __init__(self) -> None:
        self._made: dict[_Key, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def of(self, target: Target) -> ssl.SSLContext:
        """The context for a host. Raises CredentialError for files that cannot be used."""
        key = (target.ca_file, target.cert_validation, target.client_cert, target.client_key)
        with self._lock:
            if key not in self._made:
                self._made[key] = _made(target)
            return self._made[key]


def _made(target: Target) -> ssl.SSLContext:
    is_strict = target.cert_validation == "strict"
    try:
        context = ssl.create_default_context(cafile=target.ca_file if is_strict else None)
    except (OSError, ValueError) as error:
        raise CredentialError(f"cannot use the ca_file {target.ca_file}: {_words(error)}") from error
    if not is_strict:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if target.client_cert:
        # Windows asks for the certificate in a second handshake, for which TLS 1.3 has no place.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(target.client_cert, target.client_key, lambda: "")
        except (OSError, ValueError) as error:
            raise CredentialError(
                f"cannot use the client_cert {target.client_cert}: {_words(error)}"
            ) from error
    return context


def secured(wire: Wire, target: Target, context: ssl.SSLContext, reach: Callable[[], None]) -> bytes:
    """Make the connection a TLS one and check whom it reaches; gives the certificate, DER.

    Args:
        reach: connects the wire anew, to see the certificate that was not trusted.
    """
    try:
        sock = wire.secure(context, target.address)
        shown_to_us = sock.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as error:
        wire.check()
        raise _untrusted(target, error, _offered(wire, target, reach)) from error
    except ssl.SSLError as error:
        wire.check()
        raise _no_handshake(target, error) from error
    except TimeoutError:
        raise
    except OSError as error:
        wire.check()
        raise UnreachableError(
            f"the connection broke in the TLS handshake: {why(error)}", action=_HANDSHAKE
        ) from error
    _check_pin(target, shown_to_us)
    return shown_to_us


def _no_handshake(target: Target, error: ssl.SSLError) -> UnreachableError:
    if error.reason in _NO_TLS:
        return UnreachableError(f"{target.address} speaks no TLS on port {target.port}", action=_HTTP_PORT)
    return UnreachableError(
        f"the TLS handshake with {target.address} failed: {_words(error)}", action=_HANDSHAKE
    )


def _offered(wire: Wire, target: Target, reach: Callable[[], None]) -> bytes:
    """The certificate that was not trusted, which Python does not give: by one more handshake, after which
    nothing is said. Empty when it cannot be had."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        reach()
        return wire.secure(context, target.address).getpeercert(binary_form=True) or b""
    except (OSError, UnreachableError):
        wire.check()
        return b""


def _untrusted(target: Target, error: ssl.SSLCertVerificationError, certificate: bytes) -> IdentityError:
    code = error.verify_code
    trouble = _CERTIFICATE_TROUBLE.get(code, f"is not trusted: {error.verify_message}")
    words = f"the certificate of {target.address} {trouble}"
    if code in _SELF_MADE:
        shows = f"; it shows sha256:{hashlib.sha256(certificate).hexdigest()}" if certificate else ""
        return IdentityError(f"{words}{shows}", action=_TRUST)
    if code in _OTHER_NAME:
        names = ", ".join(_names(certificate)[:_MAX_NAMES])
        return IdentityError(f"{words}: {names}" if names else words, action=_RENAME)
    return IdentityError(words, action=_RENEW)


def _names(certificate: bytes) -> list[str]:
    """The host names and addresses that it is for."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return []
    return [shown(str(name.value))[:255] for name in found]


def _check_pin(target: Target, certificate: bytes) -> None:
    scheme, _, wanted = target.cert_validation.partition(":")
    shown_hex = hashlib.sha256(certificate).hexdigest()
    if scheme == "sha256" and not hmac.compare_digest(shown_hex, wanted.lower()):
        raise IdentityError(
            f"the certificate of {target.address} is not the pinned one: it shows sha256:{shown_hex}, "
            f"the inventory wants sha256:{wanted.lower()}",
            action=f"If the host was given a new certificate, compare its fingerprint with those {_COMPARE} "
            "and pin that one.",
        )


def channel_binding(certificate: bytes) -> bytes:
    """What binds a login to this TLS connection: tls-server-end-point (RFC 5929 section 4.1)."""
    try:
        kind = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        kind = None
    if kind is None or isinstance(kind, hashes.MD5 | hashes.SHA1):
        kind = hashes.SHA256()
    digest = hashes.Hash(kind)
    digest.update(certificate)
    return b"tls-server-end-point:" + digest.finalize()


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return shown((error.reason or str(error)).lower().replace("_", " "))
    return why(error) if isinstance(error, OSError) else shown(str(error))
