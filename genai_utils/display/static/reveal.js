// The answer further down the page, beside what was predicted above.
function revealed(root, name) {
  const details = root.querySelector("details");
  details.addEventListener("toggle", () => {
    const above = document.querySelector(`[data-figure="predict-${name}"]`);
    const said = above && (above.genaiSaid ?? "You have made no prediction on this page.");
    root.querySelector(".genai-said").textContent = said ?? "";
  });
}
