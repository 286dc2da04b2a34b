// A small decoder computed in the page: code (array of numbers) -> Float32Array.
// Shapes are [channels, height, width] or [features]; all numbers of a picture stand in one row.
// It needs page_math.js.

const layers = {
  linear: (x, step, weight, bias) => linear(x, weight, bias),
  conv: convolve,
  convT: convolve,

  affine(x, step, scale, shift) {
    const pixels = x.length / scale.length;
    return x.map((v, i) => v * scale[Math.floor(i / pixels)] + shift[Math.floor(i / pixels)]);
  },

  upsample(x, step) {
    const [channels, h, w] = step.from;
    const [, H, W] = step.to;
    return Float32Array.from({ length: channels * H * W }, (_, i) => {
      const [c, row, column] = [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W];
      return x[(c * h + Math.floor((row * h) / H)) * w + Math.floor((column * w) / W)];
    });
  },
};

function decoder(network) {
  const weights = unpackHalf(network.weights);
  const size = (shape) => shape.reduce((product, side) => product * side, 1);
  let used = 0;
  const take = (count) => weights.subarray(used, (used += count));
  const steps = network.steps.map((step) => {
    if (step.op in activations) {
      const [activation] = activations[step.op];
      return (x) => x.map((v) => activation(v, step.slope));
    }
    const [to, from] = [step.to[0], step.from[0]];
    let parts = [];
    if (step.op === "linear") parts = [take(to * from), take(to)];
    if (step.kernel) parts = [take(to * from * size(step.kernel)), take(to)];
    if (step.op === "affine") parts = [take(to), take(to)];
    return (x) => layers[step.op](x, step, ...parts);
  });
  return (code) => steps.reduce((x, step) => step(x), Float32Array.from(code));
}

// Draws values in [0, 1] of shape [h, w] or [channels, h, w] on a canvas of w by h pixels.
function paint(canvas, values, shape) {
  const [h, w] = shape.slice(-2);
  const colour = shape.length === 3 && shape[0] === 3 ? h * w : 0;
  const context = canvas.getContext("2d");
  const image = context.createImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * Math.min(1, Math.max(0, values[i + c * colour])));
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// Puts a canvas in the place of the first image, which stays for readers without scripts.
function canvasFor(image, shape) {
  const canvas = document.createElement("canvas");
  [canvas.height, canvas.width] = shape.slice(-2);
  canvas.className = image.className;
  canvas.setAttribute("role", "img");
  image.after(canvas);
  image.hidden = true;
  return canvas;
}
