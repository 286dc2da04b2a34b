// Dark mode of plots: white and black change places, and every colour keeps its hue. The mean of
// red, green and blue is mirrored; the luminance, as in the filter of site.css, would turn orange
// into brown.
(() => {
  const filter = `<svg width="0" height="0" style="position:absolute" aria-hidden="true">
    <filter id="genai-dark" color-interpolation-filters="sRGB"><feColorMatrix values="
      0.3333 -0.6667 -0.6667 0 1  -0.6667 0.3333 -0.6667 0 1  -0.6667 -0.6667 0.3333 0 1
      0 0 0 1 0"/><feComponentTransfer><feFuncR type="gamma" exponent="0.75"/>
      <feFuncG type="gamma" exponent="0.75"/><feFuncB type="gamma" exponent="0.75"/>
      </feComponentTransfer></filter></svg>`;
  document.addEventListener("DOMContentLoaded", () => {
    document.body.insertAdjacentHTML("beforeend", filter);
    document.body.classList.add("genai-filter");
  });
})();

// What is wider than its box scrolls there. Its edge fades where there is more, and a formula first
// shrinks a little; where that is not enough, its number moves below it.
(() => {
  const BOXES = "div.math, .genai-table, .pst-scrollable-table-container";
  const LEAST = 0.75; // of a formula's size

  function edges(box) {
    box.classList.toggle("more-left", box.scrollLeft > 2);
    box.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  }

  function shrink(box) {
    const formula = box.querySelector("mjx-container");
    if (!formula) return;
    const own = (formula.dataset.size ??= formula.style.fontSize);
    const set = () => {
      formula.style.fontSize = own;
      const fits = box.clientWidth / box.scrollWidth;
      if (!fits || fits >= 1) return;
      const size = parseFloat(getComputedStyle(formula).fontSize);
      formula.style.fontSize = `${size * Math.max(LEAST, 0.99 * fits)}px`;
    };
    box.classList.remove("number-below");
    set();
    const label = box.querySelector("mjx-assistive-mml mlabeledtr > mtd");
    const below = label && box.scrollWidth > box.clientWidth + 2;
    if (below) {
      box.classList.add("number-below");
      set(); // without the number it may fit
    }
    const last = box.nextElementSibling;
    const there = last?.classList.contains("formula-number");
    if (there && !below) last.remove();
    if (there || !below) return;
    const number = document.createElement("div");
    number.className = "formula-number";
    number.setAttribute("aria-hidden", "true"); // it is read with the formula
    number.textContent = label.textContent.trim();
    box.after(number);
  }

  function fit() {
    document.querySelectorAll("div.math").forEach(shrink);
    document.querySelectorAll(BOXES).forEach(edges);
  }
  document.addEventListener("scroll", (event) => event.target.matches?.(BOXES) && edges(event.target), true);
  window.addEventListener("load", () => {
    (window.MathJax?.startup?.promise ?? Promise.resolve()).then(() => {
      fit();
      window.addEventListener("resize", fit);
      document.addEventListener("toggle", fit, true); // a fold opens
    });
  });
})();

// The frames or weights of a figure come when the reader comes near it; what is heavy, when the
// reader asks for it.
(() => {
  function load(mark, failed) {
    const script = document.createElement("script");
    script.src = mark.dataset.later;
    script.addEventListener("error", () => {
      script.replaceWith(mark);
      failed?.();
    });
    mark.replaceWith(script);
    return script;
  }
  function ask(mark) {
    const figure = mark.parentElement;
    const button = document.createElement("button");
    const words = (text) => (button.textContent = text);
    button.type = "button";
    button.className = "genai-load";
    words(`Run it here (loads ${mark.dataset.size})`);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true"); // it keeps the focus meanwhile
      words("Loading …");
      const failed = () => {
        button.removeAttribute("aria-disabled");
        words("It could not be loaded. Try again");
      };
      load(mark, failed).addEventListener("load", () => {
        const focused = document.activeElement === button;
        button.remove();
        if (focused) figure.querySelector("button")?.focus({ preventScroll: true });
      });
    });
    figure.querySelector(":scope > div").before(button);
  }
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        load(target.querySelector("[data-later]"));
      }
    },
    { rootMargin: "300px 0px" }
  );
  document.addEventListener("DOMContentLoaded", () => {
    for (const mark of document.querySelectorAll("[data-later]")) {
      if (mark.dataset.size) ask(mark);
      else near.observe(mark.parentElement);
    }
  });
})();
