// A slider along the straight lines from code to code; every picture on the way is decoded here.
function walk(root, data) {
  const slider = root.querySelector("input");
  const output = root.querySelector("output");
  const canvas = canvasFor(root.querySelector(".genai-decoded"), data.shape);
  const decode = decoder(data.network);
  const last = data.codes.length - 1;

  function draw() {
    const t = Number(slider.value);
    const left = Math.min(Math.floor(t), last - 1);
    const share = t - left;
    const code = data.codes[left].map((from, i) => from + share * (data.codes[left + 1][i] - from));
    paint(canvas, decode(code), data.shape);
    const mix = `${Math.round(100 * share)} % from ${data.labels[left]} to ${data.labels[left + 1]}`;
    output.textContent = `${Math.round(100 * share)} %`;
    slider.setAttribute("aria-valuetext", mix);
    canvas.setAttribute("aria-label", `Image decoded ${mix}.`);
    stops.forEach((stop, i) => stop.classList.toggle("genai-near", Math.abs(t - i) <= 0.5));
  }

  const strip = root.querySelector(".genai-stops");
  const stops = data.codes.map((code, i) => {
    const button = document.createElement("button");
    const picture = document.createElement("canvas");
    [picture.height, picture.width] = data.shape.slice(-2);
    picture.className = "genai-crisp";
    paint(picture, decode(code), data.shape);
    button.type = "button";
    button.append(picture, data.labels[i]);
    button.setAttribute("aria-label", `Go to ${data.labels[i]}`);
    button.addEventListener("click", () => {
      slider.value = i;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    });
    strip.append(button);
    return button;
  });

  slider.addEventListener("input", draw);
  player(root, root.querySelector(".genai-play"), slider, 0.05, 90);
  root.genaiDecode = (numbers) => Array.from(decode(numbers));
  root.querySelector(".genai-walkline").hidden = false;
  draw();
}
