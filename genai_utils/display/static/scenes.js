// Four hundred scenes, and which of them fit the reader's sentence or drawing. It needs page_math.js,
// page_decoder.js, page_canvas.js, page_bytes.js, page_norm.js, page_tower.js and page_clip.js.
function scenesToy(root, data) {
  const { side, words, context, end } = data;
  const model = clip(byteWeights(data.weights), data);
  const { vectors } = byteWeights(data.sheet); // (n, d), of the scenes
  const d = vectors.shape[1];
  const n = vectors.shape[0];
  const across = data.across; // scenes in a row of the sheet
  const index = new Map(words.map((word, i) => [word, i]));
  const row = (i) => vectors.subarray(i * d, (i + 1) * d);
  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const part = (name) => root.querySelector(`.genai-${name}`);
  const say = (v) => v.toFixed(2).replace("-", "−");

  let asked = "sentence"; // or "drawing"
  let x = new Float32Array(3 * side * side); // the drawing
  let colour = data.colours[0][1];
  let [vector, cosines, order] = [null, [], []];
  let reading = []; // of a drawing: the sentences that fit it best

  // ---- words
  // The ids of a sentence and the words that the model does not have.
  function idsOf(text) {
    const found = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
    const known = found.filter((word) => index.has(word)).slice(0, context - 1);
    return { ids: [...known.map((word) => index.get(word)), end], unknown: found.filter((word) => !index.has(word)), known };
  }
  const short = data.readings.map((text) => ({ text, ids: idsOf(text).ids }));
  let shortVectors = null; // computed when the first drawing is made

  // ---- the parts
  const sheet = part("sheet").querySelector("img");
  const field = element("input", { type: "text", spellcheck: false, autocomplete: "off", autocapitalize: "off" });
  field.setAttribute("aria-label", "a sentence");
  const status = element("div", { className: "genai-status", role: "status" });
  const says = element("p", { className: "genai-says" });
  says.setAttribute("aria-live", "polite");
  const best = element("div", { className: "genai-best" });
  const map = element("canvas", { className: "genai-map", role: "img" });
  const drawing = element("canvas", { width: side, height: side, className: "genai-ink genai-crisp", tabIndex: 0, role: "application" });
  drawing.setAttribute("aria-roledescription", "drawing field");
  drawing.setAttribute("aria-label", "A field to draw in. Draw with mouse or finger. With keys: arrows move the pen, Shift moves it further, Space draws.");
  const picture = (i) => { // scene i of the sheet, as a canvas
    const canvas = element("canvas", { width: side, height: side, className: "genai-crisp" });
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(sheet, (i % across) * side, Math.floor(i / across) * side, side, side, 0, 0, side, side);
    return canvas;
  };

  // ---- what fits
  function look() {
    cosines = Array.from({ length: n }, (_, i) => dot(row(i), vector));
    order = [...cosines.keys()].sort((a, b) => cosines[b] - cosines[a]);
    show();
  }
  function read() {
    const { ids, unknown, known } = idsOf(field.value);
    status.textContent = unknown.length
      ? `Left out, as the model has no such word: ${unknown.slice(0, 6).join(", ")}.`
      : known.length ? "" : "Write a word or more: a colour, a shape, a digit, a size, a place.";
    if (!known.length) return;
    asked = "sentence";
    vector = model.text(ids);
    look();
  }
  function seeDrawing() {
    asked = "drawing";
    vector = model.image(x);
    shortVectors ??= short.map(({ ids }) => model.text(ids));
    const fit = shortVectors.map((v) => dot(v, vector));
    const top = [...fit.keys()].sort((a, b) => fit[b] - fit[a]).slice(0, 3);
    reading = top.map((i) => [short[i].text, fit[i]]);
    status.textContent = "";
    look();
  }

  // ---- the picture
  const draw = surface(root, map, (pen, width, height, theme) => {
    if (!order.length || !sheet.complete) return;
    const cell = width / across;
    const [low, high] = [cosines[order[n - 1]], cosines[order[0]]];
    pen.imageSmoothingEnabled = false;
    for (let i = 0; i < n; i++) {
      const [u, v] = [i % across, Math.floor(i / across)];
      pen.globalAlpha = 0.15 + 0.85 * ((cosines[i] - low) / (high - low || 1)) ** 3;
      pen.drawImage(sheet, u * side, v * side, side, side, u * cell, v * cell, cell, cell);
    }
    pen.globalAlpha = 1;
    Object.assign(pen, { strokeStyle: theme.accent ?? theme.ink, lineWidth: 2 });
    for (const i of order.slice(0, data.shown)) pen.strokeRect((i % across) * cell + 1, Math.floor(i / across) * cell + 1, cell - 2, cell - 2);
  });
  function show() {
    best.replaceChildren(...order.slice(0, data.shown).map((i) => {
      const take = button("", () => load(i));
      take.setAttribute("aria-label", `scene ${i + 1}, cosine ${say(cosines[i])}: put it into the drawing field`);
      take.append(picture(i), element("span", { textContent: say(cosines[i]) }));
      return take;
    }));
    says.textContent = asked === "sentence"
      ? `The ${data.shown} of ${n} scenes whose vectors are nearest to that of your sentence, with their cosines.`
      : `Nearest to your drawing. It reads: ${reading.map(([text, fit]) => `${text} (${say(fit)})`).join(", ")}.`;
    map.setAttribute("aria-label", `All ${n} scenes; the brighter, the nearer. Nearest: ${order.slice(0, 3).map((i) => `scene ${i + 1}`).join(", ")}.`);
    draw();
  }

  // ---- drawing
  function paintDrawing() {
    paint(drawing, x, [3, side, side]);
  }
  // Draws from a place to another, [across, down] in [0, 1]: pixels within the pen, softly.
  const RADIUS = 1.3;
  function stroke(from, to) {
    const [ax, ay, bx, by] = [...from, ...to].map((v) => v * side - 0.5);
    const length = (bx - ax) ** 2 + (by - ay) ** 2;
    for (let i = 0; i < side * side; i++) {
      const [u, v] = [i % side, Math.floor(i / side)];
      const t = length ? Math.min(1, Math.max(0, ((u - ax) * (bx - ax) + (v - ay) * (by - ay)) / length)) : 0;
      const far = Math.hypot(u - ax - t * (bx - ax), v - ay - t * (by - ay));
      const cover = Math.min(1, Math.max(0, RADIUS + 0.5 - far));
      if (cover) for (let c = 0; c < 3; c++) x[c * side * side + i] += cover * (colour[c] - x[c * side * side + i]);
    }
    changed();
  }
  let waiting = false;
  function changed() {
    if (!waiting) requestAnimationFrame(() => ((waiting = false), paintDrawing(), seeDrawing()));
    waiting = true;
  }
  let pen = [0.5, 0.5];
  drawing.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drawing.setPointerCapture(event.pointerId);
    pen = placeIn(drawing, event);
    stroke(pen, pen);
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!event.buttons || !drawing.hasPointerCapture(event.pointerId)) return;
    const to = placeIn(drawing, event);
    stroke(pen, to);
    pen = to;
  });
  drawing.addEventListener("keydown", (event) => {
    const by = arrowStep(event);
    if (by) pen = pen.map((v, i) => Math.min(1, Math.max(0, v + ((i ? -1 : 1) * by[i]) / side)));
    else if (event.key === " ") stroke(pen, pen);
    else return;
    event.preventDefault();
  });
  function clear() {
    x = new Float32Array(3 * side * side);
    for (let i = 0; i < x.length; i++) x[i] = data.ground;
    changed();
  }
  function load(i) {
    const { data: pixels } = picture(i).getContext("2d").getImageData(0, 0, side, side);
    for (let p = 0; p < side * side; p++) for (let c = 0; c < 3; c++) x[c * side * side + p] = pixels[4 * p + c] / 255;
    changed();
  }
  const palette = element("div", { className: "genai-palette", role: "radiogroup" });
  palette.setAttribute("aria-label", "the colour of the pen");
  for (const [name, rgb] of [...data.colours, ["wipe", [data.ground, data.ground, data.ground]]]) {
    const radio = element("input", { type: "radio", name: `${root.id}-colour`, value: name });
    radio.setAttribute("aria-label", name);
    radio.checked = rgb === colour;
    radio.addEventListener("change", () => (colour = rgb));
    const spot = element("span", { title: name });
    spot.style.background = `rgb(${rgb.map((v) => Math.round(255 * v)).join(" ")})`;
    palette.append(element("label", {}, radio, spot));
  }

  // ---- put together
  const tries = data.examples.map((text) => button(text, () => ((field.value = text), read())));
  sheet.hidden = true;
  part("sheet").append(map);
  root.querySelector(".genai-toyrow").before(
    element("label", { className: "genai-line" }, element("span", { className: "genai-name", textContent: "a sentence" }), field),
    element("div", { className: "genai-buttons genai-tries" }, ...tries),
    status,
  );
  part("easel").replaceChildren(
    element("span", { className: "genai-name", textContent: "or draw" }),
    drawing, palette,
    element("div", { className: "genai-buttons" }, button("Clear", clear)),
  );
  root.querySelector(".genai-toyrow").after(says, best);
  field.addEventListener("input", read);
  for (let i = 0; i < x.length; i++) x[i] = data.ground;
  paintDrawing();
  field.value = data.examples[0];
  read();
  if (!sheet.complete) sheet.addEventListener("load", show);
  root.genaiScenes = {
    image: (pixels) => Array.from(model.image(Float32Array.from(pixels))),
    text: (text) => Array.from(model.text(idsOf(text).ids)),
    drawing: () => Array.from(x),
    state: () => ({ asked, order, cosines, vector: Array.from(vector), reading }),
  };
}
