// What drawings in a page share: elements, the theme's colours, sharp canvases that follow the size
// of their box and the theme, sliders and menus, what starts when it is seen.

// element("button", { type: "button", textContent: "Go", "aria-label": "Go on" }, ...children)
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The colours of the figure now, { ink, muted, line, card, accent }, and whether the page is dark.
function themeOf(root) {
  const style = getComputedStyle(root);
  const names = ["ink", "muted", "line", "card", "accent"];
  const theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--genai-${name}`).trim()]));
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(theme.card.slice(i, i + 2), 16));
  return { ...theme, dark: r + g + b < 384 };
}

// Calls change() whenever the page turns light or dark.
function onTheme(change) {
  const observer = new MutationObserver(change);
  const attributeFilter = ["data-theme", "theme", "data-jp-theme-light", "class"];
  [document.documentElement, document.body].forEach((node) => observer.observe(node, { attributeFilter }));
}

// A canvas that fills its box: draw(pen, width, height, theme) in CSS pixels, sharp on every screen.
// Returns a function that asks for a new drawing, at most one per frame.
function surface(root, canvas, draw) {
  let waiting = false;
  const now = () => {
    waiting = false;
    const [width, height, dots] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    if (!width || !height) return;
    [canvas.width, canvas.height] = [Math.round(width * dots), Math.round(height * dots)];
    const pen = canvas.getContext("2d");
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    draw(pen, width, height, themeOf(root));
  };
  const later = () => {
    if (!waiting) requestAnimationFrame(now);
    waiting = true;
  };
  new ResizeObserver(later).observe(canvas);
  onTheme(later);
  later();
  return later;
}

// The plane range = [x0, x1, y0, y1] on a drawing of that size, y upwards: x and y say where numbers
// lie, u and v which numbers lie there.
function plane([x0, x1, y0, y1], width, height) {
  return {
    x: (u) => ((u - x0) / (x1 - x0)) * width,
    y: (v) => ((y1 - v) / (y1 - y0)) * height,
    u: (x) => x0 + (x / width) * (x1 - x0),
    v: (y) => y1 - (y / height) * (y1 - y0),
  };
}

// Calls start() once, when half of the figure is seen and the page has loaded, which a toy that runs
// would delay; never for readers who asked for less motion.
function whenSeen(root, start) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  if (document.readyState !== "complete") {
    window.addEventListener("load", () => whenSeen(root, start), { once: true });
    return;
  }
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    start();
  }, { threshold: 0.5 });
  observer.observe(root);
}

// A named slider and its value, for a box of the class genai-controls; change(value) when it moves.
function slider(name, { min, max, step = 1, value, say = String }, change) {
  const input = element("input", { type: "range", min, max, step, value });
  const output = element("output", { textContent: say(value) });
  input.addEventListener("input", () => {
    output.textContent = say(Number(input.value));
    change(Number(input.value));
  });
  return { input, output, row: [element("label", {}, element("span", { className: "genai-name", textContent: name }), input), output] };
}

// A named menu: choices { value: text }; change(value) when one is taken.
function menu(name, choices, change) {
  const options = Object.entries(choices).map(([value, textContent]) => element("option", { value, textContent }));
  const select = element("select", {}, ...options);
  select.addEventListener("change", () => change(select.value));
  return { select, row: element("label", {}, element("span", { className: "genai-name", textContent: name }), select) };
}

// A button: press() when it is pressed.
function button(textContent, press) {
  const made = element("button", { type: "button", textContent });
  made.addEventListener("click", press);
  return made;
}

// Where an event is in an element: [x, y] from its left upper corner, each in [0, 1].
function placeIn(target, event) {
  const box = target.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

// The step that an arrow key asks for, [right, up], longer with Shift; undefined for other keys.
function arrowStep(event) {
  const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  return by?.map((v) => v * (event.shiftKey ? 5 : 1));
}

const minus = (text) => text.replace("-", "−");
