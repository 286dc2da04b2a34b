// A flow of the plane that learns in the page: steps of ActNorm, a matrix and an affine coupling, as
// `vision.flow.Flow` has them, with the gradients written out. x, c: Float32Array (n, 2).

const BOUND = 2; // a coupling stretches by at most e^2

// numbers: all weights of a step in one array, [log_scale 2, shift 2, matrix 4], and an MLP 1 -> 2.
function flowStep(width, random) {
  const numbers = new Float32Array(8);
  const angle = 2 * Math.PI * random();
  numbers.set([Math.cos(angle), -Math.sin(angle), Math.sin(angle), Math.cos(angle)], 4); // a rotation
  const net = mlp([1, width, width, 2], { activation: "silu", random });
  net.layers.at(-1).weight.fill(0);
  net.layers.at(-1).bias.fill(0);
  return { numbers, net };
}

const firstOf = (x) => x.filter((_, i) => i % 2 === 0);
const coupled = (r) => BOUND * Math.tanh(r / BOUND);

// One step from x to c: { c, logDet (n), and what the way back of the gradient needs }.
function forwardStep({ numbers, net }, x) {
  const n = x.length / 2;
  const [s0, s1, t0, t1, a, b, d, e] = numbers;
  const [e0, e1] = [Math.exp(s0), Math.exp(s1)];
  const volume = s0 + s1 + Math.log(Math.abs(a * e - b * d));
  const [normed, turned] = [new Float32Array(2 * n), new Float32Array(2 * n)];
  for (let i = 0; i < n; i++) {
    const [p, q] = [x[2 * i] * e0 + t0, x[2 * i + 1] * e1 + t1];
    normed.set([p, q], 2 * i);
    turned.set([a * p + b * q, d * p + e * q], 2 * i);
  }
  const pass = net.forward(firstOf(turned));
  const [c, logDet] = [turned.slice(), new Float64Array(n)];
  for (let i = 0; i < n; i++) {
    const s = coupled(pass.output[2 * i]);
    c[2 * i + 1] = turned[2 * i + 1] * Math.exp(s) + pass.output[2 * i + 1];
    logDet[i] = volume + s;
  }
  return { x, normed, turned, pass, c, logDet };
}

// The gradient of a loss: g (n, 2) with respect to c, and `each` with respect to every example's
// log-determinant -> { numbers, net, x }.
function backwardStep({ numbers, net }, { x, normed, turned, pass }, g, each) {
  const n = x.length / 2;
  const [s0, s1, , , a, b, d, e] = numbers;
  const [e0, e1, det] = [Math.exp(s0), Math.exp(s1), a * e - b * d];
  const raw = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    const s = coupled(pass.output[2 * i]);
    const perS = g[2 * i + 1] * turned[2 * i + 1] * Math.exp(s) + each;
    raw.set([perS * (1 - (s / BOUND) ** 2), g[2 * i + 1]], 2 * i);
  }
  const back = net.backward(pass, raw);
  const found = new Float64Array(8);
  const all = n * each; // of what every example has in common
  found.set([all, all, 0, 0, (all * e) / det, (-all * d) / det, (-all * b) / det, (all * a) / det]);
  const gx = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    const g0 = g[2 * i] + back.x[i];
    const g1 = g[2 * i + 1] * Math.exp(coupled(pass.output[2 * i]));
    const [p, q] = [normed[2 * i], normed[2 * i + 1]];
    const [h0, h1] = [a * g0 + d * g1, b * g0 + e * g1];
    [h0 * x[2 * i] * e0, h1 * x[2 * i + 1] * e1, h0, h1, g0 * p, g0 * q, g1 * p, g1 * q].forEach((v, k) => (found[k] += v));
    gx.set([h0 * e0, h1 * e1], 2 * i);
  }
  return { numbers: Float32Array.from(found), net: back.parameters, x: gx };
}

