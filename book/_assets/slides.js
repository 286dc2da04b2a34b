// The switch "Show the slides": off for whoever comes without them, and remembered. The state stands
// at <html data-slides>, set before the page is drawn. A link into something folded unfolds it.
(() => {
  const root = document.documentElement;
  const KEY = "genai-slides";

  // Opened from a folder, or with cookies refused, a browser may deny its storage.
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const keep = (value) => {
    try {
      localStorage.setItem(KEY, value);
    } catch {}
  };

  root.dataset.slides = kept() === "on" ? "on" : "off";

  const notes = () => document.querySelectorAll("details.erratum");

  const draw = () => {
    const on = root.dataset.slides === "on";
    for (const button of document.querySelectorAll(".slides-switch")) {
      button.hidden = false;
      button.setAttribute("aria-pressed", on);
    }
  };

  // What a link leads to may lie in something folded, or itself be folded.
  const reveal = () => {
    let id = location.hash.slice(1);
    try {
      id = decodeURIComponent(id);
    } catch {}
    const target = id && document.getElementById(id);
    if (!target) return;
    let moved = false;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      moved ||= !fold.open;
      fold.open = true;
    }
    if (moved) target.scrollIntoView();
  };

  document.addEventListener("DOMContentLoaded", () => {
    draw();
    if (root.dataset.slides === "on") for (const note of notes()) note.open = true;
    reveal();
    for (const button of document.querySelectorAll(".slides-switch")) {
      button.addEventListener("click", () => {
        const on = root.dataset.slides !== "on";
        root.dataset.slides = on ? "on" : "off";
        keep(root.dataset.slides);
        for (const note of notes()) note.open = on;
        draw();
      });
    }
  });
  window.addEventListener("hashchange", reveal);
  // A second click on the same link changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) reveal();
  });
})();
