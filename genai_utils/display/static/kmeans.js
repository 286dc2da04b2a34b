// K-means that one plays with. Points and centres are lists of [x, y].

const squared = (p, q) => (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2;
const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
const inertiaOf = (points, labels, centres) => total(points.map((p, i) => squared(p, centres[labels[i]])));

// First half-step: every point to its nearest centre. A centre that gets none takes over the point
// that is farthest from its own, as the package's `refill` does. -> { centres, labels, jumped }
function assignPoints(points, centres) {
  centres = centres.slice();
  const distances = [];
  const counts = centres.map(() => 0);
  const labels = points.map((p, i) => {
    const all = centres.map((c) => squared(p, c));
    const k = all.indexOf(Math.min(...all));
    distances[i] = all[k];
    counts[k] += 1;
    return k;
  });
  const jumped = [...counts.keys()].filter((k) => !counts[k]);
  for (const k of jumped) {
    const free = distances.map((d, i) => (counts[labels[i]] > 1 ? d : -1));
    const i = free.indexOf(Math.max(...free));
    counts[labels[i]] -= 1;
    [centres[k], labels[i], distances[i], counts[k]] = [points[i], k, 0, 1];
  }
  return { centres, labels, jumped };
}

// Second half-step: every centre to the mean of its points.
function moveCentres(points, labels, centres) {
  return centres.map((c, k) => {
    const mine = points.filter((_, i) => labels[i] === k);
    return mine.length ? [0, 1].map((axis) => total(mine.map((p) => p[axis])) / mine.length) : c;
  });
}

// Both in turn until no label changes or J no longer falls. -> { centres, labels, J }
function lloyd(points, centres) {
  let last = { labels: [], J: Infinity };
  for (;;) {
    const next = assignPoints(points, centres);
    next.J = inertiaOf(points, next.labels, next.centres);
    if (next.J >= last.J || next.labels.every((k, i) => k === last.labels[i])) return next;
    last = next;
    centres = moveCentres(points, next.labels, next.centres);
  }
}

// k-means++: the probability of each point to be the next centre.
function nextProbabilities(points, centres) {
  const D = points.map((p) => Math.min(...centres.map((c) => squared(p, c))));
  const sum = total(D);
  return D.map((d) => (sum ? d / sum : 1 / D.length));
}

// K of the points to start from: "random" (all alike), "k-means++" (far from each other), or those
// in the left lower "corner".
function startCentres(points, K, start, random) {
  if (start === "corner") return points.slice().sort((p, q) => squared(p, [0, 0]) - squared(q, [0, 0])).slice(0, K);
  const left = points.slice();
  const chosen = [];
  while (chosen.length < K) {
    let i = Math.floor(random() * left.length);
    if (start === "k-means++" && chosen.length) {
      const p = nextProbabilities(left, chosen);
      let rest = random();
      for (i = 0; i < p.length - 1 && (rest -= p[i]) >= 0; ) i++;
    }
    chosen.push(...left.splice(i, 1));
  }
  return chosen;
}

// The random starts, of `count`, that end lowest and highest: { lowest, worst: { start, J } }
function tryStarts(points, K, count = 200) {
  const random = randomNumbers(1);
  const runs = Array.from({ length: count }, () => {
    const start = startCentres(points, K, "random", random);
    return { start, J: lloyd(points, start).J };
  });
  const by = (better) => runs.reduce((a, b) => (better(b.J, a.J) ? b : a));
  return { lowest: by((a, b) => a < b).J, worst: by((a, b) => a > b) };
}

// The part of the box [0, W] x [0, H] that is nearer to centre k than to any other: its corners.
function regionOf(k, centres, W, H) {
  let corners = [[0, 0], [W, 0], [W, H], [0, H]];
  const c = centres[k];
  for (const other of centres) {
    if (other[0] === c[0] && other[1] === c[1]) continue;
    const inside = (p) => squared(p, other) - squared(p, c); // linear in p
    corners = corners.flatMap((p, i) => {
      const q = corners[(i + 1) % corners.length];
      const [a, b] = [inside(p), inside(q)];
      const cut = a < 0 !== b < 0 ? [[0, 1].map((axis) => p[axis] + (a / (a - b)) * (q[axis] - p[axis]))] : [];
      return a < 0 ? cut : [p, ...cut];
    });
  }
  return corners;
}

function kmeans(root, data) {
  const [W, H] = data.size;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const say = (J) => J.toFixed(1);
  let points, centres, labels, history, done, jumped;
  let tried = {}; // what tryStarts found, and for which points and K
  let preset = data.presets[0]; // null once the reader has changed the points
  let K = preset.K;
  let [start, seed] = ["corner", 0];
  let [timer, cursor, shown] = [0, null, []]; // `shown`: where centres are drawn, on their way

  // ---- what is seen
  const field = root.querySelector(".genai-field");
  const canvas = element("canvas", { tabIndex: 0, role: "application", "aria-roledescription": "field of points" });
  const curve = element("canvas", { role: "img" });
  const number = element("output");
  const status = element("div", { className: "genai-status", role: "status" });
  const step = button("", () => (stop(), halfStep()));
  const run = button("Run", () => (timer ? stop() : go()));
  step.className = "genai-main";
  const lowest = element("p");
  const handles = element("div");
  field.replaceChildren(canvas, handles);

  const redraw = surface(root, canvas, (pen, width, height, theme) => {
    const at = plane([0, W, 0, H], width, height);
    const colour = (k) => data.colours[k];
    const dot = ([x, y], radius) => {
      pen.beginPath();
      pen.arc(at.x(x), at.y(y), radius, 0, 7);
    };
    shown.forEach((_, k) => {
      pen.beginPath();
      regionOf(k, shown, W, H).forEach(([x, y]) => pen.lineTo(at.x(x), at.y(y)));
      pen.closePath();
      Object.assign(pen, { fillStyle: colour(k), globalAlpha: theme.dark ? 0.25 : 0.16 });
      pen.fill();
      Object.assign(pen, { globalAlpha: 1, strokeStyle: theme.muted, lineWidth: 1 });
      pen.stroke();
    });
    points.forEach((p, i) => {
      dot(p, 3.5);
      pen.fillStyle = labels ? colour(labels[i]) : theme.muted;
      Object.assign(pen, { strokeStyle: "#fff", lineWidth: 0.8 });
      pen.fill();
      pen.stroke();
    });
    if (cursor && document.activeElement === canvas) {
      Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 2 });
      dot(cursor, 7);
      pen.stroke();
    }
  });
  const redrawCurve = surface(root, curve, (pen, width, height, theme) => {
    const top = 1.08 * Math.max(...history.map((h) => h.J), 1e-9);
    const [left, last] = [8, Math.max(8, history.length - 1)];
    const x = (i) => left + (i / last) * (width - 2 * left);
    const y = (J) => height - 4 - (J / top) * (height - 8);
    pen.font = "12px sans-serif";
    Object.assign(pen, { strokeStyle: theme.line, lineWidth: 1 });
    pen.strokeRect(0.5, 0.5, width - 1, height - 1);
    if (known()) {
      pen.setLineDash([4, 4]);
      pen.strokeStyle = theme.muted;
      pen.beginPath();
      pen.moveTo(0, y(tried.lowest));
      pen.lineTo(width, y(tried.lowest));
      pen.stroke();
      pen.setLineDash([]);
    }
    Object.assign(pen, { strokeStyle: theme.accent, fillStyle: theme.accent, lineWidth: 2 });
    pen.beginPath();
    history.forEach((h, i) => pen.lineTo(x(i), y(h.J)));
    pen.stroke();
    history.forEach((h, i) => {
      pen.beginPath();
      pen.arc(x(i), y(h.J), 3.5, 0, 7);
      pen.fillStyle = h.kind === "move" ? theme.card : theme.accent;
      pen.fill();
      pen.stroke();
    });
  });

  function update(text) {
    const J = history.at(-1)?.J;
    number.textContent = J === undefined ? "–" : say(J);
    step.textContent = nextKind() === "assign" ? "Step: assign points" : "Step: move centres";
    for (const one of [step, run]) one.disabled = done || !points.length;
    lowest.textContent = known() ? `dashed: ${say(tried.lowest)}, the lowest end of 200 random starts` : "";
    curve.setAttribute("aria-label", `Inertia after each half-step: ${history.map((h) => say(h.J)).join(", ") || "none yet"}.`);
    canvas.setAttribute("aria-label", `${points.length} points, ${centres.length} centres. Click to add a point. With keys: ` +
      "arrows move a cursor, Enter adds a point there, Delete takes the last one away. Tab goes on to the centres.");
    if (text) status.textContent = text;
    redraw();
    redrawCurve();
  }
  function findStarts() {
    const K = centres.length;
    if (tried.points !== points || tried.K !== K) tried = { points, K, ...tryStarts(points, K) };
    return tried;
  }
  const known = () => (tried.points === points && tried.K === centres.length ? tried : null);
  const nextKind = () => (!labels || history.at(-1)?.kind === "move" ? "assign" : "move");

  // ---- the centres: buttons above the canvas, which a finger can drag and a key can move
  function place() {
    [...handles.children].forEach((handle, k) => {
      const [x, y] = shown[k];
      [handle.style.left, handle.style.top] = [`${(100 * x) / W}%`, `${(100 * (H - y)) / H}%`];
      handle.setAttribute("aria-label", `Centre ${k + 1} at ${centres[k].map((v) => v.toFixed(1)).join(", ")}. Arrow keys move it.`);
    });
    redraw();
  }
  function makeHandles() {
    handles.replaceChildren(...centres.map((_, k) => {
      const handle = element("button", { type: "button", className: "genai-centre", textContent: k + 1 });
      handle.style.borderColor = data.colours[k];
      handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
      handle.addEventListener("pointermove", (event) => {
        if (!event.buttons) return;
        const [x, y] = placeIn(field, event);
        drag(k, x * W, (1 - y) * H);
      });
      handle.addEventListener("keydown", (event) => {
        const by = arrowStep(event);
        if (!by) return;
        drag(k, ...[0, 1].map((axis) => centres[k][axis] + 0.1 * by[axis]));
        event.preventDefault();
      });
      return handle;
    }));
  }
  const inBox = (x, y) => [Math.min(W, Math.max(0, x)), Math.min(H, Math.max(0, y))];
  function drag(k, x, y) {
    stop();
    centres = centres.map((c, i) => (i === k ? inBox(x, y) : c));
    settle(`Centre ${k + 1} moved by hand`);
  }
  // After a change by hand every point goes to its nearest centre, and a new curve begins.
  function settle(what) {
    shown = centres;
    [labels, history, done] = [null, [], false];
    if (points.length) {
      labels = points.map((p) => {
        const all = centres.map((c) => squared(p, c));
        return all.indexOf(Math.min(...all));
      });
      history = [{ kind: "assign", J: inertiaOf(points, labels, centres) }];
      what += `: J = ${say(history[0].J)} with every point at its nearest centre.`;
    }
    place();
    update(what);
  }
  // Centres glide to their new places, unless less motion is asked for.
  function glide() {
    const [from, to, begin] = [shown, centres, performance.now()];
    const frame = (now) => {
      if (to !== centres) return; // overtaken by something else
      const t = calm.matches ? 1 : Math.min(1, (now - begin) / 350);
      shown = t === 1 ? to : to.map((c, k) => c.map((v, axis) => from[k][axis] + (1 - (1 - t) ** 3) * (v - from[k][axis])));
      place();
      if (t < 1) requestAnimationFrame(frame);
    };
    frame(begin);
  }

  // ---- the algorithm, half a step at a time
  function halfStep() {
    if (done || !points.length) return stop();
    const before = history.at(-1)?.J;
    const kind = nextKind();
    let what;
    if (kind === "assign") {
      const old = labels;
      ({ centres, labels, jumped } = assignPoints(points, centres));
      const changed = labels.filter((k, i) => k !== old?.[i]).length;
      const J = inertiaOf(points, labels, centres);
      done = !changed || (history.length > 1 && J >= history.at(-2).J); // the package's rule
      what = old ? `Assign: ${changed} ${changed === 1 ? "point" : "points"} went to a nearer centre.` : "Assign: every point went to its nearest centre.";
      if (jumped.length) what += ` Centre ${jumped.map((k) => k + 1).join(", ")} had no point and jumped to the one served worst.`;
    } else {
      centres = moveCentres(points, labels, centres);
      what = "Move: each centre went to the mean of its points.";
    }
    const J = inertiaOf(points, labels, centres);
    history.push({ kind, J });
    what += before === undefined ? ` J = ${say(J)}.` : before - J < 0.05 ? ` J = ${say(J)}.` : ` J fell from ${say(before)} to ${say(J)}.`;
    glide();
    if (done) what = ending(J);
    update(what);
    if (done) stop();
  }
  function ending(J) {
    const { lowest } = findStarts();
    const what = `No point has a nearer centre: nothing moves any more. J = ${say(J)}`;
    const more = J / lowest - 1; // rounding aside, a lower end was found where this is above 0
    if (more > 0.005) return `${what}, a worse valley: the best of 200 random starts ends at ${say(lowest)}.`;
    const least = more > 1e-6 ? `, within 0.5 % of the best of 200 random starts, ${say(lowest)}.` : "; none of 200 random starts ends lower.";
    return `${what}${least}${preset && K === preset.K ? ` ${preset.lesson}` : ""}`;
  }
  function go() {
    if (done || !points.length) return;
    run.textContent = "Stop";
    const next = () => {
      if (!root.isConnected) return stop();
      halfStep();
      if (!done) timer = setTimeout(next, calm.matches ? 1500 : 750);
    };
    timer = setTimeout(next, 0);
  }
  function stop() {
    clearTimeout(timer);
    timer = 0;
    run.textContent = "Run";
  }
  // New first centres, no labels yet.
  function restart() {
    stop();
    const most = Math.min(K, points.length);
    centres = points.slice(0, most);
    centres = start === "worst" && most ? findStarts().worst.start : startCentres(points, most, start, randomNumbers((seed += 1)));
    [shown, labels, history, done] = [centres, null, [], false];
    makeHandles();
    place();
    const few = most < K ? ` With ${points.length} points there are at most ${points.length} centres.` : "";
    update(points.length ? `${preset ? `${preset.question} ` : ""}Press Step or Run.${few}` : "No points yet: click on the field.");
  }
  function load(name) {
    preset = data.presets.find((one) => one.name === name);
    points = preset.points;
    K = preset.K;
    count.input.value = count.output.textContent = K;
    restart();
  }
  function add(x, y) {
    stop();
    [preset, points] = [null, [...points, inBox(x, y)]];
    sets.select.value = "own";
    if (centres.length < Math.min(K, points.length)) {
      centres = [...centres, points.at(-1)];
      makeHandles();
    }
    settle("One point more");
  }
  function remove() {
    if (!points.length) return;
    [preset, points] = [null, points.slice(0, -1)];
    sets.select.value = "own";
    restart();
  }

  // ---- what the reader does
  canvas.addEventListener("click", (event) => {
    const [x, y] = placeIn(canvas, event);
    add(x * W, (1 - y) * H);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = arrowStep(event);
    cursor ??= [W / 2, H / 2];
    if (by) cursor = inBox(...[0, 1].map((axis) => cursor[axis] + 0.1 * by[axis]));
    else if (event.key === "Enter" || event.key === " ") add(...cursor);
    else if (event.key === "Delete" || event.key === "Backspace") remove();
    else return;
    event.preventDefault();
    redraw();
  });
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, redraw);
  const names = Object.fromEntries(data.presets.map(({ name }) => [name, name]));
  const sets = menu("Points", { ...names, own: "my own" }, (name) => {
    if (name !== "own") return load(name);
    [preset, points] = [null, []];
    restart();
  });
  const starts = menu("First centres", { corner: "all in one corner", "k-means++": "k-means++", random: "random points", worst: "the worst of 200 random" }, (name) => {
    start = name;
    restart();
  });
  const count = slider("K", { min: 1, max: 8, value: K }, (value) => {
    K = value;
    restart();
  });

  points = preset.points;
  restart();
  const side = element("div", { className: "genai-side" }, element("div", {}, "inertia J = ", number), curve, lowest);
  field.after(side);
  root.querySelector(".genai-toyrow").after(
    element("div", { className: "genai-buttons" }, step, run, button("Restart", restart), element("div", { className: "genai-controls" }, ...count.row)),
    element("div", { className: "genai-menus" }, sets.row, starts.row),
    status,
  );
  root.genaiKmeans = { assignPoints, moveCentres, lloyd, nextProbabilities, startCentres, tryStarts, regionOf,
    state: () => ({ points, centres, labels, history, done, K }) };
  whenSeen(field, () => history.length || go());
}
