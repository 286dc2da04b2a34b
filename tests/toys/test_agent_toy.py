"""The page's text browser sees, finds and refuses what `Browser` does, whatever is written."""

import functools
import random

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from genai_utils.language.web_agent import demonstrate
from genai_utils.language.web_browser import STEPS, Browser
from genai_utils.language.web_server import Direct
from genai_utils.language.web_world import HEADINGS
from genai_utils.toys import agent as toy

ACT = "return document.querySelector('.genai').genaiAgent.act(arguments[0])"
START = "document.querySelector('.genai').genaiAgent.start(arguments[0])"
STATE = "return document.querySelector('.genai').genaiAgent.state()"


@pytest.fixture(scope="module")
def web():
    return toy.web()


@pytest.fixture
def opened(browser, open_toy):
    yield functools.partial(open_toy, toy.bundle(), "genaiAgent")
    assert browser.errors() == [] and browser.overflow() == 0


def test_the_web_shows_what_the_caption_says(web):
    assert sorted(kind for kind, _ in web.notes.values()) == ["lure", "order"]
    one, two, lure, order = toy.questions(web)
    assert (one.hops, two.hops) == (1, 2) and two.path[1] in web.moved
    assert [web.notes[q.path[-1]][0] for q in (lure, order)] == ["lure", "order"]


def some_actions(rng, web):
    words = [*web.names, *HEADINGS, "is", "of", "zebra", "."]
    sentence = web.sentence(rng.choice(web.names), rng.choice(HEADINGS)).split()
    return rng.choice([
        f"search {rng.choice(words)}", f"search {rng.choice(words)} {rng.choice(words)}",
        f"open [{rng.randint(0, 3)}]", f"open {rng.randint(1, 2)}", "open", "open x", "open [[1]]",
        "open 01", "open 00001", "open [1", "open 1]", "open 0",
        f"find {rng.choice(words)}", f"find {rng.choice(words)}", "find the mentor",
        f"quote {' '.join(sentence)}", f"quote {' '.join(sentence[:rng.randint(1, 4)])}",
        f"answer {rng.choice(sentence)}", "delete everything", "constructor x", "", "  find  pet ",
    ])  # fmt: skip


def test_it_does_what_the_environment_does(web, opened, browser):
    opened()
    rng, refused = random.Random(0), set()
    for _ in range(40):
        browser.js(START, 0)
        mine = Browser(Direct(web))
        while not mine.over:
            action = some_actions(rng, web)
            if len(mine.log) < 2:
                action = ("open [1]", f"search {rng.choice(web.names)}")[not mine.log]
            elif mine.page and web.elsewhere in mine.page.links and rng.random() < 0.5:
                action = f"open [{mine.page.links.index(web.elsewhere) + 1}]"
            elif mine.page and rng.random() < 0.3:  # something that is there
                line = rng.choice(mine.page.lines).text
                action = rng.choice([f"quote {line}", f"find {line.split()[0]}"])
            elif mine.quotations and rng.random() < 0.1:
                action = f"answer {rng.choice(mine.quotations[-1].split())}"
            assert browser.js(ACT, action) == mine.act(action), action
            now = browser.js(STATE)
            assert now["log"][-1] == list(mine.log[-1]), action
            refused.add(mine.log[-1].refused)
            assert now["over"] == mine.over and now["answer"] == mine.answer
            assert now["quotations"] == mine.quotations and now["found"] == mine.found
    assert refused >= {
        "", "no such action", "no such link", "leads off this host", "stands not on this page",
        "stands in no quotation",
    }  # fmt: skip


def test_the_demonstrations_are_right_there_too(web, opened, browser):
    opened()
    for number, question in enumerate(toy.questions(web)):
        browser.js(START, number)
        for step in demonstrate(question, Direct(web), random.Random(0)).log:
            assert browser.js(ACT, step.action) == step.seen
        assert "and it is right" in browser.driver.find_element(By.CLASS_NAME, "genai-verdict").text


@pytest.mark.parametrize("width", [390, 1200])
def test_a_reader_clicks_through_a_question(web, opened, browser, width):
    root, _ = opened(width=width)
    question = toy.questions(web)[0]
    assert browser.js(STATE)["page"]["title"] == question.path[0]  # not on two empty panes
    browser.press("Begin again")
    browser.press(f"search {question.path[0]}")
    names = [line[1] for line in browser.js(STATE)["page"]["lines"]]
    number = 1 + [name.split()[1] for name in names].index(question.path[0])
    browser.press(f"open [{number}]")
    Select(root.find_element(By.TAG_NAME, "select")).select_by_value(question.relation)
    here = root.find_element(By.CLASS_NAME, "genai-here")
    here.find_element(By.TAG_NAME, "button").click()
    browser.press(f"answer {question.answer}")
    assert "and it is right" in root.find_element(By.CLASS_NAME, "genai-verdict").text
    browser.press("Another question")
    assert browser.js(STATE)["question"] == 1 and browser.js(STATE)["log"] == []


def test_what_is_typed_is_refused_and_counted(opened, browser):
    root, _ = opened()
    for action in ("open http://elsewhere.invalid", "answer 42", "delete everything"):
        root.find_element(By.CSS_SELECTOR, "input[type=text]").send_keys(action, Keys.ENTER)
    rows = root.find_elements(By.CLASS_NAME, "genai-refused")
    assert [row.text.partition("refused: ")[2] for row in rows] == [
        "no such link", "stands in no quotation", "no such action",
    ]  # fmt: skip
    assert (
        f"{STEPS - toy.OPENING - 3} actions left"
        in root.find_element(By.CLASS_NAME, "genai-verdict").text
    )
    browser.press("Begin again")
    assert browser.js(STATE)["log"] == []