// The way back of one step: c -> x.
function inverseStep({ numbers, net }, c) {
  const n = c.length / 2;
  const [s0, s1, t0, t1, a, b, d, e] = numbers;
  const det = a * e - b * d;
  const { output } = net.forward(firstOf(c));
  const x = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    const p = c[2 * i];
    const q = (c[2 * i + 1] - output[2 * i + 1]) * Math.exp(-coupled(output[2 * i]));
    const [u, v] = [(e * p - b * q) / det, (a * q - d * p) / det];
    x.set([(u - t0) * Math.exp(-s0), (v - t1) * Math.exp(-s1)], 2 * i);
  }
  return x;
}

// A flow of `depth` steps. start(x): ActNorms are set by these points. encode, decode, logProb, and
// gradient(x) -> { loss, gradients }, the loss -log P(x) in nats, mean over the points.
function planeFlow(depth, width, random) {
  const steps = Array.from({ length: depth }, () => flowStep(width, random));

  function start(x) {
    for (const step of steps) {
      for (const axis of [0, 1]) {
        const column = x.filter((_, i) => i % 2 === axis);
        const mean = column.reduce((a, b) => a + b, 0) / column.length;
        const variance = column.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, column.length - 1);
        const logScale = -Math.log(Math.max(Math.sqrt(variance), 1e-3));
        step.numbers[axis] = logScale;
        step.numbers[2 + axis] = -mean * Math.exp(logScale);
      }
      x = forwardStep(step, x).c;
    }
  }
  function encode(x) {
    const passes = [];
    for (const step of steps) passes.push(forwardStep(step, passes.at(-1)?.c ?? x));
    return passes;
  }
  function logProbOf(passes) {
    const c = passes.at(-1).c;
    return Float64Array.from({ length: c.length / 2 }, (_, i) =>
      passes.reduce((sum, pass) => sum + pass.logDet[i], 0) - 0.5 * (c[2 * i] ** 2 + c[2 * i + 1] ** 2) - Math.log(2 * Math.PI));
  }
  const logProb = (x) => logProbOf(encode(x));
  const decode = (c) => steps.reduceRight((x, step) => inverseStep(step, x), c);
  function gradient(x) {
    const n = x.length / 2;
    const passes = encode(x);
    const loss = -logProbOf(passes).reduce((a, b) => a + b, 0) / n;
    let g = passes.at(-1).c.map((v) => v / n);
    const gradients = [];
    for (let k = depth - 1; k >= 0; k--) {
      const back = backwardStep(steps[k], passes[k], g, -1 / n);
      gradients[k] = { numbers: back.numbers, net: back.net };
      g = back.x;
    }
    return { loss, gradients };
  }
  return { steps, start, encode, decode, logProb, gradient };
}

// A gradient, in several arrays, is made no longer than `most`: a rare far point must not upset it.
function shorten(gradient, most) {
  const length = Math.sqrt(gradient.reduce((sum, part) => part.reduce((a, v) => a + v * v, sum), 0));
  if (length > most) for (const part of gradient) part.forEach((v, i) => (part[i] = (v * most) / length));
}

