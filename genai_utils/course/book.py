"""The book's Sphinx extension: what its pages take from the notebooks, the lecture map and the data.

Directives, each without arguments unless said:

    {lecture-map}                   every lecture item with its chapter and state
    {errata-list}                   every slide erratum, linked to the cell that proves it
    {results}                       every recorded number, from the run cards
    {data-catalogue}                every data set, from genai_utils.data.catalogue
    {from-notebook} 24_vae#pad      the stored output whose data-figure is "pad"

On a notebook's page it turns block quotes that begin with a bold "Erratum Y05." or "Exercise 2.1" into
boxes with an anchor, writes the cost line, and ends the page with the run card. It also serves MathJax
from the site itself. Sources never import a model.
"""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from genai_utils.course import chapters

log = logging.getLogger(__name__)
COST = "Cost: see the run card at the end of this page."
# Formula text in lectures.json: x_t, W_{3x3}, P_data, x^(t-1), R^k. Names such as p_sample stay as they are.
_SCRIPT = re.compile(r"([_^])(\{[^}]+\}|\([^()]+\)|data\b|[A-Za-z0-9Α-ω]{1,2}(?![A-Za-z0-9Α-ω]))")
_MATHJAX = (
    "tex-chtml.js",
    "output/chtml/fonts/woff-v2/*.woff",
    "input/tex/extensions/*.js",
    "a11y/*.js",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
)


class claim(nodes.Inline, nodes.TextElement):
    """Stands for the place where a chapter shows an item; becomes a link once all pages are read."""


class proof(nodes.Inline, nodes.TextElement):
    """Stands for the box that proves an erratum; becomes a link once all pages are read."""


# Opened from a folder, a page may not read another one: the search then lists pages without excerpts.
_SEARCH = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"


# ---- small pieces of a document --------------------------------------------------------------------


def _word(before):
    """Whether text ends in a word, and not in a single letter or the name of an operator."""
    last = re.search(r"[A-Za-z]*$", before)[0]
    return len(last) > 1 and last not in ("sum", "prod", "argmin", "argmax")


def formula(text):
    """Plain formula text as nodes, with real sub- and superscripts."""
    result, end = [], 0
    for found in _SCRIPT.finditer(text):
        before = text[found.start() - 1 : found.start()]
        if found.start() == 0 or before.isspace() or (found[1] == "_" and found[2][0] == "("):
            continue
        # A subscript belongs to a letter, a bracket or an operator: x_t, Y]_ij; not infer_vector.
        if found[1] == "_" and _word(text[: found.start()]):
            continue
        result.append(nodes.Text(text[end : found.start()]))
        kind = nodes.subscript if found[1] == "_" else nodes.superscript
        inner = found[2].strip("{}") if found[2][0] == "{" else found[2]
        result.append(kind("", inner))
        end = found.end()
    return [*result, nodes.Text(text[end:])]


def paragraph(*parts, classes=()):
    """A paragraph of strings and inline nodes."""
    return nodes.paragraph(
        "", "", *(nodes.Text(p) if isinstance(p, str) else p for p in parts), classes=list(classes)
    )


def link(text, uri):
    return nodes.reference("", text, refuri=uri, internal=not uri.startswith("http"))


def table(head, rows, widths, classes=()):
    """A table; a cell is a string or a list of inline nodes."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]

    def row(cells):
        entries = []
        for cell in cells:
            parts = [cell] if isinstance(cell, str) else cell
            entries.append(nodes.entry("", paragraph(*parts)))
        return nodes.row("", *entries)

    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    return nodes.table("", group, classes=["book-table", *classes])


def section(directive, title, *body, name=None):
    """A section with its own anchor, so that it appears in the page's contents."""
    node = nodes.section("", nodes.title("", title), *body)
    node["ids"] = [nodes.make_id(name or title)]
    node["names"] = [nodes.fully_normalize_name(name or title)]
    directive.state.document.note_implicit_target(node, node)
    return node


