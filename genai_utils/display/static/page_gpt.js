// A small GPT computed in the page: pre-norm blocks, causal attention with a cache of keys and
// values, tanh-GELU, the token embedding as output. Matrices are int8 with a scale for each row.
// It needs page_math.js and page_random.js.

function gptWeights(data) {
  const { vocabulary, context, layers, dim: d, hidden } = data;
  const bytes = bytesOf(data.weights);
  const linear = (name, rows, columns) => [[`${name}.weight`, rows, columns], [`${name}.bias`, rows]];
  const norm = (name) => [[`${name}.weight`, d], [`${name}.bias`, d]];
  const parts = [["tokens", vocabulary, d], ["positions", context, d]];
  for (let i = 0; i < layers; i++)
    parts.push(
      ...norm(`${i}.norm1`),
      ...linear(`${i}.qkv`, 3 * d, d),
      ...linear(`${i}.out`, d, d),
      ...norm(`${i}.norm2`),
      ...linear(`${i}.wide`, hidden, d),
      ...linear(`${i}.narrow`, d, hidden),
    );
  parts.push(...norm("norm"));
  const count = parts.reduce((sum, [, rows, columns]) => sum + (columns ? rows * columns : 0), 0);
  const whole = new Int8Array(bytes.buffer, 0, count);
  const floats = new Float32Array(bytes.buffer, 4 * Math.ceil(count / 4));
  const weights = {};
  let [matrix, number] = [0, 0];
  for (const [name, rows, columns] of parts) {
    const own = floats.subarray(number, (number += rows));
    if (columns) {
      weights[name] = unpackBytes(whole.subarray(matrix, matrix + rows * columns), own);
      matrix += rows * columns;
    } else weights[name] = own;
  }
  return weights;
}

// watch(layer, head, place, s, weight), if given, hears how much each place looks at each before it.
// w: other weights than those of the data, if given.
function gpt(data, watch, w = gptWeights(data)) {
  const { vocabulary, context, layers, heads, dim: d, hidden, eps } = data;
  const size = d / heads;
  const keys = Array.from({ length: layers }, () => new Float32Array(context * d));
  const values = Array.from({ length: layers }, () => new Float32Array(context * d));
  const [x, y, qkv, mixed] = [d, d, 3 * d, d].map((n) => new Float32Array(n));
  const wide = new Float32Array(hidden);
  const scores = new Float64Array(context);
  let seen = []; // the tokens whose keys and values are in the cache

  const norm = (name) => layerNorm(x, w[`${name}.weight`], w[`${name}.bias`], eps, y);
  function project(from, name, to) {
    const [weight, bias, n] = [w[`${name}.weight`], w[`${name}.bias`], from.length];
    for (let o = 0; o < to.length; o++) {
      let sum = bias[o];
      for (let i = 0, at = o * n; i < n; i++) sum += weight[at + i] * from[i];
      to[o] = sum;
    }
  }
  const add = () => {
    for (let i = 0; i < d; i++) x[i] += y[i];
  };
  function attend(k, v, place, layer) {
    mixed.fill(0);
    for (let first = 0; first < d; first += size) {
      let [most, total] = [-Infinity, 0];
      for (let s = 0; s <= place; s++) {
        let score = 0;
        for (let i = 0; i < size; i++) score += qkv[first + i] * k[s * d + first + i];
        scores[s] = score / Math.sqrt(size);
        most = Math.max(most, scores[s]);
      }
      for (let s = 0; s <= place; s++) total += scores[s] = Math.exp(scores[s] - most);
      for (let s = 0; s <= place; s++) {
        const weight = scores[s] / total;
        watch?.(layer, first / size, place, s, weight);
        for (let i = 0; i < size; i++) mixed[first + i] += weight * v[s * d + first + i];
      }
    }
  }
  // One token at the next place: afterwards x holds what the output is made of.
  function read(token) {
    const place = seen.length;
    for (let i = 0; i < d; i++) x[i] = w.tokens[token * d + i] + w.positions[place * d + i];
    for (let l = 0; l < layers; l++) {
      norm(`${l}.norm1`);
      project(y, `${l}.qkv`, qkv);
      keys[l].set(qkv.subarray(d, 2 * d), place * d);
      values[l].set(qkv.subarray(2 * d), place * d);
      attend(keys[l], values[l], place, l);
      project(mixed, `${l}.out`, y);
      add();
      norm(`${l}.norm2`);
      project(y, `${l}.wide`, wide);
      for (let i = 0; i < hidden; i++) wide[i] = activations.gelu_tanh[0](wide[i]);
      project(wide, `${l}.narrow`, y);
      add();
    }
    seen.push(token);
  }
  // All tokens while they fit; when the context is full its last half is encoded anew.
  function window(n) {
    const half = Math.max(Math.floor(context / 2), 1);
    return n <= context ? n : half + ((n - context - 1) % (context - half + 1));
  }
  // Logits of the token that follows these; what the cache has of them already is not read again.
  return (ids) => {
    const wanted = ids.slice(ids.length - window(ids.length));
    let known = 0;
    while (known < Math.min(seen.length, wanted.length - 1) && seen[known] === wanted[known]) known++;
    seen = seen.slice(0, known);
    wanted.slice(known).forEach(read);
    norm("norm");
    const logits = new Float32Array(vocabulary);
    for (let token = 0; token < vocabulary; token++) {
      let sum = 0;
      for (let i = 0; i < d; i++) sum += w.tokens[token * d + i] * y[i];
      logits[token] = sum;
    }
    return logits;
  };
}
