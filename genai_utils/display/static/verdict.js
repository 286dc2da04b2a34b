// A review, word by word: what two fine-tuned models say after each word.
function verdictToy(root, data) {
  const [START, EXTRACT, UNKNOWN, LONGEST] = [2, 4, 1, 100];
  const index = new Map(data.pieces.map((piece, i) => [piece, i]));
  const room = data.models[0].gpt.context - 2;
  const models = data.models.map(({ gpt: weights, bias }) => {
    const next = gpt(weights);
    return (ids) => 1 / (1 + Math.exp(-(next(ids)[weights.vocabulary - 1] + bias)));
  });
  let example = 0;
  let shown = []; // of each word: [word, P(positive) of each model]

  // WordPiece: the longest piece that the rest of the word begins with, again and again.
  function pieces(word) {
    const letters = Array.from(word);
    const ids = [];
    for (let at = 0; at < letters.length; ) {
      let end = letters.length;
      const piece = () => (at ? "##" : "") + letters.slice(at, end).join("");
      while (end > at && !index.has(piece())) end--;
      if (end === at || letters.length > LONGEST) return [UNKNOWN];
      ids.push(index.get(piece()));
      at = end;
    }
    return ids;
  }
  function words(text) {
    const plain = text.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, "").replace(/\p{sc=Han}/gu, " $& ");
    return plain.match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? [];
  }
  function judge(text) {
    const read = [START];
    const found = [];
    for (const word of words(text)) {
      read.push(...pieces(word));
      if (read.length - 1 > room) break;
      found.push([word, models.map((model) => model([...read, EXTRACT]))]);
    }
    return found;
  }

  const said = (p) => `${p >= 0.5 ? "positive" : "negative"}, ${Math.max(p, 1 - p).toFixed(2)}`;
  const field = element("input", { type: "text", maxlength: 300, spellcheck: "false", autocomplete: "off" });
  const another = element("button", { type: "button" }, "Another review");
  const review = element("div", { class: "genai-review", tabindex: 0, role: "group",
    "aria-label": "the review; the arrow keys move through its words" });
  const rows = data.models.map(({ kind, name }) => {
    const text = element("span", {});
    return [element("p", {}, element("b", { class: `genai-key genai-${kind}` }), `${name}: `, text), text];
  });
  const people = element("p", {});
  const status = element("div", { class: "genai-status", role: "status" });
  root.querySelector(".genai-still").replaceChildren(
    element("label", { class: "genai-line" }, element("span", { class: "genai-name" }, "a review"), field),
    element("div", { class: "genai-buttons" }, another),
    review,
    ...rows.map(([row]) => row),
    people,
    status,
  );

  function bar(kind, p) {
    const [side, high] = p >= 0.5 ? ["bottom", p - 0.5] : ["top", 0.5 - p];
    return element("b", { class: `genai-${kind}`, style: `${side}:50%;height:${Math.round(100 * high)}%` });
  }
  let chosen = -1;
  function choose(place) {
    review.children[chosen]?.classList.remove("genai-chosen");
    chosen = Math.min(place, shown.length - 1);
    if (chosen < 0) {
      status.textContent = "Point at a word, or move through them with the arrow keys.";
      return;
    }
    review.children[chosen].classList.add("genai-chosen");
    const [word, after] = shown[chosen];
    const moves = data.models.map(({ name }, m) => {
      const before = chosen ? `${shown[chosen - 1][1][m].toFixed(2)} → ` : "";
      return `${name} ${before}${after[m].toFixed(2)}`;
    });
    status.textContent = `After “${word}”, probability of positive: ${moves.join("; ")}.`;
  }
  function draw() {
    shown = judge(field.value);
    review.replaceChildren(
      ...shown.map(([word, p]) =>
        element("span", { class: "genai-word" },
          element("i", {}, ...p.map((value, m) => bar(data.models[m].kind, value))),
          element("span", {}, word)),
      ),
    );
    rows.forEach(([, text], m) => (text.textContent = shown.length ? said(shown.at(-1)[1][m]) : "–"));
    const own = data.examples.find(([text]) => text === field.value);
    people.textContent = own
      ? `The critic meant it ${own[1] ? "positive" : "negative"}.`
      : "Your own words: only you know what you mean.";
    choose(-1);
  }
  field.addEventListener("input", draw);
  another.addEventListener("click", () => {
    example = (example + 1) % data.examples.length;
    field.value = data.examples[example][0];
    draw();
  });
  const point = (event) => {
    const word = event.target.closest(".genai-word");
    if (word) choose(Array.prototype.indexOf.call(review.children, word));
  };
  review.addEventListener("pointerover", point);
  review.addEventListener("click", point);
  review.addEventListener("keydown", (event) => {
    const to = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(Math.max(0, to));
  });
  root.genaiVerdict = {
    shown: () => shown,
    chosen: () => chosen,
    ids: (text) => words(text).flatMap(pieces),
  };
  field.value = data.examples[0][0];
  draw();
}
