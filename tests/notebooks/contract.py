"""What every notebook promises its reader, one rule after the other.

`problems(chapter, book)` says in sentences what a notebook breaks; none is a good notebook.
"""

import re
from html.parser import HTMLParser

from genai_utils.book import estimate
from genai_utils.book.cards import excess, on_card
from genai_utils.book.chapters import Chapter
from genai_utils.book.digest import code_sha256, package_call, planted_cells
from genai_utils.book.renew import Stale, package_outputs, stale_sources, stale_words, upgraded
from genai_utils.book.retouch import Unlike
from genai_utils.checks import experiments, levels, register, stubs
from genai_utils.checks.stubs import planted_in

LIMIT = 1_500_000  # bytes of a stored notebook
LINES = 18  # of a code cell, without its blank ones
FIRST_LINES = 25  # in the chapters that were written first, until they are gone over
FIRST = {*range(1, 11), *range(19, 25)}
WITHOUT_TASKS = FIRST - {8, 9, 24}  # chapters whose planted fault and open experiment are to come

SETUP = """\
# Set-up: the same in every notebook. It installs the book's package only where it is missing.
import importlib.util
import os

if importlib.util.find_spec("genai_utils") is None:
    repository = os.environ.get("GENAI_REPOSITORY", "{address}")
    %pip install -q "git+{{repository}}"

from genai_utils.course import start

run = start("{name}")"""

COST = "*Cost: see the run card at the end of this page.*"


def opening(chapter, book, address):
    """Title, promise, what you will be able to do, cost line; then the set-up cell."""
    first = chapter.prose[0]
    if not re.match(rf"# {int(chapter.name[:2])}\s+\S", first):
        yield f'the first line is expected to be "# {int(chapter.name[:2])} Title"'
    if not re.match(r"#[^\n]+\n\s*[*_][^*_\n][^\n]{20,}[.?!][*_]\n", first):
        yield "the promise is expected as one sentence in italics below the title"
    able = first.partition("After this chapter you can")[2]
    if len(re.findall(r"^- ", able, re.MULTILINE)) < 3:
        yield 'at least three points are expected below "After this chapter you can"'
    if not re.search(r"^> \*\*You need\*\* \S[^\n]{15,}\.$", first, re.MULTILINE):
        yield 'a line "> **You need** …" is expected below the points'
    if COST not in first:
        yield f"the line {COST} is missing"
    if chapter.notebook.cells[0].cell_type != "markdown":
        yield "the first cell is expected to be the title"
    setup = SETUP.format(address=address, name=chapter.name)
    if not chapter.code_cells or chapter.code_cells[0].source != setup:
        yield "the first code cell is not the set-up cell of the contract"


def items(chapter, book, address):
    """It claims all items that the lecture map gives it, and names each where it is."""
    due = [id for id, item in book.items.items() if item["notebook"] == chapter.name]
    claims = chapter.claims
    for id in claims:
        if id not in book.items:
            yield f"{id} is no item of the lecture map"
    if sorted(claims) != sorted(due):
        yield f"it claims {sorted(claims)}; the lecture map gives it {sorted(due)}"
    told = "\n".join(t for t in chapter.prose).replace("**Lecture items:**", "\0")
    told = re.sub(r"\0[^\n]*", "", told)
    for id in claims:
        if not re.search(rf"\b{id}\b", told):
            yield f"{id} is claimed, but no text names it"


def errata(chapter, book, address):
    """Each erratum of its items has a box, and code follows it."""
    boxed = chapter.errata
    for id in boxed:
        if id not in book.errata:
            yield f"erratum {id} is in no list"
    due = {
        id
        for item in book.items.values()
        if item["notebook"] == chapter.name
        for id in item["errata"]
        if book.errata[id]["class"] != "X"
    }
    if missing := due - set(boxed):
        yield f"no box for the errata {sorted(missing)}"
    if len(boxed) != len(set(boxed)):
        yield "an erratum has two boxes"
    last = max(i for i, c in enumerate(chapter.notebook.cells) if c.cell_type == "code")
    for index, cell in enumerate(chapter.notebook.cells):
        if cell.cell_type == "markdown" and "> **Erratum " in cell.source and index > last:
            yield "an erratum box has no code after it"


