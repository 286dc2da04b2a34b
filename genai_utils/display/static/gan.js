// A GAN on points of the plane, trained in the page: generator, discriminator, and their slopes.
// Points are rows of two numbers in a Float32Array.

// Losses of scores a of data and b of samples (n each): both players' losses and their derivatives
// with respect to a and b. D's in [0], G's in [1]; each is { loss, a, b }.
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
const ganLosses = {
  minimax: [
    [(a, b) => softplus(-a) + softplus(b), (a) => -sigmoid(-a), (a, b) => sigmoid(b)],
    [(a, b) => -softplus(b), () => 0, (a, b) => -sigmoid(b)],
  ],
  "non-saturating": [
    [(a, b) => softplus(-a) + softplus(b), (a) => -sigmoid(-a), (a, b) => sigmoid(b)],
    [(a, b) => softplus(-b), () => 0, (a, b) => -sigmoid(-b)],
  ],
  "least squares": [
    [(a, b) => 0.5 * (a - 1) ** 2 + 0.5 * b * b, (a) => a - 1, (a, b) => b],
    [(a, b) => 0.5 * (b - 1) ** 2, () => 0, (a, b) => b - 1],
  ],
  pairs: [
    [(a, b) => softplus(b - a), (a, b) => -sigmoid(b - a), (a, b) => sigmoid(b - a)],
    [(a, b) => softplus(a - b), () => 0, (a, b) => -sigmoid(a - b)],
  ],
};
function playersLoss(name, player, a, b) {
  const [value, byA, byB] = ganLosses[name][player];
  const n = a.length;
  const each = (f) => Float32Array.from(a, (v, i) => f(v, b[i]) / n);
  return { loss: each(value).reduce((x, y) => x + y, 0), a: each(byA), b: each(byB) };
}

// gamma/2 times the mean squared slope of the scores of a trace, and its gradient with respect to
// the weights. With straight pieces for activations the slope v is linear in each weight: v goes
// through the network once more, along the same pieces, and the ordinary backward pass does the rest.
function steepness(net, trace, gamma) {
  const n = trace.output.length;
  const v = net.backward(trace, new Float32Array(n).fill(1)).x;
  const [inputs, sums] = [[], trace.sums];
  let part = v;
  net.layers.forEach(({ weight, from, to }, l) => {
    if (l) part = part.map((u, i) => u * (sums[l - 1][i] > 0 ? 1 : 0.2));
    inputs.push(part);
    part = matmul(part, weight, n, from, to, { turnB: true });
  });
  const gradient = net.backward({ inputs, sums }, new Float32Array(n).fill(gamma / n)).parameters;
  let at = 0;
  for (const { weight, bias } of net.layers) gradient.fill(0, at + weight.length, (at += weight.length + bias.length));
  return { loss: (0.5 * gamma * v.reduce((sum, u) => sum + u * u, 0)) / n, gradient };
}

// Both players' losses and gradients on data x and codes z; pull: what each sample is moved along,
// minus the slope of G's loss.
function ganGradients(G, D, { loss, gamma }, x, z) {
  const made = G.forward(z);
  const [real, fake] = [D.forward(x), D.forward(made.output)];
  const d = playersLoss(loss, 0, real.output, fake.output);
  const g = playersLoss(loss, 1, real.output, fake.output);
  const parts = [D.backward(real, d.a).parameters, D.backward(fake, d.b).parameters];
  let penalty = 0;
  if (gamma)
    for (const trace of [real, fake]) {
      const found = steepness(D, trace, gamma);
      penalty += found.loss;
      parts.push(found.gradient);
    }
  const back = D.backward(fake, g.b).x;
  return {
    losses: [d.loss, g.loss],
    penalty,
    discriminator: parts.reduce((sum, part) => sum.map((v, i) => v + part[i])),
    generator: G.backward(made, back).parameters,
    points: made.output,
    pull: back.map((v) => -v),
  };
}

