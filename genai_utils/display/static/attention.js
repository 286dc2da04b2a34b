// The reader's text through a small transformer: point at a letter and see where a head looks.
function attentionToy(root, data) {
  const { context, layers, heads } = data.gpt;
  const [ROW, LOW] = [22, 128]; // where the two rows of letters stand, in pixels
  const OTHERS = 5; // bars
  const find = (selector) => root.querySelector(selector);
  const index = new Map(data.characters.map((char, i) => [char, i]));
  const maps = new Float64Array(layers * heads * context * context);
  const place = (layer, head, t, s) => ((layer * heads + head) * context + t) * context + s;
  const next = gpt(data.gpt, (layer, head, t, s, weight) => (maps[place(layer, head, t, s)] = weight));

  let ids = []; // of the text
  let guesses = []; // of each letter: the probabilities of what follows
  let chosen = 0; // the letter that looks
  let [layer, head] = data.head; // head === heads: the mean of all

  const seen = (id) => (data.characters[id] === " " ? "␣" : data.characters[id]);
  const spoken = (id) => (data.characters[id] === " " ? "space" : data.characters[id]);
  function weight(t, s) {
    if (head < heads) return maps[place(layer, head, t, s)];
    let sum = 0;
    for (let h = 0; h < heads; h++) sum += maps[place(layer, h, t, s)];
    return sum / heads;
  }
  const row = () => Array.from({ length: chosen + 1 }, (_, s) => weight(chosen, s));

  // The parts of the figure.
  const field = element("input", {
    type: "text",
    maxlength: context,
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
  });
  const status = element("div", { class: "genai-status", role: "status" });
  const lines = element("svg:svg", {
    class: "genai-lines",
    tabindex: 0,
    role: "slider",
    "aria-label": "the letter that looks",
    "aria-valuemin": 1,
  });
  const matrix = element("svg:svg", { class: "genai-matrix", "aria-hidden": "true" });
  const looks = element("p", { class: "genai-looks" });
  const says = element("p", { class: "genai-says", "aria-live": "polite" });
  const bars = element("div", { class: "genai-guesses" });
  const after = element("div", { class: "genai-name" });
  const choice = element("div", { class: "genai-heads" });
  for (let l = 0; l < layers; l++) {
    const group = element("div", { role: "radiogroup", "aria-label": `layer ${l + 1}` });
    group.append(element("span", { class: "genai-name" }, `layer ${l + 1}`));
    for (let h = 0; h <= heads; h++) {
      const radio = element("input", { type: "radio", name: `${root.id}-head`, value: `${l} ${h}` });
      radio.checked = l === layer && h === head;
      radio.addEventListener("change", () => {
        [layer, head] = [l, h];
        draw();
      });
      group.append(element("label", {}, radio, element("span", {}, h < heads ? `head ${h + 1}` : "mean")));
    }
    choice.append(group);
  }
  find(".genai-still").replaceChildren(
    element("label", { class: "genai-line" }, element("span", { class: "genai-name" }, "your text"), field),
    status,
    choice,
    says,
    element("div", { class: "genai-wide" }, lines),
    looks,
    element("p", { class: "genai-name" }, "Below, the letter that looks; above, what it looks at. Point at a letter, " +
      "or move through them with the arrow keys."),
    element(
      "div",
      { class: "genai-pair" },
      element("div", {}, element("div", { class: "genai-name" }, "a row for each letter that looks"), matrix),
      element("div", {}, after, bars),
    ),
  );

  function letters(y, kind, at) {
    return ids.map((id, i) => {
      const space = data.characters[id] === " ";
      const look = { x: at(i), y, class: `${kind}${space ? " genai-space" : ""}` };
      return element("svg:text", look, seen(id));
    });
  }
  function drawLines() {
    const n = ids.length;
    const cell = Math.min(22, find(".genai-wide").clientWidth / Math.max(n, 1));
    const at = (i) => (i + 0.5) * cell;
    const curve = (t, s) =>
      `M${at(t)} ${LOW - 16}C${at(t)} ${(ROW + LOW) / 2} ${at(s)} ${(ROW + LOW) / 2} ${at(s)} ${ROW + 12}`;
    const all = [];
    for (let t = 0; t < n; t++)
      for (let s = 0; s <= t; s++)
        if (t !== chosen && weight(t, s) > 0.1)
          all.push(element("svg:path", { d: curve(t, s), class: "genai-faint", opacity: weight(t, s) / 2 }));
    const strong = row().flatMap((w, s) => {
      if (w < 0.005) return [];
      const look = { d: curve(chosen, s), class: "genai-strong", opacity: 0.25 + 0.75 * w };
      const line = element("svg:path", { ...look, "stroke-width": 0.5 + 7 * w });
      const ground = { x: at(s) - cell / 2, y: ROW - 13, width: cell, height: 24, rx: 4 };
      return [line, element("svg:rect", { ...ground, class: "genai-ground", opacity: 0.6 * w })];
    });
    const frame = { x: at(chosen) - cell / 2, y: LOW - 14, width: cell, height: 26, rx: 4 };
    lines.setAttribute("width", n * cell);
    lines.setAttribute("height", LOW + 18);
    lines.style.fontSize = `${Math.min(19, 1.45 * cell)}px`;
    lines.replaceChildren(
      ...all,
      ...strong,
      element("svg:rect", { ...frame, class: "genai-frame" }),
      ...letters(ROW, "genai-key", at),
      ...letters(LOW, "genai-query", at),
    );
  }
  function drawMatrix() {
    const n = ids.length;
    const edge = 1.4; // room for the letters, in cells
    matrix.setAttribute("viewBox", `0 0 ${n + edge} ${n + edge}`);
    const parts = [];
    for (let t = 0; t < n; t++)
      for (let s = 0; s <= t; s++)
        parts.push(element("svg:rect", {
          x: s + edge, y: t + edge, width: 1, height: 1, class: "genai-cell", opacity: weight(t, s),
        }));
    const half = (n + edge) / 2;
    ids.forEach((id, i) => {
      const far = i + edge + 0.5;
      parts.push(
        element("svg:text", { x: far, y: edge / 2 }, seen(id)),
        element("svg:text", { x: edge / 2, y: far }, seen(id)),
      );
    });
    matrix.replaceChildren(
      element("svg:path", { d: `M${edge} ${edge}V${n + edge}H${n + edge}Z`, class: "genai-half" }),
      ...parts,
      element("svg:rect", {
        x: edge, y: chosen + edge, width: chosen + 1, height: 1, class: "genai-frame",
        "stroke-width": half / 90,
      }),
    );
  }
  function drawBars() {
    const p = guesses[chosen];
    const follows = ids[chosen + 1];
    const shown = likeliest(p).slice(0, OTHERS);
    if (follows !== undefined && !shown.includes(follows)) shown[OTHERS - 1] = follows;
    after.textContent = `what comes after place ${chosen + 1}?`;
    bars.replaceChildren(
      ...shown.map((id) => {
        const bar = element("i", {});
        bar.style.width = `${100 * p[id]}%`;
        const name = element("b", { role: "img", "aria-label": spoken(id) }, seen(id));
        const share = element("span", { class: "genai-number" }, p[id].toFixed(3));
        const here = id === follows ? " ← your text" : "";
        return element("div", {}, name, element("span", { class: "genai-bar" }, bar), share,
          element("span", { class: "genai-name" }, here));
      }),
    );
  }
  function draw() {
    says.textContent = data.says[layer][head];
    if (!ids.length) return;
    drawLines();
    drawMatrix();
    drawBars();
    const weights = row();
    const most = likeliest(weights).slice(0, 3).filter((s, i) => i === 0 || weights[s] >= 0.01);
    const told = (name) =>
      `${name(ids[chosen])} (place ${chosen + 1}) looks at ` +
      most.map((s) => `${name(ids[s])} (place ${s + 1}): ${weights[s].toFixed(2)}`).join(", ");
    looks.textContent = told(seen);
    lines.setAttribute("aria-valuemax", ids.length);
    lines.setAttribute("aria-valuenow", chosen + 1);
    lines.setAttribute("aria-valuetext", told(spoken));
    root.genaiAttention = { ids, chosen, layer, head, weights, guess: guesses[chosen] };
  }
  function choose(to) {
    const inside = Math.max(0, Math.min(ids.length - 1, to));
    if (inside === chosen) return;
    chosen = inside;
    draw();
  }
  function read(at) {
    const signs = Array.from(field.value.toLowerCase());
    const unknown = [...new Set(signs.filter((sign) => !index.has(sign)))];
    ids = signs.filter((sign) => index.has(sign)).map((sign) => index.get(sign)).slice(0, context);
    guesses = ids.map((_, t) => softmax(next(ids.slice(0, t + 1)), 1));
    chosen = Math.min(at, ids.length - 1);
    status.textContent = !ids.length
      ? "Type at least one letter."
      : unknown.length
        ? `Left out, as the model has no sign for it: ${unknown.slice(0, 8).join(" ")}`
        : "";
    root.classList.toggle("genai-empty", !ids.length);
    draw();
  }

  const point = (event) => {
    const box = lines.getBoundingClientRect();
    choose(Math.floor(((event.clientX - box.left) / box.width) * ids.length));
  };
  lines.addEventListener("pointermove", point); // a finger that glides along chooses too
  lines.addEventListener("pointerdown", point);
  matrix.addEventListener("pointermove", (event) => {
    const box = matrix.getBoundingClientRect();
    const cells = ids.length + 1.4;
    const t = Math.floor(((event.clientY - box.top) / box.height) * cells - 1.4);
    if (t >= 0) choose(t);
  });
  lines.addEventListener("keydown", (event) => {
    const to = { ArrowRight: chosen + 1, ArrowUp: chosen + 1, ArrowLeft: chosen - 1, ArrowDown: chosen - 1,
      Home: 0, End: ids.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(to);
  });
  field.addEventListener("input", () => read(Infinity));
  new ResizeObserver(() => ids.length && drawLines()).observe(find(".genai-wide"));

  root.genaiMaps = (l, h) =>
    ids.map((_, t) => Array.from({ length: t + 1 }, (_, s) => maps[place(l, h, t, s)]));
  root.genaiGuesses = () => guesses;
  field.value = data.text;
  read(data.place);
}
