// A digit that one draws, encoded to a normal distribution over two numbers and decoded again.

// ink (size, size) in [0, 1] -> (28, 28) as MNIST's digits were made: the drawing's box becomes 20
// pixels long, each pixel the mean of what it covers, and the centre of mass comes to the pixel (14,
// 14) by whole pixels. null where nothing is drawn.
function likeMnist(ink, size) {
  let [x0, x1, y0, y1] = [size, 0, size, 0];
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++)
      if (ink[y * size + x] > 0) [x0, x1, y0, y1] = [Math.min(x0, x), Math.max(x1, x + 1), Math.min(y0, y), Math.max(y1, y + 1)];
  if (x1 <= x0) return null;
  const scale = 20 / Math.max(x1 - x0, y1 - y0, size / 10);
  const small = new Float64Array(28 * 28);
  const covers = (i) => { // how a source pixel lies over target pixels: [[pixel, share], …]
    const [from, to] = [i * scale, (i + 1) * scale];
    const found = [];
    for (let p = Math.floor(from); p < to && p < 20; p++) found.push([p, Math.min(to, p + 1) - Math.max(from, p)]);
    return found;
  };
  const across = Array.from({ length: x1 - x0 }, (_, i) => covers(i));
  for (let y = y0; y < y1; y++)
    for (const [v, high] of covers(y - y0))
      for (let x = x0; x < x1; x++)
        if (ink[y * size + x]) for (const [u, wide] of across[x - x0]) small[v * 28 + u] += high * wide * ink[y * size + x];
  const sum = small.reduce((a, b) => a + b, 0);
  const mean = (place) => small.reduce((a, b, i) => a + b * place(i), 0) / sum;
  const right = Math.round(14 - mean((i) => i % 28));
  const down = Math.round(14 - mean((i) => Math.floor(i / 28)));
  return Float32Array.from(small, (_, i) => {
    const [u, v] = [(i % 28) - right, Math.floor(i / 28) - down];
    return u >= 0 && u < 28 && v >= 0 && v < 28 ? Math.min(1, small[v * 28 + u]) : 0;
  });
}

