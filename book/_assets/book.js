// Gives a formula inside a line a scroll box of its own where it is wider than that line.
(() => {
  const mark = () => {
    for (const formula of document.querySelectorAll("span.math mjx-container")) {
      formula.classList.remove("wide");
      const line = formula.closest("p, li, td, dd, h1, h2, h3, figcaption");
      if (line && formula.getBoundingClientRect().width > line.clientWidth) formula.classList.add("wide");
    }
  };
  window.addEventListener("load", () => {
    if (!window.MathJax?.startup) return;
    MathJax.startup.promise.then(mark);
    window.addEventListener("resize", mark);
  });
})();
