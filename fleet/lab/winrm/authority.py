"""Makes a certificate authority for a lab: servers' certificates, good and bad, and clients' ones."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet.lab.private import write_private

CA_FILE = "ca.pem"
_VALID = timedelta(days=90)
_EARLIER = timedelta(days=1)


class ServerTls(ssl.SSLContext):
    """A server's side of TLS that knows its own certificate, which a login's channel binding names."""

    certificate: bytes
    """Its DER form."""

    @property
    def fingerprint(self) -> str:
        """``sha256:HEX64``, as an operator pins it."""
        return f"sha256:{hashlib.sha256(self.certificate).hexdigest()}"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The files of a client's certificate, and the SHA-256 digest by which an account is mapped to it."""

    certificate: Path
    key: Path
    digest: bytes


class Authority:
    """Signs certificates; ``ca_file`` is what a client trusts. All its files lie in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Lab CA")
        self._made = 0
        builder = _builder(self._name, self._name, self._key.public_key(), _now() + _VALID)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.ca_file = folder / CA_FILE
        write_private(self.ca_file, self._certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, is_expired: bool = False, is_self_signed: bool = False) -> ServerTls:
        """TLS with a certificate for these addresses and names. A wrong name is one that nobody asks for.

        Client certificates of this authority are asked for and may be left out.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        ends = _now() - timedelta(days=3) if is_expired else _now() + _VALID
        subject = _name(names[0])
        issuer, signer = (subject, key) if is_self_signed else (self._name, self._key)
        builder = _builder(subject, issuer, key.public_key(), ends)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        if not is_self_signed:
            builder = builder.add_extension(_issued_by(self._key.public_key()), critical=False)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        certificate = builder.sign(signer, hashes.SHA256())
        path = self._write(certificate, key)
        tls = ServerTls(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(path)
        # Read; whoever takes the lab's folder gets no server's key.
        path.unlink()
        tls.load_verify_locations(self.ca_file)
        tls.verify_mode = ssl.CERT_OPTIONAL
        tls.certificate = certificate.public_bytes(serialization.Encoding.DER)
        return tls

    def client(self, name: str) -> ClientCertificate:
        """A client's certificate, whose files stay in the authority's folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key.public_key(), _now() + _VALID)
        builder = builder.add_extension(_issued_by(self._key.public_key()), critical=False)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self._made += 1
        shown, secret = (self._folder / f"client{self._made}.{kind}.pem" for kind in ("cert", "key"))
        write_private(shown, certificate.public_bytes(serialization.Encoding.PEM))
        write_private(secret, _pem(key))
        return ClientCertificate(shown, secret, certificate.fingerprint(hashes.SHA256()))

    def _write(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
        self._made += 1
        path = self._folder / f"server{self._made}.pem"
        write_private(path, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        return path


def make_authority(folder: Path) -> Authority:
    """A new authority in an existing, private folder."""
    return Authority(folder)


def _now() -> datetime:
    return datetime.now(UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issued_by(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=ends - _VALID - _EARLIER,
        not_valid_after=ends,
    )
    # Python 3.13's strict checks want both identifiers in a chain.
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
