"""Tickets to sort: one constrained choice each. The many small steps a minimal model is for."""

from __future__ import annotations

import msgspec

from agentrouter.demo.agent import Agent, Helper, parsed
from agentrouter.demo.checks import Sure
from agentrouter.demo.tasks import TaskVerdict

QUEUES = ("payment", "delivery", "password")

SORT = Helper(
    f"Sort the ticket into one queue: {', '.join(QUEUES)}.",
    (
        ("I was charged the wrong amount.", '"payment"'),
        ("The courier left my parcel in the rain.", '"delivery"'),
        ("The login page says wrong password.", '"password"'),
        ("When will my order arrive?", '"delivery"'),
        ("My account is locked, I need a new password.", '"password"'),
        ("I want my money back.", '"payment"'),
    ),
)

_TICKETS: tuple[tuple[str, str], ...] = (
    ("Please send me the invoice for my last payment again.", "payment"),
    ("My parcel was due on Monday and was not delivered.", "delivery"),
    ("The refund you promised has not been paid to my bank.", "payment"),
    ("The reset link for my password does not work.", "password"),
    ("I was billed twice this month.", "payment"),
)

LEAST_LIKELIHOOD = 0.8
"""Below this the next tier is asked. Set by eye on tickets like these; a real deployment would calibrate it."""


class TriageTask(msgspec.Struct, frozen=True):
    """Sort the tickets."""

    tickets: tuple[tuple[str, str], ...] = _TICKETS

    @property
    def name(self) -> str:
        """``triage/tickets``."""
        return "triage/tickets"

    @property
    def goal(self) -> str:
        """What is asked."""
        return f"Sort {len(self.tickets)} tickets into the queues {', '.join(QUEUES)}."

    @property
    def system(self) -> str:
        """What the work is."""
        return SORT.system

    async def run(self, agent: Agent) -> TaskVerdict:
        """Sort each ticket."""
        sorted_into = []
        for text, _ in self.tickets:
            answer = await agent.aside(
                "classify",
                text,
                helper=SORT,
                schema={"enum": list(QUEUES)},
                checks=(Sure(LEAST_LIKELIHOOD),),
                max_tokens=24,
            )
            sorted_into.append(str(parsed(answer)))
        return self._verdict(sorted_into)

    def _verdict(self, sorted_into: list[str]) -> TaskVerdict:
        expected = [queue for _, queue in self.tickets]
        right = sum(got == wanted for got, wanted in zip(sorted_into, expected, strict=True))
        return TaskVerdict(solved=right == len(expected), expected=", ".join(expected), got=", ".join(sorted_into))
