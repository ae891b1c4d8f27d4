export function wrap(text, width) {
  throw new Error("to be written");
}

export function indent(text, width, first, rest) {
  throw new Error("to be written");
}
