// A mixture of experts on the plane that trains in the page. Each expert is a flat sheet over the
// plane, the router too: both see (x, y, 1). Needs page_math.js, page_learn.js, page_fields.js.

const FEATURES = 3;

// W (E, 3) on points (n, 2) -> (n, E).
function sheets(W, x) {
  const [n, E] = [x.length / 2, W.length / FEATURES];
  const out = new Float64Array(n * E);
  for (let r = 0; r < n; r++)
    for (let i = 0; i < E; i++) out[r * E + i] = W[3 * i] * x[2 * r] + W[3 * i + 1] * x[2 * r + 1] + W[3 * i + 2];
  return out;
}

// The forward pass: p, answers (n, E); chosen, gates (n, k), the best first; y (n); load (E).
// With one choice its gate is p, with more they are divided by their sum. The bias only chooses.
function mixture(router, experts, bias, k, x) {
  const [n, E] = [x.length / 2, bias.length];
  const [p, answers] = [softmax(sheets(router, x), 1, E), sheets(experts, x)];
  const [chosen, gates, y, load] = [new Int32Array(n * k), new Float64Array(n * k), new Float64Array(n), new Float64Array(E)];
  for (let r = 0; r < n; r++) {
    let sum = 0;
    for (let c = 0; c < k; c++) {
      let best = -1;
      for (let i = 0; i < E; i++) {
        if (chosen.subarray(r * k, r * k + c).includes(i)) continue;
        if (best < 0 || p[r * E + i] + bias[i] > p[r * E + best] + bias[best]) best = i;
      }
      chosen[r * k + c] = best;
      load[best] += 1 / (n * k);
      sum += p[r * E + best];
    }
    for (let c = 0; c < k; c++) {
      const i = r * E + chosen[r * k + c];
      gates[r * k + c] = k > 1 ? p[i] / sum : p[i];
      y[r] += gates[r * k + c] * answers[i];
    }
  }
  return { p, answers, chosen, gates, y, load };
}

// The mean of (y - t)^2 plus weight times the balance loss, and the gradients of both weights.
function mixtureGradients(router, experts, bias, { k, weight }, x, t) {
  const [n, E] = [t.length, bias.length];
  const { p, answers, chosen, gates, y, load } = mixture(router, experts, bias, k, x);
  const [byP, byAnswer] = [new Float64Array(n * E), new Float64Array(n * E)];
  let [error, balance] = [0, 0];
  for (let r = 0; r < n; r++) {
    const slope = (2 * (y[r] - t[r])) / n;
    error += (y[r] - t[r]) ** 2 / n;
    let [sum, mean] = [0, 0];
    for (let c = 0; c < k; c++) {
      const i = r * E + chosen[r * k + c];
      byAnswer[i] = slope * gates[r * k + c];
      sum += p[i];
      mean += gates[r * k + c] * slope * answers[i];
    }
    for (let c = 0; c < k; c++) {
      const i = r * E + chosen[r * k + c];
      byP[i] = k > 1 ? (slope * answers[i] - mean) / sum : slope * answers[i];
    }
    for (let i = 0; i < E; i++) {
      byP[r * E + i] += (weight * E * load[i]) / n;
      balance += (E * load[i] * p[r * E + i]) / n;
    }
  }
  const found = { router: new Float64Array(FEATURES * E), experts: new Float64Array(FEATURES * E) };
  for (let r = 0; r < n; r++) {
    let mean = 0;
    for (let i = 0; i < E; i++) mean += p[r * E + i] * byP[r * E + i];
    for (let i = 0; i < E; i++) {
      const bySum = p[r * E + i] * (byP[r * E + i] - mean);
      [x[2 * r], x[2 * r + 1], 1].forEach((v, j) => {
        found.router[3 * i + j] += bySum * v;
        found.experts[3 * i + j] += byAnswer[r * E + i] * v;
      });
    }
  }
  return { error, balance, load: [...load], ...found };
}

const landscapes = {
  waves: (x, y) => Math.sin(3 * x) * Math.cos(3 * y),
  islands: (x, y) =>
    [[-0.9, 0.8, 1], [0.9, 0.9, -1], [0, 0, 1], [-0.8, -0.9, -1], [0.9, -0.7, 1]].reduce(
      (sum, [a, b, s]) => sum + s * Math.exp(-4 * ((x - a) ** 2 + (y - b) ** 2)), 0),
  rings: (x, y) => Math.cos(4 * Math.hypot(x, y)),
};

