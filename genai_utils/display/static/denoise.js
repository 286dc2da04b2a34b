// Noise that becomes a digit, step by step: a trained denoiser that runs in the page. It needs
// page_random.js, page_math.js, page_decoder.js (paint), page_canvas.js, page_norm.js and page_unet.js.

function denoise(root, data) {
  const { side, times, bars } = data; // times and bars of the levels: 0 is the data, the last is noise
  const [top, none] = [times.length - 1, data.classes];
  const eps = unet(namedWeights(data.shapes, data.weights), data);
  const part = (name) => root.querySelector(`.genai-${name}`);
  const normal = normalNumbers(randomNumbers(27));
  const noise = () => Float32Array.from({ length: side * side }, normal);

  let x = Float32Array.from(data.start); // the image now, about -1 … 1 and noise
  let [level, wish, strength, stride, pen] = [top, data.opening, 1, 2, "ink"];
  let [asked, running, trail] = [0, false, []];
  let guess = null; // what the network sees behind x now: { noise, image }, or null

  // The noise in an image at a level, guided: (1 + w) eps(y) - w eps.
  function predicted(image, at, y, w) {
    const one = eps(image, times[at], y);
    asked += 1;
    if (y === none || !w) return one;
    const plain = eps(image, times[at], none);
    asked += 1;
    return one.map((v, i) => (1 + w) * v - w * plain[i]);
  }
  // The image behind it, kept within -1 … 1, and the noise that this leaves.
  function behind(image, at, y, w) {
    const [left, spoilt] = [Math.sqrt(bars[at]), Math.sqrt(1 - bars[at])];
    const found = predicted(image, at, y, w);
    const clean = image.map((v, i) => Math.min(1, Math.max(-1, (v - spoilt * found[i]) / left)));
    return { image: clean, noise: image.map((v, i) => (v - left * clean[i]) / spoilt) };
  }
  // DDIM: from one level to an earlier one.
  function leap(image, from, to, y, w, seen = behind(image, from, y, w)) {
    return seen.image.map((v, i) => Math.sqrt(bars[to]) * v + Math.sqrt(1 - bars[to]) * seen.noise[i]);
  }

  // ---- the parts
  const small = (label, className) => element("canvas", { width: side, height: side, className, role: "img", "aria-label": label });
  const now = small("", "genai-crisp genai-noisy");
  Object.assign(now, { tabIndex: 0 });
  now.setAttribute("role", "application");
  now.setAttribute("aria-roledescription", "drawing field");
  const seen = small("What the network sees behind it.", "genai-crisp");
  part("now").querySelector("img").replaceWith(now);
  part("seen").querySelector("img").replaceWith(seen);
  const steps = element("div", { className: "genai-trail" });
  part("past").querySelector("img").replaceWith(steps);
  const status = element("div", { className: "genai-status", role: "status" });
  const percent = (v) => `${(100 * v).toFixed(v > 0.1 ? 0 : 1)} %`;

  let waiting = false;
  function changed() {
    guess = null;
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }
  function draw() {
    waiting = false;
    if (level && !guess) guess = behind(x, level, wish, strength);
    paint(now, x.map((v) => (v + 1) / 2), [side, side]);
    paint(seen, (level ? guess.image : x).map((v) => (v + 1) / 2), [side, side]);
    const what = wish === none ? "any digit" : `a ${wish}`;
    now.setAttribute("aria-label", `The image at time ${times[level]} of ${times[top]}. Draw into it with mouse or finger. ` +
      "With keys: arrows move the pen, Space draws.");
    status.textContent = level
      ? `t = ${times[level]} of ${times[top]}: ${percent(bars[level])} of the variance is image, the rest noise. It is to become ${what}.`
      : `t = 0: done. The network was asked ${asked} times. Add noise, or draw, and walk again.`;
    step.disabled = go.disabled = level === 0;
    go.textContent = running ? "Pause" : "Run";
  }
  function keep() {
    trail.push({ at: times[level], image: x.slice() });
    const every = Math.max(1, Math.ceil(trail.length / 8));
    const shown = trail.filter((_, i) => i % every === 0 || i === trail.length - 1).slice(-9);
    steps.replaceChildren(...shown.map(({ at, image }) => {
      const canvas = small(`At time ${at}.`, "genai-crisp");
      paint(canvas, image.map((v) => (v + 1) / 2), [side, side]);
      return element("figure", {}, canvas, element("span", { textContent: at }));
    }));
  }

  // ---- what the reader does
  function oneStep() {
    if (!level) return;
    const to = Math.max(0, level - stride);
    x = leap(x, level, to, wish, strength, guess ?? undefined);
    level = to;
    if (!level) running = false;
    keep();
    changed();
  }
  let last = 0;
  function onward(time) {
    if (!running || !root.isConnected) return;
    if (time - last >= 60) (last = time), oneStep();
    requestAnimationFrame(onward);
  }
  function run(on) {
    running = on && level > 0;
    requestAnimationFrame(running ? onward : draw);
  }
  function fresh() {
    [x, level, asked, trail] = [noise(), top, 0, []];
    keep();
    changed();
  }
  // Adds noise by the rule, in one step, as if the image had been walked back less far.
  function spoil() {
    running = false;
    const to = Math.min(top, level + Math.round(0.3 * top));
    const kept = bars[to] / bars[level];
    x = x.map((v) => Math.sqrt(kept) * v + Math.sqrt(1 - kept) * normal());
    [level, trail] = [to, []];
    keep();
    changed();
  }
  // Draws at a place, [across, down] in [0, 1]: the pixels within the pen.
  function stroke([across, down]) {
    const value = { ink: () => 1.3, paper: () => -1.3, noise: normal }[pen];
    const [u, v] = [across * side - 0.5, down * side - 0.5];
    for (let i = 0; i < x.length; i++) {
      const far = Math.hypot((i % side) - u, Math.floor(i / side) - v);
      if (far < (pen === "ink" ? 0.9 : 1.6)) x[i] = value();
    }
    changed();
  }
  now.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    running = false;
    now.setPointerCapture(event.pointerId);
    stroke(placeIn(now, event));
  });
  now.addEventListener("pointermove", (event) => {
    if (event.buttons && now.hasPointerCapture(event.pointerId)) stroke(placeIn(now, event));
  });
  let cursor = [0.5, 0.5];
  now.addEventListener("keydown", (event) => {
    const by = arrowStep(event);
    if (by) cursor = cursor.map((v, i) => Math.min(1, Math.max(0, v + ((i ? -1 : 1) * by[i]) / side)));
    else if (event.key === " ") stroke(cursor);
    else return;
    event.preventDefault();
  });

  const go = button("Run", () => run(!running));
  go.classList.add("genai-main");
  const step = button("One step", () => run(false) ?? oneStep());
  const wishes = { [none]: "any digit", ...Object.fromEntries([...Array(none).keys()].map((k) => [k, `a ${k}`])) };
  const which = menu("make", wishes, (value) => ((wish = Number(value)), changed()));
  which.select.value = String(wish);
  const tool = menu("pen", { ink: "ink", paper: "wipe it black", noise: "fresh noise" }, (value) => (pen = value));
  const pace = menu("steps", { 1: "50", 2: "25", 5: "10", 10: "5", 50: "1" }, (value) => (stride = Number(value)));
  pace.select.value = String(stride);
  const row = root.querySelector(".genai-toyrow");
  row.after(
    element("div", { className: "genai-buttons" }, go, step, button("New noise", fresh), button("Add noise", spoil)),
    element("div", { className: "genai-menus" }, which.row, tool.row, pace.row),
    status,
  );
  keep();
  changed();
  whenSeen(root, () => run(true));
  root.genaiDenoise = {
    eps: (image, t, y) => Array.from(eps(Float32Array.from(image), t, y)),
    leap: (image, from, to, y, w) => Array.from(leap(Float32Array.from(image), from, to, y, w)),
    state: () => ({ x: Array.from(x), level, t: times[level], asked, running }),
    pause: () => run(false),
  };
}
