"""What comes with installed packages: a file that is damaged there is named, with its line."""

import bz2
import importlib
import random
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from genai_utils import data
from genai_utils.data import packages, text, vocabulary

SQUARE = "\n".join(" ".join(["1"] * 50) for _ in range(50))


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """changed(name, body) puts other bytes, or text, in the place of one file of gensim."""
    usual = packages.gensim_file

    def put(name, body):
        path = tmp_path / name
        path.write_bytes(body if isinstance(body, bytes) else body.encode("utf-8"))
        for module in (packages, text):
            monkeypatch.setattr(
                module, "gensim_file", lambda n, what: path if n == name else usual(n, what)
            )
        return path

    return put


@pytest.mark.parametrize(
    ("loader", "name", "body", "line"),
    [
        (data.lee, "similarities0-1.txt", SQUARE.replace("1", "x", 1), 1),
        (data.lee, "similarities0-1.txt", SQUARE.replace("1", "", 1), 1),
        (data.lee, "similarities0-1.txt", SQUARE.replace("1", "nan", 1), 1),
        (data.lee, "similarities0-1.txt", SQUARE.replace("1", "7", 1), 1),
        (data.lee, "similarities0-1.txt", SQUARE.rpartition("\n")[0], 50),
        (data.reviews, vocabulary.SAMPLE, "__label__pos good\n__label__neutral so so\n", 2),
        (data.reviews, vocabulary.SAMPLE, "__label__pos good\n\n__label__neg\n", 3),
        (lambda: data.word_similarity("simlex999"), "simlex999.txt", "# a\nold\tnew\t\n", 2),
        (lambda: data.word_similarity("simlex999"), "simlex999.txt", "old\tnew\tnan", 1),
        (lambda: data.word_similarity("simlex999"), "simlex999.txt", "old\tnew\t11", 1),
        (lambda: data.word_similarity("simlex999"), "simlex999.txt", "old new 3", 1),
        (lambda: data.word_similarity("wordsim353"), "wordsim353.tsv", "\tnew\t3", 1),
        (data.analogies, "questions-words.txt", "Athens Greece Oslo Norway\n", 1),
        (data.analogies, "questions-words.txt", ": capitals\nAthens Greece Oslo\n", 2),
    ],
)
def test_a_malformed_line_is_named(changed, monkeypatch, loader, name, body, line):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    path = changed(name, body)
    with pytest.raises(data.DataError, match=f": {path}, line {line}: expected .*, got .*gensim"):
        loader()


def test_a_file_that_cannot_be_read_is_named(changed):
    path = changed("questions-words.txt", b"\xff\xfe: capitals")
    with pytest.raises(data.DataError, match=f"word_benchmarks: {path} cannot be read .*wheel"):
        data.analogies()


@pytest.mark.parametrize(
    "body",
    [
        b"no bzip",
        bz2.compress(b"<mediawiki><page>" * 9000)[:-20],
        bz2.compress(b"<mediawiki><page>"),
    ],
    ids=["no bzip", "cut off", "no whole XML"],
)
def test_a_damaged_dump_is_named(changed, body):
    path = changed(text.WIKIPEDIA, body)
    text._all_articles.cache_clear()
    with pytest.raises(data.DataError, match=f"wikipedia: {path} is damaged .*wheel"):
        data.wikipedia()


def test_a_package_that_cannot_be_imported_is_not_said_to_be_missing(monkeypatch):
    def broken(name):
        raise ValueError("numpy.dtype size changed")

    monkeypatch.setattr(importlib, "import_module", broken)
    said = "cannot be imported here .numpy.dtype size changed.*pip install --force-reinstall gensim"
    with pytest.raises(data.DataError, match=said):
        packages.optional("gensim.test.utils", "lee")


def test_without_a_home_a_package_that_looks_there_is_imported(homeless, monkeypatch, tmp_path):
    """gensim's smart_open asks for ~/.ssh/config as soon as it is imported."""
    (tmp_path / "looks_home.py").write_text(
        "from pathlib import Path\nhome = Path('~/.ssh/config').expanduser()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not packages.optional("looks_home", "lee").home.exists()
    assert "HOME" not in packages.os.environ


def test_a_file_of_the_readers_with_the_name_of_a_package_is_passed_over(
    monkeypatch, tmp_path, capsys
):
    """networkx.py beside the notebook; and a module that something put there without a spec."""
    (tmp_path / "networkx.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [m for m in sys.modules if m.split(".")[0] == "networkx"]:
        monkeypatch.delitem(sys.modules, name)
    odd = ModuleType("gensim")
    odd.__spec__ = None
    monkeypatch.setitem(sys.modules, "gensim", odd)
    assert data.docstrings(["networkx", "gensim"]) == []
    assert "passed over: networkx, gensim" in capsys.readouterr().out


def test_a_source_file_that_cannot_be_parsed_or_read_has_no_docstrings(tmp_path):
    (tmp_path / "zero.py").write_bytes(b"x = 1\0")
    assert list(text._file_docstrings(tmp_path / "zero.py")) == []
    assert list(text._file_docstrings(tmp_path / "gone.py")) == []


def test_every_name_in_all_exists():
    assert sorted(data.__all__) == data.__all__ == sorted(set(data.__all__))
    assert [name for name in data.__all__ if not hasattr(data, name)] == []


def states():
    _, key, place, *_ = np.random.get_state()  # noqa: NPY002
    return random.getstate(), key.tolist(), place, torch.get_rng_state().tolist()


def test_no_loader_touches_a_global_generator(server, toy, page, body, monkeypatch):
    monkeypatch.setenv("GENAI_PROFILE", "ci")
    data.digits()  # the first load of scikit-learn loads rich, which draws a number for itself
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    before = states()
    for loader in (
        data.digits, data.mnist, data.photographs, data.wikipedia, data.lee, data.shakespeare,
        data.reviews, data.movielens, data.analogies, data.simulated_homes, data.simulated_ratings,
    ):  # fmt: skip
        loader()
    data.simulated_genotypes(10, 10)
    data.word_similarity("simlex999")
    data.docstrings(["networkx"])
    for name in ("karate", "davis", "les_miserables"):
        data.graph(name)
    data.Vocabulary([["a"]]).encode(["a"])
    monkeypatch.setenv("GENAI_PROFILE", "cpu")
    toy(server.url("/toy.bin", page(body, cuts=[100_000])))
    data.fetch("toy")
    assert states() == before
