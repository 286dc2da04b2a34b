"""What a notebook says about its open experiments: experiment, hand_in.

    experiment("kept-dimensions")                 what is asked, and, folded, what a good answer has
    hand_in("kept-dimensions", None)              nothing is handed in yet, and that is said
    hand_in("kept-dimensions", 12, "a sentence")  your number, text or figure is kept, with a note

What is handed in is kept with the progress. A second answer takes the place of the first, which is
kept beside it, and that is said. In the published page nothing is kept.
"""

from __future__ import annotations

from html import escape

from genai_utils.checks import records
from genai_utils.checks.experiments import find, prose
from genai_utils.display.output import Bundle, stylesheet

STYLES = ("figure.css", "predict.css")
GOOD = "What a good answer contains"


def experiment(name):
    """Show the open experiment of that name. Raises TypeError or ValueError for none."""
    experiment_bundle(name).display()


def experiment_bundle(name):
    """The output that `experiment` displays."""
    _, asked = find(name)
    example = {"number": '12, "what you did"', "text": '"…"', "figure": 'fig, "what it shows"'}
    call = f'hand_in("{name}", {example[asked.kind]})'
    said = f"<b>Hand in</b> {prose(asked.hand_in)}: <code>{escape(call)}</code>"
    html = (
        f'<figure class="genai genai-predict" data-figure="experiment-{escape(name)}">'
        f"{stylesheet(*STYLES)}"
        f'<p class="genai-question">Open experiment ({asked.minutes} minutes)</p>'
        f"<p>{prose(asked.question)}</p><p>{said}</p>"
        f"<details><summary>{GOOD}</summary>{_points(asked)}</details></figure>"
    )
    plain = f"Open experiment ({asked.minutes} minutes)\n{asked.question}\n"
    plain += f"Hand in {asked.hand_in}: {call}"
    return Bundle(text_html=html, text_plain=plain)


def _points(asked) -> str:
    return f"<ul>{''.join(f'<li>{prose(point)}</li>' for point in asked.good)}</ul>"


def hand_in(name, found=None, note=""):
    """Keep what you found, and show what a good answer contains. Without it: what is to do.

    note: a sentence or two beside a number or a figure. Raises TypeError or ValueError for a name
    that is none, and for what is not the number, text or figure that is asked for.
    """
    topic, asked = find(name)
    if not isinstance(note, str):
        raise TypeError(f'hand_in("{name}", …, note) expects a text as note; got a '
                        f"{type(note).__name__}.")  # fmt: skip
    if found is None:
        hand_in_bundle(name).display()
        return
    kept = asked.read(found)
    before = records.Records().handed_in()[0].get(topic, {}).get(name, {})
    notes = records.Records().hand_in(topic, name, kind=asked.kind, said=kept, note=note.strip())
    lines = [f"{'Kept' if records.saved(notes) else 'Not kept'}: {asked.words(kept)}"]
    if before.get("said") and (before["said"], before["note"]) != (kept, note.strip()):
        when = before["last"][:10]
        lines.append(f"Before, on {when}, you handed in {asked.words(before['said'])}. "
                     "That is kept, too.")  # fmt: skip
    lines += filter(None, [asked.doubt(kept), *notes])
    rows = "".join(f"<p>{escape(line)}</p>" for line in lines)
    Bundle(
        text_html=f'<div class="genai genai-predict">{stylesheet(*STYLES)}{rows}'
        f"<p><b>{GOOD}</b></p>{_points(asked)}</div>",
        text_plain="\n".join([*lines, f"{GOOD}:", *(f"- {point}" for point in asked.good)]),
    ).display()


def hand_in_bundle(name):
    """The output of `hand_in(name, None)`: what is still to do."""
    _, asked = find(name)
    line = f"to do: hand in {asked.hand_in}. Put {asked.wanted} in place of None."
    html = f'<div class="genai genai-predict">{stylesheet(*STYLES)}<p>○ {prose(line)}</p></div>'
    return Bundle(text_html=html, text_plain=f"○ {line}")
