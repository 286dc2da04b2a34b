// CLIP of chapter 28 in the page; the names of the weights are PyTorch's. It needs page_math.js,
// page_norm.js and page_tower.js.

// A vector of length 1, of a vector.
function unit(x) {
  const length = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
  return x.map((v) => v / length);
}

// weights -> { image(x), text(ids) }: unit vectors of a picture (3, side, side) in one row, in [0, 1],
// and of the ids of a sentence with its end. heads: of the text's attention;
// groups: of channels in a norm.
function clip(weights, { side, heads, end, groups }) {
  const [relu] = activations.relu;
  const both = (name) => [weights[`${name}.weight`], weights[`${name}.bias`]];
  const mapped = (name, x) => unit(matmul(x, weights[`${name}.weight`], 1, x.length, weights[`${name}.weight`].shape[0], { turnB: true }));

  // The largest number of each `side` by `side` places of x (channels, from, from).
  function largest(x, from, side) {
    const to = from / side;
    const found = new Float32Array(x.length / side ** 2).fill(-Infinity);
    x.forEach((v, i) => {
      const [channel, row, column] = [Math.floor(i / from ** 2), Math.floor(i / from) % from, i % from];
      const at = (channel * to + Math.floor(row / side)) * to + Math.floor(column / side);
      found[at] = Math.max(found[at], v);
    });
    return found;
  }

  function image(x) {
    let [h, here] = [x, side];
    for (let i = 0; weights[`visual.layers.${i}.conv.weight`]; i++) {
      const [weight, bias] = both(`visual.layers.${i}.conv`);
      const [out, channels] = weight.shape;
      const stride = out === channels ? 1 : 2; // as many channels as before: added to what came in
      const to = here / stride;
      const step = { from: [channels, here, here], to: [out, to, to], kernel: [3, 3], stride: [stride, stride], padding: [1, 1] };
      const found = groupNorm(convolve(h, step, weight, bias), ...both(`visual.layers.${i}.norm`), groups).map(relu);
      h = stride === 1 ? found.map((v, j) => v + h[j]) : found;
      here = to;
    }
    const read = Float32Array.from([...largest(h, here, here), ...largest(h, here, 2)]);
    return mapped("image_map", linear(read, ...both("visual.last")).map(relu));
  }

  function text(ids) {
    const first = ids.indexOf(end);
    const read = first < 0 ? ids : ids.slice(0, first + 1);
    const x = textTower(weights, "textual", read, heads);
    return mapped("text_map", x.slice(-x.length / read.length));
  }
  return { image, text };
}
