"""Bring the words of a stored output up to date, without a run.

The alt text, the caption, where an explorer opens and the names of a walk's stops are words about
pictures that are there already. Where a cell says them literally, its stored output can be given
what the code says today; `book.digest` leaves these out of the digest of a run.
"""

import ast
import base64
import html
import io
import json
import re

from PIL import Image

from genai_utils.book.digest import name_of, showing, words
from genai_utils.display import pictures
from genai_utils.display.explorer import _label

_CAPTION = re.compile(r"<(fig)?caption>(.*?)</(fig)?caption>", re.DOTALL)
_EXPLORER = re.compile(r"(\nexplorer\(root, )(\{.*?\})(\);\n\}\)\(\);</script>)", re.DOTALL)
_WALK = re.compile(r"(\nwalk\(root, )(\{.*?\})(\);\n\}\)\(\);</script>)", re.DOTALL)
_SLIDER = re.compile(r'value="(\d+)" aria-valuetext="[^"]*"(></label><output[^>]*>)[^<]*')
_PICTURE = re.compile(r'(<img class="dark-light[^>]*? alt=")([^"]*)(" src=")([^"]*)')


class Unlike(ValueError):
    """A stored output that does not have the parts that its call makes."""


def retouched(notebook):
    """(index of the cell, output, what it would store with today's words), for each output.

    Raises Unlike where a cell's outputs are not those of its calls.
    """
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        try:
            calls = showing(ast.parse(cell.source))
        except SyntaxError:  # %magics
            continue
        shown = [
            o for o in cell.outputs if 'class="genai' in o.get("data", {}).get("text/html", "")
        ]
        if not calls:
            continue
        if len(calls) != len(shown):
            raise Unlike(f"cell {index} has {len(calls)} calls that show something and stores "
                         f"{len(shown)} outputs of them: run the notebook.")  # fmt: skip
        for call, output in zip(calls, shown, strict=True):
            try:
                yield index, output, _fresh(call, output["data"])
            except Unlike as problem:
                raise Unlike(f"cell {index}, {name_of(call)}(…): {problem}") from None


def _fresh(call, data):
    """The data of an output with the words of its call."""
    said = {key: ast.literal_eval(word.value) for key, word in words(call).items()}
    given = {keyword.arg for keyword in call.keywords}
    data = dict(data)
    if "alt" in said:
        _alt(data, said["alt"].strip())
    if said.get("caption") is not None:
        _caption(data, said["caption"], name_of(call) == "table")
    if name_of(call) == "explore" and ("start" in said or "start" not in given):
        _start(data, said.get("start"))
    if "labels" in said:
        _labels(data, said["labels"])
    return data


def _alt(data, alt):
    """The plain text of a figure is its alt text; the HTML has it escaped, and in a script."""
    old = data["text/plain"]
    if old == alt:
        return
    inside = [json.dumps(text)[1:-1].replace("</", "<\\/") for text in (old, alt)]
    page = data["text/html"].replace(f'"alt":"{inside[0]}"', f'"alt":"{inside[1]}"')
    in_tag = f'="{html.escape(old)}'
    if in_tag not in page:
        raise Unlike("its alt text cannot be told in what is stored: run the notebook.")
    data["text/html"] = page.replace(in_tag, f'="{html.escape(alt)}')
    data["text/plain"] = alt


def _caption(data, caption, is_table):
    found = list(_CAPTION.finditer(data["text/html"]))
    if len(found) != 1:
        raise Unlike("it has no caption yet: run the notebook.")
    old = found[0]
    if html.unescape(old[2]) == caption:
        return
    tag = f"{old[1] or ''}caption"
    fresh = f"<{tag}>{html.escape(caption)}</{tag}>"
    data["text/html"] = data["text/html"].replace(old[0], fresh)
    if is_table:
        first, line, rest = data["text/plain"].partition("\n")
        data["text/plain"] = f"{caption}{line}{rest}"


def _start(data, start):
    """Open an explorer elsewhere: the picture, the sliders, and the frame that is left out."""
    page = data["text/html"]
    script = _EXPLORER.search(page)
    if not script:
        raise Unlike("no explorer is stored: run the notebook.")
    inside = json.loads(script[2])
    now = [int(slider[1]) for slider in _SLIDER.finditer(page)]
    want = []
    start = {key.replace("_", " "): _label(value) for key, value in (start or {}).items()}
    for axis, labels in zip(inside["names"], inside["labels"], strict=True):
        if axis in start and start[axis] not in labels:
            raise Unlike(f"{axis} = {start[axis]} is none of {labels}.")
        want.append(labels.index(start[axis]) if axis in start else 0)
    if want == now:
        return
    first, last = (_place(places, inside["labels"]) for places in (now, want))
    frames, order = inside["frames"], inside["order"]
    picture = _PICTURE.search(page)
    frames[order[first]] = picture[4]
    opening, frames[order[last]] = frames[order[last]], ""
    told = ", ".join(f"{axis} = {labels[place]}" for axis, labels, place
                     in zip(inside["names"], inside["labels"], want, strict=True))  # fmt: skip
    alt = html.escape(f"{inside['alt']} Now {told}.")
    fresh = json.dumps(inside, separators=(",", ":")).replace("</", "<\\/")
    page = page.replace(script[0], f"{script[1]}{fresh}{script[3]}")
    page = page.replace(picture[0], f"{picture[1]}{alt}{picture[3]}{opening}")
    places = iter(zip(inside["labels"], want, strict=True))

    def slider(found):
        labels, place = next(places)
        text = html.escape(labels[place])
        return f'value="{place}" aria-valuetext="{text}"{found[2]}{text}'

    data["text/html"] = _SLIDER.sub(slider, page)
    with Image.open(io.BytesIO(base64.b64decode(opening.partition(",")[2]))) as image:
        colours = image.convert("RGB")
    grey = colours.convert("L")
    is_grey = grey.convert("RGB").tobytes() == colours.tobytes()
    data["image/png"] = pictures.png_text(grey if is_grey else colours)


def _place(places, labels):
    first = 0
    for place, names in zip(places, labels, strict=True):
        first = first * len(names) + place
    return first


def _labels(data, labels):
    script = _WALK.search(data["text/html"])
    if not script:
        raise Unlike("no walk is stored: run the notebook.")
    inside = json.loads(script[2])
    if len(labels) != len(inside["codes"]):
        raise Unlike(f"it names {len(labels)} stops, and the walk has {len(inside['codes'])}.")
    inside["labels"] = [str(label) for label in labels]
    fresh = json.dumps(inside, separators=(",", ":")).replace("</", "<\\/")
    data["text/html"] = data["text/html"].replace(script[2], fresh)
