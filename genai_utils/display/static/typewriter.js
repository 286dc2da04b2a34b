// A text field whose text a model continues, letter by letter. Each letter is shaded by the
// probability that the model gave it; pointer, finger or arrow keys show what else was likely.
function typewriter(root, data) {
  const BOUNDS = [0.5, 0.2, 0.05, 0.01];
  const OTHERS = 4;
  const MOST = 6000; // letters, then it has to start again
  const find = (selector) => root.querySelector(selector);
  const [field, go, again, seedText] = ["textarea", ".genai-go", ".genai-again", ".genai-seed"].map(find);
  const [paper, picked, status] = [".genai-tokens", ".genai-picked", ".genai-status"].map(find);
  const sliders = [...root.querySelectorAll(".genai-controls input")];
  const [temperature, topP] = sliders;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const index = new Map(data.characters.map((char, i) => [char, i]));
  const next = gpt(data.gpt);

  let seed = data.seed;
  let random = randomNumbers(seed);
  let written = data.written; // of each letter: token, probability, the likeliest, their probabilities
  let timer = 0; // of the next frame, while it writes
  let left = 0; // letters to write
  let chosen = -1;

  const name = (token) => ({ "\n": "↵", " ": "␣" })[data.characters[token]] ?? data.characters[token];
  const spoken = (token) => ({ "\n": "new line", " ": "space" })[data.characters[token]] ?? data.characters[token];
  function percent(p) {
    const share = 100 * p;
    if (share < 0.01) return "below 0.01 %";
    return `${share.toFixed(share >= 9.95 ? 0 : share >= 0.995 ? 1 : 2)} %`;
  }
  // The tokens of the field, and the letters in it that the model does not know.
  function prompt() {
    const letters = Array.from(field.value.replace(/\r\n?/g, "\n"));
    const ids = letters.filter((char) => index.has(char)).map((char) => index.get(char));
    return { ids, unknown: [...new Set(letters.filter((char) => !index.has(char)))] };
  }
  function leftOut() {
    const { unknown } = prompt();
    if (!unknown.length) return "";
    const some = unknown.slice(0, 8).join(" ") + (unknown.length > 8 ? " …" : "");
    return ` Left out, as the model has never seen it: ${some}`;
  }
  const say = (text) => (status.textContent = text + leftOut());
  function tokens() {
    const { ids } = prompt();
    return [...(ids.length ? ids : [index.get(data.start)]), ...written.map(([token]) => token)];
  }

  function letter([token, p]) {
    const span = document.createElement("span");
    span.className = `genai-p${BOUNDS.filter((bound) => p < bound).length}`;
    if (data.characters[token] === "\n") span.classList.add("genai-br");
    span.textContent = data.characters[token];
    return span;
  }
  function redraw() {
    const before = document.createElement("span");
    before.className = "genai-prompt";
    before.textContent = prompt().ids.map((token) => data.characters[token]).join("");
    paper.replaceChildren(before, ...written.map(letter));
  }
  function choose(place) {
    paper.children[chosen + 1]?.classList.remove("genai-chosen");
    chosen = Math.min(place, written.length - 1);
    if (chosen < 0) {
      chosen = -1;
      picked.textContent = "Point at a letter, or move through them with the arrow keys.";
      return;
    }
    const [token, p, likely, shares] = written[chosen];
    const span = paper.children[chosen + 1];
    span.classList.add("genai-chosen");
    const pair = (id, share) => {
      const [span, sign] = ["span", "b"].map((tag) => document.createElement(tag));
      sign.textContent = name(id);
      sign.setAttribute("role", "img");
      sign.setAttribute("aria-label", spoken(id));
      span.append(sign, ` ${percent(share)}`);
      return span;
    };
    const parts = [pair(token, p), " Most likely: "];
    likely.forEach((id, i) => parts.push(pair(id, shares[i]), " "));
    picked.replaceChildren(...parts);
  }

  function write() {
    const logits = next(tokens());
    const token = drawToken(logits, Number(temperature.value), Number(topP.value), random);
    const p = softmax(logits, 1);
    const likely = likeliest(p).slice(0, OTHERS);
    written.push([token, p[token], likely, likely.map((id) => p[id])]);
    paper.append(letter(written.at(-1)));
  }
  function frame() {
    if (!root.isConnected) return;
    const low = paper.scrollHeight - paper.scrollTop - paper.clientHeight < 40;
    for (let i = 0; i < (calm.matches ? 25 : 1) && left > 0 && written.length < MOST; i++, left--) write();
    if (low) paper.scrollTop = paper.scrollHeight;
    if (left > 0 && written.length < MOST) timer = requestAnimationFrame(frame);
    else stop(written.length < MOST ? `Wrote ${data.length} letters.` : "The page is full: start again.");
  }
  function stop(text) {
    cancelAnimationFrame(timer);
    timer = 0;
    go.textContent = "Go on";
    paper.removeAttribute("aria-busy");
    if (text) say(text);
  }
  function start() {
    left = data.length;
    go.textContent = "Stop";
    paper.setAttribute("aria-busy", "true"); // or a screen reader would spell what is written
    say("Writing …");
    choose(-1);
    timer = requestAnimationFrame(frame);
  }
  function clear() {
    stop();
    written = [];
    random = randomNumbers(seed);
    choose(-1);
    redraw();
  }

  go.addEventListener("click", () => {
    if (timer) stop(`Stopped after ${data.length - left} letters.`);
    else start();
  });
  again.addEventListener("click", () => {
    seed += 1;
    seedText.textContent = `seed ${seed}`;
    clear();
    start();
  });
  field.addEventListener("input", () => {
    clear();
    say("Press Go on, or Ctrl and Enter.");
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!timer) start();
  });
  sliders.forEach((slider) => {
    const show = () => {
      slider.parentElement.nextElementSibling.textContent = Number(slider.value).toFixed(2);
    };
    slider.addEventListener("input", show);
    show();
  });
  const point = (event) => {
    const place = Array.prototype.indexOf.call(paper.children, event.target);
    if (place > 0) choose(place - 1);
  };
  paper.addEventListener("pointerover", point);
  paper.addEventListener("click", point);
  paper.addEventListener("keydown", (event) => {
    const to = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: written.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(Math.max(0, to));
    paper.children[chosen + 1]?.scrollIntoView({ block: "nearest" });
  });

  root.genaiProbabilities = (text, hot = 1) =>
    Array.from(softmax(next(Array.from(text, (char) => index.get(char))), hot));
  if (Number(temperature.value) > 0) written.forEach(() => random()); // it goes on after the first text
  paper.tabIndex = 0;
  picked.hidden = false;
  find(".genai-typing").hidden = false;
  redraw();
  choose(-1);
  say(`Seed ${seed}: ${written.length} letters are written. Go on, or change your text.`);
}
