// Gives a formula inside a line a scroll box of its own where it is wider than that line.
(() => {
  const mark = () => {
    const formulas = [...document.querySelectorAll("span.math mjx-container")];
    formulas.forEach((formula) => formula.classList.remove("wide"));
    const wide = formulas.filter((formula) => {
      const line = formula.closest("p, li, td, dd, h1, h2, h3, figcaption");
      return line && formula.getBoundingClientRect().width > line.clientWidth;
    });
    wide.forEach((formula) => formula.classList.add("wide"));
  };
  window.addEventListener("load", () => {
    if (!window.MathJax?.startup) return;
    MathJax.startup.promise.then(mark);
    window.addEventListener("resize", mark);
  });
})();

// Source that is longer than a screen shows its beginning, and the rest when asked.
(() => {
  const most = 32 * 16; // CSS pixels; what is a little longer stays whole
  window.addEventListener("load", () => {
    const long = [...document.querySelectorAll(".bd-article .genai-source")].filter(
      // What is folded already, such as a solution, is whole once it is unfolded.
      source => !source.closest("details") && source.getBoundingClientRect().height >= most
    );
    for (const source of long) {
      const texts = [...source.querySelectorAll("pre")].map(e => e.textContent.trimEnd());
      const lines = texts.join("\n").split("\n").length;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "book-more";
      const toggle = whole => {
        source.classList.toggle("book-whole", whole);
        button.textContent = whole ? "Show less" : `Show all ${lines} lines`;
        button.setAttribute("aria-expanded", whole);
      };
      button.addEventListener("click", () => toggle(!source.classList.contains("book-whole")));
      source.addEventListener("focusin", event => {
        if (event.target !== button) toggle(true); // nothing that has the focus is hidden
      });
      source.classList.add("book-long");
      source.append(button);
      toggle(false);
    }
  });
})();
