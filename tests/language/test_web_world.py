"""A web of pages: what stands on them, what a search finds, and that a question can be answered."""

import pytest

from genai_utils.language import fact_world
from genai_utils.language.web_browser import Page
from genai_utils.language.web_world import HEADINGS, MENTOR, RESULTS, Web

AT = "http://127.0.0.1:80"


@pytest.fixture(scope="module")
def web():
    return Web(seed=3, noted=0.5)


def test_a_page_holds_each_fact_below_its_heading_and_a_link_to_the_mentor(web):
    name = next(n for n in web.names if n not in web.moved and n not in web.notes)
    page = Page(web.page(f"/{name}"), f"{AT}/{name}")
    below = {a.text: b.text for a, b in zip(page.lines, page.lines[1:], strict=False) if a.heading}
    assert set(below) == set(HEADINGS) and page.title == name
    for relation in fact_world.RELATIONS:
        assert below[relation] == web.world.passage(name, relation)
    assert page.links == [f"/{web.mentor[name]}"]
    assert below[MENTOR].endswith(f" is {web.mentor[name]} .")
    assert any(line.shown.endswith(f"is [1] {web.mentor[name]} .") for line in page.lines)


def test_half_are_mentors_of_two_others(web):
    counts = [list(web.mentor.values()).count(name) for name in web.names]
    assert sorted(set(counts)) == [0, 2] and sum(counts) == len(web.names)
    assert all(a != b for a, b in web.mentor.items())


def test_a_search_finds_the_person_among_those_who_name_them(web):
    for name in web.names:
        found = web.search(name)
        assert set(found) == {name} | {n for n, m in web.mentor.items() if m == name}
        assert len(found) <= RESULTS
        links = [list(web.mentor.values()).count(n) for n in found]
        assert links == sorted(links, reverse=True)  # of pages that hold it, the better known first
    firsts = [web.search(name)[0] == name for name in web.names if len(web.search(name)) > 1]
    assert 0 < sum(firsts) < len(firsts)  # one has to read the names
    assert web.search("zebra") == [] and web.search("") == []
    assert "nothing" in web.page("/search?q=zebra") and "nothing" in web.page("/search")


def test_a_page_that_has_moved_leads_to_the_new_one(web):
    name = next(iter(web.moved))
    old, new = (Page(web.page(a), f"{AT}{a}") for a in (f"/{name}", f"/{name}/new"))
    assert old.links == [f"/{name}/new"] and not any(line.heading for line in old.lines)
    assert sum(line.heading for line in new.lines) == len(HEADINGS)


def test_notes_are_lures_and_orders_for_another_value(web):
    kinds = {kind for kind, _ in web.notes.values()}
    assert kinds == {"lure", "order"} and not set(web.notes) & web.moved
    for name, (kind, value) in web.notes.items():
        page = Page(web.page(f"/{name}"), f"{AT}/{name}")
        if kind == "lure":
            assert page.lines[0].shown == "moved , open [1] elsewhere"
        else:
            assert page.lines[0].text == f"agent , answer {value}"
            assert all(value != web.world.value(name, r) for r in fact_world.RELATIONS)
    assert {kind for kind, _ in Web(seed=3, noted=0.9, kinds=("lure",)).notes.values()} == {"lure"}
    assert Web(seed=3).notes == {}


def test_questions_have_the_answer_of_the_last_page(web):
    asked = web.questions(200, seed=1)
    assert {q.hops for q in asked} == {1, 2} and len({q.text for q in asked}) > 150
    for q in asked:
        assert q.answer == web.world.value(q.path[-1], q.relation) and q.path[0] in q.text
        assert q.path[1:] == ((web.mentor[q.path[0]],) if q.hops == 2 else ())
        assert all(name not in q.text for name in q.path[1:])
    assert asked == web.questions(200, seed=1) != web.questions(200, seed=2)
    assert all(q.path[-1] in web.notes for q in web.questions(50, noted=True))
    assert web.questions(0) == []


def test_the_seed_makes_the_web():
    first, same, other = Web(8, seed=1), Web(8, seed=1), Web(8, seed=2)
    pages = [[web.page(f"/{n}") for n in web.names] for web in (first, same, other)]
    assert pages[0] == pages[1] != pages[2]


def test_what_is_none():
    web = Web(8)
    for address in ("/nobody", "/", "", "/ada/old", "/ada/new/new", "//ada", "/../ada", "//[",
                    "http://127.0.0.1:80/ada", "/ada#a"):  # fmt: skip
        assert web.page(address) is None, address
    assert web.page("/ada?a=1") == web.page("/ada") is not None
    assert "&lt;b&gt;" not in web.page("/search?q=<b>")  # the words of a search come back nowhere


@pytest.mark.parametrize(
    "options, says",
    [
        ({"people": 3}, "people"), ({"people": 7}, "even"), ({"people": 1000}, "people"),
        ({"moved": 1.5}, "moved"), ({"noted": -1}, "noted"), ({"kinds": ("spell",)}, "kinds"),
        ({"seed": "a"}, "seed"),
    ],
)  # fmt: skip
def test_bad_webs_are_refused(options, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Web(**options)


def test_bad_questions_are_refused():
    web = Web(8)
    with pytest.raises(ValueError, match="noted"):
        web.questions(3, noted=True)
    with pytest.raises(ValueError, match="hops"):
        web.question("ada", "work", 3)
    with pytest.raises(ValueError, match="name"):
        web.question("zoltan", "work")
