// A reporter for jest that writes what each test did to `--outputFile`, with an end mark.
// Runs inside the sandbox, in jest's own process; the tests run in contexts or processes of their own.
"use strict";

const { cause, entry, from_here, write } = require("./tandem_told.cjs");

const OUTCOMES = { passed: "passed", failed: "failed", pending: "skipped", skipped: "skipped", todo: "skipped", disabled: "skipped" };

module.exports = class Reporter {
  constructor(config) {
    this.report = config.outputFile;
  }

  onRunComplete(_contexts, results) {
    write(this.report, results.testResults.flatMap(tests_of));
  }
};

function tests_of(file) {
  const place = from_here(file.testFilePath);
  const entries = file.testResults.map((test) => {
    const [error] = test.failureDetails ?? [];
    const message = (test.failureMessages ?? []).join("\n");
    const names = [...test.ancestorTitles, test.title];
    return entry(place, names, OUTCOMES[test.status] ?? "error", message, cause(error, message));
  });
  // A file that could not be loaded, or whose hooks outside of every test failed, tells it here alone.
  const broken = file.testExecError ?? (entries.length === 0 ? file.failureMessage : null);
  if (broken) {
    const message = file.failureMessage ?? String(broken.message ?? broken);
    entries.push(entry(place, [], "error", message, cause(undefined, message)));
  }
  return entries;
}
