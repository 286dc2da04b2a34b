"""A map of named points that a reader drags and zooms, without a kernel or a network."""

from matplotlib.figure import Figure

from genai_utils.course import page, pictures
from genai_utils.course.figures import CLASSES

STYLE = """<style>
figure.genai.genai-map { width: min(100%, 44rem); }
.genai-mapbox { aspect-ratio: 1; overflow: hidden; border: 1px solid var(--genai-line);
  border-radius: 8px; background: #fff; touch-action: none; cursor: grab; }
.genai-mapbox:focus-visible { outline: 3px solid var(--genai-accent); outline-offset: 2px; }
.genai-mapbox > * { display: block; width: 100%; height: 100%; margin: 0; }
.genai-mapbox > [hidden] { display: none; }
.genai-mapline:not([hidden]) { display: flex; flex-wrap: wrap; justify-content: center;
  gap: 0.3rem 0.7rem; margin-top: 0.4rem; font-size: 0.875rem; }
.genai-mapline :is(button, input) { min-width: 2.2rem; min-height: 2rem; font: inherit;
  color: var(--genai-ink); background: var(--genai-card); border: 1px solid var(--genai-line);
  border-radius: 6px; }
.genai-mapline i { display: inline-block; width: 0.7rem; height: 0.7rem; margin-right: 0.3rem;
  border: 1px solid #fff; border-radius: 50%; }
</style>"""
SCRIPT = r"""((root, data) => {
  const box = root.querySelector('.genai-mapbox'), image = box.querySelector('img');
  const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
  const live = root.querySelector('output'), { x, y, names, lines } = data;
  let zoom = 1, cx = 0.5, cy = 0.5, chosen = -1, waiting = false, moved = 0;
  const near = names.map(() => []);
  lines.forEach(([a, b]) => { near[a].push(b); near[b].push(a); });
  const order = [...near.keys()].sort((a, b) => near[b].length - near[a].length);
  const draw = () => {
    waiting = false;
    const S = box.clientWidth || 600, dots = devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(S * dots);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    const X = x.map((v) => (v - cx) * zoom * S + S / 2);
    const Y = y.map((v) => (v - cy) * zoom * S + S / 2);
    const seen = (i) => X[i] > -9 && X[i] < S + 9 && Y[i] > -9 && Y[i] < S + 9;
    const r = Math.min(6, 1.6 * Math.sqrt(zoom) + 0.6), shown = order.filter(seen);
    for (const [a, b] of lines.filter(([a, b]) => seen(a) || seen(b))) {
      const mine = a === chosen || b === chosen;
      [pen.strokeStyle, pen.lineWidth] = mine ? ['#24292f', 1.6] : ['#c9ced6', 0.7];
      pen.beginPath(); pen.moveTo(X[a], Y[a]); pen.lineTo(X[b], Y[b]); pen.stroke();
    }
    for (const i of shown) {
      pen.fillStyle = data.colors[data.group[i]];
      pen.beginPath(); pen.arc(X[i], Y[i], i === chosen ? r + 3 : r, 0, 7); pen.fill();
    }
    [pen.font, pen.lineWidth, pen.strokeStyle] = ['12px sans-serif', 3, '#fff'];
    const taken = [], most = zoom < 2 ? 14 : 60; // names only where no other name stands
    for (const i of [...(near[chosen] ? [chosen, ...near[chosen].filter(seen)] : []), ...shown]) {
      const w = pen.measureText(names[i]).width, v = Math.max(11, Y[i] + 4);
      const u = Math.max(2, Math.min(S - w - 2, X[i] + r + 2));
      if (taken.length >= most) break;
      if (taken.some((t) => u < t[1] && u + w > t[0] && Math.abs(v - t[2]) < 14)) continue;
      taken.push([u, u + w, v]); pen.fillStyle = '#24292f';
      pen.strokeText(names[i], u, v); pen.fillText(names[i], u, v);
    }
  };
  const later = () => { if (!waiting) requestAnimationFrame(draw); waiting = true; };
  const move = (u, v) => { [cx, cy] = [u, v].map((t) => Math.min(1, Math.max(0, t))); later(); };
  const scale = (by, u = 0, v = 0) => { // (u, v), counted from the middle in boxes, stays
    const now = Math.min(200, Math.max(1, zoom * by)), k = 1 / zoom - 1 / now;
    zoom = now; move(cx + u * k, cy + v * k); live.textContent = `zoom ${zoom.toFixed(1)}×`;
  };
  const choose = (i) => {
    chosen = i; zoom = Math.max(zoom, 12); move(x[i], y[i]);
    live.textContent = `${names[i]}: ${near[i].map((j) => names[j]).join(', ') || 'no lines'}`;
  };
  const at = (event) => {
    const b = box.getBoundingClientRect();
    return [(event.clientX - b.left) / b.width - 0.5, (event.clientY - b.top) / b.height - 0.5];
  };
  box.addEventListener('pointerdown', (e) => { moved = 0; box.setPointerCapture(e.pointerId); });
  box.addEventListener('pointermove', (e) => {
    if (!e.buttons) return;
    moved += Math.abs(e.movementX) + Math.abs(e.movementY);
    const S = zoom * box.clientWidth;
    move(cx - e.movementX / S, cy - e.movementY / S);
  });
  box.addEventListener('pointerup', (e) => {
    const [u, v] = at(e), far = (i) => Math.hypot((x[i] - cx) * zoom - u, (y[i] - cy) * zoom - v);
    const best = order.reduce((a, i) => (far(i) < far(a) ? i : a));
    if (moved < 5 && far(best) < 0.03) choose(best);
  });
  const wheel = (e) => { scale(Math.exp(-e.deltaY / 400), ...at(e)); e.preventDefault(); };
  box.addEventListener('wheel', wheel, { passive: false });
  const keys = { '+': 1.5, '=': 1.5, '-': 1 / 1.5 };
  const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const press = (key) => {
    if (arrows[key]) move(cx + (0.1 * arrows[key][0]) / zoom, cy + (0.1 * arrows[key][1]) / zoom);
    else if (keys[key]) scale(keys[key]);
    else if (key === 'Home') { chosen = -1; zoom = 1; move(0.5, 0.5); live.textContent = ''; }
    else return false;
    return true;
  };
  box.addEventListener('keydown', (e) => press(e.key) && e.preventDefault());
  root.querySelectorAll('button').forEach((b) => b.addEventListener('click', () => press(b.value)));
  root.querySelector('input').addEventListener('change', (e) => {
    const text = e.target.value.trim().toLowerCase(), low = names.map((s) => s.toLowerCase());
    const tests = [(s) => s === text, (s) => s.endsWith(`.${text}`), (s) => s.includes(text)];
    const found = tests.map((test) => low.findIndex(test)).find((i) => i >= 0);
    if (text && found !== undefined) choose(found); else live.textContent = 'no such name';
  });
  canvas.setAttribute('role', 'img'); canvas.setAttribute('aria-label', image.alt);
  image.hidden = true; box.append(canvas);
  root.querySelector('.genai-mapline[hidden]').hidden = false;
  new ResizeObserver(later).observe(box); draw();
})"""


