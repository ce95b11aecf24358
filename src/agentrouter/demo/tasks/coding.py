"""A function to write: plan, write, test in the sandbox, fix while tests fail, describe, report as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from agentrouter.demo.agent import Agent, Helper, parsed
from agentrouter.demo.checks import Grounded, TestsPass, code_of
from agentrouter.demo.sandbox import Case, run_cases
from agentrouter.demo.tasks import TaskVerdict

SYSTEM = """You are a Python programmer. You write one small function in plain Python, without imports and without \
printing. Be brief."""

DESCRIBE = Helper(
    "Say in one sentence what the function does.",
    (
        (
            "def rotate(items):\n    return items[1:] + items[:1]",
            "Returns the list with its first element moved to the end.",
        ),
    ),
)

REPORT = Helper(
    "Turn the result into JSON.",
    (
        (
            "Result: function rotate, 4 of 5 tests pass.\nKeys: function, passed, total",
            '{"function": "rotate", "passed": 4, "total": 5}',
        ),
    ),
)

FIX_ROUNDS = 2


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One function to write."""

    function: str
    text: str
    visible: tuple[Case, ...]
    """The tests the agent may run."""
    hidden: tuple[Case, ...]
    """The tests of the verdict, with answers by ``reference`` functions below."""


class CodingTask(msgspec.Struct, frozen=True):
    """Write one function."""

    job: Job

    @property
    def name(self) -> str:
        """``coding/<function>``."""
        return f"coding/{self.job.function}"

    @property
    def goal(self) -> str:
        """What the function does."""
        return self.job.text

    @property
    def system(self) -> str:
        """Who the agent is."""
        return SYSTEM

    async def run(self, agent: Agent) -> TaskVerdict:
        """Plan, write, test, fix, describe, report."""
        job = self.job
        examples = "\n".join(
            f"{job.function}({', '.join(map(repr, case.args))}) == {case.expected!r}" for case in job.visible
        )
        await agent.ask(
            "plan",
            f"Task: {job.text}\nTests:\n{examples}\n"
            "Before any code: name the algorithm in plain English, at most 15 words.",
            max_tokens=60,
        )
        tests = TestsPass(job.function, job.visible)
        code = await agent.ask(
            "edit",
            f"Write the function {job.function}. Answer with one Python code block only.",
            checks=(tests,),
            max_tokens=240,
        )
        report = run_cases(code_of(code), job.function, job.visible)
        rounds = 0
        while not report.ok and rounds < FIX_ROUNDS:
            rounds += 1
            code = await agent.ask(
                "debug",
                f"{report.summary()}\nWrite the corrected function. Answer with one Python code block only.",
                checks=(tests,),
                max_tokens=240,
            )
            report = run_cases(code_of(code), job.function, job.visible)
        await agent.aside("summarise", code_of(code), helper=DESCRIBE, max_tokens=80)
        outcome = f"function {job.function}, {report.passed} of {report.total} tests pass"
        answer = await agent.aside(
            "format",
            f"Result: {outcome}.\nKeys: function, passed, total",
            helper=REPORT,
            schema=_REPORT_SCHEMA,
            checks=(Grounded(outcome),),
            max_tokens=80,
        )
        return self._verdict(code_of(code), parsed(answer))

    def _verdict(self, code: str, answer: Any) -> TaskVerdict:
        job = self.job
        visible = run_cases(code, job.function, job.visible)
        hidden = run_cases(code, job.function, job.hidden)
        told = {"function": job.function, "passed": visible.passed, "total": visible.total}
        return TaskVerdict(
            solved=hidden.ok and answer == told,
            expected=f"{hidden.total} of {hidden.total} hidden tests, report {json.dumps(told)}",
            got=f"{hidden.passed} of {hidden.total} hidden tests, report {json.dumps(answer)}",
        )


_REPORT_SCHEMA = {
    "type": "object",
    "properties": {"function": {"type": "string"}, "passed": {"type": "integer"}, "total": {"type": "integer"}},
    "required": ["function", "passed", "total"],
    "additionalProperties": False,
}


def coding_jobs() -> tuple[Job, ...]:
    """Return the jobs; hidden cases are answered by the reference functions."""
    return (
        _job(
            _change,
            "change",
            "change(amount) returns the smallest list of coins from 50, 20, 10, 5, 2, 1 that sums to amount, "
            "largest first.",
            (63, 0, 99),
            (1, 4, 50, 188, 250),
        ),
        _job(
            _merge_spans,
            "merge_spans",
            "merge_spans(spans) merges overlapping or touching [start, end] lists and returns them sorted.",
            ([[1, 3], [2, 5]], [[5, 6], [1, 2]], [[1, 2], [2, 4], [8, 9]]),
            ([], [[4, 7]], [[1, 10], [2, 3]], [[6, 8], [1, 2], [2, 3], [7, 9]], [[0, 1], [3, 4]]),
        ),
    )


def _job(
    reference: Callable[[Any], Any], function: str, text: str, visible: tuple[Any, ...], hidden: tuple[Any, ...]
) -> Job:
    return Job(
        function=function,
        text=text,
        visible=tuple(Case((value,), reference(value)) for value in visible),
        hidden=tuple(Case((value,), reference(value)) for value in hidden),
    )


def _change(amount: int) -> list[int]:
    coins = []
    for coin in (50, 20, 10, 5, 2, 1):
        coins += [coin] * (amount // coin)
        amount %= coin
    return coins


def _merge_spans(spans: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = [merged[-1][0], max(merged[-1][1], end)]
        else:
            merged.append([start, end])
    return merged
