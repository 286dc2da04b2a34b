// Pairs of reviews that the reader orders; the reward model and the best policy follow.
function labellerToy(root, data) {
  const [WIDE, HIGH, EDGE] = [340, 200, 34]; // of the curves, in their own units
  const n = data.answers.length;
  const counts = data.features[0].length;
  let pairs = data.pairs.map((pair) => pair.slice());
  let ties = [];
  let notch = data.start;
  let offered = [0, 1];

  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const write = (value, digits) => value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
  const betaOf = (step) => 2 ** (-step / 4);

  // Solves A x = b by elimination; A is symmetric and positive.
  function solve(A, b) {
    const rows = A.map((row, i) => [...row, b[i]]);
    for (let i = 0; i < b.length; i++) {
      for (let j = i + 1; j < b.length; j++) {
        const share = rows[j][i] / rows[i][i];
        for (let k = i; k <= b.length; k++) rows[j][k] -= share * rows[i][k];
      }
    }
    const x = b.slice();
    for (let i = b.length - 1; i >= 0; i--) {
      let rest = rows[i][b.length];
      for (let k = i + 1; k < b.length; k++) rest -= rows[i][k] * x[k];
      x[i] = rest / rows[i][i];
    }
    return x;
  }

  // Bradley and Terry's weights by Newton's method, as rlhf.bradley_terry.
  function fitted() {
    let w = new Array(counts).fill(0);
    const gaps = pairs.map(([better, worse]) =>
      data.features[better].map((v, k) => v - data.features[worse][k]),
    );
    for (let step = 0; step < 50; step++) {
      const slope = w.map((v) => data.prior * v);
      const curve = w.map((_, i) => w.map((_, j) => (i === j ? data.prior : 0)));
      for (const gap of gaps) {
        const p = 1 / (1 + Math.exp(dot(gap, w))); // of the observed loser
        for (let i = 0; i < counts; i++) {
          slope[i] -= gap[i] * p;
          for (let j = 0; j < counts; j++) curve[i][j] += gap[i] * gap[j] * p * (1 - p);
        }
      }
      const move = solve(curve, slope);
      w = w.map((v, i) => v - move[i]);
    }
    return w;
  }

  // The best policy for reward - beta KL, and the means under it.
  function tilted(rewards, beta) {
    const logits = data.sft.map((p, i) => Math.log(p) + rewards[i] / beta);
    const most = Math.max(...logits);
    const total = logits.reduce((sum, v) => sum + Math.exp(v - most), 0);
    const logs = logits.map((v) => v - most - Math.log(total));
    const policy = logs.map(Math.exp);
    return {
      policy,
      kl: policy.reduce((sum, p, i) => sum + p * (logs[i] - Math.log(data.sft[i])), 0),
      reward: dot(policy, rewards),
      gold: dot(policy, data.gold),
    };
  }

  // What to ask next: of the pairs asked least, the one that the policy writes most often.
  function next(policy) {
    const asked = (i, j) =>
      [...pairs, ...ties].filter(([a, b]) => (a === i && b === j) || (a === j && b === i)).length;
    let best = null;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        const rank = [asked(i, j), -policy[i] * policy[j]];
        if (!best || rank[0] < best.rank[0] || (rank[0] === best.rank[0] && rank[1] < best.rank[1])) {
          best = { rank, pair: [i, j] };
        }
      }
    }
    return best.pair;
  }

  // --- what is seen ---
  const button = (text, kind = "") => element("button", { type: "button", class: kind }, text);
  const cards = [element("p", { class: "genai-card" }), element("p", { class: "genai-card" })];
  const choices = [button("left is better"), button("as good"), button("right is better")];
  const body = element("tbody", {});
  const rows = data.answers.map((answer, i) => {
    const bars = element("span", { class: "genai-two" }, element("i", {}), element("i", {}));
    const row = element(
      "tr",
      {},
      element("td", {}, answer),
      element("td", {}),
      element("td", { class: "genai-share" }, element("b", {}), bars),
    );
    bars.children[0].style.width = `${100 * data.sft[i]}%`;
    body.append(row);
    return row;
  });
  const head = ["answer", "reward", "share"].map((name) => element("th", { scope: "col" }, name));
  const plot = element("svg:svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "genai-curves", role: "img" });
  const slider = element("input", {
    type: "range", min: data.notches[0], max: data.notches[1], step: 1, value: notch,
  });
  const shown = element("output", {});
  const again = button("labels as at first");
  const forget = button("forget all labels");
  const learnt = element("p", { class: "genai-learnt" });
  const status = element("p", { class: "genai-status", "aria-live": "polite" });
  root.querySelector(".genai-stage").replaceChildren(
    element("p", { class: "genai-ask" }, "Which review of Aurora, plot and music, is better?"),
    element("div", { class: "genai-pair" }, ...cards),
    element("div", { class: "genai-buttons" }, ...choices),
    learnt,
    element(
      "div",
      { class: "genai-toyrow" },
      element("table", { class: "genai-answers" }, element("thead", {}, element("tr", {}, ...head)), body),
      element("div", { class: "genai-side" }, plot),
    ),
    element(
      "div",
      { class: "genai-buttons" },
      element(
        "div",
        { class: "genai-controls" },
        element("label", {}, element("span", { class: "genai-name" }, "β"), slider),
        shown,
      ),
      again,
      forget,
    ),
    status,
  );

  function curves(rewards, now) {
    const path = [];
    for (let step = data.notches[0]; step <= data.notches[1]; step++) {
      path.push(tilted(rewards, betaOf(step)));
    }
    const values = path.flatMap((each) => [each.reward, each.gold]);
    const low = Math.min(0, ...values);
    const high = Math.max(1, ...values);
    const far = Math.max(0.1, ...path.map((each) => each.kl));
    const x = (kl) => EDGE + ((WIDE - EDGE - 8) * kl) / far;
    const y = (v) => HIGH - EDGE - ((HIGH - EDGE - 22) * (v - low)) / (high - low);
    const line = (name) => {
      const points = path.map((each) => `${x(each.kl).toFixed(1)} ${y(each[name]).toFixed(1)}`);
      return element("svg:path", { d: `M${points.join("L")}`, class: `genai-${name}` });
    };
    const text = (at, down, words, kind, anchor = "start") =>
      element("svg:text", { x: at, y: down, class: kind, "text-anchor": anchor }, words);
    plot.replaceChildren(
      element("svg:path", { d: `M${EDGE} 18V${HIGH - EDGE}H${WIDE - 8}`, class: "genai-axis" }),
      element("svg:path", { d: `M${EDGE} ${y(0)}H${WIDE - 8}`, class: "genai-zero" }),
      text(EDGE - 5, y(high) + 4, write(high, 0), "", "end"),
      text(EDGE - 5, y(0) + 4, "0", "", "end"),
      text(EDGE, 12, "reward", "genai-reward"),
      text(EDGE + 62, 12, "judge's points", "genai-gold"),
      text(WIDE - 8, HIGH - 8, `KL, 0 to ${write(far, 1)} nats`, "", "end"),
      line("reward"),
      line("gold"),
      ...["reward", "gold"].map((name) =>
        element("svg:circle", { cx: x(now.kl), cy: y(now[name]), r: 5, class: `genai-${name}` }),
      ),
    );
    plot.setAttribute(
      "aria-label",
      `Mean reward and judge's points over KL. Here: ${write(now.reward, 2)} and ${write(now.gold, 2)}.`,
    );
  }

  function draw(ask = false) {
    const beta = betaOf(notch);
    const weights = fitted();
    const raw = data.features.map((row) => dot(row, weights));
    const middle = dot(data.sft, raw);
    const rewards = raw.map((v) => v - middle);
    const now = tilted(rewards, beta);
    if (ask) offered = next(now.policy);
    cards.forEach((card, i) => (card.textContent = data.answers[offered[i]]));
    rows.forEach((row, i) => {
      row.cells[1].textContent = write(rewards[i], 1);
      row.querySelector("b").textContent = write(now.policy[i], 3);
      row.querySelector(".genai-two").children[1].style.width = `${100 * now.policy[i]}%`;
    });
    curves(rewards, now);
    const told = data.counted.map((name, k) => `${name} ${weights[k] >= 0.005 ? "+" : ""}${write(weights[k], 2)}`);
    learnt.textContent =
      `${pairs.length} comparisons, ${ties.length} ${ties.length === 1 ? "tie" : "ties"}, which say nothing. ` +
      `The reward of a word: ${told.join(", ")}.`;
    const most = now.policy.indexOf(Math.max(...now.policy));
    status.textContent =
      `KL ${write(now.kl, 2)} nats, mean reward ${write(now.reward, 2)}, judge's points ${write(now.gold, 2)}. ` +
      `Most often: “${data.answers[most]}”`;
    shown.textContent = write(beta, 2);
    slider.setAttribute("aria-valuetext", `β = ${write(beta, 2)}`);
    root.genaiLabeller = { ...now, beta, weights, rewards, pairs, ties, offered };
  }

  function answered(choice) {
    const [left, right] = offered;
    if (choice === 1) ties.push([left, right]);
    else pairs.push(choice ? [right, left] : [left, right]);
    draw(true);
  }
  choices.forEach((each, i) => each.addEventListener("click", () => answered(i)));
  slider.addEventListener("input", () => {
    notch = Number(slider.value);
    draw(true);
  });
  again.addEventListener("click", () => {
    [pairs, ties] = [data.pairs.map((pair) => pair.slice()), []];
    draw(true);
  });
  forget.addEventListener("click", () => {
    [pairs, ties] = [[], []];
    draw(true);
  });
  draw(true);
}
