"""The boxes of exercises in the page: hints, the solution, and which cells are left out."""

import html
import re
from pathlib import Path

import pytest

from genai_utils.book import exercise_boxes
from genai_utils.book.chapters import Book
from genai_utils.checks import register
from genai_utils.display.source import source_bundle
from tests.book.test_pages import CARD, build, notebook, project

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
COLAB = "https://colab.research.google.com/github/old/book/blob/main/notebooks/02_pca.ipynb"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("boxes"))
    boxes = "> **Exercise 2.1** (easy). Write.\n\nAnd\n\n> **Exercise 2.2** (hard). Write."
    (root / "notebooks/02_pca.ipynb").write_text(notebook("# 2  PCA", boxes, card=CARD))
    folder, _ = build(root)
    return (folder / "notebooks/02_pca.html").read_text()


def test_a_box_has_its_hints_its_solution_and_the_way_to_the_notebook(page):
    box, other = page[page.index('id="exercise-2-1"') :].split('id="exercise-2-2"')
    known = register.load("02_pca")["explained_variance_ratio"]
    titles = re.findall(r"<details><summary>(.*?)</summary>", box)
    assert titles == ["Hint 1", "Hint 2", "Solution"]
    assert all(html.escape(hint) in box for hint in known.hints)
    solution = box[box.index(">Solution<") :]
    assert "genai-source" in solution and '<span class="nf">explained_variance_ratio</span>' in box
    assert f'href="{COLAB}"' in box and "check(explained_variance_ratio)" in box
    assert box.count("<style>") == 2 and "<style>" not in other  # once in a page is enough
    assert "check(project)" in other and '<span class="nf">project</span>' in other


def test_the_box_of_a_planted_fault_says_that_the_check_tells_whether_it_is_mended(tmp_path):
    root = project(tmp_path)
    box = "> **Exercise 24.6** (find the fault, hard, 30 minutes). Mend."
    box = f"> **Exercise 24.1** (easy). Write.\n\nAnd\n\n{box}"
    (root / "notebooks/24_vae.ipynb").write_text(notebook("# 24  VAE", box, card=CARD))
    folder, _ = build(root)
    page = (folder / "notebooks/24_vae.html").read_text()
    written, fault = page[page.index('id="exercise-24-1"') :].split('id="exercise-24-6"')
    assert "there names the mistake" in written and "find the fault, hard, 30 minutes" in fault
    assert "there says whether it is mended" in fault and "log_weights" in fault


def test_a_box_whose_exercise_is_unknown_is_a_warning(tmp_path):
    root = project(tmp_path)
    path = root / "notebooks/02_pca.ipynb"
    path.write_text(notebook("# 2  PCA", "> **Exercise 2.9** (easy). Write.", card=CARD))
    folder, warnings = build(root)
    assert "Exercise 2.9 is not in genai_utils/exercises" in warnings
    assert "exercise-help" not in (folder / "notebooks/02_pca.html").read_text()


@pytest.mark.parametrize(
    ("code", "left_out"),
    [
        ('check(gate)\n# hint("gate")', True),
        ('check(gate)\nhint("gate")\nsolution("gate")', True),
        ("show_source(\n    models.gate\n)  # folded", True),
        ("show_source(models.gate, models.GatedLayer)", False),
        ("check(other)", False),
        ("y = check(gate)\nprint(y)", False),
        ("def gate(a):\n    ...", False),
        ("%pip install x", False),
        ("", False),
    ],
)
def test_only_cells_about_nothing_else_are_left_out(code, left_out):
    assert exercise_boxes.only_about({"gate"}, code) is left_out


@pytest.mark.parametrize("name", BOOK.chapters)
def test_every_exercise_has_hints_and_its_check_is_left_out(name):
    """All boxes of a notebook find their exercise, and no cell says `check(...)` in the page."""
    chapter = BOOK.chapters[name]
    known = {exercise.number: exercise for exercise in register.load(name).values()}
    assert set(chapter.exercises) <= set(known)
    assert all(known[number].hints for number in chapter.exercises)
    names = {exercise.name for exercise in known.values()}
    checks = [cell.source for cell in chapter.code_cells if re.match(r"check\(", cell.source)]
    assert len(checks) == len(chapter.exercises)
    assert all(exercise_boxes.only_about(names, code) for code in checks)


def test_the_buttons_work_without_javascript_and_side_by_side(page, browser, tmp_path):
    """A button is as wide as its words until it is open; then its text has the whole line."""
    css = (ROOT / "book/_assets/exercises.css").read_text(encoding="utf-8")
    known = register.load("24_vae")["gaussian_kl"]
    body = exercise_boxes.help_for(known)
    style = "".join(re.findall(r"(?s)<style>.*?</style>", source_bundle(known.reference).html))
    path = tmp_path / "box.html"
    path.write_text(
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'{style}<style>{css}</style><div class="bd-article">{body}</div>',
        encoding="utf-8",
    )
    places = (
        "return [...document.querySelectorAll('.exercise-help > details')]"
        ".map(d => [d.getBoundingClientRect().top, d.getBoundingClientRect().width])"
    )
    for width in (390, 1280):
        browser.open(path, width=width, wide=True)
        closed = browser.js(places)
        assert closed[0][0] == closed[1][0] and browser.overflow() == 0
        browser.js("document.querySelectorAll('.exercise-help summary').forEach(s => s.click())")
        opened = browser.js(places)
        assert len({top for top, _ in opened}) == 4 and browser.overflow() == 0
        whole = browser.js("return document.querySelector('.exercise-help').clientWidth")
        assert {round(width) for _, width in opened} == {whole}
    assert browser.errors() == []
