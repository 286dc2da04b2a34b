// A map of named points: drag, wheel, keys and buttons move and zoom it; a search finds a name.
function zoomMap(root, data) {
  const box = root.querySelector('.genai-mapbox'), image = box.querySelector('img');
  const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
  const live = root.querySelector('output'), { x, y, names, lines } = data;
  let zoom = 1, cx = 0.5, cy = 0.5, chosen = -1, waiting = false, moved = 0;
  const near = names.map(() => []);
  lines.forEach(([a, b]) => { near[a].push(b); near[b].push(a); });
  const order = [...near.keys()].sort((a, b) => near[b].length - near[a].length);
  const fitted = (name, room) => { // the last parts of a dotted name that there is room for
    const parts = name.split('.');
    let text = name;
    while (parts.length > 1 && pen.measureText(text).width > room) {
      parts.shift(); text = `…${parts.join('.')}`;
    }
    return text;
  };
  const draw = () => {
    waiting = false;
    const S = box.clientWidth || 600, dots = devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(S * dots);
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    const X = x.map((v) => (v - cx) * zoom * S + S / 2);
    const Y = y.map((v) => (v - cy) * zoom * S + S / 2);
    const seen = (i) => X[i] > -9 && X[i] < S + 9 && Y[i] > -9 && Y[i] < S + 9;
    const r = Math.min(6, 1.6 * Math.sqrt(zoom) + 0.6), shown = order.filter(seen);
    for (const [a, b] of lines.filter(([a, b]) => seen(a) || seen(b))) {
      const mine = a === chosen || b === chosen;
      [pen.strokeStyle, pen.lineWidth] = mine ? ['#24292f', 1.6] : ['#c9ced6', 0.7];
      pen.beginPath(); pen.moveTo(X[a], Y[a]); pen.lineTo(X[b], Y[b]); pen.stroke();
    }
    for (const i of shown) {
      pen.fillStyle = data.colors[data.group[i]];
      pen.beginPath(); pen.arc(X[i], Y[i], i === chosen ? r + 3 : r, 0, 7); pen.fill();
    }
    [pen.font, pen.lineWidth, pen.strokeStyle] = ['12px sans-serif', 3, '#fff'];
    const taken = [], most = zoom < 2 ? Math.min(14, S / 40) : Math.min(60, S / 12);
    for (const i of [...(near[chosen] ? [chosen, ...near[chosen].filter(seen)] : []), ...shown]) {
      if (taken.length >= most) break;
      const name = fitted(names[i], 0.45 * S), w = pen.measureText(name).width;
      const right = X[i] + r + 2, side = right + w < S - 2 ? right : X[i] - r - 2 - w;
      const u = Math.max(2, Math.min(S - w - 2, side)), v = Math.max(11, Math.min(S - 4, Y[i] + 4));
      // only where no other name stands
      if (taken.some((t) => u < t[1] + 4 && u + w + 4 > t[0] && Math.abs(v - t[2]) < 16)) continue;
      taken.push([u, u + w, v]); pen.fillStyle = '#24292f';
      pen.strokeText(name, u, v); pen.fillText(name, u, v);
    }
  };
  const later = () => { if (!waiting) requestAnimationFrame(draw); waiting = true; };
  const move = (u, v) => { [cx, cy] = [u, v].map((t) => Math.min(1, Math.max(0, t))); later(); };
  const scale = (by, u = 0, v = 0) => { // (u, v), counted from the middle in boxes, stays
    const now = Math.min(200, Math.max(1, zoom * by)), k = 1 / zoom - 1 / now;
    zoom = now; move(cx + u * k, cy + v * k);
    box.style.touchAction = zoom > 1 ? 'none' : 'pan-y'; // a finger scrolls the page at first
    live.textContent = `zoom ${zoom.toFixed(1)}×`;
  };
  const choose = (i) => {
    chosen = i; scale(Math.max(1, 12 / zoom)); move(x[i], y[i]);
    live.textContent = `${names[i]}: ${near[i].map((j) => names[j]).join(', ') || 'no lines'}`;
  };
  const at = (event) => {
    const b = box.getBoundingClientRect();
    return [(event.clientX - b.left) / b.width - 0.5, (event.clientY - b.top) / b.height - 0.5];
  };
  box.addEventListener('pointerdown', (e) => { moved = 0; box.setPointerCapture(e.pointerId); });
  box.addEventListener('pointermove', (e) => {
    if (!e.buttons) return;
    moved += Math.abs(e.movementX) + Math.abs(e.movementY);
    const S = zoom * box.clientWidth;
    move(cx - e.movementX / S, cy - e.movementY / S);
  });
  box.addEventListener('pointerup', (e) => {
    const [u, v] = at(e), far = (i) => Math.hypot((x[i] - cx) * zoom - u, (y[i] - cy) * zoom - v);
    const best = order.reduce((a, i) => (far(i) < far(a) ? i : a));
    if (moved < 5 && far(best) < 0.03) choose(best);
  });
  const wheel = (e) => { // of the page, until the map is clicked
    if (document.activeElement !== box && !e.ctrlKey) return;
    scale(Math.exp(-e.deltaY / 400), ...at(e));
    e.preventDefault();
  };
  box.addEventListener('wheel', wheel, { passive: false });
  const keys = { '+': 1.5, '=': 1.5, '-': 1 / 1.5 };
  const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const press = (key) => {
    if (arrows[key]) move(cx + (0.1 * arrows[key][0]) / zoom, cy + (0.1 * arrows[key][1]) / zoom);
    else if (keys[key]) scale(keys[key]);
    else if (key === 'Home') { chosen = -1; scale(0); move(0.5, 0.5); live.textContent = ''; }
    else return false;
    return true;
  };
  box.addEventListener('keydown', (e) => press(e.key) && e.preventDefault());
  root.querySelectorAll('button').forEach((b) => b.addEventListener('click', () => press(b.value)));
  root.querySelector('input').addEventListener('change', (e) => {
    const text = e.target.value.trim().toLowerCase(), low = names.map((s) => s.toLowerCase());
    const tests = [(s) => s === text, (s) => s.endsWith(`.${text}`), (s) => s.includes(text)];
    const found = tests.map((test) => low.findIndex(test)).find((i) => i >= 0);
    if (text && found !== undefined) choose(found); else live.textContent = 'no such name';
  });
  canvas.setAttribute('role', 'img'); canvas.setAttribute('aria-label', image.alt);
  image.hidden = true; box.append(canvas);
  root.querySelector('.genai-mapline[hidden]').hidden = false;
  new ResizeObserver(later).observe(box); draw();
}
