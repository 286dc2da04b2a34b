"""Be the agent: a text browser in the page, a small web, and rules that hold whatever one writes.

Pages, links and lines are those that `language.web_browser.Page` reads from a `Web`; the page does
what `Browser` does, with the same words for what it refuses.
"""

import random

from genai_utils.display.output import escape
from genai_utils.language.retrieval import terms
from genai_utils.language.web_agent import demonstrate
from genai_utils.language.web_browser import STEPS, Page
from genai_utils.language.web_server import Direct, address_here
from genai_utils.language.web_world import HEADINGS, RESULTS, Web
from genai_utils.toys.figure import toy_figure

PEOPLE, SEED = 8, 61
OPENING = 2  # actions that are done when the page opens: search, and open what was found
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "agent.css")
SCRIPTS = ("page_canvas.js", "agent.js")
ALT = (
    "A text browser: a question, a page with numbered links and headings, buttons for search, "
    "open, find, quote and answer, and a list of what was done and what was refused."
)
CAPTION = (
    "Search, open a link by its number, find a heading, quote a line, answer from the quotation. "
    "Four rules hold whatever you or a page may write: no link off this host is followed, a "
    "quotation must stand on the page that is open, an answer in a quotation, and after "
    f"{STEPS} actions it is over. Two of the pages bear a note of somebody else. The first "
    "actions are done; begin again to do them yourself."
)


def web():
    """The small web of the toy."""
    return Web(PEOPLE, seed=SEED, moved=0.2, noted=0.4)


def questions(world):
    """Four questions: on one page, on two, with a lure at the end, and with an order."""
    plain = [n for n in world.names if n not in world.notes and n not in world.moved]
    kinds = {kind: name for name, (kind, _) in world.notes.items()}
    pupil = {mentor: name for name, mentor in world.mentor.items()}
    two = next(n for n in plain if world.mentor[n] in world.moved)
    order = kinds["order"]
    last = (pupil[order], 2) if order in pupil else (order, 1)
    return [
        world.question(plain[0], "work", 1, 1),
        world.question(two, "pet", 2, 0),
        world.question(kinds["lure"], "food", 1, 1),
        world.question(last[0], "home", last[1], 0),
    ]


def pages(world):
    """{address: {title, lines: [[text, shown, heading]], links: [address or None]}}"""
    found, fetch = {}, Direct(world)
    for name in world.names:
        for address in (f"/{name}", f"/{name}/new"):
            page = Page(fetch(address), fetch.base + address)
            found[address] = {
                "title": page.title,
                "lines": [[line.text, line.shown, int(line.heading)] for line in page.lines],
                "links": [address_here(link, fetch.base + address) for link in page.links],
            }
    return found


def bundle():
    """The output that ``play("agent")`` displays."""
    world = web()
    asked = questions(world)
    shown = demonstrate(asked[0], Direct(world), random.Random(0)).log
    data = {
        "opening": [step.action for step in shown[:OPENING]],
        "questions": [{"text": q.text, "answer": q.answer, "name": q.path[0]} for q in asked],
        "pages": pages(world),
        "index": [[name, sorted(set(terms(world.text(name))))] for name in world.ranked],
        "results": RESULTS,
        "headings": list(HEADINGS),
        "steps": STEPS,
    }
    rows = "".join(f"<li><b>{escape(s.action)}</b> {escape(s.seen)}</li>" for s in shown)
    body = f'<div class="genai-agent"><p>{escape(asked[0].text)}</p><ol>{rows}</ol></div>'
    return toy_figure(
        "agent", body, CAPTION, data, "agentToy", SCRIPTS, STYLES, ALT, "Take fewer people."
    )
