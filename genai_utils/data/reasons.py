"""Why an address gave nothing, in words that say what to do; and whether anything answered at all.

Only where nothing answers is the network missing. A server that refuses, a proxy, a certificate
that is not known or a connection that breaks off are something else, and have another cure.
"""

import http
import re
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

TIMEOUT = (10, 30)  # seconds to connect, seconds of silence


class Reason(NamedTuple):
    """url: what was asked. why: what came of it. absent: nothing answered, as without a network."""

    url: str
    why: str
    absent: bool = False

    def __str__(self):
        return f"{self.url}: {self.why}" if self.url else self.why


def reason_of(error, url, gained=0):
    """The Reason for an exception of requests; `gained`: the bytes that came before it."""
    status = getattr(error.response, "status_code", None)
    if status:
        return Reason(url, _status(status, url))
    if isinstance(error, requests.exceptions.ProxyError):
        return Reason(url, _proxy(error, url))
    if isinstance(error, requests.exceptions.SSLError):
        return Reason(url, _certificate(error, url))
    if gained:
        return Reason(url, f"the connection broke off after {gained:,} bytes; try again to go on")
    if isinstance(error, requests.ConnectTimeout):
        return Reason(url, f"no answer from {_host(url)} in {TIMEOUT[0]} seconds", absent=True)
    cause = _cause(error)
    if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
        return Reason(url, f"the server was silent for {TIMEOUT[1]} seconds; try again later")
    if isinstance(error, requests.ConnectionError):
        if type(cause).__name__ == "NameResolutionError":  # not all versions of urllib3 have it
            return Reason(url, f"the name {_host(url)} cannot be looked up", absent=True)
        if isinstance(cause, NewConnectionError):
            return Reason(url, f"{_host(url)} cannot be reached", absent=True)
        return Reason(url, f"the connection broke off ({_short(cause)}); try again later")
    return Reason(url, f"the request cannot be made ({type(error).__name__}: {_short(error)})")


def _status(status, url):
    """What a status of HTTP means for who wants the file."""
    names = {known.value: known.phrase for known in http.HTTPStatus}
    said = f"HTTP {status} {names.get(status, '')}".strip()
    if status == 407:
        return _password(url, said)
    if status == 511:
        return f"the network wants you to log in first ({said}): open any page in a browser"
    if status in (404, 410):
        return f"the server does not have it ({said})"
    if status == 429 or status >= 500:
        return f"the server cannot give it now ({said}); try again later"
    return f"the server refuses it ({said})"


def _proxy(error, url):
    """What a proxy said, or that it cannot be reached: a setting to mend, not a missing network."""
    tunnel = re.search(r"Tunnel connection failed: (\d+)", str(error))
    if tunnel and tunnel[1] == "407":
        return _password(url, "HTTP 407")
    if tunnel:
        return f"the proxy {_proxy_of(url)} refuses (HTTP {tunnel[1]}); ask who runs it"
    cause = _cause(error)
    dead = isinstance(cause, (NewConnectionError, ConnectTimeoutError))
    how = "cannot be reached" if dead else f"cannot be used ({_short(cause)})"
    return f"the proxy {_proxy_of(url)} {how}; mend or unset HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"


def _password(url, said):
    proxy = _proxy_of(url)
    return (
        f"the proxy {proxy} asks for a name and a password ({said}): "
        f"set HTTPS_PROXY=http://NAME:PASSWORD@{proxy}"
    )


def _proxy_of(url):
    """HOST:PORT of the proxy for an address, without the password that its setting may hold."""
    proxies = requests.utils.get_environ_proxies(url)
    return (requests.utils.select_proxy(url, proxies) or "").rpartition("@")[2].split("//")[-1]


def _certificate(error, url):
    cause = _cause(error)
    inner = next((a for a in getattr(cause, "args", ()) if isinstance(a, ssl.SSLError)), cause)
    if not isinstance(inner, ssl.SSLCertVerificationError):
        return f"no secure connection to {_host(url)} ({_short(inner)}); is a proxy between?"
    return (
        f"the certificate of {_host(url)} is not known ({inner.verify_message}): where a proxy "
        "shows one of its own, set REQUESTS_CA_BUNDLE to the file with the certificate of its maker"
    )


def _cause(error):
    """The exception within an exception of requests, as urllib3 wraps it."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    inner = [a for a in getattr(cause, "args", ()) if isinstance(a, Exception)]
    return inner[0] if inner and isinstance(cause, (ProtocolError, ProxyError)) else cause


def _host(url):
    return urlsplit(url).hostname or url


def _short(error):
    """An exception's text in one short line, without a password."""
    text = re.sub(r"//[^/@\s]*@", "//…@", " ".join(str(error).split()))
    return text if len(text) <= 300 else f"{text[:299]}…"
