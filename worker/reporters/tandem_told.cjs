// What our reporters for JavaScript share: how an error is named, and the report's lines.
// Runs inside the sandbox with Node's own modules alone.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const MESSAGE = 2000; // characters of a message that are kept
const COLOURS = /\u001b\[[0-9;]*m/g;
const ASSERTED = /AssertionError$|^\s*(?:AssertionError\b|assert(?:\.\w+)?\()/; // jest words node:assert's failures anew
const CLASS = /^\s*(?:Uncaught )?(\w*(?:Error|Exception))\b/m;
const NO_SYNTAX = /Transform failed|Parse failure|PARSE_ERROR|Failed to parse source/; // as the bundlers say it
const NO_MODULE = /Cannot find (?:module|package)|Failed to (?:resolve import|load url)|ERR_MODULE_NOT_FOUND/;

/**
 * Return the class of the error that a test ended with, from the error or what is left of it, and from its text.
 *
 * "AssertionError" stands for any expectation, "MODULE_NOT_FOUND" (Node's own word, whichever tool says it) for an import
 * that leads nowhere, else the class is the one that the error or its text names.
 */
exports.cause = function cause(error, text = String(error?.stack ?? error?.message ?? error ?? "")) {
  const said = text.replace(COLOURS, "");
  const name = /\w(?:Error|Exception)$/.test(error?.name ?? "") ? error.name : "";
  if (error?.matcherResult !== undefined || error?.code === "ERR_ASSERTION" || ASSERTED.test(name || said)) {
    return "AssertionError";
  }
  if (NO_MODULE.test(said)) return "MODULE_NOT_FOUND";
  if (NO_SYNTAX.test(said)) return "SyntaxError";
  return (name && name !== "Error" ? name : said.match(CLASS)?.[1]) || (said ? "Error" : "");
};

/** Return a path from the working folder, with the slashes of the tree. */
exports.from_here = (file) => path.relative(process.cwd(), file).split(path.sep).join("/");

/** Return one test's entry; `names` are the titles around it and its own, none for a file as a whole. */
exports.entry = function entry(file, names, outcome, message = "", cause = "") {
  const bad = outcome === "failed" || outcome === "error";
  return {
    id: [file, ...names].join(" > "),
    outcome,
    file,
    message: bad ? message.replace(COLOURS, "").slice(0, MESSAGE) : "",
    cause: bad ? cause : "",
  };
};

/** Write one line a test, and a last one that says how many there were. */
exports.write = function write(report, entries) {
  const lines = [...entries, { end: entries.length }].map((entry) => JSON.stringify(entry) + "\n");
  fs.writeFileSync(report, lines.join(""));
};
