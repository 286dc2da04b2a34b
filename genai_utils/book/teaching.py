"""How long a chapter takes a student, estimated from its notebook."""

import re

from docutils import nodes
from sphinx.util import logging

from genai_utils.book.nodes import BookDirective, formula, link, table
from genai_utils.checks.levels import MINUTES

log = logging.getLogger(__name__)

WORDS_A_MINUTE = 200  # of prose; formulas, code and outputs are not counted
_LEVEL = re.compile(r"^> ?\*\*Exercise \d+\.\d+\*\* \((?:find the fault, )?(\w+)[,)]", re.MULTILINE)
_NOT_READ = re.compile(r"\$\$.*?\$\$|\$[^$\n]*\$|`[^`]*`|\]\([^)]*\)", re.DOTALL)


def reading_minutes(chapter):
    """Minutes to read a chapter's prose once."""
    words = re.findall(r"[^\W\d_][\w'’-]*", _NOT_READ.sub(" ", "\n".join(chapter.prose)))
    return round(len(words) / WORDS_A_MINUTE)


def levels(chapter):
    """The levels of a chapter's exercises, in order: "easy", "medium", …"""
    return [level for text in chapter.prose for level in _LEVEL.findall(text)]


def exercise_minutes(chapter):
    """Minutes for all exercises of a chapter."""
    return sum(MINUTES[level] for level in levels(chapter))


class TeachingMinutes(BookDirective):
    """A table: what each chapter needs, and how many minutes it takes.

    Each line is `08_transformer: softmax, matrix products; chapter 5`.
    """

    has_content = True
    _LINE = re.compile(r"(\d\d_\w+):\s*(.+)")

    def build(self, env):
        plan = {chapter["name"]: chapter["title"] for chapter in self.book.plan}
        rows = []
        for line in filter(str.strip, self.content):
            found = self._LINE.fullmatch(line.strip())
            if not found or found[1] not in plan:
                message = "teaching-minutes: expected `NN_name: what it needs`, got %r"
                log.warning(message, line, location=(env.docname, self.lineno))
                continue
            name, needs = found.groups()
            chapter, title = self.book.chapters.get(name), f"{int(name[:2])} {plan[name]}"
            if chapter is None:
                planned = [nodes.inline("", "planned", classes=["planned"])]
                rows.append([title, formula(needs), planned, "", ""])
                continue
            read, solve = reading_minutes(chapter), exercise_minutes(chapter)
            count = f"{solve} min for {len(levels(chapter))}"
            where = [link(title, f"../notebooks/{name}.html")]
            rows.append([where, formula(needs), f"{read} min", count, f"{read + solve} min"])
        head = ["Chapter", "Needs", "Reading", "Exercises", "Together"]
        return [table(head, rows, [24, 40, 10, 16, 10], ["teaching"])]
