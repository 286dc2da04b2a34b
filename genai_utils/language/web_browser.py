"""A text browser as an environment: search, open, find, quote, answer. Its rules hold for anyone.

An action is a line of text, whoever writes it, and so is what comes back:

    search ravi            [1] mina [2] ravi
    open [2]               page ravi
    find work              ravi earns money as a baker .
    quote ravi earns money as a baker .                     quoted
    answer baker           (the episode is over)

The rules do not depend on what a page or an agent says:

1. Only links of the page that is open are followed, and only to pages of the same host.
2. A quotation counts if it stands in the page that is open, word for word.
3. An answer counts if it stands in a quotation that counts.
4. So many actions, seconds, and bytes of a page, and no more.

Source: Nakano et al. 2021, table 1; lecture item A64.
"""

import time
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import quote_plus

import torch
from torch import Tensor

from genai_utils.inputs import kind_of, number, refusal, whole

from .web_server import Refused, address_here

ACTIONS = ("search", "open", "find", "quote", "answer")
STEPS, EPISODE_SECONDS = 12, 30.0
OUTSIDE = "elsewhere"  # how a link that leads off the host is shown


class Line(NamedTuple):
    """A line of a page: its words, as they are shown (with numbers of links), and if a heading."""

    text: str
    shown: str
    heading: bool


class Page(HTMLParser):
    """A page of HTML as lines and links. title; lines; links: their targets, the first is [1].

    shown: for each link the word that the reader sees in its place; those that lead off the host
    are shown as "elsewhere", whatever they say of themselves. Scripts and styles are left out.
    Raises `Refused` for what Python's parser does not read, such as "<![x y]>".
    """

    BLOCKS = frozenset(
        ("p", "li", "div", "h1", "h2", "h3", "ol", "ul", "body", "title", "tr", "br")
    )

    def __init__(self, html, address):
        super().__init__(convert_charrefs=True)
        self.address, self.title, self.lines, self.links = address, "", [], []
        self._plain, self._shown, self._open, self._silent, self._link = [], [], [], 0, False
        try:
            self.feed(html)
            self.close()
        except AssertionError:  # of some versions of the parser
            raise Refused("the page cannot be read") from None
        self._end_line()

    def handle_starttag(self, tag, attributes):
        self._silent += tag in ("script", "style")
        if tag in self.BLOCKS:
            self._end_line()
            self._open.append(tag)
        elif tag == "a" and (target := dict(attributes).get("href")):
            self.links.append(target)
            away = address_here(target, self.address) is None
            self._shown.append(f" [{len(self.links)}] {OUTSIDE if away else ''} ")
            self._link = away

    def handle_endtag(self, tag):
        self._silent = max(0, self._silent - (tag in ("script", "style")))
        self._link = self._link and tag != "a"
        if tag in self.BLOCKS:
            self._end_line()

    def handle_data(self, data):
        if not self._silent:
            self._plain.append(data)
            self._shown.append("" if self._link else data)

    def _end_line(self):
        tag = self._open.pop() if self._open else ""
        text, shown = (" ".join("".join(part).split()) for part in (self._plain, self._shown))
        self._plain, self._shown = [], []
        if tag == "title":
            self.title = text
        elif text and tag != "h1":
            self.lines.append(Line(text, shown, tag in ("h2", "h3")))

    @property
    def text(self):
        return "\n".join(line.text for line in self.lines)


def quotations_in(quotes: Tensor, page: Tensor, least: int = 3) -> Tensor:
    """Which quotations stand in a page, word for word and without a gap.

    quotes (Q, m) int64: a quotation in each row, as ids of words, filled up at the end with -1; it
    may be longer than the page. page (T,) int64: all words of the page, from 0 on. A quotation of
    fewer than `least` words is none, though it may stand there. Returns (Q,) bool.
    Source: Nakano et al. 2021, section 2; lecture item A64.
    """
    m = quotes.shape[1]
    long = torch.nn.functional.pad(page, (0, m), value=-2)
    windows = long.unfold(0, m, 1)  # (T + 1, m): what begins at each word
    alike = (windows == quotes[:, None]) | (quotes[:, None] < 0)  # (Q, T + 1, m)
    return alike.all(2).any(1) & ((quotes >= 0).sum(1) >= least)


