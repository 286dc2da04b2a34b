"""Texts: Wikipedia articles and news (gensim's), docstrings; and Shakespeare, downloaded."""

import ast
import bz2
import functools
import importlib.util
import inspect
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genai_utils.inputs import one_of, texts, whole
from genai_utils.printing import say

from .entries import DataError, mark_used
from .packages import AGAIN, damaged, gensim_file, gensim_lines, optional
from .search import fetch_or_stand_in, read_bytes

WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
PACKAGES = ("numpy", "scipy", "sklearn", "torch", "matplotlib", "networkx", "gensim")
_NOT_FOR_READERS = {"tests", "test", "testing", "externals", "__pycache__"}


class Article(NamedTuple):
    """A Wikipedia article: its title and its text, one paragraph or list item per line."""

    title: str
    text: str


class Lee(NamedTuple):
    """300 background articles, 50 judged ones, and how alike people find those, (50, 50)."""

    background: list
    documents: list
    similarity: np.ndarray


class Docstring(NamedTuple):
    """A docstring: package, public module, name in it, text, and the names under See Also."""

    package: str
    module: str
    name: str
    text: str
    see_also: tuple


def wikipedia(n=None):
    """About 100 real Wikipedia articles, cleaned of wiki markup, case and punctuation kept.

    Redirects, pages outside the encyclopaedia, and the lists of notes and links at the end are
    left out. n keeps the first n. Returns a list of Article.
    Raises ValueError or TypeError for a wrong n, DataError where gensim is not installed.
    Source: gensim's shortened English dump.
    """
    n = None if n is None else whole(n, "n")
    articles = _all_articles()
    if n is not None:
        whole(n, "n", most=len(articles))
    mark_used("wikipedia")
    return list(articles[:n])


@functools.lru_cache(maxsize=1)
def _all_articles():
    path = gensim_file(WIKIPEDIA, "wikipedia")
    wikicorpus = optional("gensim.corpora.wikicorpus", "wikipedia")
    try:
        with bz2.open(path) as stream:
            found = [*wikicorpus.extract_pages(stream, filter_namespaces=("0",))]
    except (OSError, EOFError, SyntaxError) as error:  # the last: XML that breaks off
        raise DataError(f"wikipedia: {path} is damaged ({error}). {AGAIN}") from None
    pages = [(t, markup) for t, markup, _ in found if not re.match(r"\s*#redirect", markup, re.I)]
    articles = (Article(title, _tidied(wikicorpus.filter_wiki(markup))) for title, markup in pages)
    return tuple(article for article in articles if article.text)


def _tidied(text):
    """What filter_wiki leaves of a page, without headings, list markers and the end matter."""
    lines = []
    for line in text.splitlines():
        heading = re.fullmatch(r"(=+)\s*(.*?)\s*\1\s*", line)
        if heading:
            if heading[2].lower() in ("references", "notes", "see also", "external links"):
                break
            continue
        line = re.sub(r"'{2,}", "", line)  # bold and italic
        line = re.sub(r"^[*#:;\s]+", "", line).strip()
        if any(c.isalpha() for c in line) and not re.match(r"(Category|File|Image):|[|{!]", line):
            lines.append(re.sub(r"\s+", " ", line))
    return "\n".join(lines)


def shakespeare():
    """Plays of Shakespeare in one string, 1,115,394 characters, 65 different ones.

    Where it cannot be had (no network, or the ci profile), the first 300,000 characters of the
    bundled Wikipedia articles stand in for it, without those outside ASCII, with one printed line.

    Returns a str. Raises DataError for a damaged file. Source: Karpathy 2015, char-rnn.
    """
    paths = fetch_or_stand_in("shakespeare")
    if paths is not None:
        mark_used("shakespeare")
        return read_bytes(paths["tinyshakespeare.txt"]).decode("ascii")
    text = "\n\n".join(article.text for article in _all_articles())
    mark_used("wikipedia (stand-in for shakespeare)")
    return text.encode("ascii", "ignore").decode()[:300_000]


def lee():
    """Short news articles with human similarity judgements.

    Returns Lee(background: 300 texts, documents: 50 texts, similarity (50, 50) float64 in [0, 1]).
    Raises DataError where gensim is not installed.
    Source: Lee, Pincombe & Welsh 2005.
    """
    background, documents = (
        [line for _, line in gensim_lines(name, "lee", "latin-1")]
        for name in ("lee_background.cor", "lee.cor")
    )
    upper = np.triu(_judgements("similarities0-1.txt", len(documents)))  # (50, 50), below: 0
    similarity = upper + np.triu(upper, 1).T
    mark_used("lee")
    return Lee(background, documents, similarity)


