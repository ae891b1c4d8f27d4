export class Editor {
  constructor(text = "", limit = 100) {
    throw new Error("to be written");
  }

  insert(at, piece) {
    throw new Error("to be written");
  }

  remove(at, count) {
    throw new Error("to be written");
  }

  replace(at, count, piece) {
    throw new Error("to be written");
  }

  undo() {
    throw new Error("to be written");
  }

  redo() {
    throw new Error("to be written");
  }

  group(work) {
    throw new Error("to be written");
  }
}
