// A square on which two numbers of the code are chosen; the picture beside it is decoded at once.
function pad(root, data) {
  const square = root.querySelector(".genai-pad");
  const cross = root.querySelector(".genai-cross");
  const output = root.querySelector("output");
  const canvas = canvasFor(root.querySelector(".genai-decoded"), data.shape);
  const decode = decoder(data.network);
  const code = data.origin.slice();
  const [across, up] = data.dims;
  const clamp = (value) => Math.min(data.extent, Math.max(-data.extent, value));
  const say = (value) => value.toFixed(2).replace("-", "−");
  let waiting = false;

  function draw() {
    waiting = false;
    paint(canvas, decode(code), data.shape);
    const now = `${data.names[0]} = ${say(code[across])}, ${data.names[1]} = ${say(code[up])}`;
    output.textContent = now;
    square.setAttribute("aria-valuetext", now);
    canvas.setAttribute("aria-label", `Image decoded at ${now}.`);
  }
  function move(x, y) {
    code[across] = clamp(x);
    code[up] = clamp(y);
    cross.style.left = `${50 * (1 + code[across] / data.extent)}%`;
    cross.style.top = `${50 * (1 - code[up] / data.extent)}%`;
    if (!waiting) requestAnimationFrame(draw); // at most one decoding per frame of the screen
    waiting = true;
  }
  function point(event) {
    const box = square.getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = 1 - (2 * (event.clientY - box.top)) / box.height;
    move(x * data.extent, y * data.extent);
  }
  square.addEventListener("pointerdown", (event) => {
    square.setPointerCapture(event.pointerId);
    point(event);
  });
  square.addEventListener("pointermove", (event) => event.buttons && point(event));
  square.addEventListener("keydown", (event) => {
    const step = (event.shiftKey ? 0.25 : 0.05) * data.extent;
    const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (by) move(code[across] + by[0] * step, code[up] + by[1] * step);
    else if (event.key === "Home") move(data.origin[across], data.origin[up]);
    else return;
    event.preventDefault(); // arrow keys would scroll the page
  });

  root.genaiDecode = (numbers) => Array.from(decode(numbers));
  root.querySelector(".genai-padline").hidden = false;
  move(code[across], code[up]);
  draw();
}
