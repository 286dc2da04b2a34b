// Six generators of points in the plane, and the measures of genai_utils.evaluation: which of them
// comes first depends on the measure. Points are lists of [x, y].

const apart = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1]);
const meanOf = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

// Mean and covariance of points: [mx, my], [xx, xy, yy], divided by n - 1.
function momentsOf(points) {
  const m = [0, 1].map((axis) => meanOf(points.map((p) => p[axis])));
  const over = points.length / (points.length - 1);
  const product = (i, j) => over * meanOf(points.map((p) => (p[i] - m[i]) * (p[j] - m[j])));
  return [m, [product(0, 0), product(0, 1), product(1, 1)]];
}

// |m - m'|² + tr(C + C' - 2 (C C')^½); for two rows the trace of the root is √(tr + 2 √det) of C C'.
function frechetOf(real, fake) {
  const [[m, C], [n, D]] = [momentsOf(real), momentsOf(fake)];
  const trace = C[0] * D[0] + 2 * C[1] * D[1] + C[2] * D[2];
  const det = Math.max((C[0] * C[2] - C[1] ** 2) * (D[0] * D[2] - D[1] ** 2), 0);
  const root = Math.sqrt(Math.max(trace + 2 * Math.sqrt(det), 0));
  return Math.max(apart(m, n) ** 2 + C[0] + C[2] + D[0] + D[2] - 2 * root, 0);
}

// Share of points that lie in a ball around one of the centres, each up to its k-th neighbour.
function insideOf(points, centres, k = 3) {
  const radii = centres.map((c) => centres.map((d) => apart(c, d)).sort((a, b) => a - b)[k]);
  return meanOf(points.map((p) => Number(centres.some((c, i) => apart(p, c) <= radii[i]))));
}

function diversityOf(points) {
  let total = 0;
  for (let i = 0; i < points.length; i++) for (let j = 0; j < i; j++) total += apart(points[i], points[j]);
  return (2 * total) / (points.length * (points.length - 1));
}

// Share of points as near to a training point as the nearest hundredth of fresh ones are.
function copiesOf(points, train, limit) {
  return meanOf(points.map((p) => Number(Math.min(...train.map((t) => apart(p, t))) <= limit)));
}

