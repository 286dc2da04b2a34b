"""Tasks as rows of tokens for a language model: GPT-1's four forms of input.

An example of a task is a list of rows, one or several. Each begins with the token Start, has a
Delimiter between two texts, and ends with Extract, where a model is read.

Source: Radford et al. 2018, section 3.3 and figure 1; lecture item A46.
"""

import torch

from genai_utils import inputs
from genai_utils.inputs import kind_of, refusal, whole

from .bert_data import CLS, MASK, PAD, SEP

START, DELIMITER, EXTRACT = CLS, SEP, MASK  # 2, 3, 4: a GPT has no other use for them


def classification(text):
    """One text: [Start, text, Extract], a list with one row of ids (n + 2,) int64."""
    return [_row(text)]


def entailment(premise, hypothesis):
    """Two texts whose order matters: [Start, premise, Delimiter, hypothesis, Extract], one row."""
    return [_row(premise, hypothesis)]


def similarity(a, b):
    """Two texts whose order does not matter: both orders, two rows of ids (n + m + 3,) int64.

        [Start, a, Delimiter, b, Extract]
        [Start, b, Delimiter, a, Extract]

    Start is 2, Delimiter 3, Extract 4. a, b: (n,), (m,) int64 ids, which may be any; n or m may be
    0. Returns a list of two tensors. Their vectors are added, so that both orders get one score.
    Source: Radford et al. 2018, section 3.3 and figure 1; lecture item A46.
    """
    start, delimiter, extract = torch.tensor([[2], [3], [4]])
    return [torch.cat([start, x, delimiter, y, extract]) for x, y in ((a, b), (b, a))]


def multiple_choice(context, answers):
    """A context and k answers: [Start, context, Delimiter, answer, Extract] for each, k rows."""
    if torch.is_tensor(answers) or not len(answers):
        raise refusal("answers", "a list of at least one row of ids", kind_of(answers))
    return [_row(context, answer) for answer in answers]


def _row(*texts):
    parts = [torch.tensor([START])]
    for i, text in enumerate(texts):
        inputs.tokens(text, "text", None, values=False)
        parts += [torch.tensor([DELIMITER])] * (i > 0) + [text]
    return torch.cat([*parts, torch.tensor([EXTRACT])])


def pack(examples, length):
    """Examples of r rows each as one tensor (B, r, length) int64, filled up with PAD, which is 0.

    Raises ValueError for no example, examples with different numbers of rows, or a row that is
    longer: shorten its text, so that the marks stay.
    """
    whole(length, "length", least=2)
    if not examples:
        raise refusal("examples", "at least one", "none")
    counts = sorted({len(rows) for rows in examples})
    if len(counts) > 1 or not counts[0]:
        raise refusal("examples", "as many rows in each, at least one", f"{counts}")
    longest = max(len(row) for rows in examples for row in rows)
    if longest > length:
        raise refusal(
            "examples", f"rows of at most {length} tokens", f"{longest}",
            "shorten the texts before their marks are added",
        )  # fmt: skip
    packed = torch.full((len(examples), counts[0], length), PAD)
    for i, rows in enumerate(examples):
        for k, row in enumerate(rows):
            packed[i, k, : len(row)] = row
    return packed