def duration(seconds):
    """412.3 -> "6 min 52 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(value):
    """Four significant digits, no exponent for ordinary sizes: 89.34, 0.0123, 60,000."""
    if value == round(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:#.4g}".rstrip(".") if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def where(card):
    """"6 min 52 s and 1.9 GB on CPU (2 cores)"."""
    return f"{duration(card['seconds'])} and {card['peak_memory_gb']:.1f} GB on {card['device']}"


# ---- directives ------------------------------------------------------------------------------------


class BookDirective(Directive):
    """What the directives share: the book, and a note that the page depends on it."""

    has_content = False

    def run(self):
        env = self.state.document.settings.env
        self.book = env.app.genai_book
        env.note_dependency(str(self.book.source))
        for chapter in self.book.chapters.values():
            env.note_dependency(str(chapter.path))
        return self.build(env)


class LectureMap(BookDirective):
    def build(self, env):
        book, written = self.book, self.book.chapters
        claims = {name: set(chapter.claims) for name, chapter in written.items()}
        shown = sum(id in claims.get(item["notebook"], ()) for id, item in book.items.items())
        result = [
            paragraph(
                nodes.strong("", f"{shown} of {len(book.items)} items are shown"),
                f", in {len(written)} of {len(book.plan)} chapters. The others are planned.",
            )
        ]
        parts = {}
        for plan in book.plan:
            parts.setdefault(plan["part"], []).append(plan)
        for part, plans in parts.items():
            result.append(section(self, part, *(self.chapter(env, plan, claims) for plan in plans)))
        return result

    def chapter(self, env, plan, claims):
        name = plan["name"]
        rows = []
        for id, item in self.book.items.items():
            if item["notebook"] != name:
                continue
            state = [nodes.inline("", "planned", classes=["planned"])]
            if id in claims.get(name, ()):
                state = [claim("", "shown", chapter=name, item=id)]
            what = formula(item["item"])
            for erratum in item["errata"]:
                target = nodes.reference("", erratum, refuri=f"errata.html#{erratum.lower()}")
                target["internal"] = True
                what += [nodes.Text(" "), nodes.inline("", "", target, classes=["tag"])]
            rows.append([id, what, self.book.kinds[item["kind"]], item["slide"], state])
        head = f"{int(name[:2])}  {plan['title']}"
        about = plan["about"] + "."
        if not rows:
            about += " It compares the chapters before it and shows no item of its own."
        body = [paragraph(about, classes=["about"])]
        if rows:
            columns = ["Item", "What", "Kind", "Slide", "State"]
            body.append(table(columns, rows, [6, 44, 10, 26, 14], ["lecture-map"]))
        return section(self, head, *body, name=f"chapter-{name[:2]}")


class ErrataList(BookDirective):
    def build(self, env):
        result = []
        written = {id for chapter in self.book.chapters.values() for id in chapter.errata}
        for letter, deck in (("N", "A"), ("Y", "B")):
            entries = [e for e in self.book.errata.values() if e["id"][0] == letter]
            real = [e for e in entries if e["class"] != "X"]
            lost = [e for e in entries if e["class"] == "X"]
            deck = self.book.decks[deck]
            body = [
                paragraph(
                    f"{deck['author']}, ", nodes.emphasis("", deck["title"]), f", {deck['place']}. "
                    f"{len(real)} notes, {sum(e['id'] in written for e in real)} of them proved in "
                    "a chapter that is written."
                ),
                *(self.entry(e) for e in real),
            ]
            if lost:
                body.append(nodes.rubric("", "Lost when the slides were turned into text"))
                body.append(paragraph("These are no errors of the slides."))
                body += [self.entry(e) for e in lost]
            result.append(section(self, f"{deck['short']} lecture", *body))
        return result

    def entry(self, erratum):
        id = erratum["id"]
        homes = sorted({i["notebook"] for i in self.book.items.values() if id in i["errata"]})
        head = paragraph(
            nodes.strong("", id),
            nodes.inline("", self.book.classes[erratum["class"]], classes=["tag"]),
            nodes.inline("", erratum["slide"], classes=["slide"]),
            proof("", "", erratum=id, homes=homes),
            classes=["head"],
        )
        says = paragraph(nodes.strong("", "Slide: "), *formula(erratum["says"]))
        right = paragraph(nodes.strong("", "Right: "), *formula(erratum["right"]))
        box = nodes.container("", head, says, right, classes=["erratum-entry"])
        box["ids"] = [id.lower()]
        return box


class Results(BookDirective):
    def build(self, env):
        result = []
        for name, chapter in self.book.chapters.items():
            card = chapter.card
            title = f"{int(name[:2])}  {chapter.title}"
            if not card:
                result.append(section(self, title, paragraph("Not yet run."), name=f"results-{name}"))
                continue
            body = [
                paragraph(
                    link(f"{name}", f"../notebooks/{name}.html"),
                    f": profile {card['profile']}, {where(card)}, {card['date']}. "
                    f"Data: {', '.join(card['data']) or 'none'}.",
                )
            ]
            if card["metrics"]:
                body.append(metrics(card))
            if card["profile"] == "cpu":
                body.append(
                    paragraph(
                        nodes.strong("", "Open: "),
                        "the figures of the gpu profile. They are due when such a card is at hand.",
                    )
                )
            result.append(section(self, title, *body, name=f"results-{name}"))
        return result or [paragraph("No chapter is written yet.")]


def metrics(card):
    rows = [[m["name"], number(m["value"]), m["unit"], m["note"]] for m in card["metrics"]]
    return table(["Measured", "Value", "Unit", "Note"], rows, [40, 12, 12, 36], ["metrics"])


class DataCatalogue(BookDirective):
    def build(self, env):
        from genai_utils import data

        result = []
        for name, entry in data.catalogue.items():
            rows = [[nodes.literal("", file.path)] for file in entry.files]
            facts = [
                ("Shape", entry.shape),
                ("Licence", entry.licence),
                ("Cite", entry.citation),
                ("Without a network", entry.stand_in or ("bundled" if not rows else "an error")),
            ]
            fields = nodes.field_list(classes=["facts"])
            for key, value in facts:
                if value:
                    body = nodes.field_body("", paragraph(str(value)))
                    fields += nodes.field("", nodes.field_name("", key), body)
            body = [fields]
            if entry.files:
                columns = ["File", "Bytes", "SHA-256"]
                rows = [
                    [
                        [nodes.literal("", file.path)],
                        f"{file.size:,}" if file.size else "",
                        [nodes.literal("", file.sha256)],
                    ]
                    for file in entry.files
                ]
                body.append(table(columns, rows, [30, 14, 56], ["files"]))
            result.append(section(self, f"{name}: {entry.title}", *body, name=f"data-{name}"))
        return result


class FromNotebook(BookDirective):
    required_arguments = 1

    def build(self, env):
        name, _, figure = self.arguments[0].partition("#")
        chapter = self.book.chapters.get(name)
        html = chapter.figures.get(figure) if chapter else None
        if html is None:
            has = ", ".join(chapter.figures) or "none" if chapter else "no such notebook"
            log.warning(
                "from-notebook: %s has no figure %r (it has: %s)", name, figure, has,
                location=(env.docname, self.lineno),
            )
            return []
        source = nodes.raw("", f'<div class="from-notebook">{html}</div>', format="html")
        return [source]


# ---- a notebook's page -----------------------------------------------------------------------------


class Punctuation(SphinxTransform):
    """Keep the full stop or comma after a formula on the formula's line."""

    default_priority = 510

    def apply(self):
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(descend=False, siblings=True)
            if not isinstance(after, nodes.Text) or after[:1] not in tuple(".,;:)?!"):
                continue
            parent, mark = formula.parent, re.match(r"[.,;:)?!]+", after)[0]
            place = parent.index(formula)
            joined = nodes.inline("", "", formula.deepcopy(), nodes.Text(mark), classes=["joined"])
            parent[place : place + 2] = [joined, nodes.Text(after[len(mark) :])]


