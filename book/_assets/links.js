// Shows the title of a link as a card: under the pointer, and where the keyboard's focus is. Escape
// takes it away. Without this file, and where a finger touches, the browser's own titles remain.
(() => {
  const LINKS = ".bd-article a.reference[title], .bd-article span.planned[title]";
  const card = document.createElement("div");
  card.className = "hover-card";
  card.id = "hover-card";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  let shown = null;
  let title = "";
  let timer = 0;

  const hide = () => {
    clearTimeout(timer);
    if (!shown) return;
    shown.setAttribute("title", title);
    shown.removeAttribute("aria-describedby");
    shown = null;
    card.hidden = true;
  };

  // A formula of this page is shown itself.
  const formula = link => {
    const hash = link.getAttribute("href") ?? "";
    const place = link.classList.contains("equation") && hash.startsWith("#")
      && document.getElementById(hash.slice(1));
    return place && place.querySelector("mjx-container");
  };

  const fill = link => {
    card.replaceChildren(...title.split(" · ").map(line => {
      const p = document.createElement("p");
      p.textContent = line;
      return p;
    }));
    const set = formula(link);
    card.classList.toggle("wide", Boolean(set));
    if (!set) return;
    const copy = document.createElement("div");
    copy.className = "formula";
    copy.append(set.cloneNode(true));
    card.append(copy);
  };

  // A long formula is set smaller, down to a size that can still be read.
  const shrink = () => {
    const copy = card.querySelector(".formula");
    if (!copy) return;
    const ratio = copy.clientWidth / copy.scrollWidth;
    if (ratio < 1) copy.style.fontSize = `${Math.max(60, Math.floor(97 * ratio))}%`;
  };

  // Below the link, or above it where there is no room; never beyond the window.
  const place = link => {
    const at = link.getClientRects()[0] ?? link.getBoundingClientRect();
    const size = card.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(at.left, width - size.width - 8));
    const below = at.bottom + 6;
    const fits = below + size.height <= window.innerHeight || at.top < size.height + 6;
    card.style.left = `${left}px`;
    card.style.top = `${fits ? below : at.top - size.height - 6}px`;
  };

  const show = link => {
    if (shown === link) return clearTimeout(timer);
    hide();
    title = link.getAttribute("title");
    fill(link);
    shown = link;
    link.removeAttribute("title"); // or the browser would show it, too
    link.setAttribute("aria-describedby", card.id);
    card.hidden = false;
    shrink();
    place(link);
  };

  const later = (wait, act) => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };

  const link = event => event.target.closest?.(LINKS) ?? (shown?.contains(event.target) ? shown : null);

  document.addEventListener("DOMContentLoaded", () => {
    document.body.append(card);
    document.addEventListener("pointerover", event => {
      if (event.pointerType === "touch") return;
      const over = link(event);
      if (over) later(shown ? 0 : 120, () => show(over));
      else if (card.contains(event.target)) clearTimeout(timer);
      else if (shown) later(200, hide);
      else clearTimeout(timer);
    });
    document.addEventListener("focusin", event => {
      const over = link(event);
      if (over && over.matches(":focus-visible, span")) show(over);
      else if (shown && !card.contains(event.target)) hide();
    });
    document.addEventListener("focusout", hide);
    document.addEventListener("keydown", event => {
      if (event.key === "Escape") hide();
    });
    window.addEventListener("scroll", () => {
      if (!shown) return;
      const at = shown.getBoundingClientRect();
      if (at.bottom < 0 || at.top > window.innerHeight) hide();
      else place(shown);
    }, { passive: true });
    window.addEventListener("pagehide", hide);
  });
})();
