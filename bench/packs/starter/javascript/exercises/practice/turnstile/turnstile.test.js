import assert from "node:assert/strict";
import { test } from "node:test";

import { Turnstile } from "./turnstile.js";

const after = (...events) => {
  const turnstile = new Turnstile();
  const states = events.map((event) => turnstile.handle(event));
  return { turnstile, states };
};

test("begins locked, and nothing has happened", () => {
  const { turnstile } = after();
  assert.equal(turnstile.state, "locked");
  assert.deepEqual(turnstile.report(), { passed: 0, kept: 0, returned: 0, attempts: 0 });
});

test("a coin lets one person through", () => {
  const { turnstile, states } = after("coin", "push", "push");
  assert.deepEqual(states, ["unlocked", "locked", "locked"]);
  assert.deepEqual(turnstile.report(), { passed: 1, kept: 1, returned: 0, attempts: 1 });
});

test("a second coin is given back", () => {
  const { turnstile, states } = after("coin", "coin", "push");
  assert.deepEqual(states, ["unlocked", "unlocked", "locked"]);
  assert.deepEqual(turnstile.report(), { passed: 1, kept: 1, returned: 1, attempts: 0 });
});

test("the third attempt in a row jams it", () => {
  const { turnstile, states } = after("push", "push", "push");
  assert.deepEqual(states, ["locked", "locked", "jammed"]);
  assert.equal(turnstile.report().attempts, 3);
});

test("jammed, it takes no coin and counts no push", () => {
  const { turnstile, states } = after("push", "push", "push", "coin", "push");
  assert.deepEqual(states.slice(3), ["jammed", "jammed"]);
  assert.deepEqual(turnstile.report(), { passed: 0, kept: 0, returned: 1, attempts: 3 });
});

test("a reset unjams it, and the row begins anew", () => {
  const { states } = after("push", "push", "push", "reset", "push", "push", "push");
  assert.deepEqual(states.slice(3), ["locked", "locked", "locked", "jammed"]);
});

test("a coin or a reset ends the row of attempts", () => {
  assert.equal(after("push", "push", "coin", "push", "push", "push").turnstile.state, "locked");
  assert.equal(after("push", "push", "reset", "push", "push").turnstile.state, "locked");
});

test("a reset locks without letting anybody through", () => {
  const { turnstile, states } = after("coin", "reset");
  assert.deepEqual(states, ["unlocked", "locked"]);
  assert.deepEqual(turnstile.report(), { passed: 0, kept: 1, returned: 0, attempts: 0 });
});

test("another event is refused and changes nothing", () => {
  const { turnstile } = after("coin");
  for (const event of ["kick", "", undefined, "toString"]) {
    assert.throws(() => turnstile.handle(event), (error) => error instanceof TypeError && error.message.includes(String(event)));
  }
  assert.equal(turnstile.state, "unlocked");
});

test("a report is a copy", () => {
  const { turnstile } = after("coin");
  turnstile.report().kept = 99;
  assert.equal(turnstile.report().kept, 1);
});
