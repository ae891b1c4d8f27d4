const JAM = 3;

export class Turnstile {
  #state = "locked";
  #row = 0;
  #counts = { passed: 0, kept: 0, returned: 0, attempts: 0 };

  get state() {
    return this.#state;
  }

  handle(event) {
    if (event === "coin") this.#coin();
    else if (event === "push") this.#push();
    else if (event === "reset") this.#become("locked");
    else throw new TypeError(`a turnstile knows no event ${String(event)}`);
    return this.#state;
  }

  report() {
    return { ...this.#counts };
  }

  #coin() {
    if (this.#state !== "locked") {
      this.#counts.returned += 1;
      return;
    }
    this.#counts.kept += 1;
    this.#become("unlocked");
  }

  #push() {
    if (this.#state === "unlocked") {
      this.#counts.passed += 1;
      this.#become("locked");
    } else if (this.#state === "locked") {
      this.#counts.attempts += 1;
      this.#row += 1;
      if (this.#row === JAM) this.#become("jammed");
    }
  }

  #become(state) {
    this.#state = state;
    this.#row = 0;
  }
}
