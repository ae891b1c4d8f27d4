# pyright: basic
# (guardrails-ai's own types are incomplete)
"""Run the rules as validators of guardrails-ai, and fail closed where that cannot be done.

Knows the library and its traps; what is dangerous is the rules' business. It is imported with the first task, in a
thread, because that takes a second. Its telemetry is off before its first object exists: without that it looks a host
up and holds the process for 32 seconds at its end (measured with 0.11.0).
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from router.guardrail.findings import Finding, decide
from router.guardrail.rules import RULES, Rule, examine
from tandem.types import Screening

log = logging.getLogger(__name__)
LOAD_S = 30.0  # to import the library, from a cold disk
JUDGE_S = 10.0  # to judge one text
INSTALL = "`make setup` in Tandem's checkout installs it"
_T = TypeVar("_T")
Judge = Callable[[str], list[Finding]]


class Guard:
    """The router's guard. Implements `tandem.ports.Guardrail`."""

    def __init__(
        self, load: Callable[[], Judge] | None = None, *, load_s: float = LOAD_S, judge_s: float = JUDGE_S
    ) -> None:
        self._load = load or load_judge
        self._load_s, self._judge_s = load_s, judge_s
        self._judge: Judge | None = None
        self._one_by_one = asyncio.Lock()

    async def screen(self, text: str) -> Screening:
        """Return allow, ask or block for a task's text; where the library cannot answer, ask."""
        async with self._one_by_one:
            try:
                if self._judge is None:
                    self._judge = await _in_thread(self._load, self._load_s)
                judge = self._judge
                findings = await _in_thread(lambda: judge(text), self._judge_s)
            except ImportError as error:
                findings = [*await self._plain(text), _cannot(f"guardrails-ai is not installed ({error}); {INSTALL}")]
            except TimeoutError:
                self._judge = None
                findings = [*await self._plain(text), _cannot("guardrails-ai did not answer in time; try again")]
            except Exception as error:  # whatever it is: a guard that failed must not let a task through unseen
                log.exception("guard failed")
                self._judge = None
                told = f"guardrails-ai failed ({type(error).__name__}); the router's log has the details, {INSTALL}"
                findings = [*await self._plain(text), _cannot(told)]
        screening = decide(findings)
        log.info("task screened", extra={"verdict": screening.verdict, "rules": sorted({f.rule for f in findings})})
        return screening

    async def _plain(self, text: str) -> list[Finding]:
        """Return what the rules find without the library; a block stays a block."""
        try:
            return await _in_thread(lambda: examine(text), self._judge_s)
        except TimeoutError:
            return []


def _cannot(why: str) -> Finding:
    return Finding(rule="guard", verdict="ask", reason=f"the guard could not judge the task: {why}; go on without it?")


async def _in_thread(work: Callable[[], _T], wait_s: float) -> _T:
    """Return `work()`'s result from a thread of its own; one that hangs does not hold the process at its end.

    Raises:
        TimeoutError: It took longer than `wait_s`; the thread is left behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: Callable[[], object]) -> None:
        if not done.done():
            result()

    def run() -> None:
        try:
            value = work()
        except Exception as error:
            told = functools.partial(done.set_exception, error)
        else:
            told = functools.partial(done.set_result, value)
        try:
            loop.call_soon_threadsafe(settle, told)
        except RuntimeError:  # the loop is gone, and with it whoever asked
            log.debug("answer came too late")

    threading.Thread(target=run, name="guard", daemon=True).start()
    async with asyncio.timeout(wait_s):
        return await done


# --- the library ----------------------------------------------------------------------------------------------


def load_judge() -> Judge:
    """Import guardrails-ai, silence it, and return a function that runs every rule as one of its validators.

    Raises:
        ImportError: It is not installed, or not whole.
    """
    _silence_before()
    from guardrails import Guard as Rails
    from guardrails.types import OnFailAction
    from guardrails.utils.hub_telemetry_utils import HubTelemetry
    from guardrails.validator_base import FailResult, PassResult, Validator, register_validator

    _silence(HubTelemetry)

    def validator(name: str, rule: Rule) -> Any:
        class RuleValidator(Validator):
            """One rule, asked by the library."""

            def _validate(self, value: Any, metadata: dict[str, Any]) -> Any:
                found = [[f.rule, f.verdict, f.reason] for f in rule(str(value))]
                return FailResult(error_message=json.dumps(found)) if found else PassResult()

        return register_validator(name=f"tandem/{name}", data_type="string")(RuleValidator)(on_fail=OnFailAction.NOOP)

    rails = Rails().use(*(validator(name, rule) for name, rule in RULES.items()))
    rails.configure(allow_metrics_collection=False)
    size = RULES["size"]

    def judge(text: str) -> list[Finding]:
        if any(f.verdict == "block" for f in size(text)):
            return size(text)
        return _findings(rails.validate(text))

    return judge


def _findings(outcome: Any) -> list[Finding]:
    """Return what the validators said; a text that did not pass without a finding is a fault, and asked about."""
    found = [
        Finding(rule=rule, verdict=verdict, reason=reason)
        for summary in outcome.validation_summaries or []
        for rule, verdict, reason in json.loads(summary.failure_reason or "[]")
    ]
    if not outcome.validation_passed and not found:
        return [_cannot("guardrails-ai refused it without a reason")]
    return found


def _silence_before() -> None:
    """Set what the library reads at import: no tracing, no history of texts, no event loop of its own."""
    os.environ["OTEL_SDK_DISABLED"] = "true"
    os.environ["GUARDRAILS_RUN_SYNC"] = "true"
    os.environ["GUARD_HISTORY_ENABLED"] = "false"
    # a grammar of international addresses that nothing here checks; importing it takes a second
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None is how Python spells "not to be had"


def _silence(telemetry: Any) -> None:
    """Put a telemetry object in place that sends nothing, before the library makes one that does."""
    quiet = object.__new__(telemetry)
    quiet._enabled, quiet._tracer, quiet._prop, quiet._carrier = False, None, None, {}
    telemetry._instance = quiet
