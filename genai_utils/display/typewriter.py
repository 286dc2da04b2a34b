"""A language model that writes in the reader's browser, each letter shaded by its probability."""

from genai_utils.display.output import (
    HIDDEN,
    Bundle,
    attribute,
    escape,
    figcaption,
    require_size,
    require_text,
    script,
    stylesheet,
    unique_id,
)
from genai_utils.display.page_gpt import PageGPT
from genai_utils.display.tokens import legend, percent, step
from genai_utils.inputs import number, whole

LONGEST = 1_000  # letters of a prompt
STYLES = ("controls.css", "inputs.css", "tokens.css", "typewriter.css")
SCRIPTS = ("page_random.js", "page_math.js", "page_gpt.js", "sampling.js", "typewriter.js")
RANGES = {"temperature": (0, 2), "top_p": (0.05, 1)}  # of the sliders


def _vocabulary(characters, count):
    characters = list(characters)
    if not all(isinstance(char, str) and len(char) == 1 for char in characters):
        raise TypeError("characters must be a string, or a list of single letters, one per token.")
    if len(set(characters)) != len(characters):
        raise ValueError("characters must all differ.")
    if len(characters) != count:
        raise ValueError(
            f"The model has {count} tokens, but characters names {len(characters)}: pass those of "
            "its tokenizer, in the same order."
        )
    return characters


def _letter(char, p):
    """One written letter; a line break gets a sign that copying the text leaves out."""
    line = " genai-br" if char == "\n" else ""
    return f'<span class="genai-p{step(p)}{line}" title="{percent(p)}">{escape(char)}</span>'


def _slider(key, label, value, by):
    low, high = RANGES[key]
    return (
        f'<label><span class="genai-name">{label}</span><input type="range" name="{key}" '
        f'min="{low}" max="{high}" step="{by}" value="{value:g}"></label>'
        f'<span class="genai-value">{value:.2f}</span>'
    )


def typewriter_bundle(model, characters, *, prompt, alt, name=None, caption=None, temperature=0.8,
                      top_p=1.0, seed=1, first=240, length=300):  # fmt: skip
    """The output that :func:`typewriter` displays."""
    alt = require_text(alt, "alt")
    gpt = PageGPT(model)
    characters = _vocabulary(characters, gpt.sizes.vocabulary)
    if not isinstance(prompt, str) or len(prompt) > LONGEST:
        raise ValueError(
            f"prompt must be a string of at most {LONGEST} letters, got {prompt!r:.60}."
        )
    unknown = sorted(set(prompt) - set(characters))
    if unknown:
        raise ValueError(f"prompt has letters that the model does not know: {unknown}.")
    temperature, top_p = (
        number(temperature, "temperature", *RANGES["temperature"]),
        number(top_p, "top_p", *RANGES["top_p"]),
    )
    seed = whole(seed, "seed", 0, 2**31)
    first, length = whole(first, "first", 1, 1_000), whole(length, "length", 1, 1_000)

    start = "\n" if "\n" in characters else characters[0]  # what an empty prompt stands for
    ids = [characters.index(char) for char in prompt or start]
    written = gpt.write(ids, first, temperature, top_p, seed)
    shown = [(characters[token], p) for token, p, *_ in written]
    data = {
        "gpt": gpt.export(),
        "characters": characters,
        "start": start,
        "seed": seed,
        "length": length,
        "written": written,
    }
    identity = unique_id(data["gpt"]["weights"] + alt + prompt)
    html = (
        f'<figure class="genai genai-type" id="{identity}" data-explorer="typewriter"'
        f"{attribute('data-figure', name)}>"
        f"{stylesheet('figure.css', *STYLES)}"
        f'<div class="genai-typing"{HIDDEN}><label><span class="genai-name">your text</span>'
        f'<textarea rows="2" maxlength="{LONGEST}" spellcheck="false" autocomplete="off" '
        f'autocapitalize="off" placeholder="empty: it begins with a new line">\n{escape(prompt)}'
        f'</textarea></label><div class="genai-keys"><button type="button" class="genai-go">'
        f'Go on</button><button type="button" class="genai-again">Start again</button>'
        f'<span class="genai-name genai-seed">seed {seed}</span></div>'
        f'<div class="genai-controls">{_slider("temperature", "temperature", temperature, 0.05)}'
        f"{_slider('top_p', 'top-p', top_p, 0.05)}</div></div>"
        f'<div class="genai-tokens" role="group" aria-label="{escape(alt)}">'
        f'<span class="genai-prompt">{escape(prompt)}</span>'
        f"{''.join(_letter(char, p) for char, p in shown)}</div>"
        f'<div class="genai-picked" aria-live="polite"{HIDDEN}></div>'
        f'<div class="genai-status" role="status"></div>'
        f"{legend()}{figcaption(caption)}"
        f"{script(identity, 'typewriter', data, *SCRIPTS)}</figure>"
    )
    said = f"{alt}\n{prompt}{''.join(char for char, _ in shown)}"
    bundle = Bundle(text_html=html, text_plain=said)  # without scripts the text itself is there
    require_size(
        bundle,
        f"The model has {gpt.count:,} weights, one byte each; at most about 370,000 fit. "
        "Use fewer layers or channels.",
    )
    return bundle


def typewriter(model, characters, *, prompt, alt, name=None, caption=None, temperature=0.8,
               top_p=1.0, seed=1, first=240, length=300):  # fmt: skip
    """Display a text field in which the model goes on writing, computed in the page.

    Each letter is shaded by the probability that the model gave it (at temperature 1, whatever the
    sliders say); pointer, finger or arrow keys show the number and the likeliest letters. The page
    has the weights of ``quantized_copy(model)``. When the context is full, its last half is encoded
    anew and the text goes on. A seed and settings give the same text again; *Start again* takes the
    next seed.

    Args:
        model: a GPT of ``genai_utils.language.gpt``, or a module with its weights' names and
            ``config.heads``, over single letters. At most about 370,000 weights.
        characters: the letter of each token, in order.
        prompt: the text that it continues at first; empty: it begins after a line break (after the
            first letter where the vocabulary has no line break).
        alt: what is seen.
        name: lets pages of the book reuse it.
        caption: a short line below it.
        temperature: at which it opens, 0 (always the likeliest) to 2.
        top_p: draws from the fewest letters that hold this probability; 1: from all.
        seed: of the first text.
        first: letters of the text that is in the page already.
        length: letters that one press of *Go on* writes.

    Raises:
        TypeError: a module that has not the weights of a GPT; characters that are no letters.
        ValueError: shapes that do not fit or another function than a GPT's, a prompt with unknown
            letters, settings out of range, more than 600 kB.
    """
    typewriter_bundle(model, characters, prompt=prompt, alt=alt, name=name, caption=caption,
                      temperature=temperature, top_p=top_p, seed=seed, first=first,
                      length=length).display()  # fmt: skip