function scoreboardToy(root, data) {
  const rules = { measure: "Fréchet distance", n: data.n, seed: data.seed };
  let found = [];

  // ---- the generators: n points each
  function blobs(uniform, normal, wide = 1, only = null) {
    const c = data.centres[only ?? Math.floor(uniform() * data.centres.length)];
    return c.map((v) => v + wide * data.deviation * normal());
  }
  function makers(uniform, normal, train) {
    const one = () => train[Math.floor(uniform() * train.length)];
    return {
      honest: () => blobs(uniform, normal),
      copies: () => one(),
      "one group": () => blobs(uniform, normal, 1, 0),
      averages: () => [one(), one()].reduce((a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]),
      wide: () => blobs(uniform, normal, 2.5),
      noise: () => [0, 1].map(() => data.range[0] + (data.range[1] - data.range[0]) * uniform()),
    };
  }
  const many = (n, make) => Array.from({ length: n }, make);
  function compute() {
    const uniform = randomNumbers(rules.seed);
    const normal = normalNumbers(uniform);
    const train = many(rules.n, () => blobs(uniform, normal));
    const real = many(rules.n, () => blobs(uniform, normal));
    const near = real.map((p) => Math.min(...train.map((t) => apart(p, t)))).sort((a, b) => a - b);
    const limit = near[Math.floor(0.01 * (near.length - 1))];
    found = Object.entries(makers(uniform, normal, train)).map(([name, make]) => {
      const points = many(rules.n, make);
      return { name, points, real, values: measuresOf(real, points, train, limit) };
    });
  }
  function measuresOf(real, points, train, limit) {
    return {
      "Fréchet distance": frechetOf(real, points),
      precision: insideOf(points, real),
      recall: insideOf(real, points),
      diversity: diversityOf(points) / diversityOf(real),
      copies: copiesOf(points, train, limit),
    };
  }
  const larger = () => data.larger[rules.measure];
  const order = () => found.slice().sort((a, b) => (larger() ? -1 : 1) * (a.values[rules.measure] - b.values[rules.measure]));

  // ---- what is seen
  const field = root.querySelector(".genai-field");
  const canvas = element("canvas", { role: "img" });
  field.replaceChildren(canvas);
  const status = element("div", { className: "genai-status", role: "status" });
  const redraw = surface(root, canvas, (pen, width, height, theme) => {
    const [columns, rows, head] = [3, 2, 36];
    const [wide, high] = [width / columns, height / rows];
    pen.textAlign = "center";
    order().forEach(({ name, points, real, values }, i) => {
      const [left, top] = [(i % columns) * wide, Math.floor(i / columns) * high];
      const side = Math.min(wide - 8, high - head - 4);
      const at = plane(data.range, side, side);
      const [x, y] = [(u) => left + (wide - side) / 2 + at.x(u), (v) => top + head + at.y(v)];
      Object.assign(pen, { fillStyle: theme.ink, font: "600 13px system-ui, sans-serif" });
      pen.fillText(`${i + 1}. ${name}`, left + wide / 2, top + 15);
      Object.assign(pen, { fillStyle: theme.muted, font: "13px system-ui, sans-serif" });
      pen.fillText(values[rules.measure].toFixed(3), left + wide / 2, top + 31);
      Object.assign(pen, { strokeStyle: theme.line, lineWidth: 1 });
      pen.strokeRect(x(data.range[0]), y(data.range[3]), side, side);
      const dots = (list, colour, radius, alpha) => {
        Object.assign(pen, { fillStyle: colour, globalAlpha: alpha });
        for (const [u, v] of list) {
          if (u < data.range[0] || u > data.range[1] || v < data.range[2] || v > data.range[3]) continue;
          pen.beginPath();
          pen.arc(x(u), y(v), radius, 0, 7);
          pen.fill();
        }
        pen.globalAlpha = 1;
      };
      dots(real, theme.muted, 2.2, 0.45);
      dots(points, theme.dark ? "#ff9a55" : "#d55e00", 1.6, 0.9);
    });
  });
  function update(text = "") {
    const names = order().map(({ name }) => name);
    const best = larger() ? "more is better" : "less is better";
    status.textContent = `${text}By ${rules.measure} (${best}) ${names[0]} comes first and ${names.at(-1)} last.`;
    canvas.setAttribute("aria-label", `Six generators in the order of their ${rules.measure}: ${names.join(", ")}.`);
    choices.forEach((one) => one.setAttribute("aria-pressed", String(one.textContent === rules.measure)));
    redraw();
  }

  // ---- what the reader does
  const choices = Object.keys(data.larger).map((measure) => button(measure, () => {
    rules.measure = measure;
    update();
  }));
  const size = slider("points of each", { min: 20, max: 200, step: 20, value: rules.n }, (n) => {
    rules.n = n;
    compute();
    update();
  });
  const again = button("Draw anew", () => {
    rules.seed += 1;
    compute();
    update("Drawn anew. ");
  });
  root.querySelector(".genai-toyrow").after(
    element("div", { className: "genai-buttons genai-choices", role: "group", "aria-label": "Measure" }, "Order by", ...choices),
    element("div", { className: "genai-buttons" }, again, element("div", { className: "genai-controls" }, ...size.row)),
    status,
  );
  compute();
  update();
  root.genaiScoreboard = {
    state: () => ({ ...rules, order: order().map(({ name }) => name), values: Object.fromEntries(found.map(({ name, values }) => [name, values])) }),
    // Measures of given points, to be compared with another library.
    measures: (real, points, train, limit) => measuresOf(real, points, train, limit),
  };
}
