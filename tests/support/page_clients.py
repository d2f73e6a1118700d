"""What the tests of served pages use: one request, and the address that a command told."""

from __future__ import annotations

import http.client
import threading
from urllib.parse import urlsplit


def asked(address, method="GET", path="", body=None, **headers):
    """(status, headers, body) of one request; ``address`` is that of the page."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=180)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path if path.startswith("/") else parts.path + path, body, given)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def address_of(process):
    """What a command says of its page."""
    for line in process.stderr:
        if line.startswith("live page: "):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line.split()[-1]
    raise AssertionError("no address")
