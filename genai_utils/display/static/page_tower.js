// Attention in several heads, and a causal text tower: pre-norm blocks with tanh-GELU. Names of the
// weights are PyTorch's. It needs page_math.js. Tokens stand in rows: (places, numbers of a place).

// Places look at words, in several heads: q (n, d), k and v (m, d) -> (n, d). causal: a place looks
// at no later one.
function look(q, k, v, d, heads, causal = false) {
  const [n, m, wide] = [q.length / d, k.length / d, d / heads];
  const out = new Float32Array(n * d);
  for (let head = 0; head < heads; head++) {
    const scores = new Float64Array(n * m);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < m; j++) {
        let sum = 0;
        for (let c = head * wide; c < (head + 1) * wide; c++) sum += q[i * d + c] * k[j * d + c];
        scores[i * m + j] = causal && j > i ? -Infinity : sum;
      }
    const weight = softmax(scores, Math.sqrt(wide), m);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < m; j++) {
        const share = weight[i * m + j];
        if (share) for (let c = head * wide; c < (head + 1) * wide; c++) out[i * d + c] += share * v[j * d + c];
      }
  }
  return out;
}

// x (n, k d) -> its k parts, each (n, d).
function columns(x, d, k) {
  const n = x.length / (k * d);
  return Array.from({ length: k }, (_, part) =>
    Float32Array.from({ length: n * d }, (_, i) => x[Math.floor(i / d) * k * d + part * d + (i % d)]),
  );
}

// x (n, k) times weight (m, k), plus bias (m) -> (n, m): `linear`, for two rows and four outputs at a
// time, so that a number that was fetched serves more than one product. Where less is left, the last
// row or output is computed again. No list in the loop: an engine would make one for each sum.
function quickLinear(x, weight, bias) {
  const [m, k] = [bias.length, weight.length / bias.length];
  const n = x.length / k;
  const out = new Float32Array(n * m);
  for (let o = 0; o < m; o += 4) {
    const [o1, o2, o3] = [1, 2, 3].map((more) => Math.min(o + more, m - 1));
    const [w0, w1, w2, w3] = [o * k, o1 * k, o2 * k, o3 * k];
    for (let row = 0; row < n; row += 2) {
      const next = Math.min(row + 1, n - 1);
      const [p, q] = [row * k, next * k];
      let a = bias[o], b = bias[o1], c = bias[o2], d = bias[o3]; // the sums of this row
      let e = a, f = b, g = c, h = d; // and of the next
      for (let i = 0; i < k; i++) {
        const v = x[p + i], u = x[q + i];
        const s = weight[w0 + i], t = weight[w1 + i], y = weight[w2 + i], z = weight[w3 + i];
        a += v * s, b += v * t, c += v * y, d += v * z;
        e += u * s, f += u * t, g += u * y, h += u * z;
      }
      const [here, there] = [row * m, next * m];
      out[here + o] = a, out[here + o1] = b, out[here + o2] = c, out[here + o3] = d;
      out[there + o] = e, out[there + o1] = f, out[there + o2] = g, out[there + o3] = h;
    }
  }
  return out;
}

// The tower whose weights begin with `at`: ids (T) -> (T, d), a vector for each token.
function textTower(weights, at, ids, heads) {
  const both = (name) => [weights[`${at}.${name}.weight`], weights[`${at}.${name}.bias`]];
  const inLine = (name, x) => quickLinear(x, ...both(name));
  const norm = (name) => layerNorm(x, ...both(name));
  const plus = (y) => x.map((v, i) => v + y[i]);
  const [gelu] = activations.gelu_tanh;
  const [[tokens], [places]] = ["tokens", "positions"].map(both);
  const d = tokens.shape[1];
  let x = Float32Array.from({ length: ids.length * d }, (_, i) => tokens[ids[Math.floor(i / d)] * d + (i % d)] + places[i]);
  for (let l = 0; weights[`${at}.blocks.${l}.norm1.weight`]; l++) {
    const block = `blocks.${l}`;
    const qkv = columns(inLine(`${block}.attention.qkv`, norm(`${block}.norm1`)), d, 3);
    x = plus(inLine(`${block}.attention.out`, look(...qkv, d, heads, true)));
    x = plus(inLine(`${block}.mlp.2`, inLine(`${block}.mlp.0`, norm(`${block}.norm2`)).map(gelu)));
  }
  return norm("norm");
}
