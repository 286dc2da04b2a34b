// Numbers in a page: inlined weights, activations, products of matrices, convolutions. A tensor is
// a typed array with all its numbers in one row, the last axis fastest; sums run in double precision.

// base64 -> its bytes.
const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

// base64 of little-endian float16 -> Float32Array.
function unpackHalf(base64) {
  return Float32Array.from(new Uint16Array(bytesOf(base64).buffer), (h) => {
    const exponent = (h >> 10) & 31;
    const fraction = (h & 1023) / 1024;
    const value = exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14;
    return h >> 15 ? -value : value;
  });
}

// whole (rows, columns) int8 and scales (rows) -> whole * scale of its row, a Float32Array.
function unpackBytes(whole, scales) {
  const columns = whole.length / scales.length;
  const weights = new Float32Array(whole.length);
  for (let i = 0; i < whole.length; i++) weights[i] = whole[i] * scales[Math.floor(i / columns)];
  return weights;
}

function erf(x) {
  // Abramowitz & Stegun 7.1.26, error below 1.5e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - p * Math.exp(-x * x));
}
const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const below = (v) => 0.5 * (1 + erf(v * Math.SQRT1_2)); // P(standard normal number < v)
const inner = (v) => Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3));

// name -> [the function of a number, its derivative]; leaky has the slope s below zero.
const activations = {
  relu: [(v) => Math.max(v, 0), (v) => (v > 0 ? 1 : 0)],
  leaky: [(v, s) => (v > 0 ? v : s * v), (v, s) => (v > 0 ? 1 : s)],
  silu: [(v) => v * sigmoid(v), (v) => sigmoid(v) * (1 + v * (1 - sigmoid(v)))],
  gelu: [(v) => v * below(v), (v) => below(v) + (v * Math.exp(-0.5 * v * v)) / Math.sqrt(2 * Math.PI)],
  gelu_tanh: [
    (v) => 0.5 * v * (1 + inner(v)),
    (v) => 0.5 * (1 + inner(v)) + 0.5 * v * (1 - inner(v) ** 2) * Math.sqrt(2 / Math.PI) * (1 + 0.134145 * v * v),
  ],
  tanh: [Math.tanh, (v) => 1 - Math.tanh(v) ** 2],
  sigmoid: [sigmoid, (v) => sigmoid(v) * (1 - sigmoid(v))],
};

// softmax(x / temperature) of each row of x (rows, width) -> (rows, width).
function softmax(x, temperature = 1, width = x.length) {
  const p = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    let [most, total] = [-Infinity, 0];
    for (let i = row; i < row + width; i++) most = Math.max(most, x[i]);
    for (let i = row; i < row + width; i++) total += p[i] = Math.exp((x[i] - most) / temperature);
    for (let i = row; i < row + width; i++) p[i] /= total;
  }
  return p;
}

// (x - mean) / sqrt(variance + eps) * weight + bias of each row: x (rows, d), weight and bias (d).
function layerNorm(x, weight, bias, eps = 1e-5, into = new Float32Array(x.length)) {
  const d = weight.length;
  for (let row = 0; row < x.length; row += d) {
    let [mean, variance] = [0, 0];
    for (let i = 0; i < d; i++) mean += x[row + i] / d;
    for (let i = 0; i < d; i++) variance += (x[row + i] - mean) ** 2 / d;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < d; i++) into[row + i] = (x[row + i] - mean) * scale * weight[i] + bias[i];
  }
  return into;
}

// a (n, k) times b (k, m) -> (n, m). turnA: a lies as (k, n); turnB: b lies as (m, k), as the weight
// of a linear layer does. Where rows are wide,
// four terms at a time: to read and write the sums takes longer than to add.
function matmul(a, b, n, k, m, { turnA = false, turnB = false, into = new Float32Array(n * m) } = {}) {
  const [downA, alongA] = turnA ? [1, n] : [k, 1];
  const [downB, alongB] = turnB ? [1, k] : [m, 1];
  const sums = new Float64Array(m);
  for (let i = 0; i < n; i++) {
    const row = i * downA;
    const wide = m < 4 ? 0 : k - (k % 4);
    sums.fill(0);
    for (let t = 0; t < wide; t += 4) {
      const [a0, a1] = [a[row + t * alongA], a[row + (t + 1) * alongA]];
      const [a2, a3] = [a[row + (t + 2) * alongA], a[row + (t + 3) * alongA]];
      for (let j = 0, at = t * downB; j < m; j++, at += alongB)
        sums[j] = sums[j] + a0 * b[at] + a1 * b[at + downB] + a2 * b[at + 2 * downB] + a3 * b[at + 3 * downB];
    }
    for (let j = 0; j < m; j++) {
      let sum = sums[j];
      for (let t = wide; t < k; t++) sum += a[row + t * alongA] * b[t * downB + j * alongB];
      into[i * m + j] = sum;
    }
  }
  return into;
}

// x (n, k), weight (m, k), bias (m) -> x weight^T + bias, (n, m).
function linear(x, weight, bias) {
  const [m, k] = [bias.length, weight.length / bias.length];
  return matmul(x, weight, x.length / k, k, m, { turnB: true }).map((v, i) => v + bias[i % m]);
}

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

// One image through a convolution, or with op "convT" a transposed one. x: step.from = [channels, h,
// w] -> step.to = [channels, H, W]; step.kernel, stride, padding: [down, across]; weight (out, in,
// kh, kw), of a transposed one (in, out, kh, kw); bias (out), or null.
function convolve(x, step, weight, bias) {
  const transposed = step.op === "convT";
  const [small, large] = transposed ? [step.from, step.to] : [step.to, step.from];
  const [places, pixels] = [small[1] * small[2], large[1] * large[2]];
  const [kh, kw] = step.kernel;
  const rows = large[0] * kh * kw; // one for each channel of the large side and each tap
  const meetings = Array.from({ length: kh * kw }, (_, tap) => {
    const found = [];
    joined(small, large, step, Math.floor(tap / kw), tap % kw, (s, l) => found.push(s, l));
    return Int32Array.from(found);
  });
  // Copies x to where the taps see it, (rows, places), or adds what they give to where it belongs.
  function carry(from, into, back) {
    for (let row = 0; row < rows; row++) {
      const meeting = meetings[row % meetings.length];
      const [first, start] = [row * places, Math.floor(row / meetings.length) * pixels];
      if (back) for (let i = 0; i < meeting.length; i += 2) into[start + meeting[i + 1]] += from[first + meeting[i]];
      else for (let i = 0; i < meeting.length; i += 2) into[first + meeting[i]] = from[start + meeting[i + 1]];
    }
    return into;
  }
  const out = transposed
    ? carry(matmul(weight, x, rows, small[0], places, { turnA: true }), new Float32Array(large[0] * pixels), true)
    : matmul(weight, carry(x, new Float32Array(rows * places), false), small[0], rows, places);
  const size = step.to[1] * step.to[2];
  if (bias) for (let i = 0; i < out.length; i++) out[i] += bias[Math.floor(i / size)];
  return out;
}
