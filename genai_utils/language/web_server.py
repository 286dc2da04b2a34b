"""A web of pages on the loopback address, and the connection through which it is read.

    with serve(web) as server, Connection(server) as fetch:
        html = fetch("/ravi")

The server listens on 127.0.0.1 alone, at a free port, and is closed at the end of the block. It
answers GET with what `page(address)` of its web gives, and knows no file. The connection talks to
that server and to nobody else: it follows no redirection, waits at most some seconds for the whole
of an answer, and reads at most so many bytes of it.

Source: Nakano et al. 2021; lecture item A64.
"""

import contextlib
import http.client
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urljoin, urlsplit

from genai_utils.inputs import kind_of, number, refusal, whole

HOST = "127.0.0.1"
BYTES, SECONDS = 20_000, 2.0  # of a page, and to wait for it
HEAD = 20_000  # bytes that may come beside those of a page: its headers, what is read ahead


class Refused(Exception):
    """What the environment does not do, and why, in a few words."""


def stays_here(link, page):
    """Whether a link of a page leads to the host of that page.

        stays_here("/mina", "http://127.0.0.1:8000/ravi")                     True
        stays_here("http://127.0.0.1:8001/mina", "http://127.0.0.1:8000/ravi") False

    link: as it stands in the page, full or not; it is joined to the page's address as a browser
    does it. page: the full address of the page. The link stays if its scheme, its host and its
    port are those of the page, upper and lower case of scheme and host aside, and if it holds no
    name or password. A link that cannot be read stays not.
    Source: RFC 3986, section 5; lecture item A64.
    """
    try:
        here, there = urlsplit(page), urlsplit(urljoin(page, link))
        same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
    except ValueError:  # a port or a bracket that makes no sense
        return False
    return same and "@" not in there.netloc


def address_here(link, page):
    """The address that a link leads to on its own host, "/mina?a=1", or None where it leads off it.

    It begins with "/", keeps a query, and loses what follows "#". See `stays_here`.
    """
    if not stays_here(link.strip(), page):
        return None
    there = urlsplit(urljoin(page, link.strip()))
    return (there.path or "/") + (f"?{there.query}" if there.query else "")


class serve:
    """A context manager: a web on 127.0.0.1 while the block lasts. server.url, server.served.

    At the end of the block connections that are still open are closed, and nobody is answered.

    web: anything with page(address) -> HTML or None, such as `web_world.Web`; it may be exchanged
    while it is served (`server.web = other`). served: how many requests were answered.
    Raises TypeError for a web without pages.
    """

    def __init__(self, web):
        if not callable(getattr(web, "page", None)):
            expected = "a web with page(address)"
            raise refusal("web", expected, kind_of(web), "web_world.Web()", kind=TypeError)
        self.web, self.served, self._server = web, 0, None

    def __enter__(self):
        class Handler(_Handler):
            owner = self

        self._server = _Server((HOST, 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = None

    @property
    def url(self):
        """http://127.0.0.1:PORT. Raises RuntimeError outside of the block."""
        if self._server is None:
            raise RuntimeError("The server is closed: use it inside of its with block.")
        return f"http://{HOST}:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    """Knows its open connections, each of which has a thread, and ends them with itself."""

    daemon_threads, block_on_close = True, False

    def __init__(self, *arguments):
        self.connections = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        super().server_close()
        for request in list(self.connections):
            with contextlib.suppress(OSError):  # it has ended by itself
                request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many pages
    disable_nagle_algorithm, wbufsize = True, -1  # head and body leave together

    def handle(self):
        with contextlib.suppress(ConnectionError):  # who asked has gone
            super().handle()

    def do_GET(self):
        html = self.owner.web.page(self.path)
        body = (html if html is not None else "<h1>no such page</h1>").encode()
        self.send_response(200 if html is not None else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.owner.served += 1

    def log_message(self, *_):  # nothing on stderr
        pass


class _Socket(socket.socket):
    """Gives what comes before the time `ends`, and `bytes` of it, however it trickles in."""

    def recv_into(self, *arguments):
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)
        got = super().recv_into(*arguments)
        self.bytes -= got
        if self.bytes < 0:
            raise Refused("the answer is too long")
        return got


class _Http(http.client.HTTPConnection):
    def connect(self):
        super().connect()
        self.sock = _Socket(fileno=self.sock.detach())
        self.sock.settimeout(self.timeout)


class Connection:
    """fetch(address) -> HTML, from one server on the loopback address: `Connection(server)`.

    server: a `serve`, or its url. bytes: the most that a page may have; seconds: the longest wait,
    from the request to the last byte. base: the url. Raises `Refused` for a page that does not
    exist, is too large, comes too late, sends the reader on or is no HTML; ValueError for a url
    off the loopback address.
    """

    def __init__(self, server, bytes=BYTES, seconds=SECONDS):
        self.base = getattr(server, "url", server)
        parts = urlsplit(self.base)
        if parts.scheme != "http" or parts.hostname != HOST or not parts.port:
            raise refusal("server", f"http://{HOST}:PORT", repr(self.base), "use serve(web)")
        self.bytes = whole(bytes, "bytes")
        self.seconds = number(seconds, "seconds", above=0)
        self._http = _Http(HOST, parts.port, timeout=self.seconds)

    def __call__(self, address):
        try:
            if self._http.sock is None:
                self._http.connect()
            self._http.sock.ends = time.monotonic() + self.seconds
            self._http.sock.bytes = self.bytes + HEAD
            self._http.request("GET", address)
            answer = self._http.getresponse()
            body = self._body(answer)
        except Refused:
            self._http.close()
            raise
        except TimeoutError:
            self._http.close()
            raise Refused(f"no answer within {self.seconds:g} seconds") from None
        except (OSError, http.client.HTTPException, ValueError):  # the last: a blank in an address
            self._http.close()
            raise Refused("the server does not answer") from None
        if answer.status != 200:
            raise Refused("no such page" if answer.status == 404 else f"status {answer.status}")
        if not (answer.headers.get("Content-Type") or "").startswith("text/html"):
            raise Refused("no page of HTML")
        return body.decode("utf-8", "replace")

    def _body(self, answer):
        """All bytes of an answer, as long as they are few."""
        body = b""
        while part := answer.read1(self.bytes + 1 - len(body)):
            body += part
            if len(body) > self.bytes:
                raise Refused(f"the page has more than {self.bytes:,} bytes")
        answer.close()  # all is read: the connection serves for the next page
        return body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._http.close()


class Direct:
    """As `Connection`, without a server: the same pages from the web itself, for training."""

    base = f"http://{HOST}:80"

    def __init__(self, web):
        self.web = web

    def __call__(self, address):
        html = self.web.page(address)
        if html is None:
            raise Refused("no such page")
        if len(html.encode()) > BYTES:
            raise Refused(f"the page has more than {BYTES:,} bytes")
        return html
