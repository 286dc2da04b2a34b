// What a budget buys: size, tokens, loss, time and memory by a law of scaling, as the function
// `plan` of genai_utils.language.scaling computes them.

const lawLoss = (law, N, D) => law.E + law.A / N ** law.alpha + law.B / D ** law.beta;
function lawOptimum(law, C) {
  const G = ((law.alpha * law.A) / (law.beta * law.B)) ** (1 / (law.alpha + law.beta));
  const N = G * (C / 6) ** (law.beta / (law.alpha + law.beta));
  return [N, C / 6 / N];
}
function planOf(law, card, bytes, { amount, unit, rent, use, stretch }) {
  const hour = 3600 * card.peak * use; // operations of a card-hour
  const flops = amount * { FLOPs: 1, dollars: hour / rent, "card-hours": hour }[unit];
  const [N, D] = lawOptimum(law, flops);
  const [parameters, tokens] = [N * stretch, D / stretch];
  const memory = bytes * parameters;
  return {
    flops, parameters, tokens, loss: lawLoss(law, parameters, tokens), best_loss: lawLoss(law, N, D),
    card_hours: flops / hour, dollars: (flops / hour) * rent, memory, least_cards: Math.ceil(memory / card.memory),
  };
}

// 73.2 billion, 1.34 trillion; three digits.
function inWords(value) {
  const names = ["", " thousand", " million", " billion", " trillion", " quadrillion"];
  const group = Math.max(0, Math.min(names.length - 1, Math.floor(Math.log10(value * 1.0005) / 3)));
  return Number((value / 1000 ** group).toPrecision(3)).toLocaleString("en") + names[group];
}
const superscript = (n) => String(n).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
function powerOfTen(value) {
  const [digits, exponent] = value.toExponential(1).split("e");
  return `${digits} · 10${superscript(Number(exponent))}`;
}
function inTime(hours) {
  if (hours < 1) return `${Number((60 * hours).toPrecision(2))} minutes`;
  if (hours < 48) return `${Number(hours.toPrecision(3))} hours`;
  if (hours < 24 * 730) return `${Number((hours / 24).toPrecision(3)).toLocaleString("en")} days`;
  return `${inWords(hours / 8766)} years`;
}