def parts(chapter, book, address):
    """Source beside the equation, an explorer, a lab, three exercises with checks, an end."""
    code = "\n".join(cell.source for cell in chapter.code_cells)
    html = "\n".join(chapter.html())
    if not re.search(r"\bshow_source\(", code):
        yield "it shows no source of the package: show_source(...)"
    if "data-explorer=" not in html:
        yield "no stored output is an explorer"
    if not re.search(r'^draw\("', code, re.MULTILINE):
        yield "it has no drawing: draw(...)"
    if not re.search(r"^lab\(", code, re.MULTILINE):
        yield "it has no lab(...)"
    if len(chapter.exercises) < 3:
        yield f"at least three exercises are expected, it has {len(chapter.exercises)}"
    numbers = [f"{int(chapter.name[:2])}.{i + 1}" for i in range(len(chapter.exercises))]
    if chapter.exercises != numbers:
        yield f"the exercises are numbered {chapter.exercises}, expected {numbers}"
    if len(re.findall(r"^check\(", code, re.MULTILINE)) < len(chapter.exercises):
        yield "an exercise has no check(...)"
    if "hint(" not in code + "".join(chapter.prose):
        yield "it never says how to get a hint(...)"
    if not re.search(r"^progress\(", code, re.MULTILINE):
        yield "it has no progress()"
    end = "\n".join(chapter.prose[-3:])
    summary = re.split(r"^## (?:[\d.]+ )?Summary$", end, flags=re.MULTILINE)
    if len(re.findall(r"^\d\. ", summary[-1], re.MULTILINE)) != 5 or len(summary) != 2:
        yield 'the end is expected to have "## Summary" with five numbered lines'
    for head in ("read next", "references"):
        if head not in end.lower():
            yield f'the end does not say "{head}"'


def toy(chapter, book, address):
    """One figure to play with is shown above the objectives, under a sentence."""
    toys = [cell for cell in chapter.code_cells if cell.metadata.get("toy")]
    if len(toys) != 1:
        yield f'one code cell is expected to be marked "toy" in its metadata, there are {len(toys)}'
        return
    sentence, html = toys[0].metadata["toy"], Chapter.html_of(toys[0])
    if not re.fullmatch(r"[A-Z0-9][^\n]{40,260}\.", sentence):
        yield f"the toy's text is expected as a sentence or two, it is {sentence!r}"
    if not any("data-explorer=" in text for text in html):
        yield "the cell that is marked as toy stores no explorer"


def stubs_are_current(chapter, book, address):
    """Each stub is what the library's function gives today: its signature and its docstring."""
    for cell in chapter.code_cells:
        name = re.match(r"def (\w+)\(", cell.source)
        stub = name and (cell.source.rstrip().endswith("\n    ...") or planted_in(cell.source))
        if not stub:
            continue
        try:
            wanted = stubs.stub(name[1], chapter.name).rstrip()
        except register.UnknownExercise:
            yield f"{name[1]} is no exercise of its file of exercises"
            continue
        if cell.source.rstrip() != wanted:
            yield f"the stub of {name[1]} is not the library's: python -m genai_utils.book.renew"


def two_more_kinds(chapter, book, address):
    """A planted fault with its check, and an open experiment; what is declared is set, once."""
    try:
        faults = [e.name for e in register.load(chapter.name).values() if e.planted]
        asked = [e.name for e in experiments.of_topic(register.topic_of(chapter.name))]
    except register.UnknownExercise:
        faults, asked = [], []
    if int(chapter.name[:2]) not in WITHOUT_TASKS:
        if not faults:
            yield "it has no planted fault: exercise(…, planted=…)"
        if not asked:
            yield "it has no open experiment: EXPERIMENTS of its exercises"
    cells = [cell.source for cell in chapter.code_cells]
    set_here = [node.name for code in cells for node in planted_in(code)]
    if set_here != faults:
        yield f"it sets the planted faults {set_here}; its exercises declare {faults}"
    alone = list(planted_cells(chapter.notebook).values())
    for name in set_here:
        if alone.count(name) != 2:
            yield f"the planted {name}, and check({name}) after it, need cells of their own"
    calls = [call for call in map(package_call, cells) if call]
    for kind in ("experiment", "hand_in"):
        if (called := [name for what, name in calls if what == kind]) != asked:
            yield f"{kind}(…) is called for {called}; its exercises declare {asked}"


def levels_follow_the_rule(chapter, book, address):
    """An exercise is as hard as `checks.levels` counts, and says its minutes."""
    try:
        known = register.load(chapter.name)
    except register.UnknownExercise:
        return
    text, boxes = "", {}
    for cell in chapter.notebook.cells:
        if cell.cell_type == "markdown":
            text = cell.source
        for stub in stubs.stubs_in(cell.source) if cell.cell_type == "code" else ():
            if stub.name in known:
                boxes[stub.name] = re.findall(
                    r"^> ?\*\*Exercise ([\d.]+)\*\* \(([^)]*)\)", text, re.M
                )
    for name, found in boxes.items():
        wanted = levels.label(known[name])
        if not found or found[-1][1] != wanted:
            number, says = found[-1] if found else ("?", "nothing")
            yield f"exercise {number}, {name}, says ({says}); by the rule it is ({wanted})"


