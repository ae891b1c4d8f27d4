export class Editor {
  #text;
  #limit;
  #done = [];
  #undone = [];
  #before = null; // the text before the outermost group, null outside

  constructor(text = "", limit = 100) {
    if (!Number.isInteger(limit) || limit < 0) throw new RangeError(`${limit} changes cannot be remembered`);
    this.#text = text;
    this.#limit = limit;
  }

  get text() {
    return this.#text;
  }

  insert(at, piece) {
    this.replace(at, 0, piece);
  }

  remove(at, count) {
    return this.replace(at, count, "");
  }

  replace(at, count, piece) {
    const whole = Number.isInteger(at) && Number.isInteger(count);
    if (!whole || at < 0 || count < 0 || at + count > this.#text.length) {
      throw new RangeError(`${count} characters at ${at} are not in a text of ${this.#text.length}`);
    }
    const old = this.#text;
    this.#text = old.slice(0, at) + piece + old.slice(at + count);
    if (this.#before === null) this.#remember(old);
    return old.slice(at, at + count);
  }

  undo() {
    return this.#step(this.#done, this.#undone);
  }

  redo() {
    return this.#step(this.#undone, this.#done);
  }

  group(work) {
    if (this.#before !== null) return work();
    this.#before = this.#text;
    try {
      const result = work();
      this.#remember(this.#before);
      return result;
    } catch (error) {
      this.#text = this.#before;
      throw error;
    } finally {
      this.#before = null;
    }
  }

  #remember(old) {
    if (old === this.#text) return;
    this.#done.push(old);
    if (this.#done.length > this.#limit) this.#done.shift();
    this.#undone = [];
  }

  #step(from, to) {
    if (this.#before !== null) throw new Error("a group is not over; nothing can be undone or redone in it");
    if (from.length === 0) return false;
    to.push(this.#text);
    this.#text = from.pop();
    return true;
  }
}
