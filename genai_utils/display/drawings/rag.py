"""Chapter 16: from a question by way of the store to an answer that cites, and cells of vectors."""

from genai_utils.display.drawings.canvas import LEAST, Canvas


def rag():
    """Retrieve, read, cite: the facts are in the store, not in the weights.

    A question goes two ways. One leads to the search, which compares it with all passages of a
    store and takes out the two that fit best, here what Ravi owns and what Ravi does. The other
    leads to the reader, a small GPT, which gets these two passages, numbered, and the question. It
    answers with a word and the number of the passage that it is from: baker, passage 1. An edit of
    the store changes what the reader will say next, and its weights stay what they are.
    """
    c = Canvas(500, 400)
    asked = c.box(6, 22, 222, 36, "what is the job of ravi ?", "data", LEAST)
    c.text(6, 14, "question", LEAST, "start", "muted")
    search = c.box(60, 104, 116, 40, "search")
    c.arrow(asked.at(0.5, 1), search.top)
    c.text(374, 14, "store", LEAST, kind="muted")
    c.box(256, 22, 238, 172, dashed=True, role="plain")
    lines = ("mina lives in oslo .", "ravi works as a baker .", "ravi owns a goat .", "…")
    found = []
    for i, line in enumerate(lines):
        role = "output" if "ravi" in line else "data"
        found.append(c.box(268, 32 + 40 * i, 214, 32, line, role, LEAST))
    c.arrow(search.right, (256, 124))
    reader = c.box(118, 262, 250, 44, "reader: a small GPT", "parameter")
    c.arrow((374, 194), (374, 228), (330, 228), (330, 262))
    c.text(384, 220, "[1]  [2]", LEAST, "start", "output")
    c.arrow((30, 58), (30, 228), (156, 228), (156, 262))
    c.text(38, 220, "question", LEAST, "start", "muted")
    c.text(380, 280, ["weights", "fixed"], LEAST, "start", "parameter")
    answer = c.box(180, 348, 126, 38, "baker [1]", "output")
    c.arrow(reader.bottom, answer.top)
    c.text(318, 372, "answer and source", LEAST, "start", "muted")
    return c


DRAWINGS = {"rag": rag}
