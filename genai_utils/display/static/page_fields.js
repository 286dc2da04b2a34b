// Fields on a plane: colours, contour lines, arrows, bent grids. values (rows, columns) are numbers on
// a grid over range = [x0, x1, y0, y1]; the first row lies at y0, the last at y1. `at` is a `plane`.

// f(x, y) on a grid -> (rows, columns).
function sampleField(f, rows, columns, [x0, x1, y0, y1]) {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return f(x0 + ((x1 - x0) * column) / (columns - 1), y0 + ((y1 - y0) * row) / (rows - 1));
  });
}

// Colours from "#rrggbb" to "#rrggbb" in equal steps: t in [0, 1] -> [r, g, b].
function ramp(...stops) {
  const colours = stops.map((stop) => [1, 3, 5].map((i) => parseInt(stop.slice(i, i + 2), 16)));
  return (t) => {
    const place = Math.min(1, Math.max(0, t)) * (stops.length - 1);
    const i = Math.min(stops.length - 2, Math.floor(place));
    return colours[i].map((c, k) => Math.round(c + (place - i) * (colours[i + 1][k] - c)));
  };
}

// Two ramps that begin (or have their middle) at the ground of the page: "sequential" for numbers
// from 0 up, "diverging" for numbers around 0.
function ramps({ card, dark }) {
  return dark
    ? { sequential: ramp(card, "#0072b2", "#56b4e9", "#f0f9ff"), diverging: ramp("#7cc8f5", card, "#ff9a55") }
    : { sequential: ramp(card, "#56b4e9", "#0072b2", "#08224a"), diverging: ramp("#0072b2", card, "#d55e00") };
}

// values in [0, 1] as colours over a drawing of that size; smooth between the grid's numbers.
function drawField(pen, values, rows, columns, width, height, colour) {
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  const image = new ImageData(columns, rows);
  values.forEach((value, i) => {
    const row = rows - 1 - Math.floor(i / columns);
    image.data.set([...colour(value), 255], 4 * (row * columns + (i % columns)));
  });
  small.getContext("2d").putImageData(image, 0, 0);
  // the outermost numbers lie on the edges: half a cell is left out on each side
  pen.drawImage(small, 0.5, 0.5, columns - 1, rows - 1, 0, 0, width, height);
}

// The line on which values = level: pieces [x0, y0, x1, y1], straight in each of the two triangles
// into which every cell of the grid is cut.
function contour(values, rows, columns, [x0, x1, y0, y1], level) {
  const pieces = [];
  const [dx, dy] = [(x1 - x0) / (columns - 1), (y1 - y0) / (rows - 1)];
  const corner = (row, column) => [x0 + column * dx, y0 + row * dy, values[row * columns + column] - level];
  const cross = (triangle) => {
    const ends = [];
    triangle.forEach((a, i) => {
      const b = triangle[(i + 1) % 3];
      if (a[2] < 0 === b[2] < 0) return;
      const t = a[2] / (a[2] - b[2]);
      ends.push(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]));
    });
    if (ends.length) pieces.push(ends);
  };
  for (let r = 0; r < rows - 1; r++)
    for (let c = 0; c < columns - 1; c++) {
      const [a, b, d, e] = [corner(r, c), corner(r, c + 1), corner(r + 1, c), corner(r + 1, c + 1)];
      cross([a, b, e]);
      cross([a, e, d]);
    }
  return pieces;
}

// Strokes pieces [x0, y0, x1, y1] of a plane; colour and width are those of the pen.
function drawPieces(pen, at, pieces) {
  pen.beginPath();
  for (const [a, b, c, d] of pieces) {
    pen.moveTo(at.x(a), at.y(b));
    pen.lineTo(at.x(c), at.y(d));
  }
  pen.stroke();
}

// Arrows of a vector field f(x, y) -> [u, v] on a grid of `count` columns; the longest fits a cell.
function drawArrows(pen, at, f, [x0, x1, y0, y1], count) {
  const cell = (x1 - x0) / count;
  const arrows = [];
  for (let y = y0 + cell / 2; y < y1; y += cell)
    for (let x = x0 + cell / 2; x < x1; x += cell) arrows.push([x, y, ...f(x, y)]);
  const longest = Math.max(...arrows.map(([, , u, v]) => Math.hypot(u, v))) || 1;
  const pieces = [];
  for (const [x, y, u, v] of arrows) {
    const [a, b] = [u, v].map((part) => (0.85 * cell * part) / longest);
    const [tipX, tipY] = [x + a / 2, y + b / 2];
    pieces.push([x - a / 2, y - b / 2, tipX, tipY]);
    for (const side of [1, -1]) // each half of the head is turned by 26 degrees
      pieces.push([tipX, tipY, tipX - 0.3 * (a - side * 0.5 * b), tipY - 0.3 * (b + side * 0.5 * a)]);
  }
  drawPieces(pen, at, pieces);
}

// A grid of `lines` by `lines` lines over range, as a map (x, y) -> [x, y] bends it.
function drawBentGrid(pen, at, map, [x0, x1, y0, y1], lines, steps = 40) {
  const pieces = [];
  for (let i = 0; i <= lines; i++)
    for (const point of [
      (t) => map(x0 + (i / lines) * (x1 - x0), y0 + t * (y1 - y0)),
      (t) => map(x0 + t * (x1 - x0), y0 + (i / lines) * (y1 - y0)),
    ])
      for (let s = 0; s < steps; s++) pieces.push([...point(s / steps), ...point((s + 1) / steps)]);
  drawPieces(pen, at, pieces);
}
