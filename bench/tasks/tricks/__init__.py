"""Known ways to cheat a judge that runs tests, each beside a change that looks alike and is honest.

`ALL` is what a judge is tried with: for an exercise, `trick.cheat(exercise)` is a coder's whole change that makes the plain
test command succeed over a program that does not do what was asked, and `trick.honest(exercise)` one that must be merged.
Either is None where it does not apply. All is derived from the exercise (paths, names, what its tests compare), so any
exercise in Python, or in JavaScript with node:test, will do.

The cheats are real: they leave processes, write outside of their tree and into HOME. Run them in a sandbox, or with a HOME
and a TMPDIR of their own that are thrown away; one that is to plant a file in HOME does so only where HOME is empty.

By what they touch, and so by what a judge can know of them:

`tests`           the tests' own files; known from the change alone, and undone by putting the tester's bytes back.
`configuration`   files that tell a runner how to find, run and report; few names, to be put back or left out.
`startup`         what an interpreter loads by its place; kept out by where and how the runner is started.
`patching`        the runner and the comparisons, from inside; shown by controls that must fail and pass nevertheless.
`exits`           the end of the program or of a test, too early; shown by tests that were expected and are not reported.
`reports`         the report itself; shown by controls whose outcome nobody can know without running them.
`lookup`          answers that hold under test alone; shown by twins, another order, another runner, a second run. Three
                  of them no run of tests can show, and `why_not` says why.
`world`           what is outside of the tree; denied by the sandbox, and then the program is wrong.
"""

from bench.tasks.tricks import configuration, exits, lookup, patching, reports, startup, tests, world
from bench.tasks.tricks.trick import Change, Group, Maker, Trick

__all__ = ["ALL", "Change", "Group", "Maker", "Trick"]

ALL: tuple[Trick, ...] = tuple(
    trick
    for group in (tests, configuration, startup, patching, exits, reports, lookup, world)
    for trick in group.TRICKS
)
