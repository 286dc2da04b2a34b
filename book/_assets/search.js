// The search of the book, in Sphinx's own frame. sections.js has the text of each section without
// formulas and code; a result leads to its section and shows words.
(() => {
  const MOST = 40; // results
  const stemmer = new Stemmer();
  const stems = new Map();
  const stem = (word) => {
    if (!stems.has(word)) stems.set(word, stemmer.stemWord(word));
    return stems.get(word);
  };
  const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  // "reparam" finds "reparameterization", "measures" finds "measured".
  const same = (word, term) => word.startsWith(term) || stem(word) === stem(term);
  const count = (text, term) => words(text).filter((word) => same(word, term)).length;

  function score(file, page, [, title, text, other], terms, phrase) {
    let sum = 0;
    for (const term of terms) {
      const inTitle = count(title, term);
      const inText = count(text, term);
      const beside = count(other, term);
      if (!inTitle && !inText && !beside) return 0;
      sum += 12 * Math.min(inTitle, 1) + Math.min(inText, 5) + 0.5 * Math.min(beside, 1);
    }
    if (terms.length > 1 && title.toLowerCase().includes(phrase)) sum += 12;
    if (terms.length > 1 && text.toLowerCase().includes(phrase)) sum += 10;
    sum += terms.filter((term) => count(page, term)).length;
    return file.startsWith("notebooks/") ? sum : 0.25 * sum; // chapters before lists
  }

  function find(query) {
    const all = words(query);
    const kept = all.filter((word) => !stopwords.includes(word));
    const terms = [...new Set(kept.length ? kept : all)];
    if (!terms.length) return { terms, found: [] };
    const found = [];
    for (const [file, parts] of Object.entries(sections)) {
      for (const part of parts) {
        const points = score(file, parts[0][1], part, terms, all.join(" "));
        if (points) found.push({ file, page: parts[0][1], part, points });
      }
    }
    return { terms, found: found.sort((a, b) => b.points - a.points).slice(0, MOST) };
  }

  // About 240 letters of a text from a little before the first place where a term stands.
  function excerpt(text, terms) {
    const places = [...text.matchAll(/[\p{L}\p{N}]+/gu)];
    const hits = places.filter(([word]) => terms.some((term) => same(word.toLowerCase(), term)));
    // Where most terms stand close together.
    const near = (hit) => new Set(hits.filter((other) => other.index >= hit.index && other.index < hit.index + 160)
      .map(([word]) => terms.findIndex((term) => same(word.toLowerCase(), term)))).size;
    const first = hits.reduce((best, hit) => (best && near(best) >= near(hit) ? best : hit), null)?.index ?? 0;
    let start = Math.max(0, first - 80);
    if (start) start = text.indexOf(" ", start) + 1;
    let end = Math.min(text.length, start + 240);
    if (end < text.length) end = text.lastIndexOf(" ", end);
    const line = document.createElement("p");
    line.className = "context";
    line.append(start ? "… " : "");
    let at = start;
    for (const hit of hits) {
      if (hit.index < start || hit.index + hit[0].length > end) continue;
      const mark = document.createElement("mark");
      mark.textContent = hit[0];
      line.append(text.slice(at, hit.index), mark);
      at = hit.index + hit[0].length;
    }
    line.append(text.slice(at, end), end < text.length ? " …" : "");
    return line;
  }

  function show({ file, page, part: [anchor, title, text] }, terms) {
    const item = Search.output.appendChild(document.createElement("li"));
    const link = item.appendChild(document.createElement("a"));
    link.href = `${document.documentElement.dataset.content_root}${file}#${anchor}`;
    link.textContent = title;
    if (title !== page) {
      const where = item.appendChild(document.createElement("span"));
      where.className = "page";
      where.textContent = page;
    }
    if (text) item.append(excerpt(text, terms));
  }

  Search.hasIndex = () => true;
  Search.query = (query) => {
    const { terms, found } = find(query);
    found.forEach((one) => show(one, terms));
    Search.stopPulse();
    Search.title.textContent = "Search results";
    Search.status.textContent = found.length
      ? `${found.length === MOST ? `The best ${MOST}` : found.length} ${found.length === 1 ? "section has" : "sections have"} these words.`
      : "No section has all of these words.";
  };
})();
