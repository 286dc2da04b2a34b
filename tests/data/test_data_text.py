"""Texts and graphs: real, clean, of the size that the catalogue states."""

import importlib.util
import inspect
import sys

import networkx
import numpy as np
import pytest
from networkx.algorithms.link_analysis import pagerank_alg

from genai_utils import data
from genai_utils.data.text import _file_docstrings, _public_module, _tidied, see_also


def test_wikipedia_is_a_hundred_clean_articles():
    articles = data.wikipedia()
    assert 100 <= len(articles) <= 110
    text = "\n".join(article.text for article in articles)
    assert 400_000 < len(text.split()) < 500_000
    for markup in ("'''", "==", "[[", "]]", "{{", "}}", "<ref", "\nCategory:"):
        assert text.count(markup) <= 3, markup
    assert not any(article.text.startswith("#") for article in articles)  # redirects
    first = articles[0]
    assert first.title == "Anarchism"
    assert first.text.startswith("Anarchism is a political philosophy that advocates")
    assert not any(line.strip() in ("References", "See also") for line in text.splitlines())
    assert data.wikipedia(3) == articles[:3]
    assert data.used() == ["wikipedia"]
    with pytest.raises(ValueError, match="n: expected a whole number from 1 to 10[0-9], got 9,999"):
        data.wikipedia(9999)
    for wrong in (-1, 0):
        with pytest.raises(ValueError, match="n: expected a whole number of at least 1"):
            data.wikipedia(wrong)
    with pytest.raises(TypeError, match="n: expected a whole number"):
        data.wikipedia("3")


def test_an_article_ends_where_its_notes_begin_and_keeps_no_markup():
    page = """
'''Ant''' is an ''insect''.
== Colonies ==
* Ants  live together.
File:ant.jpg
{| table
1879
== References ==
* Not this book.
"""
    assert _tidied(page) == "Ant is an insect.\nAnts live together."


@pytest.mark.parametrize(
    ("parts", "public"),
    [
        (["scipy", "stats", "_morestats"], "scipy.stats"),
        (["numpy", "_core", "fromnumeric"], "numpy"),
        (["torch", "__init__"], "torch"),
        (["sklearn", "cluster", "k"], "sklearn.cluster.k"),
    ],
)
def test_a_private_module_is_known_by_its_public_package(parts, public):
    assert _public_module(parts) == public


def test_lee_is_three_hundred_and_fifty_articles_and_what_people_said_of_fifty():
    news = data.lee()
    assert len(news.background) == 300 and len(news.documents) == 50
    assert min(len(text.split()) for text in news.background + news.documents) > 30
    assert news.background[0].startswith("Hundreds of people have been forced to vacate")
    assert news.similarity.shape == (50, 50)
    assert np.array_equal(news.similarity, news.similarity.T)
    assert np.array_equal(np.diag(news.similarity), np.ones(50))
    assert (news.similarity > 0).all() and (news.similarity <= 1).all()
    assert news.similarity[0, 1] == 0.3 and 0.05 < news.similarity[0, 1:].mean() < 0.6


def test_docstrings_are_those_of_the_installed_package():
    found = data.docstrings(["networkx"])
    assert len(found) > 500 and len({doc.text for doc in found}) == len(found)
    for doc in found:
        assert doc.package == "networkx" and doc.module.split(".")[0] == "networkx"
        assert not any(part.startswith("_") for part in f"{doc.module}.{doc.name}".split("."))
    assert not any("tests" in doc.module.split(".") for doc in found)
    named = {doc.name: doc for doc in found}
    assert named["pagerank"].text == inspect.cleandoc(pagerank_alg.pagerank.__doc__)
    assert "google_matrix" in named["pagerank"].see_also
    assert any(name.endswith("Graph.add_edge") for name in named)  # methods too
    assert data.used() == ["docstrings"]


def test_docstrings_of_compiled_functions_are_read_where_they_are_attached(tmp_path):
    """The two ways of numpy and torch; private names and other calls are left out."""
    source = tmp_path / "docs.py"
    source.write_text(
        'add_newdoc(\'numpy\', \'zeros\', """\n    Zeros.\n\n    More.\n    """)\n'
        "add_docstr(torch.abs, r'Absolute value.')\n"
        "print('not', 'a', 'docstring')\n"
        "def _private():\n    'Hidden.'\n"
        "class Shown:\n    'A class.'\n    def method(self):\n        'A method.'\n"
        "    def _method(self):\n        'Hidden.'\n"
    )
    assert list(_file_docstrings(source)) == [
        ("zeros", "Zeros.\n\nMore."),
        ("abs", "Absolute value."),
        ("Shown", "A class."),
        ("Shown.method", "A method."),
    ]
    source.write_text("def {{ template }}():")
    assert list(_file_docstrings(source)) == []


