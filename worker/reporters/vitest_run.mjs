// Run vitest (3 or later) and write what each test did: `vitest_run.mjs REPORT -- vitest's own arguments`.
//
// Runs inside the sandbox. By vitest's own API and not its command line, because that takes no reporter from outside of
// the tree. Its settings are loaded without a bundle, which would be written into the installed packages.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { cause, entry, from_here, write } from "./tandem_told.cjs";

const OUTCOMES = { passed: "passed", failed: "failed", skipped: "skipped", pending: "error" };
const [report, , ...argv] = process.argv.slice(2);

class Reporter {
  onTestRunEnd(modules) {
    write(report, modules.flatMap(tests_of));
  }
}

function tests_of(module) {
  const place = from_here(module.moduleId);
  const entries = [...module.children.allTests()].map((test) => {
    const { state, errors } = test.result();
    return entry(place, [...around(test), test.name], OUTCOMES[state] ?? "error", ...told(errors));
  });
  // What fails outside of every test: a hook of a suite, or the file itself.
  for (const suite of module.children.allSuites()) {
    if (suite.errors().length) entries.push(entry(place, [...around(suite), suite.name], "error", ...told(suite.errors())));
  }
  if (module.errors().length) entries.push(entry(place, [], "error", ...told(module.errors())));
  return entries;
}

/** Return the names of the suites around a test or suite, from the outermost. */
function around(task) {
  const names = [];
  for (let parent = task.parent; parent?.type === "suite"; parent = parent.parent) names.unshift(parent.name);
  return names;
}

function told(errors) {
  const [error] = errors ?? [];
  return error ? [String(error.stack ?? error.message ?? ""), cause(error)] : [];
}

/** Return vitest's API as it is installed for the working folder; its exports know no `require`. */
async function installed() {
  const manifest = createRequire(path.join(process.cwd(), "package.json")).resolve("vitest/package.json");
  const entry = JSON.parse(fs.readFileSync(manifest, "utf8")).exports["./node"];
  return import(pathToFileURL(path.join(path.dirname(manifest), entry.default ?? entry)).href);
}

const { parseCLI, startVitest } = await installed();
const { filter, options } = parseCLI(["vitest", ...argv]);
const reporters = ["default", new Reporter()];
const server = { host: "127.0.0.1" }; // else vite looks up a name, and there may be nobody to ask
const chosen = { ...options, reporters, configLoader: "runner", watch: false };
const vitest = await startVitest("test", filter, chosen, { server });
if (vitest === undefined || !vitest.shouldKeepServer()) await vitest?.exit();