def sources_are_current(chapter, book, address):
    """What show_source stored is the source of the package as it is today."""
    try:
        stale = stale_sources(chapter.notebook, chapter.name)
    except Stale as problem:
        yield f"its shown source cannot be compared: {problem}"
        return
    for index in stale:
        yield f"cell {index} shows source that has changed: python -m genai_utils.book.renew"


def words_are_current(chapter, book, address):
    """Alt texts, captions and where an explorer opens are those that the code says."""
    if any(upgraded(chapter.notebook)):
        yield "it stores outputs in an older form: python -m genai_utils.book.renew"
    try:
        stale = stale_words(chapter.notebook)
    except Unlike as problem:
        yield f"its outputs cannot be compared with its code: {problem}"
        return
    for index in stale:
        yield f"cell {index} says other words than its output: python -m genai_utils.book.renew"


def package_outputs_are_current(chapter, book, address):
    """A drawing or a toy is the one that the package makes today."""
    for index, _, current in package_outputs(chapter.notebook):
        if not current:
            yield f"cell {index} shows an older drawing: python -m genai_utils.book.renew"


def finished(chapter, book, address):
    """No mark of something still to be written."""
    for text in chapter.prose:
        if mark := re.search(r"«[^»]*»|\b(TODO|TBD|FIXME|XXX)\b", text):
            yield f"the text still holds {mark[0]}"


def cells(chapter, book, address):
    """Code cells are short."""
    most = FIRST_LINES if int(chapter.name[:2]) in FIRST else LINES
    for index, cell in enumerate(chapter.code_cells):
        if (lines := sum(bool(line.strip()) for line in cell.source.splitlines())) > most:
            yield f"code cell {index + 1} has {lines} lines, at most {most}"


def card(chapter, book, address):
    """A fresh run card, not of the ci profile, with numbers in it."""
    found = chapter.card
    if not found:
        yield "it has no run card: python -m genai_utils.book.execute"
        return
    if found["notebook"] != chapter.name:
        yield f"its run card is that of {found['notebook']}"
    if found["profile"] not in ("cpu", "gpu"):
        yield f"its run card says {found['profile']}; publish from cpu or gpu"
    if found["code_sha256"] != code_sha256(chapter.notebook, found["profile"]):
        yield "its code has changed since it was run: python -m genai_utils.book.execute"
    if not found["metrics"]:
        yield "it recorded no number: run.record(...)"
    if stand_ins := [name for name in found["data"] if "stand-in" in name]:
        yield f"it was run on {', '.join(stand_ins)}; publish from real data"


def gpu_training(chapter, book, address):
    """What the gpu profile trains, by its run card or else by an estimate, keeps the bound."""
    found, trained = estimate.load(chapter.notebook), None
    if chapter.card and on_card(chapter.card):
        trained = chapter.card.get("training")
    elif found and not estimate.fresh(chapter.notebook):
        yield "its estimate is of other code: genai_utils.book.execute --estimate --store"
    elif found:
        trained = found
    for sentence in excess(trained) if trained else ():
        yield f"in the gpu profile: {sentence}"


class Images(HTMLParser):
    """Collects the images of some HTML that no alt text describes."""

    def __init__(self):
        super().__init__()
        self.bare = 0

    def handle_starttag(self, tag, attributes):
        if tag == "img" and not (dict(attributes).get("alt") or "").strip():
            self.bare += 1


def outputs(chapter, book, address):
    """One run from top to bottom, no error, no stderr, small, every picture described."""
    counts = [cell.execution_count for cell in chapter.code_cells if cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        yield "it was not run once from top to bottom"
    for index, cell in enumerate(chapter.code_cells, 1):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {index} ended in {output.ename}"
            if output.get("name") == "stderr":
                yield f"code cell {index} wrote to stderr: {output.text[:60]!r}"
            data = output.get("data", {})
            html = data.get("text/html", "")
            parser = Images()
            parser.feed(html)
            if parser.bare:
                yield f"code cell {index} shows an image without alt text"
            if any(kind.startswith("image/") for kind in data) and "<img" not in html:
                yield f"code cell {index} shows a bare image; use show(fig, alt=...)"
            if "application/vnd.jupyter.widget-view+json" in data:
                yield f"code cell {index} stores a live widget; use lab(...)"
    if (size := chapter.path.stat().st_size) > LIMIT:
        yield f"it is {size / 1e6:.1f} MB, at most {LIMIT / 1e6} MB"


RULES = (
    opening,
    items,
    errata,
    parts,
    toy,
    stubs_are_current,
    two_more_kinds,
    levels_follow_the_rule,
    sources_are_current,
    words_are_current,
    package_outputs_are_current,
    finished,
    cells,
    card,
    gpu_training,
    outputs,
)


def problems(chapter, book, address):
    """All that a notebook breaks, in sentences."""
    return [problem for rule in RULES for problem in rule(chapter, book, address)]
