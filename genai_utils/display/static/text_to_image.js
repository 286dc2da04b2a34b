// A sentence that becomes a picture, step by step: three networks that run in the page. It needs
// page_random.js, page_math.js, page_decoder.js (paint), page_canvas.js, page_bytes.js,
// page_tower.js and page_latent.js.

function textToImage(root, data) {
  const { side, channels } = data.denoiser;
  const { end, context, vocabulary } = data.text;
  const [size, places] = [4 * side, side * side];
  const model = latentDiffusion(data);
  const part = (name) => root.querySelector(`.genai-${name}`);
  const normal = normalNumbers(randomNumbers(29));
  const empty = Array(context).fill(end);
  const nothing = model.told(empty);

  // The ids of a sentence; throws an error whose message is for the reader.
  function encode(text) {
    const words = text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
    if (!words.length) throw new Error("Say what is to be seen, for example: a red circle.");
    const unknown = words.find((word) => !data.words.flat().includes(word));
    if (unknown) throw new Error(`These networks were never shown “${unknown}”. All words that they know stand below.`);
    if (words.length >= context) throw new Error(`At most ${context - 1} words, please; these are ${words.length}.`);
    return [...words.map((word) => vocabulary.indexOf(word)), ...empty.slice(words.length)];
  }
  // The velocity at time u, guided: (1 + w) v(sentence) - w v(nothing).
  function guidedVelocity(z, u, told, w) {
    const one = model.velocity(z, u, told);
    if (!w) return one;
    const plain = model.velocity(z, u, nothing);
    return one.map((v, i) => (1 + w) * v - w * plain[i]);
  }

  let noise = Float32Array.from(data.start);
  let [strength, steps] = [data.guidance, data.steps];
  let walk = null; // { z, told, left, seen: the latents seen behind it so far }
  let finished = 0; // walks that have come to their end

  // ---- the parts
  const canvas = (wide, high, label, className) =>
    element("canvas", { width: wide, height: high, className: `genai-crisp ${className}`, role: "img", "aria-label": label });
  const picture = canvas(size, size, "", "");
  const across = Math.ceil(Math.sqrt(channels));
  const [wide, high] = [across, Math.ceil(channels / across)].map((maps) => maps * (side + 1) - 1);
  const latent = canvas(wide, high, `The latent now: ${channels} maps of ${side} by ${side} numbers.`, "");
  const trail = element("div", { className: "genai-trail" });
  // Until a walk begins, the stored pictures stay: whoever wants no motion begins none.
  function begin() {
    for (const [name, said, shown] of [["picture", "the picture", picture], ["latent", "", latent], ["past", "after so many steps", trail]]) {
      part(name).querySelector("img")?.replaceWith(shown);
      if (said) part(name).querySelector("span").textContent = said;
    }
  }
  const status = element("div", { className: "genai-status", role: "status" });

  // The maps side by side, grey from -2.5 to 2.5, with a line between them.
  function paintLatent(z) {
    const grey = new Float32Array(wide * high).fill(0.5);
    z.forEach((v, i) => {
      const [c, row, column] = [Math.floor(i / places), Math.floor(i / side) % side, i % side];
      grey[(row + Math.floor(c / across) * (side + 1)) * wide + column + (c % across) * (side + 1)] = 0.5 + v / 5;
    });
    paint(latent, grey, [high, wide]);
  }
  function show() {
    const { seen, left, z, said } = walk;
    const image = model.decode(seen.at(-1) ?? z);
    paint(picture, image, [3, size, size]);
    paintLatent(z);
    const done = left === 0;
    picture.setAttribute("aria-label", done ? `The picture that was made of “${said}”.` : "The picture that the denoiser sees behind the noise.");
    if (seen.length) trail.append(element("figure", {}, small(image, `After ${steps - left} of ${steps} steps.`), element("span", { textContent: `${steps - left}` })));
    const every = Math.max(1, Math.ceil(trail.children.length / 9));
    [...trail.children].forEach((figure, i) => (figure.hidden = i % every > 0 && i < trail.children.length - 1));
    const asked = (strength ? 2 : 1) * (steps - left);
    status.textContent = done
      ? `“${said}”: done in ${steps} steps; the denoiser was asked ${asked} times. Change a word and press Enter: the noise stays.`
      : `“${said}”: step ${steps - left} of ${steps}.`;
  }
  function small(image, label) {
    const made = canvas(size, size, label, "");
    paint(made, image, [3, size, size]);
    return made;
  }

  // ---- what the reader does
  function oneStep() {
    const u = walk.left / steps;
    const v = guidedVelocity(walk.z, u, walk.told, strength);
    walk.seen.push(walk.z.map((value, i) => value - u * v[i]));
    walk.z = walk.z.map((value, i) => value - v[i] / steps);
    walk.left -= 1;
    if (!walk.left) finished += 1;
    show();
  }
  let turn = 0; // which walk is the latest: an earlier one stops
  function go() {
    turn += 1;
    try {
      const said = field.value.trim();
      walk = { said, z: noise.slice(), told: model.told(encode(said)), left: steps, seen: [] };
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      status.textContent = error.message;
      return;
    }
    field.removeAttribute("aria-invalid");
    begin();
    trail.replaceChildren();
    const mine = turn;
    const next = () => {
      if (mine !== turn || !root.isConnected) return;
      oneStep();
      if (walk.left) requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  }
  const field = element("input", { type: "text", value: data.opening, maxLength: 120, spellcheck: false, autocomplete: "off" });
  const line = element("label", { className: "genai-sentence" }, element("span", { className: "genai-name", textContent: "your sentence" }), field);
  field.addEventListener("keydown", (event) => event.key === "Enter" && go());
  const main = button("Draw it", go);
  main.classList.add("genai-main");
  const fresh = button("New noise", () => {
    noise = Float32Array.from({ length: channels * places }, normal);
    go();
  });
  const examples = data.examples.map((text) => button(text, () => ((field.value = text), go())));
  const pull = slider("guidance w", { min: 0, max: 5, step: 0.5, value: strength, say: (v) => v.toFixed(1) }, (v) => (strength = v));
  pull.input.addEventListener("change", go);
  const pace = slider("steps", { min: 1, max: 50, value: steps }, (v) => (steps = v));
  pace.input.addEventListener("change", go);
  const known = element("details", { className: "genai-words" }, element("summary", { textContent: `The ${data.words.flat().length} words that they know` }));
  for (const group of data.words) known.append(element("p", { textContent: group.join(" ") }));
  root.querySelector(".genai-toyrow").before(
    element("div", { className: "genai-asking" }, line, element("div", { className: "genai-buttons" }, main, fresh)),
    element("div", { className: "genai-buttons genai-examples" }, ...examples),
  );
  root.querySelector(".genai-toyrow").after(status, element("div", { className: "genai-controls" }, ...pull.row, ...pace.row), known);
  whenSeen(root, go);
  root.genaiTextToImage = {
    read: (ids) => Array.from(model.read(ids)),
    velocity: (z, u, ids) => Array.from(model.velocity(Float32Array.from(z), u, model.told(ids))),
    decode: (z) => Array.from(model.decode(Float32Array.from(z))),
    encode,
    walk: (z, ids, count, w) => {
      let at = Float32Array.from(z);
      const told = model.told(ids);
      for (let i = count; i > 0; i--) {
        const v = guidedVelocity(at, i / count, told, w);
        at = at.map((value, k) => value - v[k] / count);
      }
      return Array.from(at);
    },
    state: () => ({ left: walk?.left ?? null, z: walk ? Array.from(walk.z) : null, finished, noise: Array.from(noise), said: walk?.said ?? null }),
    go,
  };
}
