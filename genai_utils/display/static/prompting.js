// Examples instead of training: pairs of letters that the reader writes, and what a small GPT answers.
// It needs page_random.js, page_math.js, page_canvas.js, page_gpt.js and sampling.js.
function promptingToy(root, data) {
  const letters = Array.from(data.letters);
  const n = letters.length;
  const next = gpt(data.gpt);
  const random = randomNumbers(12);
  const mixed = (items) => {
    const all = [...items];
    for (let i = all.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all;
  };

  let rule = data.rule; // the label of each letter; null where the reader's own pairs do not say it
  let kind = "table"; // "table", "own", or by how many letters a shift moves
  let order = data.order; // in which the letters are shown
  let shots = data.shots;
  let [named, shuffled, asked] = [false, false, order[data.shots]];
  let pairs = []; // of the prompt: [key, label]
  let answers = []; // for each letter: the probabilities of all tokens

  // ---- the parts
  const field = element("input", {
    type: "text", spellcheck: false, autocomplete: "off", autocapitalize: "off", "aria-label": "the prompt: pairs of letters",
  });
  const status = element("div", { className: "genai-status", role: "status" });
  const table = element("table");
  const bars = element("div", { className: "genai-guesses" });
  const heading = element("p", { className: "genai-name" });
  const kinds = { table: "a table drawn at random", own: "whatever your pairs say" };
  for (let by = 1; by < n; by++) kinds[by] = `${by} letter${by > 1 ? "s" : ""} further on`;
  const choice = menu("rule", kinds, take);
  const fresh = button("New table", () => take("table"));
  const count = slider("examples", { min: 0, max: n, value: shots }, (value) => {
    shots = value;
    write();
  });
  const box = (text, change) => {
    const input = element("input", { type: "checkbox" });
    input.addEventListener("change", () => change(input.checked));
    return { input, row: element("label", { className: "genai-check" }, input, element("span", { textContent: text })) };
  };
  const name = box("say the rule's name in front", (on) => ((named = on), write()));
  const shuffle = box("shuffle the labels", (on) => ((shuffled = on), write()));

  // ---- what the reader does
  function take(chosen) {
    kind = chosen;
    choice.select.value = kind;
    if (kind === "own") return read();
    order = mixed(letters.keys());
    const table = mixed(letters.keys());
    rule = letters.map((_, i) => (kind === "table" ? table[i] : (i + Number(kind)) % n));
    if (kind === "table") named = name.input.checked = false;
    write();
  }
  // The prompt, by the rule.
  function write() {
    if (kind === "own") take("table");
    const keys = order.slice(0, shots);
    const labels = keys.map((key) => rule[key]);
    const dealt = shuffled ? mixed(labels) : labels;
    pairs = keys.map((key, i) => [key, dealt[i]]);
    field.value = pairs.map(([key, label]) => letters[key] + letters[label]).join(" ");
    status.textContent = "";
    answer();
  }
  // The prompt, as the reader wrote it.
  function read() {
    const pieces = field.value.toLowerCase().replace(/[→>:=-]/g, "").split(/[\s,;]+/).filter(Boolean);
    const pair = (piece) => Array.from(piece, (char) => letters.indexOf(char));
    const good = pieces.filter((piece) => piece.length === 2 && !pair(piece).includes(-1));
    const odd = pieces.filter((piece) => !good.includes(piece));
    pairs = good.slice(0, data.pairs).map(pair);
    kind = choice.select.value = "own";
    named = name.input.checked = false;
    shuffled = shuffle.input.checked = false;
    rule = letters.map(() => null);
    for (const [key, label] of pairs) rule[key] = label;
    shots = Math.min(n, pairs.length);
    count.input.value = shots;
    count.output.textContent = pairs.length;
    status.textContent = odd.length
      ? `Left out: ${odd.slice(0, 5).join(" ")}. A pair is two letters of a to ${letters[n - 1]}, such as ad.`
      : good.length > data.pairs
        ? `Only the first ${data.pairs} pairs are read.`
        : "";
    answer();
  }
  // Ask for each letter in turn. The weights stay what they are.
  function answer() {
    const start = [data.blank + (named && Number(kind) ? Number(kind) : 0), ...pairs.flat()];
    answers = letters.map((_, query) => Array.from(softmax(next([...start, query]), 1)));
    draw();
  }

  // ---- the picture
  function draw() {
    const said = answers.map((p) => likeliest(p)[0]);
    const shown = new Set(pairs.map(([key]) => key));
    const known = letters.map((_, i) => i).filter((i) => rule[i] !== null);
    const right = known.filter((i) => said[i] === rule[i]);
    const row = (title, cells) => element("tr", {}, element("th", { scope: "row", textContent: title }), ...cells);
    const ask = letters.map((letter, i) => {
      const made = button(letter, () => ((asked = i), draw()));
      made.setAttribute("aria-pressed", i === asked);
      made.setAttribute("aria-label", `ask ${letter}`);
      return element("th", {}, made);
    });
    const wanted = rule.map((label, i) =>
      element("td", { className: shown.has(i) ? "genai-shown" : "", textContent: label === null ? "–" : letters[label] }));
    const given = said.map((token, i) => {
      const good = rule[i] === null ? "" : token === rule[i] ? "genai-right" : "genai-wrong";
      const share = element("small", { textContent: answers[i][token].toFixed(2) });
      const mark = element("span", { className: "genai-mark", textContent: good === "genai-right" ? "✓" : good ? "✗" : "" });
      return element("td", { className: good }, letters[token] ?? "?", mark, share);
    });
    table.replaceChildren(row("asked", ask), row("rule", wanted), row("model", given));
    const total = kind === "own" ? `${right.length} of the ${known.length} letters that your pairs show` : `${right.length} of ${n} letters`;
    says.textContent = `With ${pairs.length} example${pairs.length === 1 ? "" : "s"} the model is right for ${total}. No weight was changed.`;
    heading.textContent = `asked for ${letters[asked]}, it says`;
    bars.replaceChildren(
      ...letters.map((letter, i) => {
        const bar = element("i");
        bar.style.width = `${100 * answers[asked][i]}%`;
        const share = element("span", { className: "genai-number", textContent: answers[asked][i].toFixed(2) });
        return element("div", {}, element("b", { textContent: letter }), element("span", { className: "genai-bar" }, bar), share);
      }),
    );
    name.input.disabled = !Number(kind);
    fresh.disabled = kind !== "table";
    root.genaiPrompting = { pairs, rule, kind, named, said, answers, asked, right: right.length };
  }

  const says = element("p", { className: "genai-says", "aria-live": "polite" });
  root.querySelector(".genai-prompt").replaceChildren(
    element("label", { className: "genai-line" }, element("span", { className: "genai-name", textContent: "the prompt: pairs of a letter and its label. Write your own." }), field),
    element("div", { className: "genai-menus genai-buttons" }, choice.row, fresh),
    element("div", { className: "genai-buttons" }, element("div", { className: "genai-controls" }, ...count.row), name.row, shuffle.row),
    says,
    element("div", { className: "genai-scroll" }, table),
    heading,
    bars,
    status,
  );
  field.addEventListener("input", read);
  choice.select.value = kind;
  write();
}