class NotebookPage(SphinxTransform):
    """Boxes, cost line and run card. Runs while a page is read, so that its contents list has them."""

    default_priority = 500

    def apply(self):
        if Path(self.env.doc2path(self.env.docname)).suffix != ".ipynb":
            return
        chapter = chapters.Chapter(Path(self.env.doc2path(self.env.docname)))
        self.tags()
        self.boxes()
        card = chapter.card
        for node in list(self.document.findall(nodes.paragraph)):
            if node.astext().strip() == COST:
                node.replace_self(self.cost(card))
                break
        if card:
            self.append_card(card)
        self.note_items(chapter)

    def tags(self):
        """Keep `\\tag{2.3}` outside the environment that Sphinx puts around several lines."""
        for node in self.document.findall(nodes.math_block):
            text = node.astext()
            found = re.search(r"\\tag\{[^}]*\}", text)
            if not found or r"\\" not in text:
                continue
            text = text.replace(found[0], "").strip()
            if r"\begin{" not in text:
                text = rf"\begin{{split}}{text}\end{{split}}"
            text = rf"\[{text} {found[0]}\]"
            node.clear()
            node += nodes.Text(text)
            node["nowrap"] = True

    def boxes(self):
        errata = self.env.genai_errata.setdefault(self.env.docname, [])
        for quote in list(self.document.findall(nodes.block_quote)):
            first = quote.next_node(nodes.strong)
            if first is None or not quote.astext().startswith(first.astext()):
                continue
            label = first.astext().strip()
            if found := re.fullmatch(r"Erratum ([NY]\d\d)\.", label):
                kind, id = "erratum", f"erratum-{found[1].lower()}"
                errata.append(found[1])
            elif found := re.match(r"Exercise (\d+)\.(\d+)", label):
                kind, id = "exercise-box", f"exercise-{found[1]}-{found[2]}"
            else:
                continue
            title = nodes.title("", label.rstrip("."))
            text = first.parent
            text.remove(first)
            while text.children and isinstance(text[0], nodes.Text) and not text[0].strip(" .:"):
                text.pop(0)
            if text.children and isinstance(text[0], nodes.Text):
                rest = text[0].lstrip(" .:")
                # "> **Exercise 2.1** (easy). Write …": the difficulty goes into the title.
                if found := re.match(r"\((\w+)\)\.?\s*", rest):
                    title += nodes.inline("", found[1], classes=["tag"])
                    rest = rest[found.end() :]
                text[0] = nodes.Text(rest)
            box = nodes.admonition("", title, *quote.children, classes=["book-box", kind])
            box["ids"] = [id]
            quote.replace_self(box)

    def cost(self, card):
        if not card:
            return paragraph("Cost: not yet measured.", classes=["cost"])
        return paragraph(
            nodes.strong("", "Cost: "), f"{where(card)}, in the {card['profile']} profile. ",
            link("All of the run", "#run-card"), ".", classes=["cost"],
        )

    def append_card(self, card):
        facts = [
            ("Profile", card["profile"]),
            ("Device", card["device"]),
            ("Time", duration(card["seconds"])),
            ("Peak memory", f"{card['peak_memory_gb']:.1f} GB"),
            ("Data", ", ".join(card["data"]) or "none"),
            ("Date", card["date"]),
            ("Versions", ", ".join(f"{name} {v}" for name, v in card["versions"].items())),
        ]
        rows = [[key, str(value)] for key, value in facts]
        body = [
            paragraph("The outputs on this page come from this one run, top to bottom."),
            table(["Run", ""], rows, [30, 70], ["run-card"]),
        ]
        if card["metrics"]:
            body.append(metrics(card))
        node = nodes.section("", nodes.title("", "Run card"), *body, ids=["run-card"])
        node["names"] = ["run card"]
        top = self.document.next_node(nodes.section)
        (top if top is not None else self.document).append(node)

    def note_items(self, chapter):
        """Note for each lecture item the first section whose text names it."""
        places = self.env.genai_items.setdefault(self.env.docname, {})
        wanted = set(chapter.claims)
        for node in self.document.findall(nodes.TextElement):
            text = node.astext()
            if not isinstance(node, nodes.paragraph | nodes.title) or text.startswith("Lecture items:"):
                continue
            for id in chapters.ITEM.findall(text):
                place = node
                while place is not None and not isinstance(place, nodes.section):
                    place = place.parent
                if id in wanted and place is not None:
                    places.setdefault(id, (place["ids"][0], place.next_node(nodes.title).astext()))


