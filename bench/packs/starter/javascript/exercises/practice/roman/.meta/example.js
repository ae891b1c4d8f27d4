const SIGNS = [
  ["M", 1000],
  ["CM", 900],
  ["D", 500],
  ["CD", 400],
  ["C", 100],
  ["XC", 90],
  ["L", 50],
  ["XL", 40],
  ["X", 10],
  ["IX", 9],
  ["V", 5],
  ["IV", 4],
  ["I", 1],
];

export function toRoman(number) {
  if (!Number.isInteger(number)) throw new TypeError(`${String(number)} is no whole number`);
  if (number < 1 || number > 3999) throw new RangeError(`there is no numeral for ${number}`);
  let left = number;
  let text = "";
  for (const [sign, value] of SIGNS) {
    while (left >= value) {
      text += sign;
      left -= value;
    }
  }
  return text;
}

export function fromRoman(text) {
  if (typeof text !== "string") throw new TypeError(`${String(text)} is no text`);
  let at = 0;
  let number = 0;
  for (const [sign, value] of SIGNS) {
    while (text.startsWith(sign, at)) {
      number += value;
      at += sign.length;
    }
  }
  const right = at === text.length && number >= 1 && number <= 3999 && toRoman(number) === text;
  if (!right) throw new SyntaxError(`${text} is no Roman numeral`);
  return number;
}

export function add(first, second) {
  return toRoman(fromRoman(first) + fromRoman(second));
}
