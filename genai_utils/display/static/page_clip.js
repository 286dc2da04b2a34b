// CLIP of chapter 28 in the page; the names of the weights are PyTorch's. It needs page_math.js
// and page_tower.js.

// A vector of length 1, of a vector.
function unit(x) {
  const length = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
  return x.map((v) => v / length);
}

// weights -> { image(x), text(ids) }: unit vectors of a picture (3, side, side) in one row, in [0, 1],
// and of the ids of a sentence with its end. heads: of the text's attention.
function clip(weights, { side, heads, end }) {
  const [relu] = activations.relu;
  const both = (name) => [weights[`${name}.weight`], weights[`${name}.bias`]];
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
    const x = textTower(weights, "textual", read, heads);
    return mapped("text_map", x.slice(-x.length / read.length));
  }
  return { image, text };
}
