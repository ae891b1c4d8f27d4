export function wrap(text, width) {
  return indent(text, width, "", "");
}

export function indent(text, width, first, rest) {
  const room = width - Math.max(length(first), length(rest));
  if (!Number.isInteger(width) || width < 1 || room < 1) throw new RangeError(`a width of ${width} leaves no room`);
  const folder = new Folder(width, first, rest);
  for (const paragraph of text.split(/\n\s*\n/)) {
    const words = paragraph.split(/\s+/).filter(Boolean);
    if (words.length > 0) folder.paragraph(words);
  }
  return folder.lines;
}

class Folder {
  constructor(width, first, rest) {
    this.lines = [];
    this.width = width;
    this.first = first;
    this.rest = rest;
  }

  get front() {
    return this.lines.length === 0 ? this.first : this.rest;
  }

  paragraph(words) {
    if (this.lines.length > 0) this.lines.push("");
    let line = "";
    for (const word of words) {
      const joined = line === "" ? word : `${line} ${word}`;
      if (this.fits(joined)) {
        line = joined;
        continue;
      }
      if (line !== "") this.put(line);
      line = this.pieces(word);
    }
    this.put(line);
  }

  fits(line) {
    return length(this.front) + length(line) <= this.width;
  }

  pieces(word) {
    let left = [...word];
    while (!this.fits(left.join(""))) {
      const room = this.width - length(this.front);
      this.put(left.slice(0, room).join(""));
      left = left.slice(room);
    }
    return left.join("");
  }

  put(line) {
    this.lines.push(this.front + line);
  }
}

function length(text) {
  return [...text].length;
}
