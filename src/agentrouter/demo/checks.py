"""What is checked after a step, beyond the form of the answer. Each is a ``Verifier``: name, and a verdict on a reply.

They know the tools, never the task's known answer: a check that knew the answer would make the routing look better than
it can be on a user's own tasks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from agentrouter.demo.sandbox import Case, run_cases
from agentrouter.demo.tools import Corpus, Database, ToolError
from agentrouter.types import Reply, Step, Verdict
from agentrouter.verifiers import failed, passed

_FENCE = re.compile(r"```(?:[a-zA-Z0-9]*)\n(.*?)(?:```|\Z)", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TELLING = re.compile(r"\d+|(?<=[a-z,] )[A-Z][a-z]+")
_SPACE = re.compile(r"\s+")


class SqlRuns(msgspec.Struct, frozen=True):
    """The answer is a SELECT that runs and returns something."""

    database: Database
    name: str = "sql_runs"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Run the query."""
        try:
            found = self.database.query(code_of(reply.text))
        except ToolError as error:
            return failed(self.name, str(error))
        if not found.rows or all(value is None for row in found.rows for value in row):
            return failed(self.name, "the query returns no rows")
        return passed(self.name, f"{len(found.rows)} rows")


class TestsPass(msgspec.Struct, frozen=True):
    """The answer is code whose tests pass in the sandbox."""

    __test__ = False

    function: str
    cases: tuple[Case, ...]
    name: str = "tests"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Run the tests."""
        report = run_cases(code_of(reply.text), self.function, self.cases)
        return passed(self.name, report.summary()) if report.ok else failed(self.name, report.summary())


class Finds(msgspec.Struct, frozen=True):
    """The answer, as a query, finds documents."""

    corpus: Corpus
    name: str = "finds"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Search with it."""
        found = self.corpus.search(query_of(reply.text))
        return passed(self.name, f"{len(found)} documents") if found else failed(self.name, "nothing found")


class Mentions(msgspec.Struct, frozen=True):
    """The answer keeps to its evidence: every number and every name in it stands in the evidence."""

    evidence: str
    name: str = "mentions"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Look up each number, and each capitalised word that does not begin a sentence."""
        known = _plain(self.evidence)
        for word in _TELLING.findall(reply.text):
            if word.lower() not in known:
                return failed(self.name, f"{word!r} is nowhere in the evidence")
        return passed(self.name)


class Grounded(msgspec.Struct, frozen=True):
    """Every value of a JSON answer stands in the source; numbers are compared as numbers."""

    source: str
    name: str = "grounded"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Look each value up in the source."""
        source = _plain(self.source)
        numbers = [float(number) for number in _NUMBER.findall(self.source)]
        for key, value in _values(reply.text):
            if isinstance(value, int | float):
                there = any(abs(value - number) < 0.006 for number in numbers)
            else:
                there = bool(_plain(str(value))) and _plain(str(value)) in source
            if not there:
                return failed(self.name, f"{key} = {value!r} is nowhere in the source")
        return passed(self.name)


class Sure(msgspec.Struct, frozen=True):
    """The model was sure: the likelihood of the whole answer, by its log-probabilities, is high enough."""

    least: float = 0.6
    name: str = "sure"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Sum the log-probabilities."""
        from math import exp

        if not reply.logprobs:
            return passed(self.name, "no log-probabilities given")
        likelihood = exp(sum(reply.logprobs))
        verdict = passed if likelihood >= self.least else failed
        return msgspec.structs.replace(verdict(self.name, f"likelihood {likelihood:.2f}"), p_good=likelihood)


def code_of(text: str) -> str:
    """Return the first fenced block of an answer, or the whole answer where there is none."""
    match = _FENCE.search(text)
    return (match.group(1) if match else text).strip()


def query_of(text: str) -> str:
    """Return the first line of an answer without quotation marks: a search query."""
    return code_of(text).splitlines()[0].strip().strip("\"'`") if code_of(text) else ""


def _values(text: str) -> Sequence[tuple[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    return list(value.items()) if isinstance(value, dict) else (("the answer", value),)


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text.replace('"', "").replace("“", "").replace("”", "")).strip(" .'`").lower()
