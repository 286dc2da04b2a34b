"""The terms and symbols of the notation page, and where a chapter's text uses them.

The page says itself what belongs where. Its tables have the meaning in the second column. In a
table of words the last column, "Chapters", says where they are shown: "1, 4 to 7". In a table of
symbols the section's first sentence says it: "Chapters 1 and 3."
"""

import re
from dataclasses import dataclass

from docutils import nodes

_MARKS = {
    r"\top": "ᵀ", r"\cdot": "·", r"\times": " × ", r"\le": " ≤ ", r"\ge": " ≥ ", r"\approx": " ≈ ",
    r"\in": " ∈ ", r"\to": " → ", r"\odot": "⊙", r"\prod": "∏", r"\sum": "∑", r"\partial": "∂",
    r"\|": "‖", r"\,": " ", r"\;": " ", r"\mid": " | ", r"\lVert": "‖", r"\rVert": "‖",
    r"\Vert": "‖", r"\log": "log", r"\exp": "exp", r"\{": "\x01", r"\}": "\x02", r"\ldots": "…",
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\varepsilon": "ε",
    r"\lambda": "λ", r"\mu": "μ", r"\sigma": "σ", r"\tau": "τ", r"\Sigma": "Σ", r"\Theta": "Θ",
    r"\Omega": "Ω", r"\ell": "ℓ",
}  # fmt: skip
_ROOM = re.compile(
    r"\\(?:mathbf|boldsymbol|mathrm|mathbb|mathcal|text|operatorname)\s*\{([^{}]*)\}"
)
_OVER = {r"\tilde": "\u0303", r"\bar": "\u0304", r"\hat": "\u0302"}
_SMALL = dict(zip("0123456789+-=()aeijkmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑᵢⱼₖₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_HIGH = dict(zip("0123456789+-=()in", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿ", strict=True))


def text_of(tex):
    """A short formula as plain text: "\\sigma_i^2 / n" -> "σᵢ² / n"."""
    while _ROOM.search(tex):
        tex = _ROOM.sub(r"\1", tex)
    tex = re.sub(r"\\d?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1 / (\2)", tex)
    tex = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"√\1", tex)
    for mark, over in _OVER.items():
        tex = re.sub(rf"\{mark}\s*\{{?\s*(\\?\w+)\}}?", rf"\1{over}", tex)
    for mark in sorted(_MARKS, key=len, reverse=True):
        letter = r"(?![A-Za-z])" if mark[-1].isalpha() else ""
        tex = re.sub(re.escape(mark) + letter, _MARKS[mark], tex)

    def script(found):
        table, inner = (_SMALL if found[1] == "_" else _HIGH), (found[2] or found[3])
        if all(sign in table for sign in inner):
            return "".join(table[sign] for sign in inner)
        return (
            inner
            if inner == "ᵀ"
            else f"{found[1]}({inner})"
            if len(inner) > 4
            else found[1] + inner
        )

    tex = re.sub(r"([_^])(?:\{([^{}]*)\}|(\S))", script, tex)
    for old, new in (("-", "−"), ("{", ""), ("}", ""), ("\x01", "{"), ("\x02", "}")):
        tex = tex.replace(old, new)
    return " ".join(tex.split())


def text(node):
    """The text of a node, its formulas in plain letters."""
    if isinstance(node, nodes.math):
        return text_of(node.astext())
    if isinstance(node, nodes.Text):
        return str(node)
    return "".join(text(child) for child in node.children)


def numbers(words):
    """ "1, 4 to 7" -> {1, 4, 5, 6, 7}."""
    found = set()
    for first, last in re.findall(r"(\d+)(?:\s*(?:to|–)\s*(\d+))?", words):
        found.update(range(int(first), int(last or first) + 1))
    return found


@dataclass(frozen=True)
class Term:
    """names: how it is written, formulas without spaces; id: of its row on the notation page."""

    names: tuple
    symbol: bool
    card: str
    id: str
    chapters: frozenset


def key(tex):
    """What of a formula counts when it is compared."""
    return re.sub(r"\s+", "", tex).replace(r"\Vert", r"\|")


def _worth(tex):
    """Whether a symbol says enough: single Latin letters mean too many things."""
    return not re.fullmatch(r"[A-Za-z]", key(tex))


def collect(document):
    """The terms of the notation page; each of their rows gets an id."""
    result = []
    for table in document.findall(nodes.table):
        section = table.parent
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        first = section.next_node(nodes.paragraph) if section is not None else None
        said = re.match(r"Chapters?\s([^.]+)\.", first.astext() if first is not None else "")
        here = numbers(said[1]) if said else set()
        head = [
            entry.astext() for entry in next(iter(table.findall(nodes.thead))).findall(nodes.entry)
        ]
        column = head.index("Chapters") if "Chapters" in head else None
        for row in table.next_node(nodes.tbody).findall(nodes.row):
            cells = [*row.findall(nodes.entry)]
            spelled = text(cells[0])
            if column:
                chapters = numbers(cells[column].astext())
                names = [name.strip() for name in spelled.split(",")]
            else:
                symbols = [formula.astext() for formula in cells[0].findall(nodes.math)]
                chapters, names = here, [key(tex) for tex in symbols if _worth(tex)]
            if not names or not chapters:
                continue
            id = nodes.make_id(f"term {spelled}")
            if id == "term" or any(term.id == id for term in result):
                id = f"term-{len(result)}"
            row["ids"].append(id)
            meaning = " ".join(text(cells[1]).split())
            card = f"{spelled} · {meaning}"
            result.append(Term(tuple(names), not column, card, id, frozenset(chapters)))
    return result


class Finder:
    """Finds the terms of one chapter in its text."""

    def __init__(self, terms, chapter):
        self.words, self.symbols = {}, {}
        for term in terms:
            if chapter in term.chapters:
                table = self.symbols if term.symbol else self.words
                for name in term.names:
                    table.setdefault(name, term)
        longest_first = sorted(self.words, key=len, reverse=True)
        # A capital name is written so; other words may begin a sentence or stand in the plural.
        forms = [
            re.escape(name) if not name[:1].islower() else
            f"[{name[0]}{name[0].upper()}]{re.escape(name[1:])}s?"
            for name in longest_first
        ]  # fmt: skip
        spaced = [form.replace(r"\ ", r"\s+") for form in forms]
        self.pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(spaced)})(?![\w-])") if forms else None

    def find(self, text):
        """(start, end, Term) for each word of the table in the text."""
        for found in self.pattern.finditer(text) if self.pattern else ():
            said = " ".join(found[0].split())
            for form in (said, said[0].lower() + said[1:]):
                for name in (form, form.removesuffix("s")):
                    if name in self.words:
                        yield found.start(), found.end(), self.words[name]
                        break
                else:
                    continue
                break

    def symbol(self, tex):
        """The Term of a formula that is one symbol of the table, or None."""
        return self.symbols.get(key(tex))
