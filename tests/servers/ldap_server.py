"""A real OpenLDAP directory with some people and groups, reached in the clear with StartTLS, and by TLS."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
import time
from pathlib import Path

import ldap3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.running import free_port
from tests.servers.programs import end, need

SUFFIX = "dc=example,dc=org"
ADMIN, SECRET = f"cn=admin,{SUFFIX}", "directory secret"
PEOPLE = {"wang": ("王芳", "wang's password"), "li*(x)": ("李明", "li's password"), "root": ("另一个", "root's password")}
STARTS_S = 15.0
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
TLSCACertificateFile {folder}/cert.pem
disallow bind_anon
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw {secret}
directory {folder}/db
maxsize 10485760
overlay memberof
"""


class LdapServer:
    """One slapd. `settings`: what a brain needs to sign people in by it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port, self.tls_port = folder, free_port(), free_port()
        (folder / "db").mkdir(parents=True)
        _certificate(folder)
        config = _CONFIG.format(folder=folder, suffix=SUFFIX, admin=ADMIN, secret=f'"{SECRET}"')
        (folder / "slapd.conf").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, object] = {
            "ldap_url": f"ldap://127.0.0.1:{self.port}", "ldap_ca": str(folder / "cert.pem"), "ldap_bind_dn": ADMIN, "ldap_bind_password": SECRET,
            "ldap_user_base": f"ou=people,{SUFFIX}", "ldap_group_attribute": "memberOf",
        }  # fmt: skip

    def start(self) -> LdapServer:
        """Start it; the first time with people in it."""
        program = need("slapd", "slapd")
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
        with (self._folder / "slapd.log").open("ab") as out:
            self._process = subprocess.Popen([program, "-f", str(self._folder / "slapd.conf"), "-h", urls, "-d", "0"], stdout=out, stderr=out)
        ends = time.monotonic() + STARTS_S
        while True:
            try:
                self._fill()
                return self
            except ldap3.core.exceptions.LDAPException:
                assert time.monotonic() < ends and self._process.poll() is None, (self._folder / "slapd.log").read_text()
                time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        end(self._process)

    def as_admin(self) -> ldap3.Connection:
        """A connection that may change everything."""
        return ldap3.Connection(ldap3.Server(f"ldap://127.0.0.1:{self.port}"), ADMIN, SECRET, auto_bind=True, raise_exceptions=True)

    def _fill(self) -> None:
        with self.as_admin() as connection:
            if connection.extend.standard.who_am_i() and _there(connection):
                return
            connection.add(SUFFIX, ["dcObject", "organization"], {"dc": "example", "o": "Example"})
            for unit in ("people", "groups"):
                connection.add(f"ou={unit},{SUFFIX}", "organizationalUnit")
            for name, (called, password) in PEOPLE.items():
                entry = {"cn": called, "sn": called, "userPassword": password}
                connection.add(f"uid={ldap3.utils.dn.escape_rdn(name)},ou=people,{SUFFIX}", "inetOrgPerson", entry)
            connection.add(f"cn=law,ou=groups,{SUFFIX}", "groupOfNames", {"member": f"uid=wang,ou=people,{SUFFIX}"})


def _there(connection: ldap3.Connection) -> bool:
    try:
        return bool(connection.search(SUFFIX, "(uid=wang)"))
    except ldap3.core.exceptions.LDAPNoSuchObjectResult:
        return False


def _certificate(folder: Path) -> None:
    """One for 127.0.0.1, signed by itself."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
