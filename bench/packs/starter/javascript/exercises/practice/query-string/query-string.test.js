import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, stringify } from "./query-string.js";

const plain = (object) => Object.entries(object);

test("parses names and values", () => {
  assert.deepEqual(plain(parse("?page=2&tag=new")), [["page", "2"], ["tag", "new"]]);
  assert.deepEqual(plain(parse("a=b=c&d=?")), [["a", "b=c"], ["d", "?"]]);
});

test("parses nothing", () => {
  for (const text of ["", "?", "&", "?&&"]) assert.deepEqual(plain(parse(text)), []);
});

test("tells a missing value from an empty one", () => {
  assert.deepEqual(plain(parse("a&b=&=c")), [["a", null], ["b", ""], ["", "c"]]);
});

test("collects repeated names in their order", () => {
  assert.deepEqual(plain(parse("t=1&x=0&t=2&t")), [["t", ["1", "2", null]], ["x", "0"]]);
});

test("decodes names and values", () => {
  assert.deepEqual(plain(parse("full+name=J%C3%BCrgen+%2B+1&%26=%3D")), [["full name", "Jürgen + 1"], ["&", "="]]);
});

test("refuses what cannot be decoded", () => {
  for (const text of ["a=%", "a=%G1", "%C3=x"]) assert.throws(() => parse(text), URIError);
});

test("has no prototype, and any name is just a name", () => {
  const found = parse("__proto__=x&constructor=y&toString=z&__proto__=w");
  assert.equal(Object.getPrototypeOf(found), null);
  assert.deepEqual(plain(found), [["__proto__", ["x", "w"]], ["constructor", "y"], ["toString", "z"]]);
});

test("writes names and values", () => {
  assert.equal(stringify({ page: 2, tag: "new", ok: false }), "page=2&tag=new&ok=false");
  assert.equal(stringify({}), "");
});

test("writes arrays, null and undefined", () => {
  assert.equal(stringify({ t: ["1", null, 2], none: [], left: undefined, gap: [undefined], flag: null, empty: "" }), "t=1&t&t=2&flag&empty=");
});

test("encodes names and values", () => {
  assert.equal(stringify({ "full name": "Jürgen + 1", "&": "=", ok: "a-b_c.d!~*'()" }), "full+name=J%C3%BCrgen+%2B+1&%26=%3D&ok=a-b_c.d!~*'()");
});

test("refuses other values, and names the property", () => {
  for (const value of [{}, [[]], NaN, Infinity, () => 1, Symbol("s"), 1n]) {
    assert.throws(() => stringify({ fine: 1, odd: value }), (error) => error instanceof TypeError && error.message.includes("odd"));
  }
});

test("writes back what it parsed", () => {
  for (const text of ["a=1&b=2", "x&y=&z=%26", "t=1&t=2&u=a+b"]) assert.equal(stringify(parse(text)), text);
});
