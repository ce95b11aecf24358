"""The demo's tasks: each a short program around an ``Agent``, and a verdict by ordinary code.

To add one: one file with a class of this shape, one row in ``make_tasks``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from agentrouter.demo.agent import Agent, Helper

TO_JSON = Helper(
    "Turn the result into JSON.",
    (
        (
            "Result: The library was founded by Anna Holm in 1911.\nKeys: founder, year",
            '{"founder": "Anna Holm", "year": 1911}',
        ),
    ),
)
"""The helper that gives a sentence the form of a schema: the smallest work of every task."""


class TaskVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a task's end result is right."""

    solved: bool
    expected: str
    got: str


class Task(Protocol):
    """One task: the work, and the verdict on its result."""

    @property
    def name(self) -> str:
        """Short and unique."""
        ...

    @property
    def goal(self) -> str:
        """What is asked, in one sentence."""
        ...

    @property
    def system(self) -> str:
        """The system prompt of the task's agent."""
        ...

    async def run(self, agent: Agent) -> TaskVerdict:
        """Do the work and judge the result against the known answer."""
        ...


def make_tasks(folder: Path) -> tuple[Task, ...]:
    """Return the tasks in the order they are run; ``folder`` takes the files their tools need."""
    from agentrouter.demo.tasks.coding import CodingTask, coding_jobs
    from agentrouter.demo.tasks.data import DataTask, data_questions, make_orders
    from agentrouter.demo.tasks.research import ResearchTask, research_questions
    from agentrouter.demo.tasks.triage import TriageTask

    database = make_orders(folder / "orders.sqlite")
    return (
        *(DataTask(question, database) for question in data_questions()),
        *(ResearchTask(question) for question in research_questions()),
        *(CodingTask(job) for job in coding_jobs()),
        TriageTask(),
    )
