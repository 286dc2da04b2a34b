// Features (channels, height, width) in one row: each of `groups` groups of channels to mean 0 and
// variance 1, then scaled and shifted channel by channel.
function groupNorm(x, weight, bias, groups) {
  const [places, size] = [x.length / weight.length, x.length / groups];
  const found = new Float32Array(x.length);
  for (let first = 0; first < x.length; first += size) {
    let [mean, variance] = [0, 0];
    for (let i = first; i < first + size; i++) mean += x[i] / size;
    for (let i = first; i < first + size; i++) variance += (x[i] - mean) ** 2 / size;
    const scale = 1 / Math.sqrt(variance + 1e-5);
    for (let i = first; i < first + size; i++) {
      const c = Math.floor(i / places);
      found[i] = (x[i] - mean) * scale * weight[c] + bias[c];
    }
  }
  return found;
}
