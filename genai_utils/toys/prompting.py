"""Examples instead of training: the reader's pairs of letters, and what a small GPT makes of them.

The model is the chapter's: two layers, trained on streams of pairs by rules that are drawn anew for
each stream (`language.prompting`). `make_prompting` trains it and measures it.
"""

from importlib.resources import files

import safetensors.torch
import torch

from genai_utils.data import shipped
from genai_utils.display.output import escape
from genai_utils.display.page_gpt import PageGPT, quantized_copy
from genai_utils.language import prompting
from genai_utils.language.gpt import GPT, GPTConfig
from genai_utils.language.prompting import LETTERS, N
from genai_utils.toys.figure import toy_figure

WEIGHTS = files("genai_utils.toys") / "weights"
PAIRS = 16  # at most, in a prompt
CONFIG = GPTConfig(prompting.VOCABULARY, 2 * PAIRS + 2, layers=2, heads=2, dim=32)
RULE, ORDER, SHOTS = "dhbfaceg", "fbhadgce", 3  # it opens on this rule, with so many examples
STYLES = ("figure.css", "controls.css", "inputs.css", "toys.css", "prompting.css")
SCRIPTS = (
    "page_random.js", "page_math.js", "page_canvas.js", "page_gpt.js", "sampling.js",
    "prompting.js",
)  # fmt: skip
ALT = (
    "A prompt of pairs of letters, and a table: for each of the letters a to h the label by the "
    "rule, and what a small GPT answers after the prompt, with its probability."
)


def blank():
    """The untrained model; the random numbers of its start are nobody's."""
    with torch.random.fork_rng(devices=[]):
        return GPT(CONFIG).eval()


def load():
    """The trained model and the record of its making. Raises DataError where they are damaged."""

    def build(payload):
        model, state = blank(), safetensors.torch.load(payload)
        model.load_state_dict({name: weight.float() for name, weight in state.items()})
        return model

    make = "python -m genai_utils.toys.make prompting"
    return shipped.read(WEIGHTS / "prompting.safetensors", "prompting toy", make, build)


@torch.no_grad()
def answers(model, text, task=prompting.BLANK):
    """What the model says to each of the eight letters after the pairs of a text such as "ad fa".

    Returns the probabilities of the eight letters as the next token, (n, n), a row for each query.
    """
    keys, labels, _ = prompting.read_prompt(f"{text} a")
    k = keys.shape[1]
    task, query = torch.full((N,), task), torch.arange(N)
    prompt = prompting.few_shot_prompt(task, keys.expand(N, k), labels.expand(N, k), query)
    return model(prompt)[:, -1].softmax(-1)[:, :N]


def opening():
    """The text on which it opens: the first examples of the rule."""
    pairs = [letter + RULE[LETTERS.index(letter)] for letter in ORDER[:SHOTS]]
    return " ".join(pairs)


def still(probabilities):
    """The table as it stands before the script runs."""
    best, said = probabilities.max(1)
    head = "".join(f"<th>{letter}</th>" for letter in LETTERS)
    rule = "".join(f"<td>{label}</td>" for label in RULE)
    cells = "".join(
        f"<td>{LETTERS[i]}<small>{p:.2f}</small></td>"
        for i, p in zip(said.tolist(), best.tolist(), strict=True)
    )
    return (
        f'<div class="genai-prompt"><p>prompt: <code>{escape(opening())}</code></p>'
        f'<table><tr><th scope="row">asked</th>{head}</tr>'
        f'<tr><th scope="row">rule</th>{rule}</tr>'
        f'<tr><th scope="row">model</th>{cells}</tr></table></div>'
    )


def bundle():
    """The output that ``play("prompting")`` displays."""
    model, record = load()
    data = {
        "letters": LETTERS,
        "blank": prompting.BLANK,
        "pairs": PAIRS,
        "rule": [LETTERS.index(label) for label in RULE],
        "order": [LETTERS.index(letter) for letter in ORDER],
        "shots": SHOTS,
        "gpt": PageGPT(model).export(),
    }
    found = record["accuracy"]
    caption = (
        f"A GPT of {record['parameters']:,} weights, computed in the page. It was trained on "
        f"{record['streams']:,} streams of pairs, each by a rule of its own. On new tables it is "
        f"right in {100 * found['table'][0]:.0f} % without an example and in "
        f"{100 * found['table'][-1]:.0f} % with all eight; on shifts in "
        f"{100 * found['shift'][1]:.0f} % with one, in {100 * found['shift'][4]:.0f} % with four, "
        f"and in {100 * found['named']:.0f} % with none but the rule's name. Whatever you do here "
        "changes no weight."
    )
    body = still(answers(quantized_copy(model), opening()))
    return toy_figure(
        "prompting", body, caption, data, "promptingToy", SCRIPTS, STYLES, ALT,
        "Use fewer layers or channels.", key=data["gpt"]["weights"] + opening(),
    )  # fmt: skip
