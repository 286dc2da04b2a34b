// A small network that learns in the page: an MLP with its gradients written out, losses, Adam.
// x (n, d) holds one example per row.

// sizes [d0, …, dL] with one activation in between. parameters: one Float32Array with the weight
// (out, in) and the bias (out) of each layer, as PyTorch's nn.Linear has them and starts them.
function mlp(sizes, { activation = "silu", slope = 0.01, random = Math.random } = {}) {
  const [act, derivative] = activations[activation];
  const count = sizes.slice(1).reduce((sum, to, l) => sum + to * (sizes[l] + 1), 0);
  const parameters = new Float32Array(count);
  // numbers laid out as the parameters are -> [{ weight, bias, from, to }], views on them
  const layersOf = (numbers) => {
    let used = 0;
    const take = (n) => numbers.subarray(used, (used += n));
    return sizes.slice(1).map((to, l) => ({ weight: take(to * sizes[l]), bias: take(to), from: sizes[l], to }));
  };
  const layers = layersOf(parameters);
  for (const { weight, bias, from } of layers)
    for (const part of [weight, bias]) part.forEach((_, i) => (part[i] = (2 * random() - 1) / Math.sqrt(from)));

  // x (n, d0) -> the trace of a pass: inputs of each layer, its sums, and output (n, dL).
  function forward(x) {
    const [inputs, sums] = [[], []];
    layers.forEach(({ weight, bias }, l) => {
      inputs.push(l ? sums[l - 1].map((v) => act(v, slope)) : x);
      sums.push(linear(inputs[l], weight, bias));
    });
    return { inputs, sums, output: sums.at(-1) };
  }
  // A trace and g (n, dL), the gradient of a loss with respect to the output -> that with respect to
  // the parameters, laid out as they are, and to x (n, d0).
  function backward({ inputs, sums }, g) {
    const parameters = new Float32Array(count);
    const found = layersOf(parameters);
    for (let l = layers.length - 1; l >= 0; l--) {
      const { weight, from, to } = layers[l];
      const n = g.length / to;
      matmul(g, inputs[l], to, n, from, { turnA: true, into: found[l].weight });
      g.forEach((v, i) => (found[l].bias[i % to] += v));
      g = matmul(g, weight, n, to, from);
      if (l) g = g.map((v, i) => v * derivative(sums[l - 1][i], slope));
    }
    return { parameters, x: g };
  }
  return { sizes, parameters, layers, forward, backward };
}

// Losses return { loss, gradient }, the gradient with respect to what comes first.

// The mean of (y - target)^2 over all numbers.
function squaredError(y, target) {
  const n = y.length;
  const gradient = y.map((v, i) => (2 * (v - target[i])) / n);
  return { loss: y.reduce((sum, v, i) => sum + (v - target[i]) ** 2, 0) / n, gradient };
}

// Minus the mean log-probability of the labels (n), in nats: logits (n, classes).
function crossEntropy(logits, labels) {
  const [n, classes] = [labels.length, logits.length / labels.length];
  const p = softmax(logits, 1, classes);
  let loss = 0;
  for (let i = 0; i < n; i++) {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    loss += (most + Math.log(row.reduce((sum, v) => sum + Math.exp(v - most), 0)) - row[labels[i]]) / n;
  }
  return { loss, gradient: logits.map((_, i) => (p[i] - (i % classes === labels[Math.floor(i / classes)])) / n) };
}

// Minus the mean log-probability of coins, in nats: logits and targets in [0, 1], of one shape.
function coinEntropy(logits, target) {
  const n = logits.length;
  const one = (v, t) => Math.max(v, 0) - v * t + Math.log1p(Math.exp(-Math.abs(v)));
  const gradient = logits.map((v, i) => (sigmoid(v) - target[i]) / n);
  return { loss: logits.reduce((sum, v, i) => sum + one(v, target[i]), 0) / n, gradient };
}

// Adam (Kingma & Ba 2015): a function that takes a gradient and moves the parameters in place.
function adam(parameters, { rate = 1e-3, betas = [0.9, 0.999], eps = 1e-8 } = {}) {
  const [mean, square] = [0, 1].map(() => new Float32Array(parameters.length));
  let t = 0;
  return (gradient) => {
    t += 1;
    const [c1, c2] = betas.map((beta) => 1 - beta ** t);
    for (let i = 0; i < parameters.length; i++) {
      mean[i] += (1 - betas[0]) * (gradient[i] - mean[i]);
      square[i] += (1 - betas[1]) * (gradient[i] ** 2 - square[i]);
      parameters[i] -= (rate * mean[i]) / c1 / (Math.sqrt(square[i] / c2) + eps);
    }
  };
}

// The gradients of `convolve` (op "conv"): x (step.from), g (step.to) with respect to its output ->
// { weight, bias, x }. That of x is the transposed convolution of g with the same weight.
function convolveGradient(x, step, weight, g) {
  const { from, to, kernel: [kh, kw] } = step;
  const [small, large] = [to[1] * to[2], from[1] * from[2]];
  const found = { weight: new Float32Array(weight.length), bias: new Float32Array(to[0]) };
  g.forEach((v, i) => (found.bias[Math.floor(i / small)] += v));
  let at = 0;
  for (let o = 0; o < to[0]; o++)
    for (let i = 0; i < from[0]; i++)
      for (let ky = 0; ky < kh; ky++)
        for (let kx = 0; kx < kw; kx++, at++) {
          let sum = 0;
          joined(to, from, step, ky, kx, (s, l) => (sum += g[o * small + s] * x[i * large + l]));
          found.weight[at] = sum;
        }
  return { ...found, x: convolve(g, { ...step, op: "convT", from: to, to: from }, weight, null) };
}
