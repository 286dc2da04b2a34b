"""A store that the reader edits, a search in it, and a small GPT that answers and cites.

The world is the chapter's (`language.fact_world`). `make_rag` trains the encoder and the reader.
"""

import base64
import re
from importlib.resources import files

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.display.output import escape
from genai_utils.display.page_gpt import PageGPT, quantized_copy
from genai_utils.language import fact_world as world
from genai_utils.language import retrieval
from genai_utils.language.bi_encoder import BiEncoder, padded
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.toys.figure import toy_figure

WEIGHTS = files("genai_utils.toys") / "weights"
CONFIG = GPTConfig(world.VOCABULARY, world.CONTEXT, layers=2, heads=4, dim=48)
DIM = 24  # numbers of a vector of the encoder
METHODS = ("both", "words", "vectors")
K, LINES = 3, 24  # passages for the reader at the start, and lines of the store at most
STORE = (
    "mina lives in oslo .", "ravi works as a baker .", "ravi owns a goat .",
    "ravi plays the piano .", "ravi always orders curry .",
    "ravi sleeps well in lisbon .", "hana works as a pilot .", "the pet of hana is a parrot .",
    "the favourite dish of mina is sushi .", "hana has a violin to practise on .",
    "every day mina feeds a donkey .", "the street knows mina as its tailor .",
    "hana likes falafel best .",
)  # fmt: skip
QUESTIONS = (
    "what is the job of ravi ?", "where does ravi live ?", "what does hana look after ?",
    "which dish does mina prefer ?", "what does mina do all day ?", "what does hana play ?",
    "what is the address of hana ?",
)  # fmt: skip
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "rag.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_canvas.js", "page_gpt.js", "sampling.js", "rag.js",
)  # fmt: skip
ALT = (
    "A list of sentences about three people, a question, the sentences that are found for it, and "
    "the answer of a small GPT with the sentence that it cites."
)


def blank():
    """The untrained reader and encoder; the random numbers of their start are nobody's."""
    with torch.random.fork_rng(devices=[]):
        return GPT(CONFIG).eval(), BiEncoder(world.VOCABULARY, DIM)


def load():
    """The trained reader and encoder and the record of their making.

    Raises DataError where the files are damaged.
    """

    def build(payload):
        reader, encoder = blank()
        state = {name: w.float() for name, w in safetensors.torch.load(payload).items()}
        for part, name in ((reader, "reader."), (encoder, "encoder.")):
            own = {k.removeprefix(name): w for k, w in state.items() if k.startswith(name)}
            part.load_state_dict(own)
        return reader, encoder

    make = "python -m genai_utils.toys.make rag"
    (reader, encoder), record = shipped.read(WEIGHTS / "rag.safetensors", "rag toy", make, build)
    return reader, encoder, record


def tokens(text, most):
    """The words of a line that the world knows, as ids, the first `most` of them."""
    words = re.sub(r"([.?])", r" \1 ", text.lower()).split()
    return [world.INDEX[word] for word in words if word in world.INDEX][:most]


@torch.no_grad()
def vectors(encoder, lines):
    """The vectors of lines, (n, d): of their words without full stops and question marks."""
    return encoder(padded([world.search_ids(line) for line in lines]))


def ranked(encoder, lines, question, method="both"):
    """All lines that are found, the best first: a list of numbers."""
    n, asked = len(lines), retrieval.terms(question)
    if not n:
        return []
    index = retrieval.BM25([retrieval.terms(line) for line in lines])
    by_words = index.rank([asked], n)
    by_vectors = retrieval.Dense(vectors(encoder, lines)).rank(vectors(encoder, [question]), n)
    both = retrieval.fused([by_words, by_vectors], n, n)
    chosen = {"words": by_words, "vectors": by_vectors, "both": both}[method][0]
    return chosen[chosen >= 0].tolist()


@torch.no_grad()
def answer(reader, lines, question):
    """What the reader says: (word, number of the cited line or None, probabilities (V,) of it)."""
    ids = []
    for number, line in enumerate(lines[: world.MOST]):
        ids += [1 + number, *tokens(line, world.LONGEST)]
    mark = world.INDEX["?"]
    asked = [i for i in tokens(question, world.LONGEST) if i != mark]
    ids += [*asked, mark, world.INDEX["="]]
    for _ in range(2):  # what is asked, of whom
        ids.append(reader(torch.tensor([ids]))[0, -1].argmax().item())
    p = reader(torch.tensor([ids]))[0, -1].softmax(-1)
    said = p.argmax().item()
    if not 1 <= said <= world.MOST:
        return world.WORDS[said], None, p
    word = reader(torch.tensor([[*ids, said]]))[0, -1].argmax().item()
    return world.WORDS[word], said - 1 if said <= len(lines) else None, p


def still(found, said, cited):
    """The answer as it stands before the script runs."""
    rows = "".join(
        f"<li{' class=genai-cited' if i == cited else ''}>{escape(STORE[n])}</li>"
        for i, n in enumerate(found)
    )
    store = escape("\n".join(STORE))
    return (
        f'<div class="genai-rag"><pre>{store}</pre><p>{escape(QUESTIONS[0])}</p><ol>{rows}</ol>'
        f"<p><b>{escape(said)}</b> [{(cited or 0) + 1}]</p></div>"
    )


def bundle():
    """The output that ``play("rag")`` displays."""
    reader, encoder, record = load()
    half = lambda w: base64.b64encode(w.half().numpy().tobytes()).decode()  # noqa: E731
    data = {
        "words": list(world.WORDS),
        "most": world.MOST,
        "longest": world.LONGEST,
        "lines": LINES,
        "k": K,
        "store": list(STORE),
        "questions": list(QUESTIONS),
        "dim": DIM,
        "vectors": half(encoder.vectors.weight.detach()),
        "weights": half(encoder.weights.weight.detach()),
        "gpt": PageGPT(reader).export(),
    }
    found = ranked(encoder, STORE, QUESTIONS[0])[:K]
    said, cited, _ = answer(quantized_copy(reader), [STORE[i] for i in found], QUESTIONS[0])
    got = record["accuracy"]
    caption = (
        f"Everything is computed in the page: a search by words (BM25), one by vectors of {DIM} "
        f"numbers, and a GPT of {record['parameters']:,} weights that reads what is found. Its "
        "texts of training had facts drawn anew each time, so it knows none. On "
        f"{record['questions']:,} new questions it is right in {100 * got['right']:.0f} % where "
        f"one of {world.MOST} passages answers, and says “unknown” in {100 * got['unknown']:.0f} % "
        "where none does. Whatever you write changes no weight."
    )
    return toy_figure(
        "rag", still(found, said, cited), caption, data, "ragToy", SCRIPTS, STYLES, ALT,
        "Use fewer layers or channels.", key=data["gpt"]["weights"] + "".join(STORE),
    )  # fmt: skip
