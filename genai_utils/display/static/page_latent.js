// From a sentence to a picture with the three networks of chapter 29, in the page: a causal text
// tower, a diffusion transformer on latents, a decoder. Names of the weights are PyTorch's. It needs
// page_math.js, page_bytes.js and page_tower.js. Tokens and pixels stand in rows: (places, numbers
// of a place).

// Each row of x (rows, d) to mean 0 and variance 1, then (1 + scale) x + shift, both (d).
function modulated(x, scale, shift) {
  return layerNorm(x, scale.map((v) => 1 + v), shift);
}

function latentDiffusion(data) {
  const weights = byteWeights(data.weights);
  const inLine = (name, x) => quickLinear(x, weights[`${name}.weight`], weights[`${name}.bias`]);
  const plus = (x, y) => x.map((v, i) => v + y[i]);
  const [silu] = activations.silu;
  const [gelu] = activations.gelu_tanh;

  // ids (T) -> (T + 1, d): a vector for each token, and again that of the first end.
  function read(ids) {
    const { width: d, heads, end } = data.text;
    const x = textTower(weights, "text", ids, heads);
    const first = ids.indexOf(end) < 0 ? ids.length - 1 : ids.indexOf(end);
    const words = new Float32Array((ids.length + 1) * d);
    words.set(x), words.set(x.subarray(first * d, (first + 1) * d), ids.length * d);
    return words;
  }

  const { side, channels, patch, width: d, layers, heads } = data.denoiser;
  const [across, numbers] = [side / patch, channels * patch * patch];
  // Where number j of square i lies in a latent (channels, side, side).
  const where = Array.from({ length: across * across * numbers }, (_, at) => {
    const [i, j] = [Math.floor(at / numbers), at % numbers];
    const [c, row, column] = [Math.floor(j / (patch * patch)), Math.floor(j / patch) % patch, j % patch];
    return (c * side + Math.floor(i / across) * patch + row) * side + (i % across) * patch + column;
  });
  // What does not change on a walk: what the words say in each block, and their part of the condition.
  function told(ids) {
    const words = read(ids);
    const text = data.text.width;
    return {
      vector: inLine("net.condition.of_text", words.subarray(words.length - text)),
      blocks: Array.from({ length: layers }, (_, l) => columns(inLine(`net.blocks.${l}.words.kv`, words), d, 2)),
    };
  }
  // The velocity of a latent z at time u in [0, 1].
  function velocity(z, u, { vector, blocks }) {
    const t = 1000 * u;
    const half = d / 8; // sines and as many cosines, together a quarter of the width
    const waves = Array.from({ length: half }, (_, i) => t * 10000 ** (-i / half));
    let condition = Float32Array.from([...waves.map(Math.cos), ...waves.map(Math.sin)]);
    condition = inLine("net.condition.time.0", condition).map(silu);
    condition = plus(inLine("net.condition.time.2", condition).map(silu), vector);
    let x = plus(inLine("net.first", Float32Array.from(where, (at) => z[at])), weights["net.places"]);
    for (let l = 0; l < layers; l++) {
      const name = `net.blocks.${l}`;
      const [a1, b1, g1, a2, b2, g2] = columns(inLine(`${name}.tell`, condition), d, 6);
      const qkv = columns(inLine(`${name}.attention.qkv`, modulated(x, a1, b1)), d, 3);
      let h = inLine(`${name}.attention.out`, look(...qkv, d, heads));
      x = x.map((v, i) => v + g1[i % d] * h[i]);
      const none = new Float32Array(d);
      const q = inLine(`${name}.words.q`, modulated(x, none, none));
      x = plus(x, inLine(`${name}.words.out`, look(q, ...blocks[l], d, heads)));
      h = inLine(`${name}.mlp.2`, inLine(`${name}.mlp.0`, modulated(x, a2, b2)).map(gelu));
      x = x.map((v, i) => v + g2[i % d] * h[i]);
    }
    const [scale, shift] = columns(inLine("net.tell", condition), d, 2);
    const squares = inLine("net.last", modulated(x, scale, shift));
    const v = new Float32Array(z.length);
    where.forEach((at, i) => (v[at] = squares[i]));
    return v;
  }

  // Each place with its eight neighbours: x (side², c) -> (side², 9 c), zeros outside.
  function around(x, size) {
    const c = x.length / size ** 2;
    const found = new Float32Array(9 * x.length);
    for (let row = 0; row < size; row++)
      for (let column = 0; column < size; column++)
        for (let tap = 0; tap < 9; tap++) {
          const [r, k] = [row + Math.floor(tap / 3) - 1, column + (tap % 3) - 1];
          if (r < 0 || k < 0 || r >= size || k >= size) continue;
          const [from, to] = [(r * size + k) * c, (row * size + column) * 9 * c + tap];
          for (let i = 0; i < c; i++) found[to + 9 * i] = x[from + i];
        }
    return found;
  }
  const conv = (name, x, size) => inLine(name, around(x, size));
  // A latent (channels, side, side) -> an image (3, 4 side, 4 side) in [0, 1].
  function decode(z) {
    const [shift, scale, places] = [weights.shift, weights.scale, side * side];
    let x = Float32Array.from({ length: z.length }, (_, i) => {
      const [place, c] = [Math.floor(i / channels), i % channels];
      return z[c * places + place] * scale[c] + shift[c];
    });
    x = conv("decoder.0", x, side).map(silu);
    x = conv("decoder.2", x, side).map(silu);
    const [c, large] = [x.length / places, 2 * side];
    const doubled = new Float32Array(4 * x.length);
    for (let i = 0; i < 4 * places; i++) {
      const from = ((Math.floor(i / large) >> 1) * side + ((i % large) >> 1)) * c;
      doubled.set(x.subarray(from, from + c), i * c);
    }
    x = conv("decoder.5", doubled, large).map(silu);
    x = conv("decoder.7", x, large).map(silu);
    x = conv("decoder.9", x, large); // (4 places, 12): four pixels of three colours each
    const size = 2 * large;
    return Float32Array.from({ length: 3 * size * size }, (_, i) => {
      const [colour, row, column] = [Math.floor(i / (size * size)), Math.floor(i / size) % size, i % size];
      const v = x[((row >> 1) * large + (column >> 1)) * 12 + 4 * colour + 2 * (row & 1) + (column & 1)];
      return Math.min(1, Math.max(0, v));
    });
  }
  return { read, told, velocity, decode };
}
