"""Bring the words of a stored output up to date, without a run.

The alt text, the caption, where an explorer opens, the order of its sliders and of the values on
them, the names of a walk's stops and the letter of a pad's code are words about pictures that are
there already. Where a cell says them literally, its stored output can be given what the code says
today; `book.digest` leaves these out of the digest of a run.
"""

import ast
import base64
import html
import io
import itertools
import json
import re

from PIL import Image

from genai_utils.book.digest import axes, literal, name_of, showing, words
from genai_utils.display import pictures
from genai_utils.display.explorer import controls, label_of, place
from genai_utils.display.latent_pad import walk_labels

_CAPTION = re.compile(r"<(fig)?caption>(.*?)</(fig)?caption>", re.DOTALL)
_EXPLORER = re.compile(r"(\nexplorer\(root, )(\{.*?\})(\);\n\}\)\(\);</script>)", re.DOTALL)
_WALK = re.compile(r"(\nwalk\(root, )(\{.*?\})(\);\n\}\)\(\);</script>)", re.DOTALL)
_CONTROLS = re.compile(r'<div class="genai-controls".*?</div>', re.DOTALL)
_PLACE = re.compile(r' value="(\d+)" aria-valuetext=')
_NAMES = re.compile(r'\npad\(root, \{.*?"names":\[(.*?)\]', re.DOTALL)
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
    if "caption" in said or "caption" not in given:
        _caption(data, said.get("caption"), name_of(call) == "table")
    if name_of(call) == "explore":
        _explorer(data, axes(call), said.get("start", {}) if "start" in said or "start" not in given
                  else None)  # fmt: skip
    if name_of(call) == "latent_pad" and ("symbol" in said or "symbol" not in given):
        _symbol(data, said.get("symbol", "c"))
    if name_of(call) == "latent_walk" and ("labels" in said or "labels" not in given):
        _labels(data, said.get("labels"))
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
    if len(found) != bool(caption):
        state = "no caption yet" if caption else "a caption that the code has not"
        raise Unlike(f"it has {state}: run the notebook.")
    if not caption:
        return
    old = found[0]
    if html.unescape(old[2]) == caption:
        return
    tag = f"{old[1] or ''}caption"
    fresh = f"<{tag}>{html.escape(caption)}</{tag}>"
    data["text/html"] = data["text/html"].replace(old[0], fresh)
    if is_table:
        first, line, rest = data["text/plain"].partition("\n")
        data["text/plain"] = f"{caption}{line}{rest}"


def _explorer(data, sliders, start):
    """Put an explorer's sliders and values into another order, or open it elsewhere.

    start: axis -> value; None: where it opens is computed, and stays.
    """
    page = data["text/html"]
    script = _EXPLORER.search(page)
    if not script:
        raise Unlike("no explorer is stored: run the notebook.")
    inside = json.loads(script[2])
    picture = _PICTURE.search(page)
    now = [int(place) for place in _PLACE.findall(page)]
    old = dict(zip(inside["names"], inside["labels"], strict=True))
    opening = dict(zip(inside["names"], now, strict=True))
    inside["frames"][inside["order"][_index(now, old.values())]] = picture[4]

    new = _axes(old, sliders)
    frames, order, seen = [], [], {}
    for places in itertools.product(*(range(len(labels)) for labels in new.values())):
        at = dict(zip(new, places, strict=True))
        before = [labels.index(new[axis][at[axis]]) for axis, labels in old.items()]
        frame = inside["frames"][inside["order"][_index(before, old.values())]]
        if frame not in seen:
            seen[frame] = len(frames)
            frames.append(frame)
        order.append(seen[frame])
    if start is None:
        want = [labels.index(old[axis][opening[axis]]) for axis, labels in new.items()]
    else:
        want = _places(new, start)
    if list(new.items()) == list(old.items()) and want == now:
        return

    inside.update(names=list(new), labels=list(new.values()), order=order, frames=frames)
    first = order[_index(want, new.values())]
    shown, frames[first] = frames[first], ""
    told = ", ".join(
        f"{axis} = {labels[i]}" for (axis, labels), i in zip(new.items(), want, strict=True)
    )
    alt = html.escape(f"{inside['alt']} Now {told}.")
    fresh = json.dumps(inside, separators=(",", ":")).replace("</", "<\\/")
    page = page.replace(script[0], f"{script[1]}{fresh}{script[3]}")
    page = page.replace(picture[0], f"{picture[1]}{alt}{picture[3]}{shown}")
    panel = controls({axis: (labels, None) for axis, labels in new.items()}, want)
    data["text/html"] = page.replace(_CONTROLS.search(page)[0], panel)
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as image:
        colours = image.convert("RGB")
    grey = colours.convert("L")
    is_grey = grey.convert("RGB").tobytes() == colours.tobytes()
    for kind in ("image/png", "image/jpeg"):
        data.pop(kind, None)
    data.update(pictures.still(grey if is_grey else colours))


def _axes(old, sliders):
    """Name -> labels in the order of the code; labels that the code computes stay as they are."""
    new = {}
    for slider in sliders:
        axis = slider.arg.replace("_", " ")
        new[axis] = old.get(axis, [])
        if literal(slider.value):
            values = ast.literal_eval(slider.value)
            plain = str if isinstance(values, dict) else label_of
            new[axis] = [plain(value) for value in values]
    if not sliders:
        return old
    if {axis: sorted(labels) for axis, labels in new.items()} != {
        axis: sorted(labels) for axis, labels in old.items()
    }:
        raise Unlike("its sliders have other values than are stored: run the notebook.")
    return new


def _places(axes, start):
    start = {key.replace("_", " "): value for key, value in start.items()}
    for axis, value in start.items():
        if place(axes.get(axis, []), value) is None:
            raise Unlike(f"{axis} = {label_of(value)} is none of {axes.get(axis)}.")
    return [place(labels, start[axis]) if axis in start else 0 for axis, labels in axes.items()]


def _index(places, axes):
    """The number of a combination, as itertools.product counts them."""
    number = 0
    for at, labels in zip(places, axes, strict=True):
        number = number * len(labels) + at
    return number


def _symbol(data, symbol):
    """The letter of a pad's two numbers, wherever it stands: c₁ or z₁."""
    names = json.loads(f"[{_NAMES.search(data['text/html'])[1]}]")
    for name in names:
        fresh = symbol + name.lstrip("abcdefghijklmnopqrstuvwxyz")
        for old, new in ((name, fresh), (json.dumps(name)[1:-1], json.dumps(fresh)[1:-1])):
            data["text/html"] = data["text/html"].replace(old, new)


def _labels(data, labels):
    script = _WALK.search(data["text/html"])
    if not script:
        raise Unlike("no walk is stored: run the notebook.")
    inside = json.loads(script[2])
    labels = walk_labels(len(inside["codes"])) if labels is None else labels
    if len(labels) != len(inside["codes"]):
        raise Unlike(f"it names {len(labels)} stops, and the walk has {len(inside['codes'])}.")
    inside["labels"] = [str(label) for label in labels]
    fresh = json.dumps(inside, separators=(",", ":")).replace("</", "<\\/")
    data["text/html"] = data["text/html"].replace(script[2], fresh)
