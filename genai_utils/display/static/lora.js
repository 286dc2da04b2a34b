// One base and its adapters, each with a strength that the reader sets: what the sum of them writes,
// and its loss on a piece of each text.
// It needs page_random.js, page_math.js, page_canvas.js, page_gpt.js and sampling.js.
function loraToy(root, data) {
  const characters = Array.from(data.characters);
  const index = new Map(characters.map((char, i) => [char, i]));
  const base = gptWeights(data.gpt);
  const rank = data.rank;
  let strengths = data.adapters.map((adapter) => adapter.start);
  let seed = data.seed;
  let [next, text, nats] = [null, "", []];

  // What an adapter adds to each matrix at strength 1: name -> scale * B A, row by row.
  const updates = data.adapters.map(({ half, scale }) => {
    const numbers = unpackHalf(half);
    const added = {};
    let at = 0;
    for (let l = 0; l < data.gpt.layers; l++)
      for (const part of ["qkv", "out", "wide", "narrow"]) {
        const m = base[`${l}.${part}.bias`].length;
        const n = base[`${l}.${part}.weight`].length / m;
        const A = numbers.subarray(at, (at += rank * n));
        const B = numbers.subarray(at, (at += m * rank));
        added[`${l}.${part}.weight`] = matmul(B, A, m, rank, n).map((v) => scale * v);
      }
    return added;
  });
  // The model with the adapters merged into the base, each at its strength.
  function merged(by) {
    const weights = { ...base };
    for (const name in updates[0])
      weights[name] = base[name].map((v, i) => updates.reduce((sum, added, k) => sum + by[k] * added[name][i], v));
    return gpt(data.gpt, null, weights);
  }

  // Mean negative log-likelihood of a piece of text, nats per letter.
  function lossOf(model, piece) {
    const ids = Array.from(piece, (char) => index.get(char));
    let sum = 0;
    for (let t = 1; t < ids.length; t++) sum -= Math.log(softmax(model(ids.slice(0, t)))[ids[t]]);
    return sum / (ids.length - 1);
  }
  function written(model) {
    const random = randomNumbers(seed);
    const ids = [index.get("\n")];
    for (let i = 0; i < data.length; i++) ids.push(drawToken(model(ids), data.temperature, 1, random));
    return ids.slice(1).map((id) => characters[id]).join("");
  }
  const plain = merged(strengths.map(() => 0));
  const start = data.pieces.map(({ text }) => lossOf(plain, text));

  // ---- the parts
  const say = (value) => minus(value.toFixed(1));
  const sliders = data.adapters.map(({ title }, k) =>
    slider(title, { min: -0.5, max: 1.5, step: 0.1, value: strengths[k], say }, (value) => {
      strengths = strengths.map((old, i) => (i === k ? value : old));
      later();
    }),
  );
  const presets = [["neither", 0, 0], ...data.adapters.map(({ title }, k) => [`${title} alone`, 1 - k, k]), ["half of each", 0.5, 0.5]];
  const buttons = presets.map(([title, ...by]) => button(title, () => set(by)));
  const again = button("Another text", () => ((seed += 1), later()));
  const paper = element("div", { className: "genai-paper", tabIndex: 0, role: "group", "aria-label": "what the model writes" });
  const rows = data.pieces.map(({ title, text }) => {
    const [bar, value, change] = [element("i"), element("span", { className: "genai-number" }), element("span", { className: "genai-number" })];
    return {
      bar, value, change,
      row: element("div", { title: text }, element("span", { textContent: title }), element("span", { className: "genai-bar" }, bar), value, change),
    };
  });
  const says = element("p", { className: "genai-says", "aria-live": "polite" });

  function set(by) {
    strengths = [...by];
    sliders.forEach(({ input, output }, k) => {
      input.value = by[k];
      output.textContent = say(by[k]);
    });
    later();
  }
  let waiting = false;
  function later() {
    if (!waiting) requestAnimationFrame(now);
    waiting = true;
  }
  function now() {
    waiting = false;
    next = merged(strengths);
    nats = data.pieces.map(({ text }) => lossOf(next, text));
    text = written(next);
    paper.textContent = text;
    rows.forEach(({ bar, value, change }, i) => {
      const off = nats[i] - start[i];
      bar.style.width = `${Math.min(100, (100 * nats[i]) / data.most)}%`;
      value.textContent = nats[i].toFixed(2);
      change.textContent = Math.abs(off) < 0.005 ? "±0" : `${off > 0 ? "+" : "−"}${Math.abs(off).toFixed(2)}`;
    });
    const best = nats.map((v, i) => v - start[i]).reduce((least, v, i, all) => (v < all[least] ? i : least), 0);
    const off = nats[best] - start[best];
    says.textContent = strengths.every((s) => s === 0)
      ? "Both adapters are off: the base alone, as it was before it learned anything new."
      : off < -0.005
        ? `Against the base, ${data.pieces[best].title} gains most: ${Math.abs(off).toFixed(2)} nats per letter less.`
        : "Against the base, no text gains.";
    root.genaiLora = { strengths, nats, text, seed };
  }

  root.genaiGuesses = (text, by) =>
    Array.from(softmax(merged(by)(Array.from(text, (char) => index.get(char)))));
  root.querySelector(".genai-lora").replaceChildren(
    element("div", { className: "genai-controls" }, ...sliders.flatMap(({ row }) => row)),
    element("div", { className: "genai-buttons" }, ...buttons, again),
    paper,
    element("p", { className: "genai-name", textContent: "Loss on a piece that no model was trained on, nats per letter, and against the base:" }),
    element("div", { className: "genai-losses" }, ...rows.map(({ row }) => row)),
    says,
  );
  now();
}
