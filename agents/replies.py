"""The typed replies of the personas: what each must answer, and nothing else.

These schemas go to the model as its output format and come back through `agents.parse`. Verdicts are enumerations, so
that no sentence of a model can be taken for one.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tandem.types import Difficulty, Kind

Text = Annotated[str, Field(max_length=20_000)]
Line = Annotated[str, Field(max_length=500)]
Paragraph = Annotated[str, Field(max_length=2000)]


# Models like to say "./a.py"; it means the same place.
Path = Annotated[Line, AfterValidator(lambda path: path.removeprefix("./"))]


class ReplyModel(BaseModel):
    """Common to all replies: unknown fields are dropped, values are not coerced beyond JSON's own types."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Assessment(ReplyModel):
    """How hard a task is, what it is, and whether the router's model dares to say."""

    reason: Line = ""
    difficulty: Difficulty
    kind: Kind
    reflect: bool = False
    sure: bool


class Scenario(ReplyModel):
    """One behaviour, in Gherkin."""

    name: Line
    gherkin: Text


class Option(ReplyModel):
    """One way to do it, with what speaks for and against it."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    name: Line
    how: Paragraph = ""
    for_: Paragraph = Field(default="", alias="for")
    against: Paragraph = ""
    recommended: bool = False


class CheckItem(ReplyModel):
    """Something only the lead can say, with the answer the planner would give."""

    question: Line
    suggestion: Line = ""


class Plan(ReplyModel):
    """What will be done, and how one will see that it is.

    From `options` on, everything may be missing: it matters where the plan itself is what was asked for.
    """

    summary: Line
    scenarios: Annotated[list[Scenario], Field(max_length=30)] = []
    files: Annotated[list[Path], Field(max_length=60)] = []
    risks: Annotated[list[Line], Field(max_length=20)] = []
    question: Line = ""
    options: Annotated[list[Option], Field(max_length=8)] = []
    steps: Annotated[list[Line], Field(max_length=40)] = []
    rollback: Paragraph = ""
    resources: Annotated[list[Line], Field(max_length=20)] = []
    done: Annotated[list[Line], Field(max_length=20)] = []
    checklist: Annotated[list[CheckItem], Field(max_length=20)] = []
    check: Line = ""


class TestFile(ReplyModel):
    """A test file, whole."""

    __test__ = False

    path: Path
    content: Annotated[str, Field(max_length=200_000)]


class Tests(ReplyModel):
    """The tester's files."""

    __test__ = False

    files: Annotated[list[TestFile], Field(max_length=20)] = []
    note: Text = ""


class CodeFile(ReplyModel):
    """A changed file, whole; `delete` removes it."""

    path: Path
    content: Annotated[str, Field(max_length=400_000)] | None = None
    delete: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse a path without content: taken for an empty file, it would wipe one out."""
        if self.content is None and not self.delete:
            raise ValueError(f"the file {self.path!r} has no content; give it whole, or set delete")
        return self


class Code(ReplyModel):
    """The coder's change. `dispute` says why a test is wrong, if one is."""

    files: Annotated[list[CodeFile], Field(max_length=60)] = []
    note: Text = ""
    dispute: Text = ""


class Finding(ReplyModel):
    """One thing the reviewer saw."""

    severity: Literal["blocker", "major", "minor"]
    file: Line = ""
    line: int = 0
    why: Text
    fix: Text = ""


class Review(ReplyModel):
    """The reviewer's verdict and what it rests on."""

    findings: Annotated[list[Finding], Field(max_length=30)] = []
    verdict: Literal["approve", "changes"]


class Report(ReplyModel):
    """The documenter's text, Markdown."""

    title: Line
    body: Text


BY_NAME: dict[str, type[ReplyModel]] = {
    "assessment": Assessment,
    "plan": Plan,
    "tests": Tests,
    "code": Code,
    "review": Review,
    "report": Report,
}