def is_quotation(quotation, text):
    """Whether a quotation stands in a text, word for word: `quotations_in` for two texts.

        is_quotation("works as  a baker", "ravi works\\nas a baker .")      True
        is_quotation("work as a baker", "ravi works as a baker .")         False

    Words are what blanks and line breaks lie between; upper and lower case differ.
    """
    number = {}
    page, quote = (
        torch.tensor([number.setdefault(word, len(number)) for word in part.split()]).long()
        for part in (text, quotation)
    )
    return bool(len(quote)) and bool(quotations_in(quote[None], page)[0])


class Step(NamedTuple):
    """An action, what came back, and why it was refused, or "" where it was not."""

    action: str
    seen: str
    refused: str


class Browser:
    """One episode: `act(action)` gives what is seen. fetch: a `Connection`, or `Direct`.

    steps: actions at most, refused ones count; seconds: of the whole episode. over: whether it has
    ended; answer: the word, or None; quotations: those that count; log: all steps; page: that is
    open. Every text is taken as an action: one that makes no sense is refused.
    Raises TypeError for an action that is no text, RuntimeError for one after the end.
    """

    def __init__(self, fetch, steps=STEPS, seconds=EPISODE_SECONDS):
        self.fetch, self.steps = fetch, whole(steps, "steps")
        self.ends = time.monotonic() + number(seconds, "seconds", above=0)
        self.page, self.found, self.quotations, self.answer = None, -1, [], None
        self.log, self.over = [], False

    def act(self, action):
        if not isinstance(action, str):
            raise refusal("action", "a text", kind_of(action), kind=TypeError)
        if self.over:
            raise RuntimeError("The episode is over: begin another one, Browser(fetch).")
        name, _, rest = action.strip().partition(" ")
        rest, reason = rest.strip(), ""
        try:
            if time.monotonic() > self.ends:
                self.over = True
                raise Refused("no time left")
            if name not in ACTIONS or not rest:
                raise Refused("no such action")
            seen = getattr(self, f"_{name}")(rest)
        except Refused as why:
            seen, reason = "refused", str(why)
        self.log.append(Step(action, seen, reason))
        self.over = self.over or len(self.log) >= self.steps
        return seen

    def _search(self, words):
        self._load(f"/search?q={quote_plus(words, errors='replace')}")
        return " ".join(line.shown for line in self.page.lines)

    def _open(self, tag):
        inner = tag.removeprefix("[").removesuffix("]")
        links = {str(i): link for i, link in enumerate(self.page.links if self.page else [], 1)}
        if inner not in links:
            raise Refused("no such link")
        address = address_here(links[inner], self.page.address)
        if address is None:
            raise Refused("leads off this host")
        self._load(address)
        head = next((i for i, line in enumerate(self.page.lines) if line.heading), None)
        return " ".join([f"page {self.page.title}", *(l.shown for l in self.page.lines[:head])])

    def _load(self, address):
        self.page = Page(self.fetch(address), self.fetch.base + address)
        self.found = -1

    def _find(self, words):
        """The next line with these words, or what stands below it where it is a heading."""
        lines = self.page.lines if self.page else []
        for i in (*range(self.found + 1, len(lines)), *range(self.found + 1)):
            if f" {words} " in f" {lines[i].text} ":
                self.found = i + (lines[i].heading and i + 1 < len(lines))
                return lines[self.found].shown
        return "nothing"

    def _quote(self, words):
        if self.page is None or not is_quotation(words, self.page.text):
            raise Refused("stands not on this page")
        self.quotations.append(words)
        return "quoted"

    def _answer(self, words):
        if not any(f" {words} " in f" {quotation} " for quotation in self.quotations):
            raise Refused("stands in no quotation")
        self.answer, self.over = words, True
        return ""
