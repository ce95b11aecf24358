"""A question about a table: plan, write SQL, run it, say what the rows mean, give the answer as JSON."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentrouter.demo.agent import Agent, Helper, parsed
from agentrouter.demo.checks import Grounded, Mentions, SqlRuns, code_of
from agentrouter.demo.tasks import TO_JSON, TaskVerdict
from agentrouter.demo.tools import Database, ToolError

SYSTEM = """You are a careful data analyst. You work on one SQLite table:

orders(id INTEGER, day TEXT, region TEXT, product TEXT, units INTEGER, unit_price REAL)

day is text, year-month-day. region is one of north, south, east, west. product is one of lamp, chair, desk, shelf. \
The revenue of an order is units * unit_price. Be brief."""

PLAN = Helper(
    f"{SYSTEM} Plan queries in plain words, without SQL.",
    (
        (
            "Which day of May 2026 had the fewest orders of chairs, and how many?",
            "Keep the orders of product chair whose day starts with 2026-05; group them by day; count them; "
            "sort by the count, smallest first; take the first row.",
        ),
    ),
)

INTERPRET = Helper(
    "Answer the question in one sentence from the result of a query. Copy figures exactly.",
    (
        (
            "Question: Which product sold the fewest units, and how many?\n"
            "Result of the query:\nproduct | units\nrug | 17",
            "The product that sold the fewest units was the rug, with 17 units.",
        ),
    ),
)

SEED = 2026
ORDERS = 240
_REGIONS = ("north", "south", "east", "west")
_PRICES = {"lamp": 24.5, "chair": 79.0, "desk": 210.0, "shelf": 58.25}


class Order(msgspec.Struct, frozen=True):
    """One row of the table."""

    id: int
    day: str
    region: str
    product: str
    units: int
    unit_price: float


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its known answer."""

    name: str
    text: str
    schema: Mapping[str, Any]
    answer: Mapping[str, Any]


class DataTask(msgspec.Struct, frozen=True):
    """Answer one question from the table."""

    question: Question
    database: Database

    @property
    def name(self) -> str:
        """``data/<question>``."""
        return f"data/{self.question.name}"

    @property
    def goal(self) -> str:
        """The question."""
        return self.question.text

    @property
    def system(self) -> str:
        """Who the agent is, and the table."""
        return SYSTEM

    async def run(self, agent: Agent) -> TaskVerdict:
        """Plan, query, interpret, format."""
        plan = await agent.aside("plan", self.question.text, helper=PLAN, max_tokens=80)
        sql = await agent.ask(
            "tool_call",
            f"Question: {self.question.text}\nPlan: {plan}\n"
            "Write the SQLite query that answers the question. Answer with one SELECT statement and nothing else.",
            checks=(SqlRuns(self.database),),
            max_tokens=120,
        )
        try:
            rows = self.database.query(code_of(sql)).text()
        except ToolError as error:
            rows = f"error: {error}"
        evidence = f"{self.question.text}\n{rows}"
        sentence = await agent.aside(
            "summarise",
            f"Question: {self.question.text}\nResult of the query:\n{rows}",
            helper=INTERPRET,
            checks=(Mentions(evidence),),
            max_tokens=80,
        )
        keys = self.question.schema["properties"]
        answer = await agent.aside(
            "format",
            f"Result: {sentence}\nKeys: {', '.join(keys)}",
            helper=TO_JSON,
            schema=self.question.schema,
            checks=(Grounded(rows),),
            max_tokens=80,
        )
        return self._verdict(parsed(answer))

    def _verdict(self, answer: Any) -> TaskVerdict:
        expected = self.question.answer
        solved = isinstance(answer, dict) and all(_same(answer.get(key), value) for key, value in expected.items())
        return TaskVerdict(solved=solved, expected=json.dumps(expected), got=json.dumps(answer))


def orders() -> tuple[Order, ...]:
    """Return the rows, always the same."""
    draw = random.Random(SEED)
    made = []
    for number in range(1, ORDERS + 1):
        product = draw.choice(sorted(_PRICES))
        day = f"2026-{draw.randint(1, 6):02}-{draw.randint(1, 28):02}"
        made.append(Order(number, day, draw.choice(_REGIONS), product, draw.randint(1, 20), _PRICES[product]))
    return tuple(made)


def make_orders(path: Path) -> Database:
    """Write the table to a new file and return it for reading."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE orders(id INTEGER, day TEXT, region TEXT, product TEXT, units INTEGER, unit_price REAL)"
        )
        connection.executemany(
            "INSERT INTO orders VALUES (?,?,?,?,?,?)", [msgspec.structs.astuple(row) for row in orders()]
        )
        connection.commit()
    return Database(path)


def data_questions() -> tuple[Question, ...]:
    """Return the questions; their answers come from the rows by plain Python, not by SQL."""
    march: Counter[str] = Counter()
    lamps: Counter[str] = Counter()
    for row in orders():
        if row.day.startswith("2026-03"):
            march[row.region] += row.units * row.unit_price  # type: ignore[assignment]
        if row.product == "lamp" and row.units > 10:
            lamps[row.region] += 1
    region, revenue = march.most_common(1)[0]
    return (
        Question(
            name="best-region",
            text="Which region had the highest total revenue in March 2026, and how much was it?",
            schema=_schema(region={"type": "string"}, revenue={"type": "number"}),
            answer={"region": region, "revenue": round(float(revenue), 2)},
        ),
        Question(
            name="big-lamp-orders",
            text="How many orders of lamps with more than 10 units did the region west place?",
            schema=_schema(orders={"type": "integer"}),
            answer={"orders": lamps["west"]},
        ),
    )


def _schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _same(got: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return isinstance(got, str) and got.strip().lower() == expected.lower()
    return isinstance(got, int | float) and not isinstance(got, bool) and abs(got - expected) < 0.01
