// A black field on which one draws in white with mouse, finger or keyboard. It needs page_canvas.js.
// box: the element that holds it. name: what is drawn, for the description. size: pixels of a side.
// width: of the stroke, in such pixels. change() is called when the drawing changed, at most once per
// frame. Returns { canvas, clear, show, ink }.
// The moves that one event stands for; some browsers give none of them.
const coalesced = (event) => {
  const parts = event.getCoalescedEvents?.() ?? [];
  return parts.length ? parts : [event];
};

function inkField(box, { name, size = 280, width = 22, change }) {
  const canvas = element("canvas", {
    width: size, height: size, className: "genai-ink", tabIndex: 0, role: "application",
    "aria-roledescription": "drawing field",
    "aria-label": `${name}. Draw with mouse or finger. With keys: arrows move the pen, Shift moves it further, ` +
      "Space puts it down and lifts it, Delete clears.",
  });
  const cursor = element("div", { className: "genai-pen" });
  box.append(canvas, cursor);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let [x, y] = [size / 2, size / 2];
  let down = false; // the pen of the keyboard
  let waiting = false;

  const changed = () => {
    if (!waiting) requestAnimationFrame(() => ((waiting = false), change()));
    waiting = true;
  };
  function line(toX, toY, from = [x, y]) {
    Object.assign(pen, { strokeStyle: "#fff", lineWidth: width, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(toX, toY);
    pen.stroke();
    changed();
  }
  function move(toX, toY) {
    [x, y] = [toX, toY].map((v) => Math.min(size, Math.max(0, v)));
    [cursor.style.left, cursor.style.top] = [x, y].map((v) => `${(100 * v) / size}%`);
    cursor.classList.toggle("genai-down", down);
  }
  function clear() {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, size, size);
    changed();
  }
  // Draws an image instead: values (rows, rows) in [0, 1], enlarged.
  function show(values, rows) {
    const small = element("canvas", { width: rows, height: rows });
    const image = new ImageData(rows, rows);
    values.forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i));
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false; // its pixels stay squares
    pen.drawImage(small, 0, 0, size, size);
    changed();
  }
  // The drawing: (size, size) in [0, 1].
  function ink() {
    const { data } = pen.getImageData(0, 0, size, size);
    return Float32Array.from({ length: size * size }, (_, i) => data[4 * i] / 255);
  }

  const at = (event) => placeIn(canvas, event).map((v) => v * size);
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    down = false;
    move(...at(event));
    line(x, y);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons || !canvas.hasPointerCapture(event.pointerId)) return;
    for (const part of coalesced(event)) {
      const from = [x, y];
      move(...at(part));
      line(x, y, from);
    }
  });
  canvas.addEventListener("keydown", (event) => {
    const by = arrowStep(event);
    const from = [x, y];
    if (by) move(x + (by[0] * size) / 28, y - (by[1] * size) / 28);
    else if (event.key === " ") (down = !down), move(x, y);
    else if (event.key === "Delete" || event.key === "Backspace") (down = false), clear(), move(x, y);
    else return;
    event.preventDefault(); // arrow keys and Space would scroll the page
    if (down) line(x, y, from);
  });
  canvas.addEventListener("blur", () => ((down = false), move(x, y)));
  clear();
  move(x, y);
  return { canvas, clear, show, ink };
}
