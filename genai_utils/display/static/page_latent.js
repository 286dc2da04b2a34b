// From a sentence to a picture with the three networks of chapter 29, in the page: a causal text
// tower, a U-Net on latents that looks at the words, a decoder. Names of the weights are PyTorch's. It needs
// page_math.js, page_bytes.js, page_norm.js and page_tower.js. Tokens and pixels stand in rows: (places, numbers
// of a place).

function latentDiffusion(data) {
  const weights = byteWeights(data.weights);
  const inLine = (name, x) => quickLinear(x, weights[`${name}.weight`], weights[`${name}.bias`]);
  const plus = (x, y) => x.map((v, i) => v + y[i]);
  const [silu] = activations.silu;

  // ids (T) -> (T + 1, d): a vector for each token, and again that of the first end.
  function read(ids) {
    const { width: d, heads, end } = data.text;
    const x = textTower(weights, "text", ids, heads);
    const first = ids.indexOf(end) < 0 ? ids.length - 1 : ids.indexOf(end);
    const words = new Float32Array((ids.length + 1) * d);
    words.set(x), words.set(x.subarray(first * d, (first + 1) * d), ids.length * d);
    return words;
  }

  const { side, channels, width, levels, heads, groups } = data.denoiser;

  // Each place with its eight neighbours: x (size², c) -> ((size / stride)², 9 c), zeros outside.
  function around(x, size, stride = 1) {
    const [c, across] = [x.length / size ** 2, size / stride];
    const found = new Float32Array(9 * c * across ** 2);
    for (let row = 0; row < across; row++)
      for (let column = 0; column < across; column++)
        for (let tap = 0; tap < 9; tap++) {
          const [r, k] = [stride * row + Math.floor(tap / 3) - 1, stride * column + (tap % 3) - 1];
          if (r < 0 || k < 0 || r >= size || k >= size) continue;
          const [from, to] = [(r * size + k) * c, (row * across + column) * 9 * c + tap];
          for (let i = 0; i < c; i++) found[to + 9 * i] = x[from + i];
        }
    return found;
  }
  const conv = (name, x, size, stride) => inLine(name, around(x, size, stride));
  // Each place becomes four: x (size², c) -> (4 size², c).
  function enlarged(x, size) {
    const [c, large] = [x.length / size ** 2, 2 * size];
    const found = new Float32Array(4 * x.length);
    for (let i = 0; i < large * large; i++) {
      const from = ((Math.floor(i / large) >> 1) * size + ((i % large) >> 1)) * c;
      found.set(x.subarray(from, from + c), i * c);
    }
    return found;
  }
  const norm = (name, x) => groupNorm(x, weights[`${name}.weight`], weights[`${name}.bias`], groups, true);
  // What does not change on a walk: what the words say in each block, and their part of the condition.
  function told(ids) {
    const words = read(ids);
    const said = { vector: inLine("net.condition.of_text", words.subarray(words.length - data.text.width)) };
    for (const name of Object.keys(weights)) {
      if (!name.endsWith(".words.kv.bias")) continue;
      const block = name.slice(0, -".words.kv.bias".length);
      said[block] = columns(inLine(`${block}.words.kv`, words), weights[name].length / 2, 2);
    }
    return said;
  }
  // A block, after which each place looks at the words.
  function block(name, x, size, condition, said) {
    const own = `${name}.block`;
    let h = conv(`${own}.conv_in`, norm(`${own}.norm_in`, x).map(silu), size);
    const shaped = inLine(`${own}.tell`, condition);
    const c = shaped.length / 2;
    h = norm(`${own}.norm_out`, h).map((v, i) => silu((1 + shaped[i % c]) * v + shaped[c + (i % c)]));
    h = conv(`${own}.conv_out`, h, size);
    h = plus(h, weights[`${own}.past.weight`] ? inLine(`${own}.past`, x) : x);
    const q = inLine(`${name}.words.q`, norm(`${name}.norm`, h));
    return plus(h, inLine(`${name}.words.out`, look(q, ...said[name], c, heads)));
  }
  // The velocity of a latent z at time u in [0, 1].
  function velocity(z, u, said) {
    const t = 1000 * u;
    const waves = Array.from({ length: width / 2 }, (_, i) => t * 10000 ** (-i / (width / 2)));
    let condition = Float32Array.from([...waves.map(Math.cos), ...waves.map(Math.sin)]);
    condition = inLine("net.condition.time.0", condition).map(silu);
    condition = plus(inLine("net.condition.time.2", condition).map(silu), said.vector);
    const all = side * side;
    let h = conv("net.first", Float32Array.from({ length: z.length }, (_, i) => z[(i % channels) * all + Math.floor(i / channels)]), side);
    let size = side;
    const bridges = [];
    for (let i = 0; i < levels; i++) {
      h = block(`net.down.${i}`, h, size, condition, said);
      bridges.push(h);
      if (i === levels - 1) break;
      h = conv(`net.shrink.${i}`, h, size, 2);
      size /= 2;
    }
    h = block("net.middle.0", h, size, condition, said);
    const qkv = columns(inLine("net.attention.qkv", norm("net.attention.norm", h)), h.length / size ** 2, 3);
    h = plus(h, inLine("net.attention.out", look(...qkv, h.length / size ** 2, heads)));
    h = block("net.middle.1", h, size, condition, said);
    for (let i = 0; i < levels; i++) {
      h = block(`net.up.${i}`, sideBySide(h, bridges.pop(), size), size, condition, said);
      if (i === levels - 1) break;
      h = conv(`net.grow.${i}`, enlarged(h, size), 2 * size);
      size *= 2;
    }
    const v = conv("net.last", norm("net.norm", h).map(silu), side);
    return Float32Array.from({ length: z.length }, (_, i) => v[(i % all) * channels + Math.floor(i / all)]);
  }
  // Two features of the same places in one row each: (places, a) and (places, b) -> (places, a + b).
  function sideBySide(x, y, size) {
    const [a, b] = [x.length / size ** 2, y.length / size ** 2];
    const found = new Float32Array(x.length + y.length);
    for (let i = 0; i < size ** 2; i++) {
      found.set(x.subarray(i * a, (i + 1) * a), i * (a + b));
      found.set(y.subarray(i * b, (i + 1) * b), i * (a + b) + a);
    }
    return found;
  }
  // A latent (channels, side, side) -> an image (3, 4 side, 4 side) in [0, 1].
  function decode(z) {
    const [shift, scale, places] = [weights.shift, weights.scale, side * side];
    let x = Float32Array.from({ length: z.length }, (_, i) => {
      const [place, c] = [Math.floor(i / channels), i % channels];
      return z[c * places + place] * scale[c] + shift[c];
    });
    const square = inLine("decoder.linear.0", x); // (places, 48): 4 by 4 pixels of three colours
    x = conv("decoder.net.0", x, side).map(silu);
    x = conv("decoder.net.2", x, side).map(silu);
    const large = 2 * side;
    x = conv("decoder.net.5", enlarged(x, side), large).map(silu);
    x = conv("decoder.net.7", x, large).map(silu);
    x = conv("decoder.net.9", x, large); // (4 places, 12): four pixels of three colours each
    const size = 2 * large;
    return Float32Array.from({ length: 3 * size * size }, (_, i) => {
      const [colour, row, column] = [Math.floor(i / (size * size)), Math.floor(i / size) % size, i % size];
      const whole = square[((row >> 2) * side + (column >> 2)) * 48 + 16 * colour + 4 * (row & 3) + (column & 3)];
      const v = whole + x[((row >> 1) * large + (column >> 1)) * 12 + 4 * colour + 2 * (row & 1) + (column & 1)];
      return Math.min(1, Math.max(0, v));
    });
  }
  return { read, told, velocity, decode };
}
