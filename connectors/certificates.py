"""Certificates of the local venues: an authority of their own and a server certificate for loopback, made on demand.

Owns the two files that a sandbox needs to speak TLS: ``authority.pem``, which clients are told to trust, and
``server.pem`` (certificate and key, mode 0600).  Nothing here is for the real venues: those are trusted as the system
trusts them.  The authority's key is thrown away as soon as the server's certificate is signed, so the authority can
vouch for nothing else.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from connectors.private_files import write_private
from engine.errors import ConfigError

AUTHORITY = "authority.pem"
SERVER = "server.pem"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DAYS = 30
_RENEW_DAYS = 2


def server_context(folder: Path, now: datetime.datetime, *, hosts: Sequence[str] = LOOPBACK) -> ssl.SSLContext:
    """What a server listens with.  Both files are made in ``folder`` when they are not there or about to expire.

    ``now`` is the time in UTC.  Raises ``ConfigError`` when the folder cannot be written.
    """
    if not _is_good(folder, now):
        _make(folder, now, hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / SERVER)
    return context


def client_context(folder: Path) -> ssl.SSLContext:
    """What a client that trusts this authority, and no other, dials with."""
    return ssl.create_default_context(cafile=str(folder / AUTHORITY))


def _is_good(folder: Path, now: datetime.datetime) -> bool:
    try:
        made = x509.load_pem_x509_certificate((folder / SERVER).read_bytes())
        return (folder / AUTHORITY).exists() and made.not_valid_after_utc > now + datetime.timedelta(days=_RENEW_DAYS)
    except (OSError, ValueError):
        return False


def _make(folder: Path, now: datetime.datetime, hosts: Sequence[str]) -> None:
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = (
        _builder("Kestrel sandbox authority", now)
        .issuer_name(_name("Kestrel sandbox authority"))
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _builder("Kestrel sandbox", now)
        .issuer_name(authority.subject)
        .public_key(server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_private(folder / AUTHORITY, authority.public_bytes(pem))
        write_private(folder / SERVER, server.public_bytes(pem) + private)
    except OSError as error:
        raise ConfigError(
            f"certificates cannot be written to {folder}: {error.strerror}", do="choose a writable folder"
        ) from None


def _builder(name: str, now: datetime.datetime) -> x509.CertificateBuilder:
    # A day back: a client whose clock is a little behind still trusts it.
    begins, ends = now - datetime.timedelta(days=1), now + datetime.timedelta(days=_DAYS)
    numbered = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return numbered.subject_name(_name(name)).not_valid_before(begins).not_valid_after(ends)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
