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

// Paper is white: a page that is read in the dark is printed in the light.
(() => {
  const root = document.documentElement;
  let theme = null;
  window.addEventListener("beforeprint", () => {
    theme ??= root.dataset.theme;
    root.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    theme = null;
  });
})();

// What is wider than its box scrolls there. Its edge fades where there is more, and a formula first
// shrinks a little; where that is not enough, its number moves below it.
(() => {
  const BOXES = "div.math, .genai-table, .pst-scrollable-table-container, .output.stream pre";
  const LEAST = 0.75; // of a formula's size

  function edges(boxes) {
    const more = boxes.map((box) => [box.scrollLeft > 2, box.scrollLeft + box.clientWidth < box.scrollWidth - 2]);
    boxes.forEach((box, i) => {
      box.classList.toggle("more-left", more[i][0]);
      box.classList.toggle("more-right", more[i][1]);
    });
  }

  // First all is read, then all is written: the page is laid out twice, and not for each formula.
  function set(boxes) {
    const formulas = boxes.map((box) => box.querySelector("mjx-container"));
    formulas.forEach((formula) => (formula.style.fontSize = formula.dataset.size ??= formula.style.fontSize));
    const sizes = boxes.map((box, i) => {
      const fits = box.clientWidth / box.scrollWidth;
      return fits && fits < 1 ? parseFloat(getComputedStyle(formulas[i]).fontSize) * Math.max(LEAST, 0.99 * fits) : 0;
    });
    sizes.forEach((size, i) => size && (formulas[i].style.fontSize = `${size}px`));
    return boxes.filter((_, i) => sizes[i]);
  }

  function shrink() {
    const boxes = [...document.querySelectorAll("div.math")].filter((box) => box.querySelector("mjx-container"));
    boxes.forEach((box) => box.classList.remove("number-below"));
    const labels = new Map();
    for (const box of set(boxes)) {
      const label = box.querySelector("mjx-assistive-mml mlabeledtr > mtd");
      if (label && box.scrollWidth > box.clientWidth + 2) labels.set(box, label.textContent.trim());
    }
    labels.forEach((_, box) => box.classList.add("number-below"));
    set([...labels.keys()]); // without the number it may fit
    for (const box of boxes) {
      const last = box.nextElementSibling;
      const there = last?.classList.contains("formula-number");
      if (there === labels.has(box)) continue;
      if (there) last.remove();
      else if (labels.has(box)) {
        const number = document.createElement("div");
        number.className = "formula-number";
        number.setAttribute("aria-hidden", "true"); // it is read with the formula
        number.textContent = labels.get(box);
        box.after(number);
      }
    }
  }

  function fit() {
    shrink();
    edges([...document.querySelectorAll(BOXES)].filter((box) => !box.closest("details:not([open])")));
  }
  document.addEventListener("scroll", (event) => event.target.matches?.(BOXES) && edges([event.target]), true);
  window.addEventListener("load", () => {
    (window.MathJax?.startup?.promise ?? Promise.resolve()).then(() => {
      fit();
      window.addEventListener("resize", fit);
      document.addEventListener("toggle", fit, true); // a fold opens
    });
  });
})();

// The Tab key reaches what scrolls. The theme calls this, with all boxes that may (shipping.py).
(() => {
  const BOXES = "pre, .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container";
  window.genaiTabStops = (boxes) => {
    const open = [...boxes].filter((box) => !box.closest("details:not([open])"));
    const stops = open.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    open.forEach((box, i) => box.tabIndex !== stops[i] - 1 && (box.tabIndex = stops[i] - 1));
  };
  const opened = (event) => event.target.open && window.genaiTabStops(event.target.querySelectorAll(BOXES));
  document.addEventListener("toggle", opened, true);
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
