"""Certificates made for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, *, begins: float, ends: float, names: tuple[str, ...] = ("brain.test",)) -> dict[str, Any]:
    """Files of a certificate that is good from `begins` to `ends`, in days from now."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]), datetime.now(UTC)
    listed = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now + timedelta(days=begins)).not_valid_after(now + timedelta(days=ends))
    )  # fmt: skip
    made = (made.add_extension(listed, critical=False) if names else made).sign(key, hashes.SHA256())
    folder.mkdir(exist_ok=True)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
