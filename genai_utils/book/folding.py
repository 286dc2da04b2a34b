"""What the build hides and folds on a notebook's page, so that a reader meets the chapter first.

The notebook itself keeps every line. On its page

- the set-up and the imports stand in one fold below the line "Run this chapter";
- marks for tools (`# NBVAL_CHECK_OUTPUT`, `# fmt: skip`, `# noqa`) and `run.record(...)` are gone;
- the code of a cell that makes a figure or a table is folded, and that of an experiment: more than
  eight lines that are neither an exercise nor a worked number (`# NBVAL_CHECK_OUTPUT`), and the
  check right after a note on a slide; a cell with the tag `open` stays open;
- `draw(...)`, `play(...)`, `predict(...)`, `reveal(...)`, `experiment(...)` and `show_source(...)`
  show their output alone; a cell that hands in None is gone, since nothing is handed in on a page;
- the cell whose metadata has `"toy": "a sentence"` is shown above the chapter's objectives, under
  that sentence; where it stood is a link to it. A latent pad opens at its `"toy_start": "x, y"`.
"""

import ast
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

from genai_utils.book import chapters
from genai_utils.book.digest import package_call
from genai_utils.book.directives import started
from genai_utils.book.nodes import link, paragraph
from genai_utils.checks.stubs import stubs_in
from genai_utils.display.source import without_marks

TABLES = {"table", "f1_table"}
LABS = {"lab"}
FIGURES = {"show", "explore", "image_grid", "latent_pad", "latent_walk", "zoom_map", "typewriter",
           "token_strip", "token_figure"}  # fmt: skip
OBJECTIVES = "After this chapter you can"
SETTINGS = {"warnings.simplefilter", "warnings.filterwarnings", "torch.set_num_threads"}
LONG = 8  # lines of an experiment that stay unfolded
DRAWING = {"plt", "ax", "axes", "fig", "Figure", "COLORS", "plots", "line_plot", "bar_plot"}


class fold(nodes.General, nodes.Element):
    """`<details>` with the summary `title`."""


def visit_fold(self, node):
    classes = " ".join(node["classes"])
    self.body.append(f'<details class="{classes}"><summary>{self.encode(node["title"])}</summary>')


def depart_fold(self, node):
    self.body.append("</details>\n")


# ---- code as text --------------------------------------------------------------------------------