def _judgements(name, n):
    """The (n, n) numbers in [0, 1] of a file of gensim."""
    rows = []
    for number, line in gensim_lines(name, "lee"):
        try:
            row = [float(value) for value in line.split()]
        except ValueError:
            row = []
        if len(row) != n or not all(0 <= value <= 1 for value in row):
            raise damaged(name, "lee", number, f"{n} numbers from 0 to 1", line)
        rows.append(row)
    if len(rows) != n:
        raise damaged(name, "lee", len(rows) + 1, f"{n} lines in all", f"{len(rows)} lines")
    return np.array(rows)


def docstrings(packages=PACKAGES):
    """The docstrings of the public functions, classes and methods of installed packages.

    They are read from the packages' source files, so nothing is imported or run. Those of less
    than 100 characters and repetitions are left out. A package of the default list that is not
    installed is named in one line and passed over. All seven take about ten seconds.

    Returns a list of Docstring, in the order of packages and files.
    Raises ValueError for a package that is not in PACKAGES, TypeError for a bare string.
    """
    packages = [one_of(p, "package", PACKAGES) for p in texts(packages, "packages")]
    missing = [p for p in packages if _folder(p) is None]
    if missing:
        say(f"docstrings: not installed here, passed over: {', '.join(missing)}")
    found = [doc for p in packages if p not in missing for doc in _docstrings_of(p)]
    mark_used("docstrings")
    return found


def _folder(package):
    """The folder of an installed package; None where there is none of that name."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # something else of that name was put among the imported modules
        return None
    folders = spec and spec.submodule_search_locations  # a reader's own networkx.py has none
    return Path(folders[0]) if folders else None


@functools.cache
def _docstrings_of(package):
    root = _folder(package)
    found, seen = [], set()
    for folder, inner, files in os.walk(root):
        # Private folders are the packages' own affair, but numpy keeps its functions in one.
        inner[:] = sorted(
            d for d in inner if d not in _NOT_FOR_READERS and (d[0] != "_" or d == "_core")
        )
        for file in sorted(f for f in files if f.endswith(".py")):
            path = Path(folder, file)
            module = _public_module([package, *path.relative_to(root).with_suffix("").parts])
            for name, text in _file_docstrings(path):
                if len(text) >= 100 and text not in seen:
                    seen.add(text)
                    found.append(Docstring(package, module, name, text, see_also(text)))
    return tuple(found)


def _public_module(parts):
    """The public part of a module's name: scipy/stats/_morestats.py is scipy.stats to a reader."""
    private = [i for i, part in enumerate(parts) if part.startswith("_")]
    return ".".join(parts[: private[0]] if private else parts)


def _file_docstrings(path):
    """(name, text) of what is public in one source file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):  # a template, for another Python, not for us
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node.name, ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and inner.name[0] != "_":
                        yield f"{node.name}.{inner.name}", ast.get_docstring(inner) or ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _attached(node.value)


def _attached(call):
    """numpy and torch attach the docstrings of compiled functions by a call: read its arguments."""
    function = ast.unparse(call.func)
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if function == "add_newdoc" and len(texts) == 3:
        yield texts[1], inspect.cleandoc(texts[2])
    elif function == "add_docstr" and texts and call.args:
        yield ast.unparse(call.args[0]).removeprefix("torch."), inspect.cleandoc(texts[-1])


def see_also(text):
    """The names under a docstring's numpydoc heading "See Also", in order, as written there."""
    section = re.search(r"^See Also\n-{3,}\n(.*?)(?=\n[^\n]+\n-{3,}\n|\Z)", text, re.S | re.M)
    if not section:
        return ()
    names = []
    for line in section[1].splitlines():
        if line[:1].isspace() or not line or line.startswith(".."):
            continue  # a description
        line = re.sub(r":[\w:]+:`~?([^`]+)`", r"\1", line)  # :func:`x` -> x
        for name in re.split(r",\s*", re.split(r"\s:\s?|:$|:\s", line)[0]):
            name = name.strip(" `.")
            if re.fullmatch(r"[A-Za-z_][\w.]*", name) and name not in names:
                names.append(name)
    return tuple(names)
