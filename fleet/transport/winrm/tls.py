"""TLS of one visit: which certificates are taken, and how a wrong one is told."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import threading

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
_TRUST = (
    "Name the file of its authority in ca_file, or pin the certificate (cert_validation: sha256:...) after "
    "comparing its fingerprint on the host: `Get-ChildItem Cert:\\LocalMachine\\My`."
)
_RENEW = (
    "Give the host a valid certificate for its name and bind the listener to it "
    "(`winrm enumerate winrm/config/listener`)."
)


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


def secured(wire: Wire, target: Target, context: ssl.SSLContext) -> bytes:
    """Make the connection a TLS one and check whom it reaches; gives the certificate, DER."""
    try:
        sock = wire.secure(context, target.address)
        shown_to_us = sock.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as error:
        wire.check()
        raise _untrusted(target, error) from error
    except ssl.SSLError as error:
        wire.check()
        raise UnreachableError(f"the TLS handshake with {target.address} failed: {_words(error)}") from error
    except TimeoutError:
        raise
    except OSError as error:
        wire.check()
        raise UnreachableError(f"the connection broke in the TLS handshake: {why(error)}") from error
    _check_pin(target, shown_to_us)
    return shown_to_us


def _untrusted(target: Target, error: ssl.SSLCertVerificationError) -> IdentityError:
    code = error.verify_code
    trouble = _CERTIFICATE_TROUBLE.get(code, f"is not trusted: {error.verify_message}")
    return IdentityError(
        f"the certificate of {target.address} {trouble}", action=_TRUST if 17 < code < 22 else _RENEW
    )


def _check_pin(target: Target, certificate: bytes) -> None:
    scheme, _, wanted = target.cert_validation.partition(":")
    shown_hex = hashlib.sha256(certificate).hexdigest()
    if scheme == "sha256" and not hmac.compare_digest(shown_hex, wanted.lower()):
        raise IdentityError(
            f"the certificate of {target.address} is not the pinned one: it shows sha256:{shown_hex}, "
            f"the inventory wants sha256:{wanted.lower()}",
            action="If the host was given a new certificate, compare it on the host and pin that one.",
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
