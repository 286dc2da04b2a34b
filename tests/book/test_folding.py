"""What a notebook's page hides and folds: code as text, and the pages of the built book."""

import nbformat
import pytest

from genai_utils.book.folding import cleaned, kind
from tests.book.test_pages import CARD, build, project


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("# NBVAL_CHECK_OUTPUT\nx = 1  # fmt: skip", "x = 1"),
        ("import os  # noqa: E402\nx = '# noqa'", "import os\nx = '# noqa'"),
        ("x = 1\nrun.record('a', x)\nprint(x)", "x = 1\nprint(x)"),
        ("run.record(\n    'a',\n    1,\n)", ""),
        ("for a in b:\n    print(a)\n    run.record('a', a)", "for a in b:\n    print(a)"),
        ("x = 1\nfor a in b:\n    run.record('a', a)", "x = 1"),
        ("x = 1\nif x:\n    run.record('a', 1)\nelse:\n    run.record('b', 1)", "x = 1"),
        (
            "if a:\n    run.record('a', 1)\nelse:\n    print(a)",
            "if a:\n    run.record('a', 1)\nelse:\n    print(a)",
        ),
        (
            "with a:\n    run.record('a', a)",
            "with a:\n    run.record('a', a)",
        ),  # never an empty body
        ("run.recorded(1)\nx = run.record('a', 1)", "run.recorded(1)\nx = run.record('a', 1)"),
        ("%pip install x  # noqa", "%pip install x"),
    ],
)
def test_marks_and_records_are_gone_and_nothing_else(code, left):
    assert cleaned(code) == left


LONG = "\n".join(f"x{i} = {i}" for i in range(9))


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os\nfrom a import b", "imports"),
        ("import os\nx = 1", ""),
        ("import warnings\nwarnings.simplefilter('ignore')", "imports"),
        ("progress()", "progress"),
        ("show(f, alt='a')", "figure"),
        ("for x in y:\n    explore(draw)", "figure"),
        ("def draw(k):\n    return plt.figure()", "figure"),
        ("table(rows)", "table"),
        ("lab(f)", "lab"),
        ("show_source(f)\nshow_source(g)", "output alone"),
        ("x = 1\nshow_source(f)", ""),
        ('from genai_utils.course import draw\n\ndraw("attention")', "output alone"),
        ('from genai_utils.course import experiment\n\nexperiment("width")', "output alone"),
        ('from genai_utils.course import hand_in\n\nhand_in("width", None)  # yours', "nothing"),
        ('from genai_utils.course import hand_in\n\nhand_in("width", 3)', ""),
        (LONG, "experiment"),
        (f"# NBVAL_CHECK_OUTPUT\n{LONG}", ""),
        (LONG.rpartition("\n")[0], ""),
        ("%pip install x", ""),
    ],
)
def test_the_kind_of_a_cell(code, what):
    assert kind(code) == what


OPENING = (
    "# 2 PCA\n\n*A promise: you can.*\n\nAfter this chapter you can\n\n- read.\n\n"
    "> **You need** nothing.\n\n*Cost: see the run card at the end of this page.*"
)


def cell(code, *html, **metadata):
    made = nbformat.v4.new_code_cell(code, metadata=metadata)
    made.outputs = [nbformat.v4.new_output("display_data", {"text/html": h}) for h in html]
    return made


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a small chapter, and what comes in which order."""
    root = project(tmp_path_factory.mktemp("folding"))
    python = {"name": "python", "pygments_lexer": "python"}
    nb = nbformat.v4.new_notebook(metadata={"genai": CARD, "language_info": python})
    nb.cells = [
        nbformat.v4.new_markdown_cell(OPENING),
        cell('if importlib.util.find_spec("genai_utils") is None:\n    %pip install x'),
        cell("import torch"),
        nbformat.v4.new_markdown_cell("## The figure"),
        cell("show(the_figure)", "<b>figure-1</b>"),
        cell('from genai_utils.course import draw\n\ndraw("attention")', "<b>drawing-1</b>"),
        cell('from genai_utils.course import experiment\n\nexperiment("w")', "<b>asked-1</b>"),
        cell('from genai_utils.course import hand_in\n\nhand_in("w", None)', "<b>waits-1</b>"),
        cell("explore(a_toy)", "<b>toy-1</b>", toy="Move it."),
        cell("print(seen)  # noqa"),
        nbformat.v4.new_markdown_cell("> **Erratum Y05.** It says x."),
        cell("print(a_check)", "<b>checked-1</b>"),
        cell(LONG.replace("x0", "kept"), tags=["open"]),
        cell("progress()", "<b>progress-1</b>"),
    ]
    nbformat.write(nb, root / "notebooks/02_pca.ipynb")
    html, _ = build(root, "# Index\n\n```{toctree}\nnotebooks/02_pca\n```\n")
    return (html / "notebooks/02_pca.html").read_text()


def order(page, *texts):
    places = [page.index(text) for text in texts]
    return places == sorted(places)


def test_set_up_and_imports_are_one_fold_below_the_line_that_says_where_it_runs(page):
    assert page.count("Set-up and imports</summary>") == 1
    plumbing = page.partition("Set-up and imports</summary>")[2].partition("</details>")[0]
    assert "find_spec" in plumbing and "torch" in plumbing and "the_figure" not in plumbing
    line = page.partition("Run this chapter")[2].partition("</p>")[0]
    assert "Colab" in line and "Kaggle" in line and "6 min 52 s and 1.9 GB" in line
    assert page.count("6 min 52 s and 1.9 GB") == 1


def test_the_code_of_a_figure_is_folded_and_a_drawing_has_none(page):
    assert page.count("Code of this figure") >= 1
    before = page[: page.index("the_figure")]
    assert before.rfind("<details") > before.rfind("</details>")
    assert "drawing-1" in page and "attention" not in page
    assert "seen" in page and "noqa" not in page
    assert "asked-1" in page and "waits-1" not in page and "hand_in" not in page


def test_a_check_of_a_slide_is_folded_an_open_cell_is_not_and_progress_is_nobodys(page):
    before = page[: page.index("a_check")]
    assert before.rfind("<details") > before.rfind("</details>") and "checked-1" in page
    before = page[: page.index("kept")]
    assert before.rfind("<details") < before.rfind("</details>")
    assert "progress-1" not in page and page.count(">progress<") == 1


def test_the_toy_stands_above_the_objectives_once(page):
    assert order(page, "A promise", "Move it.", "toy-1", "After this chapter", "The figure",
                 "a_toy", "The figure at the top of the page")  # fmt: skip
    assert page.count("toy-1") == 1 and 'href="#toy"' in page and 'id="toy"' in page
    assert "you-need" in page
