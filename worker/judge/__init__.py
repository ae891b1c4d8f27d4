"""The judge: says what a test run came to, and whether the run itself can be believed.

It stands outside the sandbox and never imports or runs anything of what it judges. It reads exit status and per-test
reports (`verdict`), and what became of the tests it planted itself: `controls` of which one must pass and one must fail,
and in `sealed` the tester's files under other names and in another order, beside twins that must fail.
"""

from worker.judge.verdict import REPORT_BYTES_MAX, Verdict, breach_reason, conclude, judge, read, without_places

__all__ = ["REPORT_BYTES_MAX", "Verdict", "breach_reason", "conclude", "judge", "read", "without_places"]
