// A question with its choices or a field for a number; the answer is shown once one has predicted.
function predicted(root, data) {
  const find = (selector) => root.querySelector(selector);
  const question = find(".genai-question");
  const details = find("details");
  const number = !data.choices.length;
  const unit = data.unit ? ` ${data.unit}` : "";
  const letter = (i) => "abcdefgh"[i];

  const fields = number
    ? [element("input", { type: "number", step: "any", "aria-labelledby": question.id })]
    : data.choices.map((_, i) => element("input", { type: "radio", name: `${root.id}-choice`, value: letter(i) }));
  const shown = number
    ? element("label", {}, fields[0], unit)
    : element(
        "div",
        { role: "radiogroup", "aria-labelledby": question.id },
        ...fields.map((field, i) => element("label", {}, field, element("span", {}, `${letter(i)}. ${data.choices[i]}`))),
      );
  const button = element("button", { type: "submit" }, "Reveal");
  const verdict = element("p", { class: "genai-verdict", role: "status" });
  const form = element("form", { novalidate: "" }, shown, button);
  find(".genai-choices").replaceChildren(form, verdict);
  details.hidden = true;

  function right(said) {
    if (!number) return said === data.answer;
    if (data.within !== null) return Math.abs(said - data.answer) <= data.within;
    return data.answer / data.factor <= said && said <= data.answer * data.factor;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = number ? fields[0] : fields.find((each) => each.checked);
    const said = number && field.value !== "" ? Number(field.value) : field?.value;
    if (said === undefined || said === "") {
      verdict.textContent = number ? "Write a number first." : "Choose an answer first.";
      fields[0].focus();
      return;
    }
    const words = number ? `${said}${unit}` : `${said}. ${data.choices[fields.indexOf(field)]}`;
    root.genaiSaid = `You predicted: ${words}. ${right(said) ? "✓ It came true." : "✗ It did not come true."}`;
    verdict.textContent = root.genaiSaid;
    verdict.dataset.right = right(said);
    [...fields, button].forEach((part) => (part.disabled = true));
    details.hidden = false;
    details.open = true;
  });
  // A notebook would take some keys for its own.
  form.addEventListener("keydown", (event) => event.stopPropagation());
}
