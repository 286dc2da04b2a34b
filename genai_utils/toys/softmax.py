"""A query and five keys as arrows that one drags: scores, softmax weights, the mixed value."""

import math

import torch
from matplotlib.figure import Figure

from genai_utils.display import pictures
from genai_utils.display.figures import COLORS
from genai_utils.display.output import (
    Bundle,
    escape,
    figcaption,
    require_size,
    script,
    stylesheet,
    unique_id,
)
from genai_utils.language.attention import attention

EXTENT = 3.0  # the plane goes from -3 to 3 both ways
QUERY = (1.5, 1.0)
# Two keys point about where the query does, one across, one away from it, one to the side.
KEYS = ((1.2, 1.6), (2.4, 0.2), (-1.0, 1.5), (-2.0, -0.6), (0.4, -1.8))
VALUES = (9, 2, 6, 0, 4)  # from 0 to 10, apart enough for their names
SUBSCRIPTS = "₀₁₂₃₄₅"
STYLES = ("figure.css", "controls.css", "inputs.css", "softmax.css")
SCRIPTS = ("elements.js", "page_math.js", "sampling.js", "softmax.js")
ALT = (
    "Six arrows in a plane, one query and five keys. The two keys that point where the query "
    "points have the most weight, and the mixed value lies between their two values."
)
CAPTION = (
    "Drag the tip of an arrow, or move it with the arrow keys. The thicker a key, the larger its "
    "weight. Below, each value is a dot as large as its weight; the wedge stands where they "
    "balance."
)


def opening():
    """What the page shows at first: products, scores and weights (5,) each, and the mixed value."""
    q, k, v = (torch.tensor(part, dtype=torch.float64) for part in ([QUERY], KEYS, VALUES))
    mixed, weights = attention(q, k, v[:, None])
    products = (q @ k.T)[0]
    return products, products / math.sqrt(2), weights[0], mixed.item()


def minus(value, digits):
    """A number as the page writes it, with a true minus."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # + 0.0: no −0.00


def still(weights):
    """The arrows as a PIL image, until the script draws them."""
    fig = Figure(figsize=(3.2, 3.2), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT))
    ax.axis("off")
    for i in range(-int(EXTENT), int(EXTENT) + 1):
        ax.axhline(i, color="#DADDE1", linewidth=0.6 if i else 1.2)
        ax.axvline(i, color="#DADDE1", linewidth=0.6 if i else 1.2)
    arrows = [(key, COLORS["blue"], 1.5 + 6 * w, f"k{SUBSCRIPTS[i]}")
              for i, (key, w) in enumerate(zip(KEYS, weights, strict=True), 1)]  # fmt: skip
    for (x, y), colour, width, name in [*arrows, (QUERY, COLORS["vermillion"], 3, "q")]:
        ax.plot((0, x), (0, y), color=colour, linewidth=width, solid_capstyle="round")
        far = 1 + 0.3 / math.hypot(x, y)
        ax.text(far * x, far * y, name, ha="center", va="center", fontweight="bold")
    return pictures.from_figure(fig, tight=False).crop(
        [round(side * pictures.DPI) for side in (1, 1, 4.2, 4.2)]  # without MARGIN
    )


def bundle():
    """The output that ``play("softmax")`` displays."""
    products, scores, weights, mixed = opening()
    rows = "".join(
        f'<tr><th scope="row">k{SUBSCRIPTS[i]}</th><td>{minus(p, 2)}</td><td>{minus(s, 2)}</td>'
        f'<td class="genai-share"><b>{w:.3f}</b><span class="genai-bar">'
        f'<i style="width:{100 * w:.4g}%"></i></span></td><td>{v}</td></tr>'
        for i, (p, s, w, v) in enumerate(
            zip(products.tolist(), scores.tolist(), weights.tolist(), VALUES, strict=True), 1
        )
    )
    dots = "".join(
        f'<span data-key="{i}" style="left:{10 * v}%;width:{(size := 6 + 34 * math.sqrt(w)):.3g}px;'
        f'height:{size:.3g}px"></span>'
        for i, (w, v) in enumerate(zip(weights.tolist(), VALUES, strict=True), 1)
    )
    labels = "".join(
        f'<span data-label style="left:{10 * v}%">v{SUBSCRIPTS[i]} = {v}</span>'
        for i, v in enumerate(VALUES, 1)
    )
    terms = " + ".join(f"{w:.3f} · {v}" for w, v in zip(weights.tolist(), VALUES, strict=True))
    data = {"extent": EXTENT, "query": QUERY, "keys": KEYS, "values": VALUES}
    identity = unique_id(str(data))
    picture = still(weights.tolist())
    html = (
        f'<figure class="genai genai-softmax" id="{identity}" data-explorer="softmax" '
        f'data-figure="toy-softmax">{stylesheet(*STYLES)}'
        f'<div class="genai-beside"><div class="genai-plane-place"><img class="dark-light" '
        f'alt="{escape(ALT)}" src="{pictures.encode(picture)}" width="{picture.width}" '
        f'height="{picture.height}"></div><table class="genai-sums"><thead><tr>'
        f'<th scope="col">key</th><th scope="col">q · k</th><th scope="col">divided</th>'
        f'<th scope="col" class="genai-share">softmax: weight</th><th scope="col">value</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
        f'<div class="genai-beam" aria-hidden="true">{dots}{labels}'
        f'<span class="genai-mean" style="left:{10 * mixed:.4g}%"></span></div>'
        f'<p class="genai-mixed" aria-live="polite">mixed value = {terms} ≈ {mixed:.3f}</p>'
        f'<div class="genai-scale-place"></div><p class="genai-meaning"></p>'
        f"{figcaption(CAPTION)}"
        f"{script(identity, 'softmaxToy', data, *SCRIPTS)}"
        "</figure>"
    )
    made = Bundle(text_html=html, image_png=pictures.png_text(picture), text_plain=ALT)
    require_size(made, "Show fewer keys.")
    return made
