// The U-Net of chapter 27 for one image, in the page; the names of the weights are PyTorch's. It
// needs page_math.js and page_norm.js. An image or a row of features is (channels, height, width) in
// one row.

// Names and shapes, and all weights in that order -> { name: Float32Array with its shape }.
function namedWeights(shapes, half) {
  const all = unpackHalf(half);
  const found = {};
  let used = 0;
  for (const [name, shape] of shapes) {
    const count = shape.reduce((product, side) => product * side, 1);
    found[name] = Object.assign(all.subarray(used, (used += count)), { shape });
  }
  return found;
}

// weights -> eps(x, t, y): the predicted noise (1, side, side) of an image at time t, 0 … 1,000, for
// the class y, or where y = classes for none. levels: of the U-Net.
function unet(weights, { side, width, levels, heads, groups }) {
  const [silu] = activations.silu;
  const both = (name) => [weights[`${name}.weight`], weights[`${name}.bias`]];
  const inLine = (name, x) => linear(x, ...both(name));

  function conv(name, x, stride = 1) {
    const [weight, bias] = both(name);
    const [out, channels, kernel] = weight.shape;
    const from = Math.sqrt(x.length / channels);
    const to = Math.ceil(from / stride);
    const padding = (kernel - 1) / 2;
    const step = { from: [channels, from, from], to: [out, to, to], kernel: [kernel, kernel], stride: [stride, stride], padding: [padding, padding] };
    return convolve(x, step, weight, bias);
  }
  const norm = (name, x) => groupNorm(x, ...both(name), groups);
  function block(name, x, condition) {
    let h = conv(`${name}.conv_in`, norm(`${name}.norm_in`, x).map(silu));
    const told = inLine(`${name}.tell`, condition);
    const channels = told.length / 2;
    const places = h.length / channels;
    h = norm(`${name}.norm_out`, h).map((v, i) => {
      const c = Math.floor(i / places);
      return silu((1 + told[c]) * v + told[channels + c]);
    });
    h = conv(`${name}.conv_out`, h);
    const past = weights[`${name}.past.weight`] ? conv(`${name}.past`, x) : x;
    return h.map((v, i) => v + past[i]);
  }
  function attention(name, x) {
    const channels = weights[`${name}.out.bias`].length;
    const [places, wide] = [x.length / channels, channels / heads];
    const qkv = conv(`${name}.qkv`, norm(`${name}.norm`, x)); // (3 channels, places)
    const part = (k, head) => qkv.subarray((k * channels + head * wide) * places, (k * channels + (head + 1) * wide) * places);
    const seen = new Float32Array(x.length);
    for (let head = 0; head < heads; head++) {
      const [q, k, v] = [0, 1, 2].map((i) => part(i, head)); // (wide, places)
      const weight = softmax(matmul(q, k, places, wide, places, { turnA: true }), Math.sqrt(wide), places);
      seen.set(matmul(v, weight, wide, places, places, { turnB: true }), head * wide * places);
    }
    return conv(`${name}.out`, seen).map((v, i) => v + x[i]);
  }
  function enlarged(x, from) {
    const channels = x.length / from ** 2;
    return Float32Array.from({ length: 4 * x.length }, (_, i) => {
      const [c, row, column] = [Math.floor(i / (4 * from * from)), Math.floor(i / (2 * from)) % (2 * from), i % (2 * from)];
      return x[(c * from + (row >> 1)) * from + (column >> 1)];
    });
  }

  return (image, t, y) => {
    const waves = Array.from({ length: width / 2 }, (_, i) => t * 10000 ** (-i / (width / 2)));
    const features = Float32Array.from([...waves.map(Math.cos), ...waves.map(Math.sin)]);
    let condition = inLine("condition.time.0", features).map(silu);
    condition = inLine("condition.time.2", condition).map(silu);
    condition = condition.map((v, i) => v + weights["condition.of_class.weight"][y * condition.length + i]);
    let h = conv("first", image);
    const bridges = [];
    for (let i = 0; i < levels; i++) {
      h = block(`down.${i}`, h, condition);
      bridges.push(h);
      if (i < levels - 1) h = conv(`shrink.${i}`, h, 2);
    }
    h = attention("attention", block("middle.0", h, condition));
    h = block("middle.1", h, condition);
    for (let i = 0; i < levels; i++) {
      const bridge = bridges.pop();
      const joined = new Float32Array(h.length + bridge.length);
      joined.set(h), joined.set(bridge, h.length);
      h = block(`up.${i}`, joined, condition);
      if (i < levels - 1) h = conv(`grow.${i}`, enlarged(h, side / 2 ** (levels - 1 - i)));
    }
    return conv("last", norm("norm", h).map(silu));
  };
}