function flowToy(root, data) {
  const [W, H] = data.size; // the plane: from -W/2 to W/2, and -H/2 to H/2
  const range = [-W / 2, W / 2, -H / 2, H / 2];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const flatten = (pairs) => Float32Array.from(pairs.flat());
  let preset = data.presets[0];
  let points = preset.points;
  let depth = data.depth;
  let flow, movers, history, random, normal, density, top, stamp;
  let [timer, cursor, seed, view] = [0, null, 0, "density"];
  const [rows, columns] = [43, 61];

  // ---- what is seen
  const field = root.querySelector(".genai-field");
  const canvas = element("canvas", { tabIndex: 0, role: "application", "aria-roledescription": "field of points" });
  const curve = element("canvas", { role: "img" });
  const number = element("output");
  const status = element("div", { className: "genai-status", role: "status" });
  const run = button("Train", () => (timer ? stop() : go()));
  run.className = "genai-main";
  field.replaceChildren(canvas);

  function look() {
    const grid = new Float32Array(2 * rows * columns);
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++)
        grid.set([range[0] + (W * c) / (columns - 1), range[2] + (H * r) / (rows - 1)], 2 * (r * columns + c));
    density = flow.logProb(grid).map(Math.exp);
    top = density.reduce((a, b) => Math.max(a, b), 1e-9);
  }
  const redraw = surface(root, canvas, (pen, width, height, theme) => {
    const at = plane(range, width, height);
    const { sequential } = ramps(theme);
    if (view !== "grid") drawField(pen, density.map((v) => 0.85 * Math.sqrt(v / top)), rows, columns, width, height, sequential);
    if (view === "grid") {
      Object.assign(pen, { strokeStyle: theme.accent, lineWidth: 0.8 });
      const lines = [];
      for (let i = 0; i <= 20; i++)
        for (let s = 0; s <= 60; s++) lines.push([-2.5 + i / 4, -2.5 + s / 12], [-2.5 + s / 12, -2.5 + i / 4]);
      const bent = flow.decode(flatten(lines));
      for (let line = 0; line < 42; line++) {
        const base = Math.floor(line / 2) * 122 + (line % 2);
        pen.beginPath();
        for (let s = 0; s <= 60; s++) pen.lineTo(at.x(bent[2 * (base + 2 * s)]), at.y(bent[2 * (base + 2 * s) + 1]));
        pen.stroke();
      }
    }
    const shown = view === "samples" ? drawn() : points;
    for (const [x, y] of shown) {
      pen.beginPath();
      pen.arc(at.x(x), at.y(y), 3, 0, 7);
      pen.fillStyle = view === "samples" ? data.colours[1] : data.colours[0];
      Object.assign(pen, { strokeStyle: theme.dark ? "#111" : "#fff", lineWidth: 0.8 });
      pen.fill();
      pen.stroke();
    }
    if (cursor && document.activeElement === canvas) {
      Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 2 });
      pen.beginPath();
      pen.arc(at.x(cursor[0]), at.y(cursor[1]), 7, 0, 7);
      pen.stroke();
    }
  });
  // As many draws as there are points; the same noise at each look, so that one sees it move.
  function drawn() {
    const noise = normalNumbers(randomNumbers(7));
    const x = flow.decode(Float32Array.from({ length: 2 * Math.max(points.length, 100) }, noise));
    return Array.from({ length: x.length / 2 }, (_, i) => [x[2 * i], x[2 * i + 1]]);
  }
  const redrawCurve = surface(root, curve, (pen, width, height, theme) => {
    Object.assign(pen, { strokeStyle: theme.line, lineWidth: 1 });
    pen.strokeRect(0.5, 0.5, width - 1, height - 1);
    if (!history.length) return;
    // a rare jump is cut off: the fall is what is to be seen
    const [low, high] = [Math.min(...history), Math.min(Math.max(...history), history[0] + 0.3)];
    Object.assign(pen, { strokeStyle: theme.accent, lineWidth: 2 });
    pen.beginPath();
    history.forEach((v, i) => pen.lineTo(4 + (i / Math.max(1, history.length - 1)) * (width - 8),
      height - 6 - ((Math.min(v, high) - low) / Math.max(high - low, 1e-6)) * (height - 12)));
    pen.stroke();
  });
  function update(text) {
    number.textContent = history.length ? minus(history.at(-1).toFixed(2)) : "–";
    run.disabled = points.length < 3;
    curve.setAttribute("aria-label", `Cost in nats per point over the steps: ${history.filter((_, i) => i % 20 === 0).map((v) => v.toFixed(2)).join(", ") || "none yet"}.`);
    canvas.setAttribute("aria-label", `${points.length} points, and the density of a flow of ${depth} steps. Click or draw to add points. With keys: ` +
      "arrows move a cursor, Enter adds a point there, Delete takes the last one away.");
    if (text) status.textContent = text;
    redraw();
    redrawCurve();
  }

  // ---- learning
  function restart(text) {
    stop();
    random = randomNumbers((seed += 1));
    flow = planeFlow(depth, data.width, random);
    if (points.length > 2) flow.start(flatten(points));
    movers = flow.steps.map(({ numbers, net }) => [numbers, net.parameters].map((w) => adam(w, { rate: data.rate, betas: [0.9, 0.99] })));
    history = [];
    look();
    update(text ?? (points.length > 2 ? `${preset ? `${preset.question} ` : ""}Press Train.` : "Draw some points on the field."));
  }
  function learn(count) {
    const x = flatten(points);
    for (let i = 0; i < count; i++) {
      const { loss, gradients } = flow.gradient(x);
      if (!Number.isFinite(loss)) return restart("The training broke off; it begins anew.");
      history.push(loss);
      shorten(gradients.flatMap(({ numbers, net }) => [numbers, net]), data.clip);
      gradients.forEach((g, k) => (movers[k][0](g.numbers), movers[k][1](g.net)));
    }
  }
  function go() {
    if (points.length < 3) return;
    run.textContent = "Stop";
    stamp = performance.now();
    const frame = () => {
      if (!root.isConnected || !timer) return;
      learn(3);
      look();
      update(`Step ${history.length}: ${minus(history.at(-1)?.toFixed(2) ?? "")} nats per point.`);
      if (!timer) return;
      if (history.length >= data.steps) return stop(`${history.length} steps: ${minus(history.at(-1).toFixed(2))} nats per point. ${preset ? preset.lesson : "Add points, or train on."}`);
      timer = setTimeout(frame, calm.matches ? 200 : 16);
    };
    if (history.length >= data.steps) history = [];
    timer = setTimeout(frame, 0);
  }
  function stop(text) {
    clearTimeout(timer);
    timer = 0;
    run.textContent = "Train";
    if (text) update(text);
  }

  // ---- what the reader does
  const inside = (x, y) => [Math.min(W / 2, Math.max(-W / 2, x)), Math.min(H / 2, Math.max(-H / 2, y))];
  function add(x, y) {
    if (points.length >= data.most) return;
    [preset, points] = [null, [...points, inside(x, y)]];
    sets.select.value = "own";
    if (points.length === 3) return restart();
    update(`${points.length} points.`);
  }
  const spot = (event) => {
    const [x, y] = placeIn(canvas, event);
    return [(x - 0.5) * W, (0.5 - y) * H];
  };
  let last = null; // while one draws
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    last = spot(event);
    add(...last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last || !event.buttons) return;
    const now = spot(event);
    if (Math.hypot(now[0] - last[0], now[1] - last[1]) < 0.25) return;
    last = now;
    const [a, b] = [normal(), normal()]; // a thin cloud, not a line: a density has an area
    add(now[0] + 0.1 * a, now[1] + 0.1 * b);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => (last = null));
  canvas.addEventListener("keydown", (event) => {
    const by = arrowStep(event);
    cursor ??= [0, 0];
    if (by) cursor = inside(...[0, 1].map((axis) => cursor[axis] + 0.1 * by[axis]));
    else if (event.key === "Enter" || event.key === " ") add(...cursor);
    else if (event.key === "Delete" || event.key === "Backspace") {
      [preset, points] = [null, points.slice(0, -1)];
      sets.select.value = "own";
      update(`${points.length} points.`);
    } else return;
    event.preventDefault();
    redraw();
  });
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, redraw);
  const names = Object.fromEntries(data.presets.map(({ name }) => [name, name]));
  const sets = menu("Points", { ...names, own: "my own" }, (name) => {
    preset = data.presets.find((one) => one.name === name) ?? null;
    points = preset ? preset.points : [];
    restart();
  });
  const views = menu("Show", { density: "density and points", grid: "bent grid and points", samples: "density and draws" }, (name) => {
    view = name;
    redraw();
  });
  const many = slider("steps of the flow", { min: 1, max: 8, value: depth }, (value) => {
    depth = value;
    restart();
  });

  normal = normalNumbers(randomNumbers(3));
  restart();
  field.after(element("div", { className: "genai-side" }, element("div", {}, "cost in nats per point ", number), curve));
  root.querySelector(".genai-toyrow").after(
    element("div", { className: "genai-buttons" }, run, button("Restart", () => restart()), element("div", { className: "genai-controls" }, ...many.row)),
    element("div", { className: "genai-menus" }, sets.row, views.row),
    status,
  );
  root.genaiFlow = { planeFlow, learn, look, state: () => ({ points, history, depth, view, training: Boolean(timer), flow }) };
  whenSeen(field, () => history.length || go());
}
