// An element with attributes and children; names that begin with "svg:" make parts of a drawing.
function element(name, attributes = {}, ...children) {
  const [, drawing, tag] = /^(svg:)?(.+)$/.exec(name);
  const made = drawing
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
