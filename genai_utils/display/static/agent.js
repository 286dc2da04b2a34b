// A text browser over a small web: search, open, find, quote, answer, and what is refused.
// It needs page_canvas.js.
function agentToy(root, data) {
  const words = (text) => text.split(/\s+/).filter(Boolean);
  const terms = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const holds = (text, part) => ` ${text} `.includes(` ${part} `);
  let example = 0;
  let state;

  // ---- the environment
  const begin = () => ({ page: null, found: -1, quotations: [], answer: null, over: false, log: [] });
  function search(asked) {
    const n = data.index.length;
    const scores = data.index.map(() => 0);
    for (const term of terms(asked)) {
      const df = data.index.filter(([, has]) => has.includes(term)).length;
      const idf = Math.log1p((n - df + 0.5) / (df + 0.5));
      data.index.forEach(([, has], i) => (scores[i] += has.includes(term) ? idf : 0));
    }
    const best = data.index.map(([name], i) => [name, scores[i]]).filter(([, score]) => score > 0);
    best.sort((a, b) => b[1] - a[1]);
    const names = best.slice(0, data.results).map(([name]) => name);
    const lines = names.length ? names.map((name, i) => [name, `[${i + 1}] ${name}`, 0]) : [["nothing", "nothing", 0]];
    show({ title: "results", lines, links: names.map((name) => `/${name}`) });
    return lines.map(([, shown]) => shown).join(" ");
  }
  function show(page) {
    state.page = page;
    state.found = -1;
  }
  function open(tag) {
    const number = tag.replace(/^\[/, "").replace(/\]$/, "");
    if (!/^[1-9][0-9]*$/.test(number) || !(number <= state.page?.links.length)) throw "no such link";
    const address = state.page.links[number - 1];
    if (!address) throw "leads off this host";
    show(data.pages[address]);
    const head = state.page.lines.findIndex((line) => line[2]);
    return [`page ${state.page.title}`, ...state.page.lines.slice(0, head < 0 ? undefined : head).map((line) => line[1])].join(" ");
  }
  function find(asked) {
    const lines = state.page?.lines ?? [];
    for (let k = 1; k <= lines.length; k++) {
      const i = (state.found + k) % lines.length;
      if (!holds(lines[i][0], asked)) continue;
      state.found = i + (lines[i][2] && i + 1 < lines.length ? 1 : 0);
      return lines[state.found][1];
    }
    return "nothing";
  }
  function quote(asked) {
    const given = words(asked);
    const text = words((state.page?.lines ?? []).map((line) => line[0]).join(" "));
    const there = text.some((_, i) => given.every((word, k) => text[i + k] === word));
    if (given.length < 3 || !there) throw "stands not on this page";
    state.quotations.push(asked);
    return "quoted";
  }
  function answer(asked) {
    if (!state.quotations.some((quotation) => holds(quotation, asked))) throw "stands in no quotation";
    state.answer = asked;
    state.over = true;
    return "";
  }
  const actions = { search, open, find, quote, answer };
  function act(action) {
    if (state.over) return "";
    const [name, ...rest] = action.trim().split(" ");
    const asked = rest.join(" ").trim();
    let [seen, refused] = ["refused", ""];
    try {
      if (!Object.hasOwn(actions, name) || !asked) throw "no such action";
      seen = actions[name](asked);
    } catch (why) {
      if (typeof why !== "string") throw why;
      refused = why;
    }
    state.log.push([action, seen, refused]);
    state.over = state.over || state.log.length >= data.steps;
    draw();
    return seen;
  }

  // ---- the parts
  const asked = element("p", { className: "genai-ask" });
  const chips = element("div", { className: "genai-buttons genai-menus" });
  const field = element("input", {
    type: "text", placeholder: "or write an action", spellcheck: false, autocomplete: "off", autocapitalize: "off", "aria-label": "an action, as the agent writes it",
  });
  const page = element("div", { className: "genai-page" });
  const log = element("ol", { className: "genai-log", "aria-live": "polite" });
  const verdict = element("p", { className: "genai-verdict", role: "status" });
  const headings = menu("find", Object.fromEntries([["", "…"], ...data.headings.map((h) => [h, h])]), (value) => {
    if (value) act(`find ${value}`);
    headings.select.value = "";
  });
  const form = element("form", { className: "genai-line" }, field);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim()) act(field.value);
    field.value = "";
  });
  const again = button("Begin again", () => start(example));
  const other = button("Another question", () => start((example + 1) % data.questions.length));

  function draw() {
    const question = data.questions[example];
    asked.textContent = question.text.replace(" ?", "?");
    const last = state.quotations.at(-1);
    chips.replaceChildren(
      button(`search ${question.name}`, () => act(`search ${question.name}`)),
      headings.row,
      ...(last ? [...new Set(words(last))].filter((word) => word !== ".").map((word) => button(`answer ${word}`, () => act(`answer ${word}`))) : []),
    );
    const lines = (state.page?.lines ?? []).map(([text, shown, heading], i) => {
      const links = [...shown.matchAll(/\[(\d+)\]/g)].map(([tag]) => button(`open ${tag}`, () => act(`open ${tag}`)));
      const tools = heading || state.page.title === "results" ? links : [button("quote", () => act(`quote ${text}`)), ...links];
      return element("div", { className: `genai-row${heading ? " genai-head" : ""}${i === state.found ? " genai-here" : ""}` }, element("span", { textContent: shown }), ...tools);
    });
    page.replaceChildren(
      element("div", { className: "genai-name", textContent: state.page ? `page: ${state.page.title}` : "no page is open yet" }),
      ...lines,
    );
    log.replaceChildren(
      ...state.log.map(([action, seen, refused]) =>
        element("li", { className: refused ? "genai-refused" : "" }, element("b", { textContent: action }), ` ${refused ? `refused: ${refused}` : seen}`),
      ),
    );
    for (const control of [...chips.querySelectorAll("button, select"), ...page.querySelectorAll("button"), field]) control.disabled = state.over;
    verdict.textContent = !state.over
      ? `${data.steps - state.log.length} actions left.`
      : state.answer === null
        ? "It is over, without an answer that counts."
        : state.answer === question.answer
          ? "The answer counts, and it is right."
          : `The answer counts by the rules, and it is wrong: ${question.answer}. The rules ask for a quotation, not for the truth.`;
  }
  function start(number) {
    example = number;
    state = begin();
    field.value = "";
    draw();
  }
  root.querySelector(".genai-agent").replaceChildren(
    asked,
    chips,
    form,
    element("div", { className: "genai-two" }, page, log),
    verdict,
    element("div", { className: "genai-buttons" }, again, other),
  );
  start(0);
  data.opening.forEach(act);
  root.genaiAgent = { act, start, state: () => ({ ...state, question: example }) };
}