def _call(statement):
    """The dotted name of the function that a statement calls and whose result it drops."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return ast.unparse(statement.value.func)
    return ""


def _records(statement):
    """Whether a statement does nothing but `run.record(...)`."""
    if isinstance(statement, ast.For | ast.If):
        return all(map(_records, [*statement.body, *statement.orelse]))
    return _call(statement) == "run.record"


def cleaned(code):
    """The code without marks for tools and without records."""
    code = without_marks(code)
    try:
        tree = ast.parse(code)
    except SyntaxError:  # %magics
        return code
    lines, gone = code.splitlines(), set()
    for block in ast.walk(tree):
        body = getattr(block, "body", None)
        if not isinstance(body, list):
            continue
        for statement in filter(_records, body):
            rest = lines[statement.end_lineno - 1][statement.end_col_offset :].strip(" ;")
            alone = len(body) > 1 or block is tree
            if alone and (not rest or rest.startswith("#")):
                gone.update(range(statement.lineno - 1, statement.end_lineno))
    return "\n".join(line for i, line in enumerate(lines) if i not in gone).strip("\n")


def kind(code):
    """What a cell is: "imports", "figure", "table", "lab", "progress", ..., or ""."""
    if call := package_call(code):
        return "nothing" if call[0] == "hand_in" else "output alone"
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return "imports" if "find_spec" in code else ""
    imports = [
        isinstance(s, ast.Import | ast.ImportFrom) or _call(s) in SETTINGS for s in tree.body
    ]
    if imports and all(imports):
        return "imports"
    if tree.body and all(_call(s) == "show_source" for s in tree.body):
        return "output alone"
    if tree.body and all(_call(s) == "progress" for s in tree.body):
        return "progress"
    called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    for what, functions in (("lab", LABS), ("figure", FIGURES), ("table", TABLES)):
        if called & functions:
            return what
    if names & DRAWING:
        return "figure"
    lines = sum(bool(line.strip()) for line in cleaned(code).splitlines())
    return "experiment" if lines > LONG and "# NBVAL_CHECK_OUTPUT" not in code else ""


# ---- the page ------------------------------------------------------------------------------------


class Folding(SphinxTransform):
    """Runs before the boxes of the page are made (priority 500), on the cells as myst-nb reads."""

    default_priority = 490

    def apply(self):
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            return
        cells = [c for c in self.document.findall(nodes.container) if "cell" in c["classes"]]
        plumbing = []
        for cell in cells:
            what = kind(self.code(cell))
            if what == "imports":
                plumbing.append(cell)
            elif what == "nothing":
                cell.parent.remove(cell)
            elif what == "output alone":
                cell.remove(self.input(cell))
            elif what == "progress":  # of nobody: the page is read, not solved
                cell.children = [part for part in cell.children if part is self.input(cell)]
            else:
                self.fold(cell, what)
        self.run_line(plumbing, path)
        self.toy(cells)
        for quote in self.document.findall(nodes.block_quote):
            if quote.astext().startswith("You need"):
                quote["classes"].append("you-need")

    def input(self, cell):
        return next((c for c in cell.children if "cell_input" in c["classes"]), None)

    def code(self, cell):
        part = self.input(cell)
        block = part.next_node(nodes.literal_block) if part else None
        return block.astext() if block else ""

    def fold(self, cell, what):
        """Clean a cell's code, and fold it where it only makes something to look at."""
        part = self.input(cell)
        if part is None:
            return
        for block in part.findall(nodes.literal_block):
            text = cleaned(block.astext())
            if not text.strip():
                cell.remove(part)
                return
            block.clear()
            block += nodes.Text(text)
            block.rawsource = text
        hidden = cell.get("hide_mode")
        if "tag_open" in cell["classes"]:
            return
        if self.after_erratum(cell) and not what:
            what = "check"
        if what and hidden in (None, "input") and not stubs_in(text):
            cell["hide_mode"] = "input"
            cell["prompt_show"] = cell["prompt_hide"] = f"Code of this {what}"
        elif hidden:
            cell["prompt_show"] = "Code of this step" if hidden == "input" else "Show the {type}"
            cell["prompt_hide"] = cell["prompt_show"]

    def after_erratum(self, cell):
        """Whether the cell stands right after a note on a slide, which it proves."""
        before = cell.parent.index(cell) - 1
        note = cell.parent[before] if before >= 0 else None
        return isinstance(note, nodes.block_quote) and note.astext().startswith("Erratum")

    def run_line(self, plumbing, path):
        """Set-up and imports in one fold, after the line that says where the chapter runs."""
        if not plumbing:
            return
        on = chapters.launches(self.env.app.srcdir, self.env.docname)
        line = paragraph(
            nodes.strong("", "Run this chapter"), " on ", link("Colab", on["colab"]), ", on ",
            link("Kaggle", on["kaggle"]), ", or ",
            link("download it", f"../_sources/notebooks/{path.name}"), ".",
            classes=["run-line"],
        )  # fmt: skip
        details = fold(title="Set-up and imports", classes=["plumbing"])
        first = plumbing[0]
        first.parent.insert(first.parent.index(first), [line, details])
        for cell in plumbing:
            cell.parent.remove(cell)
            details += cell

    def toy(self, cells):
        """Show the output of the cell that is marked as toy above the chapter's objectives."""
        for cell in cells:
            sentence = cell.get("cell_metadata", {}).get("toy")
            if not sentence:
                continue
            output = next(c for c in cell.children if "cell_output" in c["classes"])
            # Of several outputs it is the one that can be moved.
            output = next((o for o in output.children if "data-explorer" in o.astext()), output)
            if start := cell["cell_metadata"].get("toy_start"):
                for raw in list(output.findall(nodes.raw)):
                    raw.replace_self(nodes.raw("", started(raw.astext(), start), **raw.attributes))
            title = self.document.next_node(nodes.title)
            section = title.parent
            place = next(
                i for i, node in enumerate(section.children)
                if isinstance(node, nodes.paragraph) and node.astext().startswith(OBJECTIVES)
            )  # fmt: skip
            there = nodes.container(classes=["toy-elsewhere"])
            there += paragraph(link("The figure at the top of the page", "#toy"), " belongs here.")
            output.replace_self(there)
            top = nodes.container("", paragraph(sentence), output, classes=["toy"], ids=["toy"])
            section.insert(place, top)
            return


def setup(app):
    app.add_node(fold, html=(visit_fold, depart_fold))
    app.add_transform(Folding)
    app.add_css_file("folding.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