function ganToy(root, data) {
  const CODE = 2;
  const range = data.range;
  const random = randomNumbers(data.seed);
  const normal = normalNumbers(random);
  const rules = { ...data.recipe };
  const fixed = Float32Array.from({ length: 2 * data.shown }, normal); // codes of the dots that are drawn
  const shownData = new Float32Array(2 * data.shown);
  let [G, D, moveG, moveD, step, history, own, set] = [null, null, null, null, 0, [], [], data.sets[0].name];
  let [timer, found] = [0, null];

  const centres = () => data.sets.find((one) => one.name === set)?.centres ?? own;
  function drawData(into) {
    const from = centres();
    for (let i = 0; i < into.length; i += 2) {
      const [x, y] = from[Math.floor(random() * from.length)];
      into[i] = x + data.deviation * normal();
      into[i + 1] = y + data.deviation * normal();
    }
    return into;
  }
  function restart() {
    const options = { activation: "leaky", slope: 0.2, random };
    G = mlp([CODE, data.width, data.width, 2], options);
    D = mlp([2, data.width, data.width, 1], options);
    for (const { weight } of G.layers) weight.forEach((v, i) => (weight[i] = 1.7 * v));
    optimisers();
    [step, history, found] = [0, [], null];
    if (centres().length) drawData(shownData);
    update(centres().length ? "Both players are new." : "Click on the field to put data there.");
  }
  function optimisers() {
    const betas = [rules.momentum, 0.99];
    moveG = adam(G.parameters, { rate: rules.rate, betas });
    moveD = adam(D.parameters, { rate: rules.rate * rules.ratio, betas });
  }
  function one() {
    const x = drawData(new Float32Array(2 * data.batch));
    const z = Float32Array.from({ length: CODE * data.batch }, normal);
    const now = ganGradients(G, D, rules, x, z);
    moveD(now.discriminator);
    moveG(now.generator);
    step += 1;
    if (step % 10 === 0) history.push([step, ...now.losses]);
    if (history.length > 300) history = history.filter((_, i) => i % 2);
  }
  // How many centres have a dot within three deviations.
  function covered() {
    const dots = G.forward(fixed).output;
    let good = 0;
    const hit = centres().map(() => 0);
    for (let i = 0; i < dots.length; i += 2) {
      const far = centres().map(([x, y]) => Math.hypot(dots[i] - x, dots[i + 1] - y));
      const nearest = Math.min(...far);
      if (nearest <= 3 * data.deviation) {
        good += 1;
        hit[far.indexOf(nearest)] += 1;
      }
    }
    return { modes: hit.filter(Boolean).length, of: hit.length, good: (2 * good) / dots.length };
  }

  // ---- what is seen
  const field = root.querySelector(".genai-field");
  const canvas = element("canvas", { tabIndex: 0, role: "application", "aria-roledescription": "field of points" });
  field.replaceChildren(canvas);
  const curve = element("canvas", { role: "img" });
  const number = element("output");
  const status = element("div", { className: "genai-status", role: "status" });
  const dot = (pen, x, y, radius) => {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
  };
  const redraw = surface(root, canvas, (pen, width, height, theme) => {
    const at = plane(range, width, height);
    const [rows, columns] = [33, 33];
    const places = new Float32Array(2 * rows * columns);
    for (let i = 0; i < rows * columns; i++) {
      places[2 * i] = range[0] + ((range[1] - range[0]) * (i % columns)) / (columns - 1);
      places[2 * i + 1] = range[2] + ((range[3] - range[2]) * Math.floor(i / columns)) / (rows - 1);
    }
    const scores = D.forward(places).output;
    const middle = rules.loss === "pairs" ? scores.reduce((a, b) => a + b, 0) / scores.length : rules.loss === "least squares" ? 0.5 : 0;
    const { diverging } = ramps(theme);
    const belief = scores.map((a) => a - middle);
    const most = Math.max(0.1, ...belief.map(Math.abs));
    drawField(pen, belief.map((a) => 0.5 - (0.42 * Math.tanh((2 * a) / most)) / Math.tanh(2)), rows, columns, width, height, diverging);
    Object.assign(pen, { strokeStyle: theme.muted, lineWidth: 1 });
    pen.setLineDash([4, 4]);
    drawPieces(pen, at, contour(belief, rows, columns, range, 0));
    pen.setLineDash([]);
    pen.fillStyle = theme.dark ? "#7cc8f5" : "#0072b2";
    for (let i = 0; centres().length && i < shownData.length; i += 2) dot(pen, at.x(shownData[i]), at.y(shownData[i + 1]), 2);
    const dots = G.forward(fixed);
    const fake = D.forward(dots.output);
    const slope = playersLoss(rules.loss, 1, scoresOfData(), fake.output);
    const pull = D.backward(fake, slope.b).x.map((v) => -v * fake.output.length);
    pen.fillStyle = theme.dark ? "#ff9a55" : "#d55e00";
    Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 1 });
    const long = Math.max(1e-9, ...pull.filter((_, i) => i % 2 === 0).map((v, i) => Math.hypot(v, pull[2 * i + 1])));
    const arrows = [];
    for (let i = 0; i < dots.output.length; i += 2) {
      const [x, y] = [dots.output[i], dots.output[i + 1]];
      dot(pen, at.x(x), at.y(y), 2.4);
      const scale = 0.3 / long; // an arrow for every third dot, the longest of all 0.3 long
      if (i % 6 === 0) arrows.push([x, y, x + scale * pull[i], y + scale * pull[i + 1]]);
    }
    drawPieces(pen, at, arrows);
  });
  // Scores of data for the pairs that only G's slope needs.
  const scoresOfData = () => D.forward(centres().length ? shownData : fixed).output;
  const redrawCurve = surface(root, curve, (pen, width, height, theme) => {
    Object.assign(pen, { strokeStyle: theme.line, lineWidth: 1 });
    pen.strokeRect(0.5, 0.5, width - 1, height - 1);
    if (history.length < 2) return;
    const values = history.flatMap(([, d, g]) => [d, g]);
    const [low, high] = [Math.min(...values), Math.max(...values, Math.min(...values) + 0.1)];
    const last = history.at(-1)[0];
    const colours = theme.dark ? ["#7cc8f5", "#ff9a55"] : ["#0072b2", "#d55e00"];
    [1, 2].forEach((player) => {
      Object.assign(pen, { strokeStyle: colours[player - 1], lineWidth: 1.5 });
      pen.beginPath();
      for (const row of history) pen.lineTo(4 + (row[0] / last) * (width - 8), height - 5 - ((row[player] - low) / (high - low)) * (height - 10));
      pen.stroke();
    });
    Object.assign(pen, { fillStyle: theme.muted, font: "11px sans-serif" });
    pen.fillText(minus(high.toFixed(2)), 5, 13);
    pen.fillText(minus(low.toFixed(2)), 5, height - 5);
    pen.textAlign = "right";
    pen.fillText(`step ${last}`, width - 5, height - 5);
  });
  function update(text) {
    if (centres().length) {
      const { modes, of, good } = covered();
      number.textContent = `${modes} of ${of}`;
      canvas.setAttribute("aria-label", `After ${step} steps the samples cover ${modes} of ${of} groups of data; ${Math.round(100 * good)} % of them are good. Click to add data of your own.`);
      const now = history.at(-1);
      curve.setAttribute("aria-label", now ? `Losses at step ${now[0]}: discriminator ${minus(now[1].toFixed(2))}, generator ${minus(now[2].toFixed(2))}.` : "No losses yet.");
      status.textContent = `${text ?? ""} Step ${step.toLocaleString("en")}: ${Math.round(100 * good)} % of the dots are good.`.trim();
    } else {
      number.textContent = "–";
      status.textContent = text ?? "";
    }
    redraw();
    redrawCurve();
  }

  // ---- what the reader does
  function go() {
    if (!centres().length) return update("Click on the field to put data there.");
    run.textContent = "Stop";
    const next = () => {
      if (!root.isConnected) return stop();
      for (let i = 0; i < data.perFrame; i++) one();
      update();
      timer = setTimeout(next, 16);
    };
    timer = setTimeout(next, 0);
  }
  function stop() {
    clearTimeout(timer);
    timer = 0;
    run.textContent = "Run";
  }
  const run = button("Run", () => (timer ? stop() : go()));
  run.className = "genai-main";
  const single = button("One step", () => {
    stop();
    if (!centres().length) return update("Click on the field to put data there.");
    one();
    update();
  });
  const names = Object.keys(ganLosses);
  const losses = names.map((name) => button(name, () => choose({ loss: name }, `Both players now use the loss “${name}”.`)));
  const calm = slider("calm D: R1, R2", { min: 0, max: data.gammas.length - 1, value: 0, say: (i) => String(data.gammas[i]) },
    (i) => choose({ gamma: data.gammas[i] }, `The penalty on steep scores weighs ${data.gammas[i]}.`));
  function choose(change, text) {
    Object.assign(rules, change);
    losses.forEach((one, i) => one.setAttribute("aria-pressed", String(names[i] === rules.loss)));
    const place = data.gammas.indexOf(rules.gamma);
    [calm.input.value, calm.output.textContent] = [place, String(rules.gamma)];
    update(text);
  }
  function preset(change, text) {
    Object.assign(rules, change);
    restart();
    choose({}, text);
    if (!timer) go();
  }
  const collapse = button("Make it collapse", () => preset(data.collapse, "No penalty, much momentum, a slow discriminator."));
  const cure = button("Cure it", () => preset(data.recipe, "Pairs, a penalty, no momentum."));
  const sets = menu("Data", { ...Object.fromEntries(data.sets.map(({ name }) => [name, name])), own: "my own points" }, (name) => {
    stop();
    set = name;
    own = [];
    restart();
  });
  canvas.addEventListener("click", (event) => {
    const [u, v] = placeIn(canvas, event);
    add(range[0] + u * (range[1] - range[0]), range[3] - v * (range[3] - range[2]));
  });
  let cursor = null;
  canvas.addEventListener("keydown", (event) => {
    const by = arrowStep(event);
    cursor ??= [0, 0];
    if (by) cursor = cursor.map((v, axis) => Math.max(range[0], Math.min(range[1], v + 0.1 * by[axis])));
    else if (event.key === "Enter" || event.key === " ") add(...cursor);
    else return;
    event.preventDefault();
    status.textContent = `At ${cursor.map((v) => minus(v.toFixed(1))).join(", ")}. Enter puts data there.`;
  });
  function add(x, y) {
    if (set !== "own") [set, own] = ["own", []];
    sets.select.value = "own";
    own.push([x, y]);
    drawData(shownData);
    update(`${own.length} ${own.length === 1 ? "group" : "groups"} of your own.`);
  }

  const side = element("div", { className: "genai-side" }, element("div", {}, "modes covered ", number), curve,
    element("p", { textContent: "losses: blue of the discriminator, orange of the generator" }));
  field.after(side);
  root.querySelector(".genai-toyrow").after(
    element("div", { className: "genai-buttons" }, run, single, button("Restart", () => (stop(), restart())), collapse, cure),
    element("div", { className: "genai-buttons genai-choices", role: "group", "aria-label": "Loss" }, ...losses,
      element("div", { className: "genai-controls" }, ...calm.row)),
    element("div", { className: "genai-menus" }, sets.row),
    status,
  );
  restart();
  choose({});
  root.genaiGan = {
    state: () => ({ step, rules: { ...rules }, history, set, own, dots: [...G.forward(fixed).output], ...covered() }),
    train: (steps) => {
      for (let i = 0; i < steps; i++) one();
      update();
    },
    // Numbers for given weights, to be compared with another library.
    gradients: (rules, widths, g, d, x, z) => {
      const options = { activation: "leaky", slope: 0.2 };
      const [A, B] = [mlp(widths[0], options), mlp(widths[1], options)];
      A.parameters.set(g);
      B.parameters.set(d);
      const found = ganGradients(A, B, rules, Float32Array.from(x), Float32Array.from(z));
      return Object.fromEntries(Object.entries(found).map(([name, v]) => [name, v.length ? [...v] : v]));
    },
  };
  whenSeen(field, () => step || timer || go());
}
