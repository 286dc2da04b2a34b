"""The book's Sphinx extension: what its pages take from notebooks, the lecture map and the data.

Directives:

    {lecture-map}                   every lecture item with its chapter and state
    {lecture-map} summary           how many are shown, in one sentence
    {errata-list}                   every slide erratum, linked to the cell that proves it
    {results}                       every recorded number, from the run cards
    {run-times}                     how long the chapters took, a sentence for each profile
    {open-figures}                  which of the named figures no run on a card has reached yet
    {side-by-side}                  our code against its peers, from benchmarks/table.json
    {data-catalogue}                every data set, from genai_utils.data.catalogue
    {from-notebook} 24_vae#pad      the stored output whose data-figure is "pad"
    {cost-…}, {same-…}              what benchmarks/cost.json and same_numbers.json say

and two roles: {measured}`24_vae: name of a number` is that number as the run card has it, and
{stored}`cost: rows.linkage_n.time` a number of a file in benchmarks/, see `stored`.

On a notebook's page it turns block quotes that begin with a bold "Erratum Y05." or "Exercise 2.1"
into boxes with an anchor, writes the cost line, and ends the page with the run card. It also serves
MathJax from the site itself. Only `exercise_boxes` imports models, for the answers of exercises.
"""

import shutil
import zlib
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

from genai_utils.book import chapters
from genai_utils.book.directives import DIRECTIVES, ROLES, claim, proof
from genai_utils.book.nodes import link
from genai_utils.book.notebook_page import Formulas, NotebookPage

log = logging.getLogger(__name__)
_MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions/*.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2/*.woff",
    "a11y/assistive-mml.js",
)


def begin(app):
    """Read the lecture map, and make room for what the pages will say."""
    app.genai_book = chapters.Book(app.srcdir)
    for name in ("genai_items", "genai_errata"):
        if not hasattr(app.env, name):
            setattr(app.env, name, {})


def purge(app, env, docname):
    for store in (env.genai_items, env.genai_errata):
        store.pop(docname, None)


def merge(app, env, docnames, other):
    env.genai_items.update(other.genai_items)
    env.genai_errata.update(other.genai_errata)


def rewrite(app, env):
    """The pages that link into notebooks are written anew each time."""
    return [name for name in ("book/lecture_map", "book/errata") if name in env.found_docs]


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out Thebe, which is not used; it declares its constants twice, which is an error."""

    def is_thebe(script):
        attributes = getattr(script, "attributes", "")
        return "thebe" in f"{getattr(script, 'filename', script)} {attributes}".lower()

    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if not is_thebe(script)]


def resolve(app, doctree, docname):
    """Turn `claim` and `proof` into links to the pages."""
    env, book = app.env, app.genai_book
    page = {name: f"notebooks/{name}" for name in book.chapters}

    def to(target, anchor=""):
        return app.builder.get_relative_uri(docname, target) + (f"#{anchor}" if anchor else "")

    for node in list(doctree.findall(claim)):
        target = page[node["chapter"]]
        anchor, title, cell = env.genai_items.get(target, {}).get(node["item"], ("", "there", ""))
        new = nodes.inline("", "", link(title, to(target, anchor)), classes=["where"])
        if cell:
            new += [nodes.Text(", "), link("its cell", to(target, cell))]
        node.replace_self(new)
    boxes = {}  # erratum -> the pages that tell it, in the order of the chapters
    for doc, ids in sorted(env.genai_errata.items()):
        for id in ids:
            boxes.setdefault(id, []).append(doc)
    for node in list(doctree.findall(proof)):
        id = node["erratum"]
        if id in boxes:
            new = nodes.inline()
            for i, doc in enumerate(boxes[id]):
                name = doc.rpartition("/")[2]
                text = f"{int(name[:2])} {book.chapter(name).title}"
                how = "proved in " if env.genai_errata[doc][id] else "told in prose in "
                new += nodes.Text(", " if i else "")
                new += [nodes.Text(how), link(text, to(doc, f"erratum-{id.lower()}"))]
        else:
            titles = {plan["name"]: plan["title"] for plan in book.plan}
            homes = [h for h in node["homes"] if h not in book.chapters]
            text = ", ".join(f"{int(h[:2])} {titles[h]}" for h in homes)
            text = f"planned: {text}" if text else "in no chapter"
            new = nodes.inline("", text, classes=["planned"])
        node.replace_self(new)


def kaggle_button(app, pagename, templatename, context, doctree):
    """Add Kaggle beside Colab on a notebook's page."""
    if not pagename.startswith("notebooks/"):
        return
    button = {
        "type": "link",
        "text": "Kaggle",
        "tooltip": "Launch on Kaggle",
        "icon": "fab fa-kaggle",
        "url": chapters.launches(app.srcdir, pagename)["kaggle"],
        "label": "launch-kaggle",
    }
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            group["buttons"].append(button)


def copy_mathjax(app, error):
    """Copy the part of MathJax that the pages need, out of the package sphinx-mathjax-offline."""
    if error or app.builder.format != "html":
        return
    package = find_spec("sphinx-mathjax-offline")
    if package is None:
        log.warning("sphinx-mathjax-offline is not installed: the pages will show no formulas")
        return
    source = Path(package.origin).parent / "static" / "mathjax"
    for pattern in _MATHJAX:
        for path in source.glob(pattern):
            target = Path(app.outdir) / "_static" / "mathjax" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


_PARTS = ("folding", "linking", "exercise_boxes", "slides", "shipping")


def setup(app):
    for part in _PARTS:
        app.setup_extension(f"genai_utils.book.{part}")
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    for name, role in ROLES.items():
        app.add_role(name, role)
    app.add_css_file("measured.css")
    app.add_transform(NotebookPage)
    app.add_transform(Formulas)
    app.connect("builder-inited", begin)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", rewrite)
    app.connect("doctree-resolved", resolve)
    app.connect("html-page-context", kaggle_button, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", copy_mathjax)
    # Pages that other code of this room has read are read again.
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return {
        "version": "1",
        "env_version": zlib.crc32(code),
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
