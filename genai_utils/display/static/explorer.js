// Shows the frame that belongs to the sliders' values.
function explorer(root, data) {
  const image = root.querySelector("img");
  const sliders = [...root.querySelectorAll("input")];
  const outputs = [...root.querySelectorAll("output")];
  const frames = data.frames.map((frame) => frame || image.src);

  function update() {
    let index = 0;
    const values = sliders.map((slider, axis) => {
      const position = Number(slider.value);
      const label = data.labels[axis][position];
      index = index * data.labels[axis].length + position;
      slider.setAttribute("aria-valuetext", label);
      outputs[axis].textContent = label;
      return `${data.names[axis]} = ${label}`;
    });
    image.src = frames[data.order[index]];
    image.alt = `${data.alt} Now ${values.join(", ")}.`;
  }

  sliders.forEach((slider) => slider.addEventListener("input", update));
  const button = root.querySelector(".genai-play");
  if (button) player(root, button, sliders[0], 1, 700);
  root.querySelector(".genai-controls").hidden = false;
  update(); // a browser may restore a slider's value when the page is loaded again
}
