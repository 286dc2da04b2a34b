// Weights of a byte each -> { name: Float32Array with its shape }; page_bytes.py says how they lie.
// It needs page_math.js.
function byteWeights({ shapes, bytes }) {
  const raw = bytesOf(bytes);
  const size = (shape) => shape.reduce((product, side) => product * side, 1);
  const count = shapes.reduce((sum, [, shape]) => sum + (shape.length > 1 ? size(shape) : 0), 0);
  const whole = new Int8Array(raw.buffer, 0, count);
  const floats = new Float32Array(raw.buffer, 4 * Math.ceil(count / 4));
  const found = {};
  let [byte, number] = [0, 0];
  for (const [name, shape] of shapes) {
    const many = size(shape);
    const own = floats.subarray(number, (number += shape.length > 1 ? shape[0] : many));
    const weight = shape.length > 1 ? unpackBytes(whole.subarray(byte, (byte += many)), own) : own;
    found[name] = Object.assign(weight, { shape });
  }
  return found;
}
