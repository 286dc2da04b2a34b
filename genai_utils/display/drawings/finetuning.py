"""Chapter 11: the four forms of input, and what is put upon a language model for each."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def row(c, y, *texts):
    """Start, one text or two with a delimiter between, Extract, and an arrow into a GPT."""
    x, gap, sign, high = 10, 4, 26, 32
    room = 278 - 2 * (sign + gap) - (len(texts) - 1) * (sign + 2 * gap)
    wides = [room * (len(text) + 4) / sum(len(t) + 4 for t in texts) for text in texts]
    c.box(x, y, sign, high, "S", "parameter", round=4)
    x += sign + gap
    for i, (text, wide) in enumerate(zip(texts, wides, strict=True)):
        if i:
            c.box(x, y, sign, high, "$", "parameter", round=4)
            x += sign + gap
        c.box(x, y, wide, high, text, "data", LEAST, round=4)
        x += wide + gap
    last = c.box(x, y, sign, high, "E", "parameter", round=4)
    body = c.box(316, y, 54, high, "GPT")
    c.arrow(last.right, body.left)
    return body


def input_forms():
    """The four forms of input of GPT-1, as rows of tokens that go through one GPT.

    S is Start, $ the delimiter and E Extract. Classification: S, the text, E, through the GPT and a
    linear layer. Entailment: S, premise, $, hypothesis, E, through the GPT and a linear layer.
    Similarity: the two texts in both orders, each through the GPT; the two vectors are added, and
    the sum goes through a linear layer. Multiple choice: the context with each answer, each through
    the GPT and a linear layer of its own number; softmax over the answers.
    """
    c = Canvas(500, 396)

    def head(y, text="linear", high=32):
        return c.box(418, y, 66, high, text, "output")

    for y, name, texts in (
        (32, "classification", ("text",)),
        (108, "entailment", ("premise", "hypothesis")),
    ):
        c.text(10, y - 10, name, LEAST, "start", "muted")
        c.arrow(row(c, y, *texts).right, head(y).left)
    c.text(10, 174, "similarity", LEAST, "start", "muted")
    plus = c.node(394, 219, 12, "+", size=18)
    for y, texts in ((184, ("text a", "text b")), (222, ("text b", "text a"))):
        body = row(c, y, *texts)
        c.arrow(body.right, (plus.centre[0], body.right[1]), (plus.centre[0], 219), head=False)
    c.arrow(plus.right, head(203).left)
    c.text(10, 288, "multiple choice", LEAST, "start", "muted")
    for k, y in enumerate((298, 336)):
        c.arrow(row(c, y, "context", f"answer {k + 1}").right, head(y).left)
    c.brace((488, 298), (488, 368), depth=6)
    c.text(450, 388, "softmax", LEAST, kind="muted")
    c.text(10, 388, "S: Start, $: Delimiter, E: Extract", LEAST, "start", "muted")
    return c


DRAWINGS = {"input-forms": input_forms}