def test_see_also_is_read_in_the_ways_people_write_it():
    text = """Do it.

See Also
--------
first : What it does, and
    not_this
second, third
:func:`~package.fourth` : more
module.fifth

Notes
-----
sixth : not one
"""
    assert see_also(text) == ("first", "second", "third", "package.fourth", "module.fifth")
    assert see_also("Nothing here. See Also nothing.") == ()


def test_wrong_packages_are_errors_and_missing_ones_are_named(monkeypatch, capsys):
    with pytest.raises(ValueError, match="package: expected one of 'numpy'.* got 'numpi'"):
        data.docstrings(["numpi"])
    with pytest.raises(
        TypeError, match="packages: expected a list of texts, got one text, 'numpy'"
    ):
        data.docstrings("numpy")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "gensim" else find(name)
    )
    assert {doc.package for doc in data.docstrings(["gensim", "networkx"])} == {"networkx"}
    assert "passed over: gensim" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "nodes", "edges"), [("karate", 34, 78), ("davis", 32, 89), ("les_miserables", 77, 254)]
)
def test_graphs_have_their_known_sizes(name, nodes, edges):
    graph = data.graph(name)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (nodes, edges)
    graph.clear()
    assert data.graph(name).number_of_nodes() == nodes  # fresh at every call
    assert data.used() == ["graphs"]


def test_the_graphs_carry_what_the_chapters_need():
    assert set(networkx.get_node_attributes(data.graph("karate"), "club").values()) == {
        "Mr. Hi",
        "Officer",
    }
    assert networkx.is_bipartite(data.graph("davis"))
    assert networkx.get_edge_attributes(data.graph("les_miserables"), "weight")


def test_an_unknown_graph_is_an_error_that_lists_them():
    with pytest.raises(ValueError, match="name: expected one of 'karate'.*got 'carate'"):
        data.graph("carate")


@pytest.mark.parametrize(
    ("package", "call"),
    [("networkx", lambda: data.graph("karate")), ("gensim", data.lee)],
)
def test_a_missing_package_is_an_error_that_says_what_to_install(monkeypatch, package, call):
    for name in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(data.DataError, match=f"pip install {package}"):
        call()


def test_the_catalogue_as_a_table():
    rows = data.catalogue_table()
    assert [row["name"] for row in rows] == list(data.catalogue)
    assert len({tuple(row) for row in rows}) == 1  # the same columns in every row
    assert all(isinstance(text, str) and text for row in rows for text in row.values())
    offline = {row["name"]: row["offline"] for row in rows}
    assert offline["digits"] == "always" and offline["mnist"] == "digits instead"
    assert offline["shakespeare"] == "wikipedia instead"
    assert offline["wikitext2"] == "after the first download"


def test_the_catalogue_is_sound():
    for name, entry in data.catalogue.items():
        assert entry.name == name
        assert entry.stand_in is None or not data.catalogue[entry.stand_in].files
        for file in entry.files:
            assert file.urls and all(url.startswith("https://") for url in file.urls)
            assert file.columns or (len(file.sha256) == 64 and file.size > 0)
            assert not file.path.startswith("/") and ".." not in file.path
        assert len({file.name for file in entry.files}) == len(entry.files)


def test_shakespeare_is_whole(real_data):
    text = data.shakespeare()
    assert len(text) == 1_115_394 and len(set(text)) == 65
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.")
    assert data.used() == ["shakespeare"]


def test_wikipedia_stands_in_for_shakespeare(monkeypatch, capsys):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    monkeypatch.delenv("GENAI_DATA", raising=False)
    monkeypatch.setenv("GENAI_CACHE", "/nowhere")
    text = data.shakespeare()
    assert len(text) == 300_000 and text.isascii() and text.startswith("Anarchism is")
    assert "using the bundled wikipedia instead" in capsys.readouterr().out
    assert data.used() == ["wikipedia (stand-in for shakespeare)"]