function moeToy(root, data) {
  const { range, grid } = data;
  const [low, high] = [range[0], range[1]];
  const rules = { ...data.rules };
  let [E, land, step, random, timer] = [data.experts, "waves", 0, null, 0];
  let [router, experts, bias, moveRouter, moveExperts, seen, error] = [];
  let seed = data.seed;

  // the places of the grid, row by row from below, and the landscape there
  const places = new Float64Array(2 * grid * grid);
  for (let i = 0; i < grid * grid; i++) {
    places[2 * i] = low + ((high - low) * (i % grid)) / (grid - 1);
    places[2 * i + 1] = low + ((high - low) * Math.floor(i / grid)) / (grid - 1);
  }
  const heights = () => Float64Array.from({ length: grid * grid }, (_, i) => landscapes[land](places[2 * i], places[2 * i + 1]));
  const variance = (t) => {
    const mean = t.reduce((a, b) => a + b, 0) / t.length;
    return t.reduce((sum, v) => sum + (v - mean) ** 2, 0) / t.length;
  };

  function restart(text = "New experts, new router.") {
    random = randomNumbers(seed);
    const normal = normalNumbers(random);
    const draw = () => Float32Array.from({ length: FEATURES * E }, () => 0.5 * normal());
    [router, experts, bias, step] = [draw(), draw(), new Float64Array(E), 0];
    moveRouter = adam(router, { rate: data.rate });
    moveExperts = adam(experts, { rate: data.rate });
    update(text);
  }
  function one() {
    const x = Float64Array.from({ length: 2 * data.batch }, () => low + (high - low) * random());
    const t = Float64Array.from({ length: data.batch }, (_, r) => landscapes[land](x[2 * r], x[2 * r + 1]));
    const weight = rules.balance === "loss" ? data.weight : 0;
    const found = mixtureGradients(router, experts, bias, { k: rules.k, weight }, x, t);
    moveRouter(found.router);
    moveExperts(found.experts);
    if (rules.balance === "bias") bias = bias.map((b, i) => b + data.biasRate * Math.sign(1 / E - found.load[i]));
    step += 1;
  }
  // The mixture on the whole grid, its error as a share of the landscape's variance, who is at work.
  function look() {
    const t = heights();
    seen = mixture(router, experts, bias, rules.k, places);
    error = seen.y.reduce((sum, v, i) => sum + (v - t[i]) ** 2, 0) / t.length / variance(t);
    return seen.load.filter((f) => f > data.working / E).length;
  }

  // ---- what is seen
  const field = root.querySelector(".genai-field");
  const canvas = element("canvas", { role: "img" });
  field.replaceChildren(canvas);
  const [small, bars] = [element("canvas", { role: "img" }), element("canvas", { role: "img" })];
  const number = element("output");
  const status = element("div", { className: "genai-status", role: "status" });
  const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const redraw = surface(root, canvas, (pen, width, height, theme) => {
    const shade = rgb(theme.card);
    const image = element("canvas", { width: grid, height: grid });
    const pixels = new ImageData(grid, grid);
    for (let i = 0; i < grid * grid; i++) {
      const colour = rgb(data.colours[seen.chosen[i * rules.k]]);
      const row = grid - 1 - Math.floor(i / grid);
      pixels.data.set([...colour.map((c, j) => Math.round(0.55 * c + 0.45 * shade[j])), 255], 4 * (row * grid + (i % grid)));
    }
    image.getContext("2d").putImageData(pixels, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, 0, 0, width, height);
    const at = plane(range, width, height);
    const t = heights();
    Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 1 });
    for (const level of [-0.5, 0.5]) drawPieces(pen, at, contour(t, grid, grid, range, level));
  });
  const redrawSmall = surface(root, small, (pen, width, height, theme) => {
    const side = Math.min(height, (width - 8) / 2);
    [heights(), seen.y].forEach((values, i) => {
      pen.save();
      pen.translate(i * (side + 8), 0);
      const shown = Float64Array.from(values, (v) => 0.5 + 0.5 * Math.max(-1, Math.min(1, v)));
      drawField(pen, shown, grid, grid, side, side, ramps(theme).diverging);
      pen.restore();
    });
  });
  const redrawBars = surface(root, bars, (pen, width, height, theme) => {
    const most = Math.max(3 / E, ...seen.load);
    const wide = width / E;
    seen.load.forEach((f, i) => {
      pen.fillStyle = data.colours[i];
      pen.fillRect(i * wide + 2, height - (f / most) * (height - 4), wide - 4, (f / most) * (height - 4));
    });
    Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 1 });
    pen.setLineDash([4, 4]);
    pen.strokeRect(-2, height - (height - 4) / E / most, width + 4, 2 * height);
  });
  function update(text = "") {
    const working = look();
    number.textContent = `${working} of ${E}`;
    const says = `Step ${step.toLocaleString("en")}: the error is ${Math.round(100 * error)} % of the landscape's variance.`;
    status.textContent = `${text} ${says}`.trim();
    const shares = [...seen.load].map((f) => `${Math.round(100 * f)} %`).join(", ");
    canvas.setAttribute("aria-label", `Regions of the plane by expert: ${working} of ${E} experts are at work.`);
    small.setAttribute("aria-label", `Left the landscape, right what the mixture makes of it; error ${Math.round(100 * error)} %.`);
    bars.setAttribute("aria-label", `Shares of the plane: ${shares}. Even would be ${Math.round(100 / E)} %.`);
    redraw();
    redrawSmall();
    redrawBars();
  }

  // ---- what the reader does
  function go() {
    run.textContent = "Stop";
    const next = () => {
      if (!root.isConnected) return stop();
      for (let i = 0; i < data.perFrame; i++) one();
      update();
      if (step >= data.most) return stop();
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
  const fresh = button("Restart", () => (stop(), (seed += 1), restart()));
  function choice(label, key, options, say) {
    const buttons = Object.entries(options).map(([text, value]) =>
      button(text, () => {
        rules[key] = value;
        mark();
        stop();
        restart(say(text));
      }));
    const mark = () => Object.values(options).forEach((value, i) => buttons[i].setAttribute("aria-pressed", String(value === rules[key])));
    mark();
    return element("div", { className: "genai-buttons genai-choices", role: "group", "aria-label": label },
      element("span", { className: "genai-name", textContent: label }), ...buttons);
  }
  const balances = choice("Balance", "balance", { none: "none", loss: "loss", bias: "bias" }, (text) =>
    ({ none: "Nothing keeps the load even.", loss: "A loss asks for an even load.", bias: "A bias on the router evens out the load." })[text]);
  const choices = choice("Experts for each point", "k", { 1: 1, 2: 2 }, (text) => `Each point passes ${text} of the experts.`);
  const count = slider("experts", { min: 2, max: data.colours.length, value: E }, (value) => {
    E = value;
    stop();
    restart();
  });
  const lands = menu("Landscape", Object.fromEntries(Object.keys(landscapes).map((name) => [name, name])), (name) => {
    land = name;
    stop();
    restart();
  });
  const side = element("div", { className: "genai-side" }, element("div", {}, "experts at work ", number), bars,
    element("p", { textContent: "share of the plane; dashed: even" }), small,
    element("p", { textContent: "the landscape, and the mixture" }));
  field.after(side);
  root.querySelector(".genai-toyrow").after(
    element("div", { className: "genai-buttons" }, run, fresh, element("div", { className: "genai-controls" }, ...count.row)),
    balances, choices, element("div", { className: "genai-menus" }, lands.row), status,
  );
  restart("Each colour is the region of one expert.");
  root.genaiMoe = {
    state: () => ({ step, rules: { ...rules }, E, land, seed, load: [...seen.load], error, bias: [...bias], working: look(), running: Boolean(timer) }),
    train: (steps) => {
      for (let i = 0; i < steps; i++) one();
      update();
    },
    // Numbers for given weights, to be compared with another library.
    gradients: (router, experts, bias, rules, x, t) => {
      const given = [router, experts, bias, rules, x, t].map((v) => (Array.isArray(v) ? Float64Array.from(v) : v));
      const found = mixtureGradients(...given);
      const y = mixture(given[0], given[1], given[2], rules.k, given[4]).y;
      return { ...found, router: [...found.router], experts: [...found.experts], y: [...y] };
    },
  };
  whenSeen(field, () => step || timer || go());
}
