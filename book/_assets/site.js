// Dark mode of plots: white and black change places, and every colour keeps its hue. The mean of
// red, green and blue is mirrored; the luminance, as in the filter of site.css, would turn orange
// into brown.
(() => {
  const filter = `<svg width="0" height="0" style="position:absolute" aria-hidden="true">
    <filter id="genai-dark" color-interpolation-filters="sRGB"><feColorMatrix values="
      0.3333 -0.6667 -0.6667 0 1  -0.6667 0.3333 -0.6667 0 1  -0.6667 -0.6667 0.3333 0 1
      0 0 0 1 0"/></filter></svg>`;
  document.addEventListener("DOMContentLoaded", () => {
    document.body.insertAdjacentHTML("beforeend", filter);
    document.body.classList.add("genai-filter");
  });
})();
