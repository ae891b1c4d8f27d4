"""The names of the ways a persona's work ends without its own `finish`.

They appear in findings, in the flight recorder and in benchmarks, so that "it did not work" is never all one can say.
"""

from __future__ import annotations

from typing import Literal, get_args

Failure = Literal[
    "repetition",  # the same calls with the same results, turn after turn
    "alternation",  # a cycle of two to four turns
    "no progress",  # nothing new was learned or changed: the same tool fails, or the same tests fail the same way
    "empty replies",  # neither text nor a call
    "talk",  # text without a call or a usable reply
    "malformed calls",  # calls that could not be understood
    "steps spent",  # as many turns as the persona may take
    "context spent",  # no room for another turn in the model's context
    "tokens spent",  # more tokens written than a call may write
    "time spent",  # longer than a call may last
    "unusable reply",  # neither the reply nor its repair could be understood
]
FAILURES: tuple[str, ...] = get_args(Failure)
