"""The doctor's look at https: the certificate, its key, and how long it is good for; and whether a network is served without any."""

from __future__ import annotations

import shlex
import ssl
from datetime import UTC, datetime

from qzbrain.ops.finding import Finding
from qzbrain.settings import Settings, is_loopback

_SOON_DAYS = 21
_TITLE = ("HTTPS 证书", "https certificate")


def tls(settings: Settings) -> list[Finding]:
    """The certificate and the key belong together, and are good for some weeks."""
    if not settings.tls:
        return [_without(settings)]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert_path, settings.tls_key_path)
        begins, ends, names = _read(settings)
    except (OSError, ValueError, ssl.SSLError) as exc:
        cert, key = (shlex.quote(str(path)) for path in (settings.tls_cert_path, settings.tls_key_path))
        same = f"openssl x509 -in {cert} -noout -pubkey | openssl sha256; openssl pkey -in {key} -pubout | openssl sha256"
        advice = (
            f"TLS_CERT（含中间证书）与 TLS_KEY 须是配套的 PEM 文件，以下两个摘要应相同：{same}",
            f"TLS_CERT (with its chain) and TLS_KEY must be PEM files of one pair; these two must give the same: {same}",
        )
        return [Finding.fail("tls", 8, _TITLE, (str(exc), str(exc)), advice)]
    left = (ends - datetime.now(UTC)).days
    until = f"{ends:%Y-%m-%d}"
    look = f"openssl x509 -in {shlex.quote(str(settings.tls_cert_path))} -noout -dates -ext subjectAltName"
    renew = (f"{look}；换上新的证书与私钥文件，然后重启", f"{look}; put new files in their place, then start again")
    if not begins <= datetime.now(UTC) <= ends:
        return [Finding.fail("tls", 8, _TITLE, (f"有效期为 {begins:%Y-%m-%d} 至 {until}", f"good from {begins:%Y-%m-%d} to {until}"), renew)]
    if left < _SOON_DAYS:
        return [Finding.warn("tls", 8, _TITLE, (f"{left} 天后（{until}）到期", f"ends in {left} days, on {until}"), renew)]
    listed = ", ".join(names[:5])
    if not names:
        lacking = (f"有效至 {until}，但没有 subjectAltName：浏览器会拒绝", f"good until {until}, but without subjectAltName: browsers refuse it")
        anew = ("重新签发，带上 DNS 名或 IP（见 docs/security.md）", "have it made anew, with its DNS names or IPs (docs/security.md)")
        return [Finding.warn("tls", 8, _TITLE, lacking, anew)]
    return [Finding.ok("tls", 8, _TITLE, (f"{listed}，有效至 {until}", f"{listed}, good until {until}"))]


def _without(settings: Settings) -> Finding:
    advice = ("设置 TLS_CERT 与 TLS_KEY，或放在 nginx 之后（TRUSTED_PROXIES）", "set TLS_CERT and TLS_KEY, or put nginx before it (TRUSTED_PROXIES)")
    if is_loopback(settings.qzbrain_host) or settings.trusted_proxies:
        return Finding.skip("tls", 8, _TITLE, ("未设置", "not set"), ("只服务本机或在代理之后时不需要", "not needed for this machine alone, or behind a proxy"))
    where = settings.qzbrain_host
    shown = (f"监听 {where} 但没有 HTTPS：密码和内容以明文传输", f"{where} is served without https: passwords and contents travel in plain text")
    return Finding.warn("tls", 8, _TITLE, shown, advice)


def _read(settings: Settings) -> tuple[datetime, datetime, list[str]]:
    """From when to when the certificate is good, and for which names and addresses."""
    from cryptography import x509

    found = x509.load_pem_x509_certificates(settings.tls_cert_path.read_bytes())[0]
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found.not_valid_before_utc, found.not_valid_after_utc, []
    listed = [str(one) for one in (*names.get_values_for_type(x509.DNSName), *names.get_values_for_type(x509.IPAddress))]
    return found.not_valid_before_utc, found.not_valid_after_utc, listed