function digit(root, data) {
  const SIDE = 28;
  const shape = [SIDE, SIDE];
  const [encode, logits] = [decoder(data.encoder), decoder(data.decoder)];
  const part = (name) => root.querySelector(`.genai-${name}`);
  const say = (v) => v.toFixed(2).replace("-", "−");
  const noise = normalNumbers(randomNumbers(5));
  const eps = Array.from({ length: 4 }, () => [noise(), noise()]);
  let code = null; // { mean, sd, samples } of the drawing, or null
  let next = data.opening;

  const image = (c) => logits(c).map(sigmoid);
  function posterior(x) {
    const [m1, m2, s1, s2] = encode(x); // s = log sigma^2
    return { mean: [m1, m2], sd: [Math.exp(s1 / 2), Math.exp(s2 / 2)] };
  }
  // Minus the bound of a black-and-white image x, in nats: its KL term exact, the other by samples.
  function cost(x, { mean, sd }, samples) {
    const kl = mean.reduce((sum, m, j) => sum + 0.5 * (sd[j] ** 2 - 1 - 2 * Math.log(sd[j]) + m * m), 0);
    const reconstruction = samples.map((c) => SIDE * SIDE * coinCost(logits(c), x));
    return kl + reconstruction.reduce((a, b) => a + b, 0) / samples.length;
  }
  const coinCost = (a, x) => a.reduce((sum, v, i) => sum + Math.max(v, 0) - v * x[i] + Math.log1p(Math.exp(-Math.abs(v))), 0) / a.length;
  // Of the dots nearest to a point, how many have each class: [[class, count], …], most first.
  function votes(point) {
    const far = data.dots.map(([a, b], i) => [(a - point[0]) ** 2 + (b - point[1]) ** 2, data.kinds[i]]);
    const counts = Array(10).fill(0);
    far.sort((p, q) => p[0] - q[0]).slice(0, data.nearest).forEach(([, kind]) => counts[kind]++);
    return [...counts.entries()].sort((p, q) => q[1] - p[1]);
  }

  // ---- the parts
  const small = (label, className = "genai-crisp genai-small") =>
    element("canvas", { width: SIDE, height: SIDE, className, role: "img", "aria-label": label });
  const seen = small("What the encoder sees.");
  const samples = eps.map((_, i) => small(`Decoded sample ${i + 1}.`));
  const mean = small("The decoded mean.", "genai-crisp");
  const plain = element("canvas", { role: "img" });
  const status = element("div", { className: "genai-status", role: "status" });
  part("mean").querySelector("img").replaceWith(mean);
  part("plane").querySelector("img").replaceWith(plain);
  const box = element("div", { className: "genai-inkbox" });
  part("draw").querySelector("img").replaceWith(box);
  const field = inkField(box, { name: "A field for a digit", change: look });
  part("draw").append(element("div", { className: "genai-smalls" }, seen, element("span", { textContent: "what the encoder sees" })));
  part("mean").append(element("div", { className: "genai-smalls" }, ...samples), element("span", { textContent: "four samples of Q(c | x), decoded" }));

  // ---- the plane, with a lens that shows the spread
  const medians = [...Array(10).keys()].map((kind) => [0, 1].map((axis) => {
    const mine = data.dots.filter((_, i) => data.kinds[i] === kind).map((dot) => dot[axis]).sort((a, b) => a - b);
    return mine[Math.floor(mine.length / 2)];
  }));
  const redraw = surface(root, plain, (pen, width, height, theme) => {
    const e = data.extent;
    const inside = (v) => Math.min(0.98 * e, Math.max(-0.98 * e, v)); // a strange drawing lies beyond the edge
    const colour = (kind) => (theme.dark && data.dark[kind]) || data.colours[kind];
    const circle = (x, y, a, b = a) => {
      pen.beginPath();
      pen.ellipse(x, y, a, b, 0, 0, 7);
    };
    const dots = (at, radius) => data.dots.forEach(([a, b], i) => {
      circle(at.x(a), at.y(b), radius);
      pen.fillStyle = colour(data.kinds[i]);
      pen.fill();
    });
    // The ellipse of one standard deviation around (x, y), on a drawing `times` as large as the plane.
    const ellipse = (x, y, times) => {
      circle(x, y, ...code.sd.map((sd) => Math.max(2.5, (times * width * sd) / (2 * e))));
      for (const [strokeStyle, lineWidth] of [[theme.card, 5], [theme.ink, 2]]) {
        Object.assign(pen, { strokeStyle, lineWidth });
        pen.stroke();
      }
    };
    const at = plane([-e, e, -e, e], width, height);
    Object.assign(pen, { strokeStyle: theme.line, lineWidth: 1 });
    for (let i = Math.ceil(-e); i < e; i++) {
      pen.globalAlpha = i ? 0.5 : 1;
      pen.strokeRect(at.x(i), -1, 0, height + 2);
      pen.strokeRect(-1, at.y(i), width + 2, 0);
    }
    pen.globalAlpha = 1;
    dots(at, 2);
    Object.assign(pen, { font: "bold 15px sans-serif", textAlign: "center", textBaseline: "middle", strokeStyle: theme.card, lineWidth: 3.5 });
    medians.forEach(([a, b], kind) => {
      pen.strokeText(kind, at.x(a), at.y(b));
      pen.fillStyle = theme.ink;
      pen.fillText(kind, at.x(a), at.y(b));
    });
    if (!code) return;
    const [x, y] = [at.x(inside(code.mean[0])), at.y(inside(code.mean[1]))];
    const r = 0.17 * width;
    const [lx, ly] = [x < width / 2 ? width - r - 4 : r + 4, y < height / 2 ? height - r - 4 : r + 4];
    Object.assign(pen, { strokeStyle: theme.muted, lineWidth: 1 });
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(lx, ly);
    pen.stroke();
    ellipse(x, y, 1);
    Object.assign(pen, { strokeStyle: theme.muted, lineWidth: 1 });
    pen.save();
    circle(lx, ly, r);
    pen.fillStyle = theme.card;
    pen.fill();
    pen.stroke();
    pen.clip();
    const spread = (Math.max(...code.sd) * width) / (2 * e); // in pixels of the plane
    const times = [32, 16, 8, 4].find((t) => spread * t < 0.8 * r) ?? 2;
    const half = (e * r) / (width / 2) / times;
    const [a, b] = code.mean;
    const lens = plane([a - half, a + half, b - half, b + half], 2 * r, 2 * r);
    const near = { x: (u) => lx - r + lens.x(u), y: (v) => ly - r + lens.y(v) };
    dots(near, 4);
    ellipse(lx, ly, times);
    pen.fillStyle = theme.ink;
    for (const [u, v] of [code.mean, ...code.samples]) {
      circle(near.x(u), near.y(v), 1.5);
      pen.fill();
    }
    pen.restore();
    Object.assign(pen, { font: "12px sans-serif", fillStyle: theme.ink, strokeStyle: theme.card, lineWidth: 3 });
    pen.strokeText(`${times}×`, lx, ly + r - 10);
    pen.fillText(`${times}×`, lx, ly + r - 10);
  });

  function look() {
    const x = likeMnist(field.ink(), field.canvas.width)?.map((v) => (v >= 0.5 ? 1 : 0));
    const blank = new Float32Array(SIDE * SIDE);
    code = null;
    let text = "Nothing is drawn yet. Draw a digit, large and in one go.";
    if (x) {
      code = posterior(x);
      code.samples = eps.map((e) => code.mean.map((m, j) => m + code.sd[j] * e[j]));
      const [[kind, count], [second, fewer]] = votes(code.mean);
      const others = fewer ? `, ${fewer} a ${second}` : "";
      text = `μ = (${code.mean.map(say).join(", ")}), σ = (${code.sd.map(say).join(", ")}). Of the ${data.nearest} nearest dots ` +
        `${count} are a ${kind}${others}. −ELBO ≈ ${cost(x, code, code.samples).toFixed(0)} nats; a test digit costs ${data.nats} on average.`;
    }
    paint(seen, x ?? blank, shape);
    paint(mean, code ? image(code.mean) : blank, shape);
    samples.forEach((canvas, i) => paint(canvas, code ? image(code.samples[i]) : blank, shape));
    status.textContent = text;
    plain.setAttribute("aria-label", `The plane of the two latent numbers, from −${data.extent} to ${data.extent}. ` +
      (code ? `The drawing lies at ${code.mean.map(say).join(", ")}, with a spread of ${code.sd.map(say).join(", ")}.` : "Nothing is drawn."));
    redraw();
  }
  function another() {
    field.clear();
    field.show(Float32Array.from(bytesOf(data.digits[next]), (v) => v / 255), SIDE);
    next = (next + 1) % data.digits.length;
  }

  const row = root.querySelector(".genai-toyrow");
  row.append(element("div", { className: "genai-buttons" }, button("Clear", field.clear), button("Another test digit", another)));
  row.after(status);
  another();
  root.genaiDigit = { posterior, image: (c) => Array.from(image(c)), cost, votes, state: () => code,
    likeMnist: (ink, size) => Array.from(likeMnist(ink, size) ?? []), ink: () => Array.from(field.ink()) };
}
