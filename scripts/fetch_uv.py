"""Put the uv program at the path given as argument: its wheel, pinned by SHA-256, from the configured Python package index.

Runs on whatever Python 3 the machine has (3.6 and later), with nothing installed: `python3 scripts/fetch_uv.py .tools/uv`.
The index is UV_DEFAULT_INDEX, UV_INDEX_URL, PIP_INDEX_URL or PyPI; PIP_CERT or SSL_CERT_FILE name a CA bundle.
"""

import hashlib
import io
import os
import platform
import re
import ssl
import sys
import urllib.parse
import urllib.request
import zipfile

VERSION = "0.13.9"
WHEELS = {
    ("x86_64", "glibc"): "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ("aarch64", "glibc"): "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
}
TIMEOUT_S = 15


def fetch(url):
    """The bytes at `url`, and the address they came from after redirects."""
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=bundle if bundle and os.path.exists(bundle) else None)
    request = urllib.request.Request(url, headers={"Accept": "text/html", "User-Agent": "qzbrain-setup"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as response:
        return response.read(), response.geturl()


def wheel_address(index, digest):
    """Where the index has the wheel with this SHA-256. Raises SystemExit when it has none."""
    page, base = fetch(index.rstrip("/") + "/uv/")
    found = re.search(r'href="([^"]*#sha256=' + digest + ')"', page.decode("utf-8", "replace"))
    if not found:
        raise SystemExit("uv {} is not on {}".format(VERSION, index))
    return urllib.parse.urljoin(base, found.group(1)).split("#")[0]


def main(target):
    """Download, check, unpack, make executable."""
    kind = (platform.machine(), platform.libc_ver()[0])
    if kind not in WHEELS:
        raise SystemExit("no uv is pinned for {}".format(kind))
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    wheel = fetch(wheel_address(index, WHEELS[kind]))[0]
    if hashlib.sha256(wheel).hexdigest() != WHEELS[kind]:
        raise SystemExit("the downloaded uv does not have the pinned SHA-256")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(x for x in archive.namelist() if x.endswith(".data/scripts/uv"))
        program = archive.read(name)
    with open(target + ".new", "wb") as out:
        out.write(program)
    os.chmod(target + ".new", 0o755)
    os.replace(target + ".new", target)


if __name__ == "__main__":
    main(sys.argv[1])
