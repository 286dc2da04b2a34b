"""The server on the loopback address, and the browser's rules, whatever is written to it."""

import contextlib
import socket
import threading
import time
import urllib.request

import pytest
import torch

from genai_utils.language import web_browser, web_server
from genai_utils.language.web_browser import Browser, Page, is_quotation
from genai_utils.language.web_server import Connection, Direct, Refused, address_here, serve
from genai_utils.language.web_world import MENTOR, Web


@pytest.fixture(scope="module")
def web():
    return Web(seed=3, moved=0.0, noted=0.5)


class Pages:
    """A web of given pages."""

    def __init__(self, **pages):
        self.pages = {f"/{name}": html for name, html in pages.items()}

    def page(self, address):
        if address.startswith("/search"):
            return "".join(f'<li><a href="{a}">{a[1:]}</a></li>' for a in self.pages)
        return self.pages.get(address)


def at(**pages):
    """A browser that has the first of these pages open."""
    browser = Browser(Direct(Pages(**pages)))
    browser.act("search x"), browser.act("open 1")
    assert not browser.log[-1].refused
    return browser


ODD = chr(0xD800)  # half of a pair, which no page can hold


# --- the server


def test_it_listens_on_the_loopback_address_only_and_is_closed_afterwards(web):
    with serve(web) as server:
        host, port = server._server.server_address
        assert host == "127.0.0.1" and server.url == f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{server.url}/ada", timeout=5) as answer:
            assert answer.read().decode() == web.page("/ada")
        assert server.served == 1
        threads = threading.active_count()
    assert threading.active_count() < threads
    with pytest.raises(OSError), socket.create_connection((host, port), timeout=1):
        pass
    with pytest.raises(RuntimeError, match="closed"):
        server.url  # noqa: B018


def test_a_connection_that_is_still_open_ends_with_the_server(web, capfd):
    before = threading.active_count()
    with serve(web) as server:
        fetch = Connection(server)
        assert fetch("/ada") and fetch("/boris")
        assert threading.active_count() == before + 2  # one listens, one serves both pages
    with pytest.raises(Refused, match="does not answer"):
        fetch("/ada")
    ends = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < ends:
        time.sleep(0.01)
    assert threading.active_count() == before and capfd.readouterr().err == ""


def test_two_webs_are_served_side_by_side(web):
    other = Web(seed=4, moved=0.0)
    with serve(web) as a, serve(other) as b, Connection(a) as fetch, Connection(b) as fetch_other:
        assert fetch("/ada") == web.page("/ada") != fetch_other("/ada") == other.page("/ada")


