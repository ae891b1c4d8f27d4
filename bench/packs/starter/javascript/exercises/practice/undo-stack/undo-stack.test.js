import assert from "node:assert/strict";
import { test } from "node:test";

import { Editor } from "./undo-stack.js";

test("inserts, removes and replaces", () => {
  const editor = new Editor("hello");
  editor.insert(5, " world");
  assert.equal(editor.remove(0, 1), "h");
  editor.insert(0, "J");
  assert.equal(editor.replace(1, 4, "oy,"), "ello");
  assert.equal(editor.text, "Joy, world");
});

test("undoes and redoes, change by change", () => {
  const editor = new Editor();
  editor.insert(0, "a");
  editor.insert(1, "b");
  assert.deepEqual([editor.undo(), editor.text], [true, "a"]);
  assert.deepEqual([editor.undo(), editor.text], [true, ""]);
  assert.deepEqual([editor.undo(), editor.text], [false, ""]);
  assert.deepEqual([editor.redo(), editor.text], [true, "a"]);
  assert.deepEqual([editor.redo(), editor.text], [true, "ab"]);
  assert.deepEqual([editor.redo(), editor.text], [false, "ab"]);
});

test("a new change makes what was undone forgotten", () => {
  const editor = new Editor("x");
  editor.insert(1, "y");
  editor.undo();
  editor.insert(1, "z");
  assert.deepEqual([editor.redo(), editor.text], [false, "xz"]);
  editor.undo();
  assert.equal(editor.text, "x");
});

test("what changes nothing is no change", () => {
  const editor = new Editor("abc");
  editor.insert(3, "d");
  editor.undo();
  editor.insert(1, "");
  editor.replace(0, 2, "ab");
  assert.deepEqual([editor.remove(3, 0), editor.undo()], ["", false]);
  assert.deepEqual([editor.redo(), editor.text], [true, "abcd"]);
});

test("a group is one change, and so is a group of groups", () => {
  const editor = new Editor("1");
  const told = editor.group(() => {
    editor.insert(1, "2");
    editor.group(() => editor.insert(2, "3"));
    return "told";
  });
  assert.deepEqual([told, editor.text], ["told", "123"]);
  editor.undo();
  assert.equal(editor.text, "1");
  editor.redo();
  assert.equal(editor.text, "123");
});

test("a group that throws leaves everything as it was", () => {
  const editor = new Editor("abc");
  editor.insert(3, "d");
  editor.undo();
  const failing = () =>
    editor.group(() => {
      editor.remove(0, 2);
      throw new Error("no");
    });
  assert.throws(failing, /^Error: no$/);
  assert.equal(editor.text, "abc");
  assert.equal(editor.undo(), false);
  assert.deepEqual([editor.redo(), editor.text], [true, "abcd"]);
});

test("a group that changes nothing in all is no change", () => {
  const editor = new Editor("a");
  editor.group(() => {
    editor.insert(1, "b");
    editor.remove(1, 1);
  });
  assert.equal(editor.undo(), false);
});

test("inside a group nothing is undone or redone", () => {
  const editor = new Editor("a");
  editor.insert(1, "b");
  for (const step of ["undo", "redo"]) {
    assert.throws(() => editor.group(() => editor[step]()), Error);
    assert.equal(editor.text, "ab");
  }
  assert.equal(editor.undo(), true);
});

test("remembers no more than its limit", () => {
  const editor = new Editor("", 2);
  for (const [at, letter] of ["a", "b", "c"].entries()) editor.insert(at, letter);
  assert.deepEqual([editor.undo(), editor.undo(), editor.undo(), editor.text], [true, true, false, "a"]);
  const none = new Editor("x", 0);
  none.insert(1, "y");
  assert.deepEqual([none.undo(), none.text], [false, "xy"]);
});

test("refuses places outside of the text, and changes nothing", () => {
  const editor = new Editor("abc");
  for (const [at, count] of [[-1, 0], [4, 0], [2, 2], [0, -1], [1.5, 0], [0, 0.5], ["1", 1], [NaN, 0]]) {
    assert.throws(() => editor.replace(at, count, "x"), RangeError);
  }
  assert.throws(() => editor.insert(4, "x"), RangeError);
  assert.throws(() => editor.remove(3, 1), RangeError);
  assert.deepEqual([editor.text, editor.undo()], ["abc", false]);
});

test("refuses a limit that is none", () => {
  for (const limit of [-1, 1.5, NaN, "3"]) assert.throws(() => new Editor("", limit), RangeError);
});
