// A store that the reader edits: search by words and by vectors, and a small GPT that answers and cites.
// It needs page_random.js, page_math.js, page_canvas.js, page_gpt.js and sampling.js.
function ragToy(root, data) {
  const known = new Map(data.words.map((word, i) => [word, i]));
  const [vectors, weights, d] = [unpackHalf(data.vectors), unpackHalf(data.weights), data.dim];
  const next = gpt(data.gpt);
  const terms = (text) => text.replace(/([a-z0-9])(?=[A-Z])/g, "$1 ").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const split = (text) => text.toLowerCase().replace(/([.?])/g, " $1 ").split(/\s+/).filter(Boolean);

  // ---- search
  // The places of scores, the highest first, of equal ones the first; only where `there`.
  const order = (scores, there) =>
    scores.map((_, i) => i).filter((i) => there(scores[i])).sort((a, b) => scores[b] - scores[a] || a - b);
  function byWords(lines, asked) {
    const documents = lines.map(terms);
    const mean = documents.reduce((sum, words) => sum + words.length, 0) / Math.max(lines.length, 1);
    const count = (words, term) => words.filter((word) => word === term).length;
    const scores = documents.map(() => 0);
    for (const term of terms(asked)) {
      const df = documents.filter((words) => words.includes(term)).length;
      const idf = Math.log1p((lines.length - df + 0.5) / (df + 0.5));
      documents.forEach((words, i) => {
        const c = count(words, term);
        if (c) scores[i] += (idf * 2.5 * c) / (c + 1.5 * (0.25 + (0.75 * words.length) / mean));
      });
    }
    return order(scores, (score) => score > 0);
  }
  // The weighted mean of the words' vectors, of length 1; null where no word is known.
  function vectorOf(text) {
    const ids = terms(text).filter((term) => known.has(term)).map((term) => known.get(term));
    if (!ids.length) return null;
    const x = new Float64Array(d);
    for (const id of ids) for (let i = 0; i < d; i++) x[i] += Math.exp(weights[id]) * vectors[id * d + i];
    const length = Math.hypot(...x);
    return x.map((value) => value / length);
  }
  function byVectors(lines, asked) {
    const query = vectorOf(asked);
    if (!query) return [];
    const scores = lines.map((line) => vectorOf(line)?.reduce((sum, value, i) => sum + value * query[i], 0) ?? 0);
    return order(scores, () => true);
  }
  function fused(rankings, n) {
    const scores = Array.from({ length: n }, () => 0);
    for (const ranking of rankings) ranking.forEach((i, place) => (scores[i] += 1 / (60 + place + 1)));
    return order(scores, (score) => score > 0);
  }
  function search(lines, asked) {
    if (method === "words") return byWords(lines, asked);
    if (method === "vectors") return byVectors(lines, asked);
    return fused([byWords(lines, asked), byVectors(lines, asked)], lines.length);
  }

  // ---- reading
  const ids = (text, most) => split(text).filter((word) => known.has(word)).map((word) => known.get(word)).slice(0, most);
  function read(passages, asked) {
    const mark = known.get("?");
    const prompt = passages.flatMap((line, i) => [1 + i, ...ids(line, data.longest)]);
    prompt.push(...ids(asked, data.longest).filter((id) => id !== mark), mark, known.get("="));
    for (let i = 0; i < 2; i++) prompt.push(likeliest(next(prompt))[0]); // what is asked, of whom
    const p = softmax(next(prompt), 1); // of the passages, and of "unknown"
    const said = likeliest(p)[0];
    if (said < 1 || said > data.most) return { p, word: said, cited: null };
    const word = likeliest(next([...prompt, said]))[0];
    return { p, word, cited: said <= passages.length ? said - 1 : null };
  }

  // ---- the parts
  let [method, k] = ["both", data.k];
  let example = 0;
  const store = element("textarea", {
    value: data.store.join("\n"), rows: 8, spellcheck: false, autocomplete: "off", autocapitalize: "off", "aria-label": "the store: one sentence in a line",
  });
  const field = element("input", {
    type: "text", value: data.questions[0], spellcheck: false, autocomplete: "off", autocapitalize: "off", "aria-label": "the question",
  });
  const status = element("div", { className: "genai-status", role: "status" });
  const list = element("ol");
  const bars = element("div", { className: "genai-guesses" });
  const says = element("p", { className: "genai-says", "aria-live": "polite" });
  const choice = menu("search by", { both: "words and vectors", words: "words (BM25)", vectors: "vectors" }, (value) => {
    method = value;
    ask();
  });
  const handed = slider("passages", { min: 0, max: data.most, value: k }, (value) => {
    k = value;
    ask();
  });
  const other = button("Another question", () => {
    example = (example + 1) % data.questions.length;
    field.value = data.questions[example];
    ask();
  });
  const back = button("The store as it was", () => {
    store.value = data.store.join("\n");
    ask();
  });

  // ---- ask anew: nothing is trained
  function ask() {
    const all = store.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const lines = all.slice(0, data.lines);
    const found = search(lines, field.value);
    const passages = found.slice(0, k).map((i) => lines[i]);
    const { p, word, cited } = read(passages, field.value);
    const strange = [...new Set([field.value, ...passages].flatMap(split).filter((word) => !known.has(word)))];
    status.textContent = strange.length
      ? `The GPT does not know ${strange.slice(0, 4).join(", ")} and reads on without. The search by words knows all words.`
      : all.length > data.lines
        ? `Only the first ${data.lines} lines are searched.`
        : "";
    list.replaceChildren(
      ...passages.map((line, i) => element("li", { className: i === cited ? "genai-cited" : "", textContent: line })),
    );
    says.replaceChildren(
      "answer: ",
      element("b", { textContent: data.words[word] }),
      cited === null ? " (it cites nothing)" : ` [${cited + 1}]: “${passages[cited]}”`,
    );
    bars.replaceChildren(
      ...[...passages.map((_, i) => 1 + i), known.get("unknown")].map((token) => {
        const bar = element("i");
        bar.style.width = `${100 * p[token]}%`;
        return element(
          "div", {},
          element("b", { textContent: data.words[token] }),
          element("span", { className: "genai-bar" }, bar),
          element("span", { className: "genai-number", textContent: p[token].toFixed(2) }),
        );
      }),
    );
    root.genaiRag = { lines, question: field.value, method, k, found, passages, answer: data.words[word], cited, p: Array.from(p), strange };
  }

  root.querySelector(".genai-rag").replaceChildren(
    element("label", { className: "genai-typing" }, element("span", { className: "genai-name", textContent: "the store: one sentence in a line. Change a fact, and ask again." }), store),
    element("label", { className: "genai-line" }, element("span", { className: "genai-name", textContent: "the question" }), field),
    element("div", { className: "genai-menus genai-buttons" }, other, back, choice.row, element("div", { className: "genai-controls" }, ...handed.row)),
    element("p", { className: "genai-name", textContent: "what the search hands to the GPT" }),
    list,
    says,
    element("p", { className: "genai-name", textContent: "how likely the GPT holds each passage to answer" }),
    bars,
    status,
  );
  store.addEventListener("input", ask);
  field.addEventListener("input", ask);
  ask();
}
