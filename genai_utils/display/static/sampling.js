// One token for whatever gives logits in a page; softmax is in page_math.js.

const likeliest = (p) => Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b);

// One token: the likeliest at temperature 0, else one of the fewest that hold the share topP.
function drawToken(logits, temperature, topP, random) {
  if (temperature === 0) return likeliest(logits)[0];
  const p = softmax(logits, temperature);
  const order = likeliest(p);
  let [kept, mass] = [0, 0];
  while (kept < order.length && (kept === 0 || mass < topP)) mass += p[order[kept++]];
  let rest = random() * mass;
  for (let i = 0; i < kept; i++) if ((rest -= p[order[i]]) < 0) return order[i];
  return order[kept - 1];
}
