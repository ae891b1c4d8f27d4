export function parse(text) {
  throw new Error("to be written");
}

export function stringify(object) {
  throw new Error("to be written");
}