function scalingToy(root, data) {
  const rules = { ...data.start };
  const [left, right, low, high] = data.range;
  let known = null;
  const law = () => data.laws[rules.law];
  const found = () => planOf(law(), data.cards[rules.card], data.bytes, rules);
  const say = { FLOPs: (v) => powerOfTen(v), dollars: (v) => `$${inWords(v)}`, "card-hours": (v) => `${inWords(v)} h` };

  // ---- what is seen
  const field = root.querySelector(".genai-field");
  const canvas = element("canvas", { role: "img" });
  field.replaceChildren(canvas);
  const rows = ["size", "tokens", "tokens for a weight", "loss", "operations", "cost", "time", "memory"].map((name) => [
    name, element("dt", { textContent: name }), element("dd", { className: name === "size" || name === "loss" ? "genai-large" : "" }),
  ]);
  const cell = Object.fromEntries(rows.map(([name, , dd]) => [name, dd]));
  const status = element("div", { className: "genai-status", role: "status" });
  const redraw = surface(root, canvas, (pen, width, height, theme) => {
    const [marginLeft, marginBottom] = [34, 34];
    const at = plane(data.range, width - marginLeft - 8, height - marginBottom - 8);
    const [x, y] = [(v) => marginLeft + at.x(v), (v) => 8 + at.y(v)];
    const line = (points) => {
      pen.beginPath();
      points.forEach(([u, v]) => pen.lineTo(x(u), y(v)));
      pen.stroke();
    };
    pen.font = "13px system-ui, sans-serif";
    Object.assign(pen, { fillStyle: theme.muted, strokeStyle: theme.line, lineWidth: 1, textAlign: "center" });
    for (const [e, text] of [[7, "10M"], [8, "100M"], [9, "1B"], [10, "10B"], [11, "100B"], [12, "1T"], [13, "10T"]]) {
      line([[e, low], [e, high]]);
      pen.fillText(text, x(e), height - 18);
    }
    pen.fillText("weights", x((left + right) / 2), height - 3);
    pen.textAlign = "right";
    for (let v = 2; v <= high; v += 0.5) {
      line([[left, v], [right, v]]);
      pen.fillText(v.toFixed(1), marginLeft - 5, y(v) + 4);
    }
    pen.save();
    pen.beginPath();
    pen.rect(marginLeft, 8, width - marginLeft - 8, height - marginBottom - 8);
    pen.clip();
    const now = found();
    const blue = theme.dark ? "#7cc8f5" : "#0072b2";
    const orange = theme.dark ? "#ff9a55" : "#d55e00";
    const sizes = Array.from({ length: 200 }, (_, i) => left + ((right - left) * i) / 199);
    const valley = (C) => line(sizes.map((e) => [e, lawLoss(law(), 10 ** e, C / 6 / 10 ** e)]));
    Object.assign(pen, { strokeStyle: theme.muted, lineWidth: 1, globalAlpha: 0.5 });
    for (let e = 18; e <= 28; e += 2) valley(10 ** e);
    pen.globalAlpha = 1;
    pen.setLineDash([5, 4]);
    line(Array.from({ length: 60 }, (_, i) => {
      const [N, D] = lawOptimum(law(), 10 ** (15 + i / 4));
      return [Math.log10(N), lawLoss(law(), N, D)];
    }));
    pen.setLineDash([]);
    Object.assign(pen, { strokeStyle: blue, lineWidth: 2.5 });
    valley(now.flops);
    Object.assign(pen, { fillStyle: orange });
    pen.beginPath();
    pen.arc(x(Math.log10(now.parameters)), y(now.loss), 7, 0, 7);
    pen.fill();
    pen.restore();
  });
  function update(text) {
    const now = found();
    const gap = now.loss - now.best_loss;
    cell.size.textContent = inWords(now.parameters);
    cell.tokens.textContent = inWords(now.tokens);
    cell["tokens for a weight"].textContent = inWords(now.tokens / now.parameters);
    cell.loss.textContent = `${now.loss.toFixed(3)} nats`;
    cell.operations.textContent = powerOfTen(now.flops);
    cell.cost.textContent = `$${inWords(now.dollars)}`;
    cell.time.textContent = inTime(now.card_hours / rules.cards);
    cell.memory.textContent = now.memory < 1e12 ? `${Number((now.memory / 1e9).toPrecision(3))} GB` : `${Number((now.memory / 1e12).toPrecision(3)).toLocaleString("en")} TB`;
    const fits = rules.cards >= now.least_cards
      ? `Weights, gradients and Adam need the memory of ${now.least_cards.toLocaleString("en")} ${now.least_cards === 1 ? "card" : "cards"}.`
      : `${inWords(rules.cards)} ${rules.cards === 1 ? "card holds" : "cards hold"} too little: it takes ${now.least_cards.toLocaleString("en")}.`;
    const best = gap < 5e-4 ? "It is the best size for this budget." : `The best size would lose ${gap.toFixed(3)} nats less.`;
    status.textContent = `${text ? `${text} ` : ""}${best} ${fits}`;
    canvas.setAttribute("aria-label", `A model of ${inWords(now.parameters)} weights on ${inWords(now.tokens)} tokens: ${now.loss.toFixed(3)} nats. ${best}`);
    units.forEach((one) => one.setAttribute("aria-pressed", String(one.textContent === rules.unit)));
    marks.forEach((one) => one.setAttribute("aria-pressed", String(one.textContent === known)));
    show(budget, Math.log10(rules.amount), say[rules.unit](rules.amount));
    show(stretch, Math.log2(rules.stretch), `× ${Number(rules.stretch.toPrecision(3))}`);
    redraw();
  }
  function show({ input, output }, value, text) {
    [input.value, output.textContent] = [value, text];
    input.setAttribute("aria-valuetext", text);
  }
  function choose(change, text) {
    Object.assign(rules, change);
    known = null;
    update(text);
  }

  // ---- what the reader does
  const budget = slider("budget", { min: 0, max: 10, step: 0.1, value: 6 }, (e) => choose({ amount: 10 ** e }));
  const stretch = slider("size, of the best", { min: -6, max: 6, step: 0.25, value: 0 }, (e) => choose({ stretch: 2 ** e }));
  const cards = slider("cards", { min: 0, max: 5, step: 0.25, value: 3, say: (e) => inWords(Math.round(10 ** e)) }, (e) => choose({ cards: Math.round(10 ** e) }));
  const rent = slider("dollars for a card-hour", { min: 0.5, max: 8, step: 0.25, value: rules.rent, say: (v) => `$${v.toFixed(2)}` }, (v) => choose({ rent: v }));
  const use = slider("share of the peak", { min: 5, max: 70, step: 5, value: 100 * rules.use, say: (v) => `${v} %` }, (v) => choose({ use: v / 100 }));
  function range(unit) {
    [budget.input.min, budget.input.max] = data.units[unit];
  }
  // The same budget in another unit.
  function turn(unit) {
    const now = found();
    const amount = { FLOPs: now.flops, dollars: now.dollars, "card-hours": now.card_hours }[unit];
    range(unit);
    choose({ unit, amount }, `The budget is set in ${unit} now.`);
  }
  const units = Object.keys(data.units).map((unit) => button(unit, () => turn(unit)));
  const marks = data.known.map(({ name, N, D }) => button(name, () => {
    range("FLOPs");
    Object.assign(rules, { unit: "FLOPs", amount: 6 * N * D });
    const [best] = lawOptimum(law(), 6 * N * D);
    rules.stretch = N / best;
    known = name;
    const times = N / best > 1 ? `${Number((N / best).toPrecision(2))} times` : `1/${Number((best / N).toPrecision(2))} of`;
    update(`${name}: ${inWords(N)} weights, ${inWords(D)} tokens, ${times} the best size for its operations.`);
  }));
  const names = (table) => Object.fromEntries(Object.keys(table).map((name) => [name, name]));
  const card = menu("Card", names(data.cards), (name) => choose({ card: name }));
  const rule = menu("Law", names(data.laws), (name) => choose({ law: name }));
  [card.select.value, rule.select.value] = [rules.card, rules.law];
  const box = (one) => element("div", { className: "genai-controls" }, ...one.row);
  field.after(element("div", { className: "genai-side" }, element("dl", {}, ...rows.flatMap(([, dt, dd]) => [dt, dd]))));
  root.querySelector(".genai-toyrow").after(
    element("div", { className: "genai-buttons genai-choices", role: "group", "aria-label": "Unit of the budget" }, "Budget in", ...units),
    element("div", { className: "genai-sliders" }, ...[budget, stretch, cards, rent, use].map(box)),
    element("div", { className: "genai-menus" }, card.row, rule.row),
    element("div", { className: "genai-buttons genai-choices", role: "group", "aria-label": "Models that were trained" }, "As trained:", ...marks),
    status,
  );
  range(rules.unit);
  update();
  root.genaiScaling = {
    state: () => ({ ...rules, known, ...found() }),
    // Plans for given rules, to be compared with another library.
    plan: (given) => planOf(data.laws[given.law], data.cards[given.card], data.bytes, given),
  };
}
