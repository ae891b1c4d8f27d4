export function parse(text) {
  const found = Object.create(null);
  for (const pair of text.replace(/^\?/, "").split("&")) {
    if (pair !== "") addTo(found, pair);
  }
  return found;
}

function addTo(found, pair) {
  const at = pair.indexOf("=");
  const name = decoded(at < 0 ? pair : pair.slice(0, at));
  const value = at < 0 ? null : decoded(pair.slice(at + 1));
  const known = Object.hasOwn(found, name);
  const now = !known ? value : Array.isArray(found[name]) ? [...found[name], value] : [found[name], value];
  Object.defineProperty(found, name, { value: now, enumerable: true, writable: true, configurable: true });
}

function decoded(text) {
  return decodeURIComponent(text.replaceAll("+", " "));
}

export function stringify(object) {
  return Object.entries(object)
    .flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => [name, one]))
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => (value === null ? encoded(name) : `${encoded(name)}=${encoded(textOf(name, value))}`))
    .join("&");
}

function textOf(name, value) {
  const plain = typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
  if (!plain) throw new TypeError(`the value of ${name} is no text, number or boolean`);
  return String(value);
}

function encoded(text) {
  return encodeURIComponent(text).replaceAll("%20", "+");
}
