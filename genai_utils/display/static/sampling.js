// Probabilities and draws, for whatever gives logits in a page.

// Numbers in [0, 1) that a seed decides: mulberry32.
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function softmax(logits, temperature) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const p = Array.from(logits, (v) => Math.exp((v - most) / temperature));
  const total = p.reduce((a, b) => a + b, 0);
  return p.map((v) => v / total);
}

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