# ---- once all pages are read -----------------------------------------------------------------------


def resolve(app, doctree, docname):
    """Turn `claim` and `proof` into links to the pages."""
    env, book = app.env, app.genai_book
    page = {name: f"notebooks/{name}" for name in book.chapters}

    def to(target, anchor=""):
        return app.builder.get_relative_uri(docname, target) + (f"#{anchor}" if anchor else "")

    for node in list(doctree.findall(claim)):
        target = page[node["chapter"]]
        anchor, title = env.genai_items.get(target, {}).get(node["item"], ("", "shown"))
        node.replace_self(link(title, to(target, anchor)))
    boxes = {id: doc for doc, ids in env.genai_errata.items() for id in ids}
    for node in list(doctree.findall(proof)):
        id = node["erratum"]
        if id in boxes:
            name = boxes[id].rpartition("/")[2]
            text = f"proved in {int(name[:2])} {book.chapter(name).title}"
            new = link(text, to(boxes[id], f"erratum-{id.lower()}"))
        else:
            titles = {plan["name"]: plan["title"] for plan in book.plan}
            homes = ", ".join(f"{int(h[:2])} {titles[h]}" for h in node["homes"])
            new = nodes.inline("", f"planned: {homes}" if homes else "planned", classes=["planned"])
        node.replace_self(new)


def begin(app):
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
    """Leave out Thebe, which is not used: it would declare its constants twice, which is an error."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{getattr(script, 'filename', script)}{getattr(script, 'attributes', '')}".lower()
    ]


def kaggle_button(app, pagename, templatename, context, doctree):
    """Add Kaggle beside Colab on a notebook's page."""
    if not pagename.startswith("notebooks/"):
        return
    source = f"{chapters.address(app.srcdir)}/blob/main/{pagename}.ipynb"
    button = {
        "type": "link", "text": "Kaggle", "tooltip": "Launch on Kaggle", "icon": "fab fa-kaggle",
        "url": f"https://kaggle.com/kernels/welcome?src={source}", "label": "launch-kaggle",
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


def setup(app):
    for name, directive in {
        "lecture-map": LectureMap,
        "errata-list": ErrataList,
        "results": Results,
        "data-catalogue": DataCatalogue,
        "from-notebook": FromNotebook,
    }.items():
        app.add_directive(name, directive)
    app.add_transform(NotebookPage)
    app.add_transform(Punctuation)
    app.add_js_file(None, body=_SEARCH)
    app.connect("builder-inited", begin)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", rewrite)
    app.connect("doctree-resolved", resolve)
    app.connect("html-page-context", kaggle_button, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
