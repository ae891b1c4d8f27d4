import assert from "node:assert/strict";
import { test } from "node:test";

import { add, fromRoman, toRoman } from "./roman.js";

const KNOWN = [
  [1, "I"],
  [3, "III"],
  [4, "IV"],
  [9, "IX"],
  [14, "XIV"],
  [40, "XL"],
  [90, "XC"],
  [400, "CD"],
  [944, "CMXLIV"],
  [1666, "MDCLXVI"],
  [2026, "MMXXVI"],
  [3999, "MMMCMXCIX"],
];

test("writes numerals", () => {
  for (const [number, numeral] of KNOWN) assert.equal(toRoman(number), numeral);
});

test("reads numerals", () => {
  for (const [number, numeral] of KNOWN) assert.equal(fromRoman(numeral), number);
});

test("reads back every number it can write", () => {
  for (let number = 1; number <= 3999; number += 1) assert.equal(fromRoman(toRoman(number)), number);
});

test("has no numeral for numbers outside", () => {
  for (const number of [0, -1, 4000, 10 ** 9]) assert.throws(() => toRoman(number), RangeError);
});

test("has no numeral for what is no whole number", () => {
  for (const number of [1.5, NaN, Infinity, "7", null, undefined]) assert.throws(() => toRoman(number), TypeError);
});

test("reads only the one right numeral", () => {
  for (const text of ["IIII", "VV", "IC", "VX", "IIV", "XCX", "MMMM", "CMC", "IXI"]) {
    assert.throws(() => fromRoman(text), SyntaxError, text);
  }
});

test("names the text that is no numeral", () => {
  for (const text of ["iv", "A", "X X", " X"]) {
    assert.throws(() => fromRoman(text), (error) => error instanceof SyntaxError && error.message.includes(text));
  }
  assert.throws(() => fromRoman(""), SyntaxError);
});

test("reads nothing but texts", () => {
  for (const text of [5, null, undefined, ["X"]]) assert.throws(() => fromRoman(text), TypeError);
});

test("adds numerals, with the same errors", () => {
  assert.equal(add("XIV", "XXVIII"), "XLII");
  assert.equal(add("MMM", "CMXCIX"), "MMMCMXCIX");
  assert.throws(() => add("MMM", "M"), RangeError);
  assert.throws(() => add("X", "IIX"), SyntaxError);
});
