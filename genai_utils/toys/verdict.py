"""A film review read word by word by two classifiers: one was pre-trained, the other was not.

Both are the same small GPT, fine-tuned on the same labelled sentences of chapter 11; the first had
read the sentences without labels before. `make_verdict` trains them. In the page each gives its
verdict after every word, as if the review ended there.
"""

from importlib.resources import files

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.display.output import escape
from genai_utils.display.page_gpt import PageGPT, quantized_copy
from genai_utils.language.finetuning import EXTRACT, START, FineTuned
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.tokenizer import from_pieces
from genai_utils.toys.figure import toy_figure

WEIGHTS = files("genai_utils.toys") / "weights"
SIZES = {"context": 48, "layers": 2, "heads": 4, "dim": 40}
NAMES = {"pretrained": "with pre-training", "scratch": "without"}
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "verdict.css")
SCRIPTS = ("elements.js", "page_math.js", "page_gpt.js", "verdict.js")
ALT = "A review of a film, and above each word two bars: the verdict of two classifiers so far."


def blank(vocabulary):
    """An untrained language model of the toy's size; its random numbers are torch's."""
    return GPT(GPTConfig(vocabulary, **SIZES))


def load():
    """({name: FineTuned}, tokenizer, record). Raises DataError where the files are damaged."""

    def build(payload):
        state, models = safetensors.torch.load(payload), {}
        for name in NAMES:
            mine = {k.removeprefix(f"{name}."): v.float() for k, v in state.items()
                    if k.startswith(f"{name}.")}  # fmt: skip
            with torch.random.fork_rng(devices=[]):
                model = FineTuned(blank(len(mine["model.tokens.weight"])))
            model.load_state_dict(mine)
            models[name] = model.eval()
        return models

    make = "python -m genai_utils.toys.make verdict"
    models, record = shipped.read(WEIGHTS / "verdict.safetensors", "verdict toy", make, build)
    return models, from_pieces(record["pieces"]), record


def for_page(model):
    """The model as a GPT with one token more, whose score is log-odds of "positive", and a bias.

    The log-odds are a product of the last vector with the difference of the head's two rows; so
    this difference serves as the vector of a further token that is never read.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        page = blank(model.model.config.vocabulary + 1).eval()
        weights = model.model.state_dict()
        row = (model.head.weight[1] - model.head.weight[0])[None]
        weights["tokens.weight"] = torch.cat([weights["tokens.weight"], row])
        page.load_state_dict(weights)
        return page, (model.head.bias[1] - model.head.bias[0]).item()


def words_of(text, tokenizer):
    """[(word, its ids)] of a text, as many as fit: a word's later pieces begin with ##."""
    found = []
    for i, piece in zip(ids := tokenizer.encode(text).tolist(), tokenizer.pieces(ids), strict=True):
        if found and piece.startswith("##"):
            found[-1] = (found[-1][0] + piece[2:], [*found[-1][1], i])
        else:
            found.append((piece, [i]))
    total, kept = 0, []
    for word, own in found:
        total += len(own)
        if total > SIZES["context"] - 2:
            break
        kept.append((word, own))
    return kept


@torch.no_grad()
def verdicts(page, bias, words):
    """P(positive) after each word: a list of floats; page, bias: of `for_page`."""
    read, found = [START], []
    for _, own in words:
        read += own
        logits = page(torch.tensor([[*read, EXTRACT]]))[0, -1]
        found.append(torch.sigmoid(logits[-1] + bias).item())
    return found


def bar(kind, p):
    """One of the two bars of a word, from its middle up or down."""
    side, high = ("bottom", p - 0.5) if p >= 0.5 else ("top", 0.5 - p)
    return f'<b class="genai-{kind}" style="{side}:50%;height:{100 * high:.0f}%"></b>'


def said(p):
    return f"{'positive' if p >= 0.5 else 'negative'}, {max(p, 1 - p):.2f}"


def still(words, found, label):
    """The review before the script runs."""
    chips = "".join(
        f'<span class="genai-word"><i>{bar("pretrained", a)}{bar("scratch", b)}</i>'
        f"<span>{escape(word)}</span></span>"
        for (word, _), a, b in zip(words, *found, strict=True)
    )
    rows = "".join(
        f'<p><b class="genai-key genai-{kind}"></b>{name}: {said(p[-1])}</p>'
        for (kind, name), p in zip(NAMES.items(), found, strict=True)
    )
    people = f"<p>The critic meant it {('negative', 'positive')[label]}.</p>"
    return f'<div class="genai-still"><div class="genai-review">{chips}</div>{rows}{people}</div>'


def bundle():
    """The output that ``play("verdict")`` displays."""
    models, tokenizer, record = load()
    pages = {name: for_page(model) for name, model in models.items()}
    examples = record["examples"]
    words = words_of(examples[0]["text"], tokenizer)
    found = [verdicts(quantized_copy(page), bias, words) for page, bias in pages.values()]
    data = {
        "pieces": record["pieces"],
        "examples": [[e["text"], e["label"]] for e in examples],
        "models": [
            {"kind": name, "name": NAMES[name], "gpt": PageGPT(page).export(), "bias": bias}
            for name, (page, bias) in pages.items()
        ],
    }
    right = record["test"]
    caption = (
        f"Two GPTs of {record['parameters']:,} weights, fine-tuned on the same "
        f"{record['labels']:,} sentences with labels. One had read {record['raw']:,} sentences "
        f"without labels before. Of {record['sentences']:,} other sentences they get "
        f"{100 * right['pretrained']:.1f} % and {100 * right['scratch']:.1f} % right. Bars up: "
        "positive; down: negative."
    )
    return toy_figure(
        "verdict", still(words, found, examples[0]["label"]), caption, data, "verdictToy", SCRIPTS,
        STYLES, ALT, "Use fewer pieces or channels.", looks="genai-verdicts",
        key=data["models"][0]["gpt"]["weights"],
    )  # fmt: skip
