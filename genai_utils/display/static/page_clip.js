// CLIP of chapter 28 in the page; the names of the weights are PyTorch's. It needs page_math.js.

// A vector of length 1, of a vector.
function unit(x) {
  const length = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
  return x.map((v) => v / length);
}

// weights -> { image(x), text(ids) }: unit vectors of a picture (3, side, side) in one row, in [0, 1],
// and of the ids of a sentence with its end. heads: of the text's attention.
function clip(weights, { side, heads, end }) {
  const [relu, gelu] = [activations.relu[0], activations.gelu_tanh[0]];
  const both = (name) => [weights[`${name}.weight`], weights[`${name}.bias`]];
  const inLine = (name, x) => linear(x, ...both(name));
  const norm = (name, x) => layerNorm(x, ...both(name));
  const mapped = (name, x) => unit(matmul(x, weights[`${name}.weight`], 1, x.length, weights[`${name}.weight`].shape[0], { turnB: true }));

  function image(x) {
    let [h, here] = [x, side];
    const layers = Object.keys(weights).filter((name) => /^visual\.net\.\d+\.weight$/.test(name));
    for (const name of layers.map((weight) => weight.replace(".weight", ""))) {
      const [weight, bias] = both(name);
      if (weight.shape.length > 2) {
        const [out, channels] = weight.shape;
        const to = Math.ceil(here / 2);
        const step = { from: [channels, here, here], to: [out, to, to], kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
        [h, here] = [convolve(h, step, weight, bias), to];
      } else h = linear(h, weight, bias);
      h = h.map(relu);
    }
    return mapped("image_map", h);
  }

  function text(ids) {
    const first = ids.indexOf(end);
    const read = first < 0 ? ids : ids.slice(0, first + 1);
    const [T, tokens, positions] = [read.length, weights["textual.tokens.weight"], weights["textual.positions.weight"]];
    const d = tokens.shape[1];
    const size = d / heads;
    let x = Float32Array.from({ length: T * d }, (_, i) => tokens[read[Math.floor(i / d)] * d + (i % d)] + positions[i]);
    const added = (y) => x.map((v, i) => v + y[i]);
    for (let l = 0; weights[`textual.blocks.${l}.norm1.weight`]; l++) {
      const at = `textual.blocks.${l}`;
      const qkv = inLine(`${at}.attention.qkv`, norm(`${at}.norm1`, x)); // (T, 3 d)
      const mixed = new Float32Array(T * d);
      for (let head = 0; head < heads; head++)
        for (let t = 0; t < T; t++) { // a word looks at those before it, and at itself
          const q = t * 3 * d + head * size;
          const scores = Float64Array.from({ length: t + 1 }, (_, s) => {
            let sum = 0;
            for (let i = 0; i < size; i++) sum += qkv[q + i] * qkv[s * 3 * d + d + head * size + i];
            return sum / Math.sqrt(size);
          });
          softmax(scores).forEach((weight, s) => {
            for (let i = 0; i < size; i++) mixed[t * d + head * size + i] += weight * qkv[s * 3 * d + 2 * d + head * size + i];
          });
        }
      x = added(inLine(`${at}.attention.out`, mixed));
      const wide = inLine(`${at}.mlp.0`, norm(`${at}.norm2`, x)).map(gelu);
      x = added(inLine(`${at}.mlp.2`, wide));
    }
    return mapped("text_map", norm("textual.norm", x).slice((T - 1) * d));
  }
  return { image, text };
}
