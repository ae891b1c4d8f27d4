// A reporter for `node --test` that writes what each test did, one JSON object a line, with the file it stands in.
// Runs inside the sandbox. Node's own junit reporter leaves the file out.
//
// Node counts a file that ends with status 0 as a passed test, whether or not it ran one: `process.exit(0)` in what it
// loads would do. Here such a file is no test at all; a file that fails as a whole is an error under its own path.
import path from "node:path";

import { cause as class_of } from "./tandem_told.cjs";

const MESSAGE = 2000;
const CHILDREN = "subtestsFailed"; // a suite that fails for nothing but what stands in it

export default async function* report(source) {
  const names = []; // the names of the suites around the test, by depth
  const printed = new Map(); // what each file wrote to its error stream: why it could not be loaded
  for await (const { type, data } of source) {
    if (type === "test:stderr") {
      printed.set(data.file, ((printed.get(data.file) ?? "") + data.message).slice(-MESSAGE));
    }
    if (type === "test:start") {
      names.length = data.nesting;
      names[data.nesting] = data.name;
    }
    if (type !== "test:pass" && type !== "test:fail") continue;
    names.length = data.nesting;
    const failed = type === "test:fail" && data.todo === undefined;
    const error = data.details?.error;
    const suite = data.details?.type === "suite";
    if (suite && !(failed && error?.failureType !== CHILDREN)) continue;
    const whole = data.nesting === 0 && data.file !== undefined && path.resolve(data.name) === data.file;
    if (whole && !failed) continue;
    const file = data.file ? path.relative(process.cwd(), data.file) : "";
    const skipped = data.skip !== undefined || data.todo !== undefined;
    const cause = error ? String(error.cause?.stack ?? error.cause ?? error.message ?? error) : "";
    const message = whole ? `${cause}\n${printed.get(data.file) ?? ""}`.trim() : cause;
    yield JSON.stringify({
      id: whole ? file : [file, ...names, data.name].filter(Boolean).join(" > "),
      outcome: failed ? (whole || suite ? "error" : "failed") : skipped ? "skipped" : "passed",
      file,
      message: failed ? message.slice(0, MESSAGE) : "",
      cause: failed ? class_of(error?.cause, message) : "",
    }) + "\n";
  }
}
