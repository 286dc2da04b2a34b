// Features (channels, places) in one row, or (places, channels) with `rows`: each of `groups` groups of
// channels, over all places, to mean 0 and variance 1, then scaled and shifted channel by channel.
function groupNorm(x, weight, bias, groups, rows = false) {
  const [channels, wide] = [weight.length, weight.length / groups];
  const size = x.length / groups;
  const [across, along] = rows ? [1, channels] : [x.length / channels, 1]; // to the next channel, place
  const end = rows ? x.length : x.length / channels; // of the places of a channel
  const found = new Float32Array(x.length);
  for (let first = 0; first < channels; first += wide) {
    let [mean, variance] = [0, 0];
    for (let c = first; c < first + wide; c++)
      for (let at = 0; at < end; at += along) mean += x[at + c * across] / size;
    for (let c = first; c < first + wide; c++)
      for (let at = 0; at < end; at += along) variance += (x[at + c * across] - mean) ** 2 / size;
    const scale = 1 / Math.sqrt(variance + 1e-5);
    for (let c = first; c < first + wide; c++)
      for (let at = c * across; at < end + c * across; at += along)
        found[at] = (x[at] - mean) * scale * weight[c] + bias[c];
  }
  return found;
}
