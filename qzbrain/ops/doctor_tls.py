"""The doctor's look at https: the certificate, its key, and how long it is good for; and whether a network is served without any."""

from __future__ import annotations

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
        begins, ends = _validity(settings)
    except (OSError, ValueError, ssl.SSLError) as exc:
        advice = ("检查 TLS_CERT（含中间证书）与 TLS_KEY 是否为配套的 PEM 文件", "see that TLS_CERT (with its chain) and TLS_KEY are PEM files of one pair")
        return [Finding.fail("tls", 8, _TITLE, (str(exc), str(exc)), advice)]
    left = (ends - datetime.now(UTC)).days
    until = f"{ends:%Y-%m-%d}"
    renew = ("更新证书文件并重启网页服务", "renew the files and restart the web process")
    if not begins <= datetime.now(UTC) <= ends:
        return [Finding.fail("tls", 8, _TITLE, (f"有效期为 {begins:%Y-%m-%d} 至 {until}", f"good from {begins:%Y-%m-%d} to {until}"), renew)]
    if left < _SOON_DAYS:
        return [Finding.warn("tls", 8, _TITLE, (f"{left} 天后（{until}）到期", f"ends in {left} days, on {until}"), renew)]
    return [Finding.ok("tls", 8, _TITLE, (f"有效至 {until}", f"good until {until}"))]


def _without(settings: Settings) -> Finding:
    advice = ("设置 TLS_CERT 与 TLS_KEY，或放在 nginx 之后（TRUSTED_PROXIES）", "set TLS_CERT and TLS_KEY, or put nginx before it (TRUSTED_PROXIES)")
    if is_loopback(settings.qzbrain_host) or settings.trusted_proxies:
        return Finding.skip("tls", 8, _TITLE, ("未设置", "not set"), ("只服务本机或在代理之后时不需要", "not needed for this machine alone, or behind a proxy"))
    where = settings.qzbrain_host
    shown = (f"监听 {where} 但没有 HTTPS：密码和内容以明文传输", f"{where} is served without https: passwords and contents travel in plain text")
    return Finding.warn("tls", 8, _TITLE, shown, advice)


def _validity(settings: Settings) -> tuple[datetime, datetime]:
    from cryptography import x509

    found = x509.load_pem_x509_certificates(settings.tls_cert_path.read_bytes())[0]
    return found.not_valid_before_utc, found.not_valid_after_utc
