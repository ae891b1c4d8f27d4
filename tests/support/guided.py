"""Run a real model server whose model is held to a grammar: `python guided.py lm|vlm RULES -- the server's own options`.

A model with random weights follows no schema. llguidance sees to it that what it draws is a reply that follows the
`response_format`, or a tool call in the form the model's template has, where tools are offered. `mlx_lm.server` ignores
`response_format`, and `mlx_vlm.server` holds a model to it with a kernel for Apple's GPU alone: so the mask is put on here,
with plain operations. Everything else is the server's own.

RULES is a JSON file: a list of {"where": [words], "but": [words], "tools": [names], "properties": {name: schema}}. Where
all the first words and none of the second stand in a request, only those of the offered tools may be called, and those
properties are drawn by that schema; a later rule goes before an earlier one. It keeps what is drawn within reach of
something that happens.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rules = list[dict[str, Any]]
_WORD = {"type": "string", "pattern": "^[a-z]{1,8}$"}
_WORD_LARK = "/[a-z]{1,8}/"
_UNSAID = ("title", "default", "description", "$defs")


# --- grammars: plain values; the tokens around a call stand bare in them, as tokens of their own ------------------


def grammar(body: Mapping[str, Any], rules: Rules, *, xml: bool) -> str | None:
    """Return the grammar a reply to `body` is held to, None for none."""
    import llguidance

    said = json.dumps([body["messages"], body.get("tools")])
    holding = [
        rule
        for rule in rules
        if all(words in said for words in rule["where"]) and not any(words in said for words in rule.get("but", ()))
    ]
    own = {name: schema for rule in holding for name, schema in rule.get("properties", {}).items()}
    allowed = next((rule["tools"] for rule in reversed(holding) if "tools" in rule), None)
    if body.get("tools"):
        functions = [tool["function"] for tool in body["tools"]]
        kept = [one for one in functions if allowed is None or one["name"] in allowed] or functions
        return _calls_xml(kept, own) if xml else _calls_json(kept, own)
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    if not schema:
        return None
    held = {**bounded(schema, own), "x-guidance": {"whitespace_flexible": False}}
    return llguidance.LLMatcher.grammar_from_json_schema(json.dumps(held))


def bounded(schema: Any, own: Mapping[str, Any], named: Mapping[str, Any] | None = None) -> Any:
    """Return a schema whose replies are short: what is drawn at random would never end a text or a list.

    What it refers to by name is put in its place, because a grammar holds several schemas.
    """
    if isinstance(schema, list):
        return [bounded(one, own, named) for one in schema]
    if not isinstance(schema, dict):
        return schema
    named = schema.get("$defs", named or {})
    if "$ref" in schema:
        return bounded(named[schema["$ref"].rpartition("/")[2]], own, named)
    if schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
        return dict(_WORD)
    made = {name: bounded(value, own, named) for name, value in schema.items() if name not in _UNSAID}
    if isinstance(schema.get("properties"), dict):
        properties = schema["properties"].items()
        made["properties"] = {name: own.get(name) or bounded(value, own, named) for name, value in properties}
        made |= {"additionalProperties": False, "required": list(schema["properties"])}
    if schema.get("type") == "array":
        made["maxItems"] = 2
    if schema.get("type") == "integer":
        made |= {"minimum": 0, "maximum": 99}
    return made


def _calls_json(functions: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> str:
    forms = [
        {
            "type": "object",
            "properties": {"name": {"const": one["name"]}, "arguments": _arguments(one, own)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for one in functions
    ]
    schema = json.dumps({"anyOf": forms, "x-guidance": {"whitespace_flexible": False}})
    return f'start: <tool_call> "\\n" call "\\n" </tool_call>\ncall: %json {schema}\n'


def _calls_xml(functions: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> str:
    lines = ['start: <tool_call> "\\n" (' + " | ".join(f"f{i}" for i in range(len(functions))) + ') "\\n" </tool_call>']
    for number, one in enumerate(functions):
        schema = _arguments(one, own)
        parts: list[str] = []
        for place, (name, value) in enumerate(schema.get("properties", {}).items()):
            parts.append(f'"<parameter={name}>\\n" v{number}_{place} "\\n</parameter>\\n"')
            lines.append(f"v{number}_{place}: {_value(value)}")
        lines.append(f'f{number}: "<function={one["name"]}>\\n" {" ".join(parts)} "</function>"')
    return "\n".join(lines) + "\n"


def _value(schema: Mapping[str, Any]) -> str:
    """Return how a parameter is written: a text bare, everything else as JSON."""
    if "enum" in schema:
        return " | ".join(json.dumps(str(one)) for one in schema["enum"])
    if "pattern" in schema:
        return (
            "/" + schema["pattern"].removeprefix("^").removesuffix("$").replace("/", "\\/").replace("\n", "\\n") + "/"
        )
    if schema.get("type") == "string":
        return _WORD_LARK
    return "%json " + json.dumps({**schema, "x-guidance": {"whitespace_flexible": False}})


def _arguments(function: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return bounded(function.get("parameters") or {"type": "object", "properties": {}}, own)


# --- the mask -----------------------------------------------------------------------------------------------------


def masked(logits: Any, words: Any) -> Any:
    """Return logits with everything switched off that the packed mask does not allow."""
    import mlx.core as mx

    bits = (mx.array(words).view(mx.uint32)[..., None] >> mx.arange(32, dtype=mx.uint32)) & 1
    allowed = bits.reshape(*bits.shape[:-2], -1)
    missing = logits.shape[-1] - allowed.shape[-1]
    if missing > 0:
        allowed = mx.concatenate([allowed, mx.zeros((*allowed.shape[:-1], missing), dtype=allowed.dtype)], axis=-1)
    return mx.where(allowed[..., : logits.shape[-1]].astype(mx.bool_), logits, -float("inf"))


class Guide:
    """Holds one sequence to a grammar; told of all its tokens at every step, the prompt's first."""

    def __init__(self, tokenizer: Any, words: str) -> None:
        import llguidance
        import llguidance.numpy

        self._fill: Callable[..., None] = llguidance.numpy.fill_next_token_bitmask
        self._matcher = llguidance.LLMatcher(tokenizer, words)
        if self._matcher.get_error():
            raise ValueError(self._matcher.get_error())
        self._mask = llguidance.numpy.allocate_token_bitmask(1, tokenizer.vocab_size)
        self._eos = tokenizer.eos_token
        self._seen: int | None = None

    def __call__(self, tokens: Any, logits: Any) -> Any:
        for token in tokens[self._seen :].tolist() if self._seen is not None else ():
            if not self._matcher.is_stopped():
                self._matcher.consume_token(token)
        self._seen = tokens.shape[-1]
        if self._matcher.is_stopped():  # complete, and nothing may follow
            self._mask[:] = 0
            self._mask.view("uint32")[0, self._eos // 32] = 1 << (self._eos % 32)
        else:
            self._fill(self._matcher, self._mask, 0)
        return masked(logits, self._mask[0])


# --- the two servers ----------------------------------------------------------------------------------------------


def run_lm(rules: Rules) -> None:
    """Start `mlx_lm.server` with what it lacks: it passes a request on without its `response_format`."""
    import llguidance.hf
    from mlx_lm import server

    known: dict[int, Any] = {}
    understood, read, made = (
        server.APIHandler.handle_chat_completions,
        server.ResponseGenerator._tokenize,
        server._make_logits_processors,
    )

    def handle(self: Any) -> Any:
        body = {key: self.body.get(key) for key in ("messages", "tools", "response_format")}
        kept = json.loads(json.dumps(body))
        request = understood(self)
        request.asked = kept
        return request

    def tokenize(self: Any, tokenizer: Any, request: Any, args: Any) -> Any:
        words = grammar(request.asked, rules, xml="<function=" in (tokenizer.chat_template or ""))
        if words is not None:
            if id(tokenizer) not in known:
                known[id(tokenizer)] = llguidance.hf.from_tokenizer(tokenizer._tokenizer)
            args.guide = Guide(known[id(tokenizer)], words)
        return read(self, tokenizer, request, args)

    def processors(args: Any) -> Any:
        return [*made(args), *([args.guide] if hasattr(args, "guide") else [])]

    server.APIHandler.handle_chat_completions = handle
    server.ResponseGenerator._tokenize = tokenize
    server._make_logits_processors = processors
    server.main()


def run_vlm(rules: Rules) -> None:
    """Start `mlx_vlm.server` with a mask for every machine, with tool calls held to a grammar, and without its audio."""
    sys.meta_path.append(_NoAudio())
    import llguidance.hf
    from mlx_vlm import structured
    from mlx_vlm.server import cli

    app = sys.modules["mlx_vlm.server.app"]  # the package's own `app` is the application
    known: dict[int, Any] = {}

    def processors(request: Any, processor: Any) -> Any:
        tokenizer = getattr(processor, "tokenizer", processor)
        body = request.model_dump(include={"messages", "tools", "response_format"})
        words = grammar(json.loads(json.dumps(body, default=str)), rules, xml=False)
        if words is None:
            return None
        if id(tokenizer) not in known:
            known[id(tokenizer)] = llguidance.hf.from_tokenizer(tokenizer)
        return [structured.LLGuidanceLogitsProcessor(words, known[id(tokenizer)])]

    structured._apply_llguidance_mask = masked
    app._build_structured_logits_processors = processors
    cli.main()


class _NoAudio(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands for mlx_audio, which the server imports with itself and no text needs; it weighs more than the server."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "mlx_audio":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.read = module.write = None  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


if __name__ == "__main__":
    kind, file = sys.argv[1:3]
    sys.argv[1:] = sys.argv[4:]
    told = json.loads(Path(file).read_text("utf-8"))
    {"lm": run_lm, "vlm": run_vlm}[kind](told)
