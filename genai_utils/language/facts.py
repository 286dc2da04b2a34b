"""A world of facts that a model can only know by heart, and quizzes about them.

Each of the `first` × `last` people has a value in each of R columns (a town, a trade, …). A text is
a row of facts out of one column, which is not named:

    <start> Ada Lang: Rome, Bo Kerr: Oslo, …     three tokens a fact: first name, last name, value

So a question without an example leaves open which column is meant, and an example tells. Chapter
13 asks how much models of five sizes know of it, closed book, and what a reader answers that looks
people up.

Source: after Brown et al. 2020, figure 3.3; Xie et al. 2022 (examples name the task); Lewis et al.
2020 (a store that is searched); lecture items A55, A61.
"""

import torch
import torch.nn.functional as F

from genai_utils.inputs import refusal, whole
from genai_utils.training.batches import derive_seed


class Facts:
    """The table of facts, and texts about it: `facts(step)` is a batch for `GPT.loss`.

    first, last: how many first and last names. columns: R. values: for each column, as many values
    of its own. length: facts in a text. Tokens: 0 starts a text, then first names, last names,
    values. A batch is (ids, targets), (B, 3 · length + 1) each, and only values are to be guessed.
    Raises ValueError for a text with more facts than there are people.
    """

    def __init__(self, first=16, last=32, columns=4, values=16, length=12, batch_size=32, seed=0,
                 device=None):  # fmt: skip
        self.first, self.last = whole(first, "first"), whole(last, "last")
        self.columns, self.values = whole(columns, "columns"), whole(values, "values")
        self.people = first * last
        self.length = whole(length, "length")
        if length > self.people:
            raise refusal("length", f"at most {self.people} facts, one of each person", f"{length}")
        self.batch_size, self.seed, self.device = whole(batch_size, "batch_size"), seed, device
        g = torch.Generator().manual_seed(derive_seed(seed, "table"))
        self.table = torch.randint(values, (self.people, columns), generator=g)
        self.vocabulary = 1 + first + last + columns * values

    def __repr__(self):
        sizes = ("first", "last", "columns", "values", "length", "batch_size", "seed")
        return f"Facts({', '.join(f'{name}={getattr(self, name)}' for name in sizes)})"

    @property
    def bits(self):
        """What there is to know: log₂ of the number of tables that could have been drawn."""
        return self.people * self.columns * torch.tensor(self.values).log2().item()

    def texts(self, people, columns):
        """people (B, n), columns (B,) → (ids, targets), (B, 3 n + 1): n facts of one column."""
        first = 1 + people // self.last
        last = 1 + self.first + people % self.last
        value = self.rows(self.table[people])  # (B, n, R)
        value = _column(value, columns)
        facts = torch.stack([first, last, value], -1).flatten(1)  # (B, 3n)
        ids = torch.cat([torch.zeros(len(facts), 1, dtype=torch.int64), facts], 1)
        targets = torch.full_like(ids, -100)
        targets[:, 2::3] = value  # a last name is followed by the value
        return ids.to(self.device), targets.to(self.device)

    def rows(self, values):
        """Values (…, R), numbered in each column from 0, → their tokens (…, R)."""
        return values + 1 + self.first + self.last + self.values * torch.arange(self.columns)

    def __call__(self, step):
        g = torch.Generator().manual_seed(derive_seed(self.seed, "texts", int(step)))
        return self.texts(*self.draw(self.batch_size, self.length, g))

    def draw(self, n, length, generator):
        """n texts: (people (n, length), none twice in a text; columns (n,))."""
        order = torch.rand(n, self.people, generator=generator).argsort(-1)
        return order[:, :length], torch.randint(self.columns, (n,), generator=generator)

    @torch.no_grad()
    def quiz(self, model, examples, questions=1, n=512, seed=1):
        """What a model answers: (answers, truth), (n, questions) each, tokens of values.

        After `examples` facts, `questions` more of the same column are asked. What was asked before
        stands in the text with its true value, so each answer is one guess, the likeliest token.
        """
        g = torch.Generator().manual_seed(derive_seed(self.seed, "quiz", seed))
        length = whole(examples, "examples", least=0) + whole(questions, "questions")
        ids, targets = self.texts(*self.draw(n, length, g))
        said = model(ids)[:, 2::3].argmax(-1)  # (n, length), at the last names
        return said[:, examples:], targets[:, 2::3][:, examples:]


class OpenBook:
    """The same questions for a reader, which finds a person's row of the table before it answers.

        <start> Ada Lang (Rome, baker, lute) Rome, Bo Kerr (Oslo, …) Oslo, …   3 + R tokens a fact

    open_book(step) is a batch for `GPT.loss`, (ids, targets), (B, length · (3 + R)) each. All rows
    of a batch are drawn anew, so that no fact of `facts` can be learnt by heart: what a reader
    answers in a quiz it has from the rows that were looked up. facts: a `Facts`, for its names, its
    columns and its quiz; length: questions in a text.
    """

    def __init__(self, facts, length=5, seed=0):
        self.facts, self.length, self.seed = facts, whole(length, "length"), seed

    def __repr__(self):
        return f"OpenBook({self.facts!r}, length={self.length}, seed={self.seed})"

    def __call__(self, step):
        f, g = self.facts, torch.Generator().manual_seed(derive_seed(self.seed, "open", int(step)))
        people, columns = f.draw(f.batch_size, self.length, g)
        rows = f.rows(torch.randint(f.values, (*people.shape, f.columns), generator=g))
        ids, _ = f.texts(people, columns)
        return self.texts(_asked(ids.cpu()), rows, _column(rows, columns))

    def texts(self, asked, rows, answers):
        """asked (B, n, 2), rows (B, n, R), answers (B, n), all tokens → (ids, targets)."""
        facts = torch.cat([asked, rows, answers[..., None]], -1)  # (B, n, 3 + R)
        ids = F.pad(facts.flatten(1)[:, :-1], (1, 0))  # <start> is 0
        targets = torch.full_like(ids, -100)
        targets[:, facts.shape[2] - 1 :: facts.shape[2]] = answers
        return ids.to(self.facts.device), targets.to(self.facts.device)

    @torch.no_grad()
    def quiz(self, model, look_up, examples, n=512, seed=1):
        """`Facts.quiz` with one question, the same ones: (answers, truth), (n, 1) each.

        look_up: names (m, 2) → the rows found for them (m, R), all tokens. It is asked about the
        people of the examples too.
        """
        f, g = self.facts, torch.Generator().manual_seed(derive_seed(self.facts.seed, "quiz", seed))
        ids, targets = f.texts(*f.draw(n, whole(examples, "examples", least=0) + 1, g))
        asked, answers = _asked(ids.cpu()), targets[:, 2::3].cpu()
        found = look_up(asked.flatten(0, 1)).view(*answers.shape, -1)
        ids, targets = self.texts(asked, found, answers)
        return model(ids)[:, -1:].argmax(-1), targets[:, -1:]


def _column(rows, columns):
    """Of rows (B, n, R) the column that each text is about, columns (B,): (B, n)."""
    return rows[torch.arange(len(rows)), :, columns]


def _asked(ids):
    """The names in texts of `Facts`, (B, n, 2) tokens."""
    return torch.stack([ids[:, 1::3], ids[:, 2::3]], -1)
