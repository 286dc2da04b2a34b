"""The directives of the page on equal numbers: what agrees, where differences grow, and cards.

All are made from `benchmarks/same_numbers.json`, which `python -m benchmarks.same_numbers` writes.
"""

import math

from docutils import nodes

from genai_utils.book.nodes import BookDirective, formula, link, number, paragraph, table
from genai_utils.book.stored import digits, record
from genai_utils.display.drawing import drawn
from genai_utils.display.drawings.canvas import Canvas

TITLES = {
    "kmeans": "k-means", "pca": "PCA", "nmf": "NMF", "skip_gram": "skip-gram", "gpt": "GPT",
    "vae": "VAE", "flow": "flow", "vq": "VQ", "diffusion": "diffusion", "clip": "CLIP",
    "gan": "GAN",
}  # fmt: skip
FLOOR, LARGE = 1e-9, 1e-2  # of the figure; a relative difference from which on nothing is the same


def shared(count):
    """Digits for a table: None -> "all"."""
    return "all" if count is None else f"{count:.1f}"


def others(found):
    """Setting -> comparison, of one model's entry."""
    return {setting: one for setting, one in found.items() if setting != "native"}


class SameDigits(BookDirective):
    """A table: each figure, and to how many digits the other settings agree with it."""

    def build(self, env):
        stored = record(env, "same_numbers")
        settings = [name for name in stored["settings"] if name != "native"]
        rows = []
        for name, found in stored["models"].items():
            for figure, value in found["native"]["figures"].items():
                same = [found[s]["digits"][figure] if s in found else "" for s in settings]
                cells = [one if one == "" else shared(one) for one in same]
                rows.append([TITLES[name], f"{figure}: {digits(value, 7)}", *cells])
            if found["native"]["text"]:
                length = len(found["native"]["text"])
                cells = [str(found[s]["text"]) if s in found else "" for s in settings]
                rows.append([TITLES[name], f"text of {length} letters, alike so far", *cells])
        head = ["Model", "Figure", *settings]
        widths = [12, 30, *[58 // len(settings)] * len(settings)]
        return [table(head, rows, widths, ["same-digits"])]


class SameGrowth(BookDirective):
    """A table: from which step on losses differ, how fast that grows, and how it ends.

    `{same-growth} two threads` names the setting.
    """

    required_arguments, optional_arguments, final_argument_whitespace = 1, 0, True

    def build(self, env):
        setting, rows = self.arguments[0], []
        models = record(env, "same_numbers")["models"]
        for name, found in sorted(models.items(), key=lambda pair: pair[1][setting]["end"]):
            one, steps = found[setting], len(found["native"]["curve"])
            first = "never" if one["first"] is None else str(one["first"])
            rows.append(
                [TITLES[name], str(steps), first, tenfold(one["decades"]), small(one["end"])]
            )
        head = ["Model", "Steps", "First differ at step", "Ten times as large after", "At the end"]
        return [table(head, rows, [20, 14, 22, 22, 22], ["same-growth"])]


def tenfold(decades):
    """Powers of ten in 100 steps -> "7 steps"; below one in 200: it does not grow."""
    if decades is None:
        return ""
    return "does not grow" if decades < 0.5 else f"{100 / decades:.0f} steps"


def small(value):
    """A relative difference: 0 -> "0", 2.3e-7 -> "2e−7", 0.012 -> "1 %"."""
    if value == 0:
        return "0"
    return f"{100 * value:.1g} %" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e−")


class SameCurves(BookDirective):
    """The figure: the relative difference of the losses of two settings over the steps."""

    required_arguments, optional_arguments, final_argument_whitespace = 1, 0, True

    def build(self, env):
        setting = self.arguments[0]
        models = record(env, "same_numbers")["models"]
        ends = {name: found[setting]["end"] for name, found in models.items()}
        worst = TITLES[max(ends, key=ends.get)]
        alt = (
            f"Relative difference of two loss curves over the steps, on a logarithmic axis from "
            f"one billionth to 1, for {len(models)} models; the other setting is: {setting}. Some "
            f"curves stay near rounding, others climb steadily; {worst} ends highest."
        )
        curves = {name: found[setting]["apart"] for name, found in models.items()}
        html = drawn(apart(curves), f"How far losses come apart: {setting}", alt, "apart")
        return [nodes.raw("", f'<div class="from-notebook">{html}</div>', format="html")]


def apart(curves, width=600, height=400):
    """The canvas: curves of relative differences, the largest so far of 5 steps each."""
    canvas = Canvas(width, height)
    left, right, top, bottom = 62, 90, 16, height - 50
    steps = max(map(len, curves.values()))

    def place(step, value):
        up = math.log(max(value, FLOOR) / FLOOR) / math.log(1 / FLOOR)
        return left + (width - left - right) * step / steps, bottom - (bottom - top) * min(up, 1)

    for power in range(-9, 1, 3):
        y = place(0, 10.0**power)[1]
        canvas.rule((left, y), (width - right, y))
        text = "1" if power == 0 else f"10^{{−{-power}}}"
        canvas.text(left - 8, y + 5, text, anchor="end", kind="muted")
    for step in range(0, steps + 1, 50):
        canvas.text(place(step, 1)[0], bottom + 22, str(step), kind="muted")
    canvas.text((left + width - right) / 2, bottom + 44, "steps of training", kind="muted")
    labels = []
    for name, away in curves.items():
        window = [max(away[max(0, i - 4) : i + 1]) for i in range(len(away))]
        points = [place(i + 1, value) for i, value in enumerate(window) if value > 0]
        end = sorted(away[-20:])[len(away[-20:]) // 2]
        role = "warning" if end >= LARGE else "parameter" if end >= 1e-5 else "output"
        if len(points) > 1:
            canvas.path(points, role)
        labels.append([points[-1] if points else place(len(away), FLOOR), TITLES[name], role])
    for label, y in zip(sorted(labels, key=lambda one: one[0][1]), spread(labels), strict=True):
        (x, _), text, role = label
        canvas.text(x + 6, y + 5, text, anchor="start", kind=role)
    return canvas


def spread(labels, gap=17, wide=80):
    """Heights of the labels, from the top, so that none lies on another; each is `wide` at most."""
    placed = []
    for (x, y), *_ in sorted(labels, key=lambda one: one[0][1]):
        near = [below + gap for beside, below in placed if abs(beside - x) < wide]
        placed.append((x, max([y, *near])))
    return [y for _, y in placed]


BANDS = (12, 6, 2)  # digits: as good as all, single precision, a rough figure


def counts(figures, chapter):
    """How many figures of a chapter agree to 12 digits or all, 6 to 12, 2 to 6, fewer than 2."""
    found = [0] * (len(BANDS) + 1)
    for one in figures:
        if one["chapter"] == chapter:
            same = math.inf if one["digits"] is None else one["digits"]
            found[next((i for i, least in enumerate(BANDS) if same >= least), len(BANDS))] += 1
    return found


class SameCards(BookDirective):
    """Figures of run cards that a processor and a graphics card should give alike.

    A table of how many agree how far, by chapter; then those that agree to fewer than 6 digits, but
    for those of texts that are other texts on each machine.
    """

    def build(self, env):
        cards = record(env, "same_numbers")["cards"]
        figures = cards["figures"]
        rows = []
        for name in dict.fromkeys(one["chapter"] for one in figures):
            rows.append([[self.chapter(name)], *map(str, counts(figures, name))])
        total = [sum(int(row[i]) for row in rows) for i in range(1, len(BANDS) + 2)]
        rows.append(["all", *map(str, total)])
        head = ["Chapter", "12 digits or all", "6 to 12", "2 to 6", "fewer"]
        made = table(head, rows, [30, 20, 16, 17, 17], ["same-cards"])
        rows = [
            [[self.chapter(one["chapter"])], formula(one["name"]),
             *(number(one[side], one["unit"]) for side in ("cpu", "gpu")), one["unit"],
             shared(one["digits"])]
            for one in figures
            if one["digits"] is not None and one["digits"] < 6 and not one["texts"]
        ]  # fmt: skip
        head = ["Chapter", "Figure", "CPU", cards["device"], "Unit", "Digits"]
        few = table(head, rows, [8, 44, 12, 16, 10, 10], ["metrics"])
        words = "Those that agree to fewer than 6 digits, without those of the docstrings:"
        return [made, paragraph(words), few]

    def chapter(self, name):
        return link(str(int(name[:2])), f"../notebooks/{name}.html")