def zoom_map_bundle(points, names, groups, lines=(), *, alt, name=None, caption=None):
    """The output that :func:`zoom_map` displays."""
    alt, xy = page.require_text(alt, "alt"), pictures.as_array(points).astype(float)
    names, groups, n = list(map(str, names)), list(map(str, groups)), len(xy)
    if (
        xy.shape != (n, 2)
        or not n == len(names) == len(groups)
        or n < 2
        or not (abs(xy) < 1e30).all()
    ):
        raise ValueError(f"zoom_map() needs finite points (n, 2), n >= 2, n names and n groups; "
                         f"got {xy.shape}, {len(names)} and {len(groups)}.")  # fmt: skip
    lines = [(int(a), int(b)) for a, b in lines]
    if any(not 0 <= end < n for line in lines for end in line):
        raise ValueError(f"lines must join positions from 0 to {n - 1}.")
    kinds = list(dict.fromkeys(groups))
    place = [kinds.index(group) for group in groups]
    colors = [CLASSES[i % len(CLASSES)] for i in range(len(kinds))]
    middle, size = (xy.max(0) + xy.min(0)) / 2, max(float((xy.max(0) - xy.min(0)).max()), 1e-12)
    unit = (0.5 + 0.94 * (xy - middle) / size * [1, -1]).round(4)  # in the unit square, y downwards
    fig = Figure(figsize=(5, 5), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(1, 0))
    ax.axis("off")
    for line in lines:
        ax.plot(*unit[list(line)].T, color="#c9ced6", linewidth=0.4, zorder=0)
    ax.scatter(*unit.T, s=4, c=[colors[kind] for kind in place], linewidths=0)
    still = pictures.from_figure(fig)
    data = {"x": unit[:, 0].tolist(), "y": unit[:, 1].tolist(), "names": names, "group": place,
            "colors": colors, "lines": lines}  # fmt: skip
    legend = "".join(
        f'<span><i style="background:{colour}"></i>{page.escape(kind)}</span>'
        for kind, colour in zip(kinds, colors, strict=True)
    )
    buttons = "".join(
        f'<button type="button" value="{key}" aria-label="{what}">{sign}</button>'
        for key, what, sign in (("+", "Zoom in", "+"), ("-", "Zoom out", "−"), ("Home", "All", "⌂"))
    )
    identity = page.unique_id(str(data) + alt)
    html = (
        f'<figure class="genai genai-map" id="{identity}" data-explorer="map"'
        f"{page.attribute('data-figure', name)}>{page.stylesheet('figure.css')}{STYLE}"
        f'<div class="genai-mapbox" tabindex="0" role="application" aria-roledescription="map" '
        f'aria-label="Map: arrow keys move it, plus and minus zoom, Home shows all of it.">'
        f'<img class="dark-light" alt="{page.escape(alt)}" src="{pictures.encode(still)}"></div>'
        f'<div class="genai-mapline">{legend}</div><div class="genai-mapline" hidden>{buttons}'
        f'<input type="search" placeholder="find a name" aria-label="Find a name"></div>'
        f'<output aria-live="polite"></output>{page.figcaption(caption)}'
        f"{page.script(identity, SCRIPT, data)}</figure>"
    )
    bundle = page.Bundle(text_html=html, image_png=pictures.png_text(still), text_plain=alt)
    page.require_size(bundle, f"It has {n} points and {len(lines)} lines: leave some out.")
    return bundle


def zoom_map(points, names, groups, lines=(), *, alt, name=None, caption=None):
    """Display named points; pointer, wheel, buttons and keys move and zoom, a search finds a name.

    points (n, 2), in any unit; n names, shown where there is room, those with most lines first;
    n groups, which give the colours and the legend; lines, pairs of positions to join. alt says
    what is seen; name lets pages of the book reuse it; caption is a short line below.
    Raises ValueError for other shapes, NaN, a line to no point, or an output above 600 kB.
    """
    zoom_map_bundle(points, names, groups, lines, alt=alt, name=name, caption=caption).display()
