"""Find tool calls that a model wrote into its text, in the forms local models use.

What is inside a call's own values is never looked at, so a file that holds an example of a call is a file. What is quoted
in prose is left alone: a model that explains a call does not make one. Nothing here knows what a tool does.
"""

from agents.tools.textcalls.attempt import CALLS_MAX, Attempt
from agents.tools.textcalls.finding import find

__all__ = ["CALLS_MAX", "Attempt", "find"]
