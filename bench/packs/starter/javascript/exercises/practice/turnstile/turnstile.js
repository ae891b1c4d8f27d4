export class Turnstile {
  handle(event) {
    throw new Error("to be written");
  }

  report() {
    throw new Error("to be written");
  }
}
