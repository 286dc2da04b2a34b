"""What a notebook says about its predictions: predict, reveal.

    predict("recall-far")           the question
    predict("recall-far", 40)       your number, or the letter of your choice, is kept
    reveal("recall-far")            what was predicted, the answer, and why

In the published page a reader predicts and reveals without a kernel; nothing is kept there.
"""

from __future__ import annotations

import os
from html import escape

from genai_utils.checks import records
from genai_utils.checks.predictions import find
from genai_utils.display.output import Bundle, script, stylesheet, unique_id
from genai_utils.printing import say

STYLES = ("figure.css", "inputs.css", "predict.css")


def predict(name, said=None):
    """Show the question of that name; with a letter or a number: keep it as your prediction.

    Until the answer is revealed another prediction takes its place. Raises TypeError or ValueError
    for a name that is none, and for what is no answer to the question.
    """
    topic, prediction = find(name)
    if said is None:
        predict_bundle(name).display()
        return
    said = prediction.read(said)
    kept, notes = records.Records().predictions()
    if kept.get(topic, {}).get(name, {}).get("shown"):
        say(f'The answer has been shown. reveal("{name}") shows it again, with what you predicted.')
    else:
        notes += records.Records().foretell(topic, name, said=str(said))
        say(f"{'kept' if records.saved(notes) else 'not kept'}: {prediction.words(said)}")
    for note in notes:
        say(note)


def reveal(name):
    """Show the answer beside what you predicted. From then on the prediction stands.

    Raises TypeError or ValueError for a name that is none.
    """
    if os.environ.get("GENAI_PUBLISH") == "1":
        reveal_bundle(name).display()
        return
    topic, prediction = find(name)
    kept, notes = records.Records().predictions()
    text = kept.get(topic, {}).get(name, {}).get("said", "")
    said = _said(prediction, text)
    if said is None:
        lines = [f'No prediction was kept: predict("{name}", …) before the answer is shown.']
        changes = {}
    else:
        lines = [f"You predicted: {prediction.words(said)}"]
        changes = {"right": prediction.right(said)}
        lines[0] += ". ✓ It came true." if changes["right"] else ". ✗ It did not come true."
    notes += records.Records().foretell(topic, name, shown=True, **changes)
    lines += [f"The answer: {prediction.words(prediction.answer)}", prediction.because, *notes]
    rows = "".join(f"<p>{escape(line)}</p>" for line in lines)
    Bundle(
        text_html=f'<div class="genai genai-predict">{stylesheet(*STYLES)}'
        f'<p class="genai-question">{escape(prediction.question)}</p>{rows}</div>',
        text_plain="\n".join([prediction.question, *lines]),
    ).display()


def _said(prediction, text):
    """A kept prediction in its own form; None where there is none, or the question has changed."""
    try:
        return prediction.read(text if prediction.choices else float(text))
    except ValueError:
        return None


# ---- what the page shows -------------------------------------------------------------------------


def _answer(prediction) -> str:
    return (
        f"<p><b>{escape(prediction.words(prediction.answer))}</b></p>"
        f"<p>{escape(prediction.because)}</p>"
    )


def predict_bundle(name):
    """The output that `predict` displays: the question, and where a script runs, its controls."""
    _, prediction = find(name)
    choices = "".join(f"<li>{escape(choice)}</li>" for choice in prediction.choices)
    choices = choices and f'<ol type="a">{choices}</ol>'
    example = f'"{prediction.letters[0]}"' if choices else "42"
    call = f'predict("{name}", {example})'
    keep = f"In the notebook, {call} keeps your prediction."
    words = escape(" ".join([prediction.allowed, keep]).strip())
    words = words.replace(escape(call), f"<code>{escape(call)}</code>")
    data = {
        "choices": prediction.choices,
        "unit": prediction.unit,
        "answer": prediction.answer,
        "within": prediction.within,
        "factor": prediction.factor,
    }
    identity = unique_id(f"predict {name} {data}")
    html = (
        f'<figure class="genai genai-predict" id="{identity}" data-figure="predict-{escape(name)}">'
        f"{stylesheet(*STYLES)}"
        f'<p class="genai-question" id="{identity}-question">{escape(prediction.question)}</p>'
        f'<div class="genai-choices">{choices}</div>'
        f'<p class="genai-keep">{words}</p>'
        f"<details><summary>The answer</summary>{_answer(prediction)}</details>"
        f"{script(identity, 'predicted', data, 'elements.js', 'predict.js')}</figure>"
    )
    lines = [f"{a}. {text}" for a, text in zip(prediction.letters, prediction.choices, strict=True)]
    plain = [prediction.question, *lines, prediction.allowed, keep]
    return Bundle(text_html=html, text_plain="\n".join(filter(None, plain)))


def reveal_bundle(name):
    """The output that `reveal` stores in a published page: the answer, folded."""
    _, prediction = find(name)
    identity = unique_id(f"reveal {name} {prediction.because}")
    html = (
        f'<figure class="genai genai-predict" id="{identity}" data-figure="reveal-{escape(name)}">'
        f"{stylesheet(*STYLES)}"
        f"<details><summary>The answer to: {escape(prediction.question)}</summary>"
        f'<p class="genai-said"></p>{_answer(prediction)}</details>'
        f"{script(identity, 'revealed', name, 'reveal.js')}</figure>"
    )
    answer = [prediction.words(prediction.answer), prediction.because]
    plain = "\n".join([f"The answer to: {prediction.question}", *answer])
    return Bundle(text_html=html, text_plain=plain)
