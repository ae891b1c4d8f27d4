import assert from "node:assert/strict";
import { test } from "node:test";

import { indent, wrap } from "./word-wrap.js";

test("folds words into lines", () => {
  assert.deepEqual(wrap("the quick brown fox jumps", 10), ["the quick", "brown fox", "jumps"]);
  assert.deepEqual(wrap("aa bb cc", 5), ["aa bb", "cc"]);
  assert.deepEqual(wrap("one", 80), ["one"]);
});

test("takes all white space for one space", () => {
  assert.deepEqual(wrap("  a \t b\nc  ", 80), ["a b c"]);
});

test("has no lines without words", () => {
  for (const text of ["", "  ", "\n\n \n"]) assert.deepEqual(wrap(text, 10), []);
});

test("keeps paragraphs, one empty line apart", () => {
  assert.deepEqual(wrap("\n\na b\n \t\n\n\nc\nd\n\n", 80), ["a b", "", "c d"]);
  assert.deepEqual(wrap("aa bb\n\ncc dd", 3), ["aa", "bb", "", "cc", "dd"]);
});

test("cuts words that are too long", () => {
  assert.deepEqual(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
  assert.deepEqual(wrap("x abcdefghij y z", 4), ["x", "abcd", "efgh", "ij y", "z"]);
  assert.deepEqual(wrap("abcd efgh", 4), ["abcd", "efgh"]);
});

test("counts code points", () => {
  assert.deepEqual(wrap("👍👍 👍 👍", 4), ["👍👍 👍", "👍"]);
  assert.deepEqual(wrap("👍👍👍", 2), ["👍👍", "👍"]);
});

test("indents the first line and the others", () => {
  assert.deepEqual(indent("the quick brown fox", 11, "- ", "  "), ["- the quick", "  brown fox"]);
  assert.deepEqual(indent("aa bb cc", 6, "", "    "), ["aa bb", "    cc"]);
});

test("indents no empty line", () => {
  assert.deepEqual(indent("a\n\nb", 9, "> ", "> "), ["> a", "", "> b"]);
});

test("cuts long words beside an indent", () => {
  assert.deepEqual(indent("abcdefg", 4, "*", "- "), ["*abc", "- de", "- fg"]);
});

test("refuses widths without room", () => {
  for (const width of [0, -3, 2.5, NaN, "9"]) assert.throws(() => wrap("a", width), RangeError);
  assert.throws(() => indent("a", 4, "", "----"), RangeError);
  assert.throws(() => indent("a", 4, "-----", ""), RangeError);
  assert.deepEqual(indent("a", 5, "----", ""), ["----a"]);
});
