"""The digest of a notebook's code: whether stored outputs still belong to the code beside them.

It is taken of what the code means, not of how it is written, and leaves out what cannot change the
numbers of a run:

- white space, comments, the repository's address;
- cells whose output comes from the package alone (`draw("attention")`, `play("kmeans")`,
  `predict("post-norm")`, `reveal("post-norm")`, `experiment("kept-width")`), and a
  `hand_in("kept-width", None)`;
- functions with a planted fault, and their checks: what comes after them uses `yours(…)`;
- the docstring of a stub that is still to be filled in;
- in `run.pick(ci=…, cpu=…, gpu=…)` the sizes of the other profiles;
- what `book.retouch` can bring up to date in a stored output, where it is written out: the alt
  text, the caption, where an explorer opens, the order of its sliders and of the values on them,
  the names of a walk's stops and the letter of a pad's code.

So a sentence or a size for processors can be mended without a graphics card at hand.
"""

import ast
import hashlib
import re

from genai_utils.checks.stubs import docstring_of, planted_in, stubs_of

# Functions whose output no run has a part in.
PACKAGE = ("draw", "play", "predict", "reveal", "experiment")
SHOWING = ("show", "explore", "latent_pad", "latent_walk", "zoom_map", "typewriter", "token_strip",
           "table")  # fmt: skip
TEXTS = ("typewriter", "token_strip")  # their plain text is what is written, and no alt text
WORDS = ("alt", "caption", "start")
# The repository's address may change (genai_utils.book.address) without making results stale.
_ADDRESS = re.compile(r"https://[^\"'\s]+")


def code_sha256(notebook, profile):
    """SHA-256 of the code cells, in order, as they run in one profile: "ci", "cpu" or "gpu"."""
    digest = hashlib.sha256()
    faults = planted_cells(notebook)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and not package_call(cell.source) and index not in faults:
            text = meaning(cell.source, profile)
            digest.update(_ADDRESS.sub("<address>", text).encode() + b"\0")
    return digest.hexdigest()


def package_call(code):
    """("draw", "attention") for a cell that imports `draw` and calls it, and does nothing else."""
    pattern = r"from genai_utils\.course import (\w+)\n+\1\(\"([\w-]+)\"(, None)?\)(  #[^\n]*)?"
    found = re.fullmatch(pattern, code.strip())
    if not found or (found[1] != "hand_in" if found[3] else found[1] not in PACKAGE or found[4]):
        return None
    return found[1], found[2]


def planted_cells(notebook):
    """Index of a cell -> name: it does nothing but define a planted fault, or check one."""
    found = {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        names = [node.name for node in planted_in(cell.source)]
        if len(names) == 1 and re.match(rf"def {names[0]}\(", cell.source):
            if len(ast.parse(cell.source).body) == 1:
                found[index] = names[0]
        elif (check := checked(cell.source)) in found.values():
            found[index] = check
    return found


def checked(code):
    """The name of the function for a cell that checks it and does nothing else, or None."""
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    found = re.fullmatch(r"check\((\w+)\)", lines[0]) if len(lines) == 1 else None
    return found and found[1]


def meaning(code, profile):
    """A text that is equal for two cells that do the same, for all that is left out above."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # %magics
        return code.rstrip()
    texts = map(docstring_of, stubs_of(tree))
    unseen = {id(text) for text in texts if text is not None}
    for call in showing(tree):
        unseen.update(id(keyword) for keyword in words(call).values())
        if name_of(call) == "explore" and axes(call):
            call.keywords.sort(key=lambda keyword: keyword.arg)
            for axis in axes(call):
                if isinstance(axis.value, ast.List) and literal(axis.value):
                    axis.value.elts.sort(key=ast.unparse)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "run.pick":
            unseen.update(id(size) for size in call.keywords if size.arg != profile)
    return repr(_shape(tree, unseen))


def showing(tree):
    """The calls of a cell that show something, where each is a statement of its own.

    Then its outputs can be told apart; else there are none.
    """
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and name_of(n) in SHOWING]
    own = [s.value for s in tree.body if isinstance(s, ast.Expr) and s.value in calls]
    return own if len(own) == len(calls) else []


def name_of(call):
    """The plain name of the function that is called, or ""."""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def words(call):
    """Keyword -> node of what `book.retouch` can renew: literals only."""
    known = {
        "latent_walk": (*WORDS, "labels"),
        "latent_pad": (*WORDS, "symbol"),
        **dict.fromkeys(TEXTS, ("caption",)),
    }
    found = {}
    for keyword in call.keywords:
        if keyword.arg not in known.get(name_of(call), WORDS):
            continue
        if literal(keyword.value):
            found[keyword.arg] = keyword
    return found


def literal(node):
    """Whether a value is written out, and not computed."""
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def axes(call):
    """The keywords of `explore` that are its sliders, in order; none where some are hidden."""
    if any(keyword.arg is None for keyword in call.keywords):  # **more
        return []
    return [keyword for keyword in call.keywords if keyword.arg not in (*WORDS, "draw", "name")]


def _shape(node, unseen):
    """A syntax tree as nested tuples, the same for every version of Python."""
    if isinstance(node, list):
        return tuple(_shape(each, unseen) for each in node if id(each) not in unseen)
    if not isinstance(node, ast.AST):
        return node
    fields = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name not in ("ctx", "kind", "type_comment", "type_ignores", "type_params"):
            shape = _shape(value, unseen)
            if shape not in ((), None):
                fields.append((name, shape))
    return tuple(fields)
