// A play button that moves one slider on, step by step. Any touch of a slider stops it.
function player(root, button, slider, step, milliseconds) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const live = root.querySelectorAll("output");
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.setAttribute("aria-pressed", "false");
    live.forEach((output) => output.setAttribute("aria-live", "polite"));
  };
  const next = () => {
    // Readers who asked for less motion see it once, slowly; everyone else in a loop.
    const end = Number(slider.value) >= Number(slider.max);
    if (!root.isConnected || (end && calm.matches)) return stop();
    slider.value = end ? slider.min : Number(slider.value) + step;
    slider.dispatchEvent(new CustomEvent("input", { detail: "play" }));
  };
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.setAttribute("aria-pressed", "true");
    live.forEach((output) => output.setAttribute("aria-live", "off"));
    if (calm.matches && slider.value === slider.max) slider.value = slider.min;
    timer = setInterval(next, calm.matches ? 3 * milliseconds : milliseconds);
  });
  root.addEventListener("input", (event) => event.detail !== "play" && stop());
}
