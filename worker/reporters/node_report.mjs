// A reporter for `node --test` that writes what each test did, one JSON object a line, with the file it stands in.
// Runs inside the sandbox. Node's own junit reporter leaves the file out.
import path from "node:path";

const MESSAGE = 2000;

export default async function* report(source) {
  const names = []; // the names of the suites around the test, by depth
  for await (const { type, data } of source) {
    if (type === "test:start") {
      names.length = data.nesting;
      names[data.nesting] = data.name;
    }
    if (type !== "test:pass" && type !== "test:fail") continue;
    names.length = data.nesting;
    if (data.details?.type === "suite") continue;
    const file = data.file ? path.relative(process.cwd(), data.file) : "";
    const whole = path.isAbsolute(data.name) ? path.relative(process.cwd(), data.name) : "";
    const failed = type === "test:fail" && data.todo === undefined;
    const skipped = data.skip !== undefined || data.todo !== undefined;
    const error = data.details?.error;
    const message = error ? String(error.cause?.stack ?? error.cause ?? error.message ?? error) : "";
    yield JSON.stringify({
      id: whole || [file, ...names, data.name].filter(Boolean).join(" > "),
      outcome: failed ? (whole ? "error" : "failed") : skipped ? "skipped" : "passed",
      file: whole || file,
      message: failed ? message.slice(0, MESSAGE) : "",
      whole: Boolean(whole),
    }) + "\n";
  }
}
