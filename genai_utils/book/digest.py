"""The digest of a notebook's code: whether stored outputs still belong to the code beside them.

Left out is what cannot change the outputs of a run: the repository's address, white space at the
end of a cell, cells whose output comes from the package alone (`draw("attention")`,
`play("kmeans")`), the docstring of a stub that is still to be filled in, and in
`run.pick(ci=…, cpu=…, gpu=…)` the sizes of the other profiles. So a sentence of an exercise or a
size for processors can be mended without a graphics card at hand.
"""

import ast
import hashlib
import re

from genai_utils.checks.stubs import docstring_of, stubs_in

# The repository's address may change (genai_utils.book.address) without making results stale.
PACKAGE = ("draw", "play")  # functions whose output no run has a part in
_ADDRESS = re.compile(r"https://[^\"'\s]+")


def code_sha256(notebook, profile):
    """SHA-256 of the code cells, in order, as they run in one profile: "ci", "cpu" or "gpu"."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code" and not package_call(cell.source):
            text = without_unseen(cell.source, profile)
            digest.update(_ADDRESS.sub("<address>", text.rstrip()).encode() + b"\0")
    return digest.hexdigest()


def package_call(code):
    """("draw", "attention") for a cell that imports `draw` and calls it, and does nothing else."""
    pattern = r"from genai_utils\.course import (\w+)\n+\1\(\"([\w-]+)\"\)"
    found = re.fullmatch(pattern, code.strip())
    return found.groups() if found and found[1] in PACKAGE else None


def without_unseen(code, profile):
    """The code of a cell without docstrings of stubs and without sizes of other profiles."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # %magics
        return code
    unseen = [docstring_of(stub) for stub in stubs_in(code)]
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "run.pick":
            unseen += [size.value for size in call.keywords if size.arg != profile]
    lines = code.encode().splitlines(keepends=True)  # ast counts the bytes of a line
    begin = [0]
    for line in lines:
        begin.append(begin[-1] + len(line))
    text = b"".join(lines)
    spans = [
        (begin[n.lineno - 1] + n.col_offset, begin[n.end_lineno - 1] + n.end_col_offset)
        for n in unseen
        if n is not None
    ]
    for first, last in sorted(spans, reverse=True):
        text = text[:first] + b"_" + text[last:]
    return text.decode()
