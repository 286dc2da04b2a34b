// A query and some keys as arrows that one drags; scores, softmax and the mixed value follow.
function softmaxToy(root, data) {
  const SIZE = 320; // of the drawing, in its own units
  const NOTCHES = 8; // of the slider, until the scale has doubled
  const find = (selector) => root.querySelector(selector);
  const middle = SIZE / 2;
  const unit = middle / data.extent;
  const arrows = [data.query, ...data.keys].map((vector) => vector.slice());
  const own = Math.sqrt(2); // √d of two numbers
  let notch = 0;

  const tenth = (value) => Math.round(10 * value) / 10;
  const write = (value, digits) => value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
  const vector = (v) => `(${write(v[0], 1)}, ${write(v[1], 1)})`;
  const sign = (i) => (i ? `k${"₀₁₂₃₄₅₆₇₈₉"[i]}` : "q");
  const scale = () => own * 2 ** (notch / NOTCHES);

  // The drawing: a grid, and for each arrow a line, a point to take hold of, and its name.
  const plane = element("svg:svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "genai-plane" });
  for (let i = -Math.floor(data.extent); i <= data.extent; i++) {
    const at = middle + i * unit;
    const kind = i ? "genai-grid" : "genai-axis";
    plane.append(
      element("svg:line", { x1: at, x2: at, y1: 0, y2: SIZE, class: kind }),
      element("svg:line", { y1: at, y2: at, x1: 0, x2: SIZE, class: kind }),
    );
  }
  const hands = arrows.map((_, i) => {
    const kind = i ? "genai-key" : "genai-query";
    const line = element("svg:line", { x1: middle, y1: middle, class: kind });
    const name = element("svg:text", {}, sign(i));
    const knob = element(
      "svg:g",
      {
        class: `genai-knob ${kind}`,
        tabindex: 0,
        role: "application",
        "aria-roledescription": "arrow in a plane",
      },
      element("svg:circle", { r: 20, class: "genai-reach" }),
      element("svg:circle", { r: 6, class: "genai-tip" }),
      name,
    );
    return { line, knob, name };
  });
  // The query lies above the keys, and all points above all lines.
  plane.append(...hands.map((hand) => hand.line).reverse(), ...hands.map((hand) => hand.knob).reverse());
  find(".genai-plane-place").replaceChildren(plane);

  const slider = element("input", { type: "range", min: -30, max: 24, step: 1, value: 0 });
  const shown = element("output", {});
  const usual = element("button", { type: "button", class: "genai-usual" }, "√d = 1.41");
  const again = element("button", { type: "button", class: "genai-again" }, "arrows as at first");
  find(".genai-scale-place").replaceChildren(
    element(
      "div",
      { class: "genai-controls" },
      element("label", {}, element("span", { class: "genai-name" }, "divide by"), slider),
      shown,
    ),
    element("div", { class: "genai-keys" }, usual, again),
  );

  function meaning() {
    if (notch === 0) return "Divided by √d, as in a transformer.";
    if (notch > 0) return "Divided by more than √d: the weights come closer to an even share.";
    const d = 2 / scale() ** 2;
    return (
      `So large are the scores of vectors of ${d.toFixed(d < 10 ? 1 : 0)} random numbers that are not ` +
      "divided by √d: the largest takes more and more."
    );
  }
  function draw() {
    const [query, ...keys] = arrows;
    const products = keys.map((key) => query[0] * key[0] + query[1] * key[1]);
    const weights = softmax(products, scale());
    const mixed = weights.reduce((sum, w, i) => sum + w * data.values[i], 0);
    const most = likeliest(weights)[0];
    arrows.forEach((arrow, i) => {
      const { line, knob, name } = hands[i];
      const [x, y] = [middle + unit * arrow[0], middle - unit * arrow[1]];
      line.setAttribute("x2", x);
      line.setAttribute("y2", y);
      if (i) line.style.strokeWidth = `${1.5 + 8 * weights[i - 1]}px`;
      knob.setAttribute("transform", `translate(${x} ${y})`);
      const length = Math.hypot(...arrow) || 1; // the name stands beyond the tip, inside the plane
      const off = (way, from) => Math.max(14, Math.min(SIZE - 14, from + 18 * way)) - from;
      name.setAttribute("x", off(arrow[0] / length, x));
      name.setAttribute("y", off(-arrow[1] / length, y));
      const share = i ? `, weight ${write(weights[i - 1], 3)}` : "";
      knob.setAttribute(
        "aria-label",
        `${i ? `key ${i}` : "query"} at ${vector(arrow)}${share}. Arrow keys move it, Shift moves it further.`,
      );
    });
    root.querySelectorAll("tbody tr").forEach((row, i) => {
      const [, product, score, weight] = row.cells;
      product.textContent = write(products[i], 2);
      score.textContent = write(products[i] / scale(), 2);
      weight.querySelector("b").textContent = write(weights[i], 3);
      weight.querySelector("i").style.width = `${100 * weights[i]}%`;
      const dot = find(`.genai-beam [data-key="${i + 1}"]`);
      dot.style.width = dot.style.height = `${6 + 34 * Math.sqrt(weights[i])}px`; // area ~ weight
    });
    find(".genai-mean").style.left = `${10 * mixed}%`;
    find(".genai-mixed").textContent =
      `mixed value = ${data.values.map((v, i) => `${write(weights[i], 3)} · ${v}`).join(" + ")} ≈ ${write(mixed, 3)}`;
    find(".genai-meaning").textContent =
      `${meaning()} Rate at which the largest weight follows its score, w (1 − w): ${write(weights[most] * (1 - weights[most]), 3)}.`;
    shown.textContent = write(scale(), 2);
    slider.setAttribute("aria-valuetext", `${write(scale(), 2)}. ${meaning()}`);
    root.genaiWeights = { products, weights, mixed, scale: scale() };
  }
  function move(i, x, y) {
    const inside = (value) => Math.max(-data.extent, Math.min(data.extent, tenth(value)));
    arrows[i] = [inside(x), inside(y)];
    draw();
  }
  function turn(to) {
    notch = to;
    slider.value = to;
    draw();
  }

  hands.forEach(({ knob }, i) => {
    knob.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      knob.setPointerCapture(event.pointerId);
      knob.focus({ preventScroll: true });
      event.preventDefault(); // no text is selected on the way
    });
    // A finger on it moves the arrow, elsewhere the page; touch-action does not know parts of an SVG.
    knob.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    knob.addEventListener("pointermove", (event) => {
      if (!knob.hasPointerCapture(event.pointerId)) return;
      const box = plane.getBoundingClientRect();
      const across = (event.clientX - box.left) / box.width;
      const down = (event.clientY - box.top) / box.height;
      move(i, (2 * across - 1) * data.extent, (1 - 2 * down) * data.extent);
    });
    knob.addEventListener("keydown", (event) => {
      const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = event.shiftKey ? 0.5 : 0.1;
      move(i, arrows[i][0] + step * by[0], arrows[i][1] + step * by[1]);
      event.preventDefault(); // arrow keys would scroll the page
    });
  });
  slider.addEventListener("input", () => turn(Number(slider.value)));
  usual.addEventListener("click", () => turn(0));
  again.addEventListener("click", () => {
    [data.query, ...data.keys].forEach((v, i) => (arrows[i] = v.slice()));
    draw();
  });
  draw();
}
