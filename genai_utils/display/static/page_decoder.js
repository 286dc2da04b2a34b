// A small decoder computed in the page: code (array of numbers) -> Float32Array.
// Shapes are [channels, height, width] or [features]; all numbers of a picture stand in one row.

function unpackHalf(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const half = new Uint16Array(bytes.buffer);
  return Float32Array.from(half, (h) => {
    const exponent = (h >> 10) & 31;
    const fraction = (h & 1023) / 1024;
    const value = exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14;
    return h >> 15 ? -value : value;
  });
}

function erf(x) {
  // Abramowitz & Stegun 7.1.26, error below 1.5e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - p * Math.exp(-x * x));
}

const activations = {
  relu: () => (v) => Math.max(v, 0),
  leaky: (step) => (v) => (v > 0 ? v : step.slope * v),
  silu: () => (v) => v / (1 + Math.exp(-v)),
  gelu: () => (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)),
  gelu_tanh: () => (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
  tanh: () => Math.tanh,
  sigmoid: () => (v) => 1 / (1 + Math.exp(-v)),
};

// Calls visit(pixel of the small side, pixel of the large side) for all pixels that one tap joins:
// large = small * stride + tap - padding.
function joined(small, large, step, ky, kx, visit) {
  for (let y = 0; y < small[1]; y++) {
    const ly = y * step.stride[0] + ky - step.padding[0];
    if (ly < 0 || ly >= large[1]) continue;
    for (let x = 0; x < small[2]; x++) {
      const lx = x * step.stride[1] + kx - step.padding[1];
      if (lx >= 0 && lx < large[2]) visit(y * small[2] + x, ly * large[2] + lx);
    }
  }
}

const layers = {
  linear(x, step, weight, bias) {
    const [n, m] = [step.from[0], step.to[0]];
    const out = bias.slice();
    for (let o = 0; o < m; o++) for (let i = 0; i < n; i++) out[o] += weight[o * n + i] * x[i];
    return out;
  },

  convolve(x, step, weight, bias) {
    const transposed = step.op === "convT";
    const [channelsIn, h, w] = step.from;
    const [channelsOut, H, W] = step.to;
    const [kh, kw] = step.kernel;
    const out = new Float32Array(channelsOut * H * W);
    for (let o = 0; o < channelsOut; o++) out.fill(bias[o], o * H * W, (o + 1) * H * W);
    for (let o = 0; o < channelsOut; o++)
      for (let i = 0; i < channelsIn; i++)
        for (let ky = 0; ky < kh; ky++)
          for (let kx = 0; kx < kw; kx++) {
            const pair = transposed ? i * channelsOut + o : o * channelsIn + i;
            const value = weight[(pair * kh + ky) * kw + kx];
            const [into, from] = [o * H * W, i * h * w];
            // a convolution gathers from the large side, its transpose scatters to it
            if (transposed) joined(step.from, step.to, step, ky, kx, (s, l) => (out[into + l] += value * x[from + s]));
            else joined(step.to, step.from, step, ky, kx, (s, l) => (out[into + s] += value * x[from + l]));
          }
    return out;
  },

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
layers.conv = layers.convT = layers.convolve;

function decoder(network) {
  const weights = unpackHalf(network.weights);
  const size = (shape) => shape.reduce((product, side) => product * side, 1);
  let used = 0;
  const take = (count) => weights.subarray(used, (used += count));
  const steps = network.steps.map((step) => {
    if (step.op in activations) {
      const activation = activations[step.op](step);
      return (x) => x.map(activation);
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