def test_it_answers_get_alone_and_knows_no_file(web):
    with serve(web) as server, Connection(server) as fetch:
        for address in ("/etc/passwd", "/../../etc/passwd", "/web_server.py", "/%2e%2e/x"):
            with pytest.raises(Refused, match="no such page"):
                fetch(address)
        request = urllib.request.Request(f"{server.url}/ada", data=b"x", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(request, timeout=5)


def test_a_page_too_large_and_an_answer_too_late_are_refused():
    class Slow:
        def page(self, address):
            if address == "/slow":
                time.sleep(0.5)
            return "x" * (300 if address == "/large" else 200)

    with serve(Slow()) as server, Connection(server, bytes=200, seconds=0.2) as fetch:
        assert len(fetch("/just")) == 200
        with pytest.raises(Refused, match="200 bytes"):
            fetch("/large")
        with pytest.raises(Refused, match="within 0.2 seconds"):
            fetch("/slow")
        assert len(fetch("/again")) == 200  # and goes on
        with pytest.raises(Refused, match="does not answer"):
            fetch("/a b")
    with pytest.raises(Refused, match="does not answer"):
        fetch("/gone")
    with pytest.raises(Refused, match="bytes"):
        Direct(Pages(a="x" * (web_server.BYTES + 1)))("/a")


@contextlib.contextmanager
def answering(write, seconds=0.3):
    """A server whose every answer is what write(handler) writes; gives a connection to it."""

    class Handler(web_server._Handler):
        wbufsize = 0

        def do_GET(self):
            self.close_connection = True
            with contextlib.suppress(OSError):
                write(self)

    server = web_server._Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with Connection(f"http://127.0.0.1:{server.server_port}", seconds=seconds) as fetch:
            yield fetch
    finally:
        server.shutdown(), server.server_close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def test_a_page_without_end_is_not_read_to_its_end():
    sent = []

    def endless(handler):
        handler.wfile.write(HEAD)
        for _ in range(3_000):
            handler.wfile.write(b"x" * 10_000)
            sent.append(10_000)

    with answering(endless) as fetch, pytest.raises(Refused, match="20,000 bytes"):
        fetch("/")
    assert sum(sent) < 20_000_000  # what the system keeps on the way, of 30 million


def test_a_page_that_trickles_is_refused():
    def trickling(handler):
        handler.wfile.write(HEAD)
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    with answering(trickling) as fetch, pytest.raises(Refused, match="within 0.3 seconds"):
        fetch("/")


def test_the_seconds_are_those_of_the_whole_answer():
    def late(handler):
        for part in (HEAD, b"x", b"y"):
            handler.wfile.write(part)
            time.sleep(0.8)

    with answering(late, seconds=1.0) as fetch:
        began = time.monotonic()
        with pytest.raises(Refused, match="within 1 seconds"):
            fetch("/")
        assert time.monotonic() - began < 1.5  # and not a second for each part


def test_headers_that_trickle_or_never_end_are_refused():
    def trickling(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            handler.wfile.write(b"a: b\r\n")
            time.sleep(0.05)

    def much(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(90):
            handler.wfile.write(b"a: " + b"x" * 60_000 + b"\r\n")

    def go_on(handler):
        for _ in range(100_000):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    for write, says in ((trickling, "within 0.3 seconds"), (much, "too long"), (go_on, "too long")):
        began = time.monotonic()
        with answering(write) as fetch, pytest.raises(Refused, match=says):
            fetch("/")
        assert time.monotonic() - began < 3


def test_what_is_no_page_of_html_is_refused():
    def text(handler):
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"
        )

    with answering(text) as fetch, pytest.raises(Refused, match="no page of HTML"):
        fetch("/")
    with (
        answering(lambda handler: handler.wfile.write(b"nonsense")) as fetch,
        pytest.raises(Refused, match="does not answer"),
    ):
        fetch("/")


def test_a_redirection_is_not_followed():
    """A server that sends its readers on; the second one counts who comes."""
    with serve(Web(8)) as trap:
        head = f"HTTP/1.1 302 Found\r\nLocation: {trap.url}/ada\r\nContent-Length: 0\r\n\r\n"
        with (
            answering(lambda handler: handler.wfile.write(head.encode())) as fetch,
            pytest.raises(Refused, match="302"),
        ):
            fetch("/")
        assert trap.served == 0


@pytest.mark.parametrize(
    "url", ["http://example.org:80", "https://127.0.0.1:80", "http://127.0.0.1", "127.0.0.1:80", ""]
)
def test_a_connection_goes_to_the_loopback_address_only(url):
    with pytest.raises(ValueError, match="server"):
        Connection(url)


def test_a_web_without_pages_is_refused():
    with pytest.raises(TypeError, match=r"page\(address\)"):
        serve("/tmp")


HERE = "http://127.0.0.1:8000/ravi"


@pytest.mark.parametrize(
    "link, address",
    [
        ("/mina", "/mina"), ("mina", "/mina"), ("", "/ravi"), ("?q=a", "/ravi?q=a"),
        ("#top", "/ravi"),
        ("http://127.0.0.1:8000", "/"), ("HTTP://127.0.0.1:8000/mina?a=1#b", "/mina?a=1"),
        (" /mina ", "/mina"), ("../../mina", "/mina"),
        ("http://127.0.0.1:8001/mina", None), ("http://127.0.0.1/mina", None),
        ("https://127.0.0.1:8000/mina", None), ("//elsewhere.invalid/mina", None),
        ("http://127.0.0.1:8000@elsewhere.invalid/", None), ("http://me:pw@127.0.0.1:8000/", None),
        ("http://127.0.0.1.elsewhere.invalid:8000/", None), ("mailto:a@b", None),
        ("javascript:alert(1)", None), ("file:///etc/passwd", None), ("http://[::1/", None),
        ("http://127.0.0.1:port/", None),
    ],
)  # fmt: skip
def test_a_link_stays_on_its_host_or_leads_nowhere(link, address):
    assert address_here(link, HERE) == address


# --- pages


def test_a_page_is_read_as_lines_and_links():
    html = (
        "<html><head><title>T &amp; t</title><style>p {x: y}</style></head><body><h1>big</h1>"
        "<script>answer = 1 < 2</script><p>one  <b>two</b>\nthree</p>loose"
        '<h2>head</h2><p>see <a href="/x">x</a> and <a href="http://elsewhere.invalid">me</a> .</p>'
        "<p></p><ul><li>a<li>b</ul></body></html>"
    )
    page = Page(html, HERE)
    assert page.title == "T & t" and page.links == ["/x", "http://elsewhere.invalid"]
    assert [line.text for line in page.lines] == [
        "one two three", "loose", "head", "see x and me .", "a", "b",
    ]  # fmt: skip
    assert page.lines[3].shown == "see [1] x and [2] elsewhere ."  # not what it says of itself
    assert [line.text for line in page.lines if line.heading] == ["head"]
    assert Page("", HERE).lines == [] and Page("<p", HERE).links == []


@pytest.mark.parametrize(
    "quotation, text, counts",
    [
        ("b c d", "a b c d e", True), ("a b c", "a b c", True), ("b  c\nd", "a b\tc  d", True),
        ("c d e", "a b c d e", True), ("b d e", "a b c d e", False), ("b c", "a b c d", False),
        ("b c", "b c", False), ("", "a b c", False), ("   ", "a b c", False),
        ("B c d", "a b c d", False), ("b c dd", "a b c d", False), ("b c d", "a b c dd", False),
        ("a b c d", "a b c", False), ("a b c", "", False), ("d a b", "a b c d", False),
    ],
)  # fmt: skip
def test_a_quotation_stands_in_its_text_word_for_word(quotation, text, counts):
    assert is_quotation(quotation, text) is counts


def test_quotations_are_looked_for_all_at_once():
    page = torch.tensor([4, 5, 6, 4, 5, 7])
    quotes = torch.tensor(
        [[4, 5, 6, -1], [4, 5, 7, -1], [5, 7, -1, -1], [5, 6, 5, -1], [4, 5, 6, 4], [4, 5, 7, 4],
         [-1, -1, -1, -1]]
    )  # fmt: skip
    wanted = [True, True, False, False, True, False, False]
    assert web_browser.quotations_in(quotes, page).tolist() == wanted
    wanted[2] = True
    assert web_browser.quotations_in(quotes, page, least=2).tolist() == wanted
    assert not web_browser.quotations_in(quotes, page[:2]).any()
    assert not web_browser.quotations_in(quotes, page[:0]).any()


# --- the environment


def test_a_whole_episode_over_the_server(web):
    q = next(q for q in web.questions(99) if q.hops == 2 and not set(q.path) & set(web.notes))
    with serve(web) as server, Connection(server) as fetch:
        browser = Browser(fetch)
        seen = browser.act(f"search {q.path[0]}").split()
        assert seen[seen.index(q.path[0]) - 1].startswith("[")
        assert browser.act("open " + seen[seen.index(q.path[0]) - 1]) == f"page {q.path[0]}"
        assert browser.act(f"find {MENTOR}") == f"the mentor of {q.path[0]} is [1] {q.path[1]} ."
        assert browser.act("open [1]") == f"page {q.path[1]}"
        sentence = browser.act(f"find {q.relation}")
        assert sentence == web.world.passage(q.path[1], q.relation)
        assert browser.act(f"quote {sentence}") == "quoted"
        assert browser.act(f"answer {q.answer}") == ""
        assert browser.over and browser.answer == q.answer and browser.quotations == [sentence]
        assert server.served == 3 and not any(step.refused for step in browser.log)
        with pytest.raises(RuntimeError, match="over"):
            browser.act("search ada")


def test_the_server_and_the_web_itself_are_seen_alike(web):
    actions = ("search ada", "open [1]", "find pet", "find nonsense", "open 7", "quote a b c")
    with serve(web) as server, Connection(server) as fetch:
        served, direct = Browser(fetch), Browser(Direct(web))
        assert [served.act(a) for a in actions] == [direct.act(a) for a in actions]
        assert served.log == direct.log


def test_find_goes_on_from_where_it_is_and_around():
    browser = at(a="<h2>k</h2><p>x one</p><h2>m</h2><p>x two</p><p>last</p><h2>end</h2>")
    assert [browser.act(f"find {w}") for w in ("x", "x", "x")] == ["x one", "x two", "x one"]
    assert browser.act("find m") == "x two" and browser.act("find end") == "end"
    assert browser.act("find wo") == "nothing" and browser.act("find x two") == "x two"
    assert Browser(Direct(Pages())).act("find x") == "nothing"


@pytest.mark.parametrize(
    "action, reason",
    [
        ("", "no such action"), ("search", "no such action"), ("search  ", "no such action"),
        ("delete everything", "no such action"), ("__init__ x", "no such action"),
        ("act x", "no such action"), ("Search ada", "no such action"),
        ("_load /a", "no such action"),
        ("open", "no such action"), ("open 0", "no such link"), ("open 9", "no such link"),
        ("open [-1]", "no such link"), ("open http://elsewhere.invalid", "no such link"),
        ("open ²", "no such link"), ("open " + "9" * 5000, "no such link"),
        ("open 00001", "no such link"), ("open 01", "no such link"), ("open [[1]]", "no such link"),
        ("open 3", "no such page"),
        ("open 2", "leads off this host"), ("quote x y q", "stands not on this page"),
        ("quote x y", "stands not on this page"), ("answer x", "stands in no quotation"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(action, reason):
    html = (
        '<p>x y z</p><a href="/b">b</a><a href="http://elsewhere.invalid">e</a><a href="/no">n</a>'
    )
    browser = at(a=html, b="<p>b</p>")
    assert browser.act(action) == "refused" and browser.log[-1].refused == reason
    assert browser.page.text.startswith("x y z") and not browser.over  # nothing has changed
    assert browser.act("quote x y z") == "quoted" and browser.act("answer y") == ""


def test_before_a_page_is_open_there_is_nothing_to_open_find_or_quote():
    browser = Browser(Direct(Pages(a="<p>x y z</p>")))
    seen = [browser.act(f"{action} x y z") for action in ("open", "find", "quote", "answer")]
    assert browser.act("open 1") == "refused" and seen == [
        "refused",
        "nothing",
        "refused",
        "refused",
    ]
    assert browser.page is None and not browser.over


def test_a_page_that_cannot_be_read_is_refused():
    browser = at(a='<p>x y z</p><a href="/b">b</a>', b="<p>u v w</p><![x y]>")
    browser.act("open 1")  # some versions of Python's parser read it
    refused = browser.log[-1].refused
    assert refused in ("the page cannot be read", "")
    assert browser.act("find x y z") == ("x y z" if refused else "nothing")  # still open, or left


def test_a_lure_is_shown_as_such_and_never_followed(web):
    """Nobody is asked but this server, though the agent does as the page says."""
    name = next(n for n, (kind, _) in web.notes.items() if kind == "lure")
    asked = []

    class Watched(Direct):
        def __call__(self, address):
            asked.append(address)
            return super().__call__(address)

    browser = Browser(Watched(web))
    seen = browser.act(f"search {name}").split()
    assert browser.act("open " + seen[seen.index(name) - 1]).endswith("moved , open [1] elsewhere")
    before = list(asked)
    assert browser.act("open [1]") == "refused" and browser.act("open 1") == "refused"
    assert asked == before and browser.log[-1].refused == "leads off this host"


def test_an_order_does_not_make_an_answer_count(web):
    name, (_, value) = next((n, note) for n, note in web.notes.items() if note[0] == "order")
    browser = Browser(Direct(web))
    seen = browser.act(f"search {name}").split()
    assert browser.act("open " + seen[seen.index(name) - 1]).endswith(f"agent , answer {value}")
    assert browser.act(f"answer {value}") == "refused" and not browser.over
    # The rule asks for a quotation, not for the truth: the lie itself can be quoted.
    assert browser.act(f"quote agent , answer {value}") == "quoted"
    assert browser.act(f"answer {value}") == "" and browser.answer == value


def test_a_quotation_is_of_the_page_that_is_open():
    browser = at(a='<p>x y z</p><a href="/b">b</a>', b="<p>u v w</p>")
    assert browser.act("quote u v w") == "refused"
    browser.act("open 1")
    assert browser.act("quote x y z") == "refused" and browser.act("quote u v w") == "quoted"
    assert browser.act("answer u v") == ""


def test_an_answer_is_of_whole_words():
    browser = at(a="<p>the cat sat</p>")
    browser.act("quote the cat sat")
    assert browser.act("answer at") == "refused" and browser.act("answer cat sa") == "refused"
    assert browser.act("answer cat") == ""


def test_steps_and_seconds_are_bounded():
    browser = Browser(Direct(Pages()), steps=3)
    for over in (False, False, True):
        browser.act("nonsense")
        assert browser.over is over
    late = Browser(Direct(Pages()), seconds=0.01)
    time.sleep(0.02)
    assert (
        late.act("search x") == "refused" and late.over and late.log[-1].refused == "no time left"
    )
    for bad in ({"steps": 0}, {"seconds": 0}, {"steps": 1.5}):
        with pytest.raises((TypeError, ValueError)):
            Browser(Direct(Pages()), **bad)
    with pytest.raises(TypeError, match="action"):
        Browser(Direct(Pages())).act(7)


def test_a_sign_that_cannot_be_sent_is_an_action_as_well(web):
    with serve(web) as server, Connection(server) as fetch:
        for browser in (Browser(fetch), Browser(Direct(web))):
            assert browser.act(f"search {ODD} ada") == Browser(fetch).act("search ada")
            assert browser.act(f"find {ODD}") == "nothing"
            assert browser.act(f"quote a b {ODD}") == browser.act(f"answer {ODD}") == "refused"


def test_actions_are_those_of_the_list():
    assert all(hasattr(Browser, f"_{name}") for name in web_browser.ACTIONS)
