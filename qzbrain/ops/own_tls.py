"""For asking the brain on this machine how it is, where it speaks https. Standard library only: the process that stays imports it."""

from __future__ import annotations

import ssl


def own_tls() -> ssl.SSLContext:
    """Takes any certificate: that of the brain names the host that users type, not the address that it is asked at here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
