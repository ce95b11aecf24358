"""A script for ``Scripted`` that solves every task of the demo, and knobs to make it go wrong."""

from __future__ import annotations

import json

from agentrouter.demo.tasks.coding import coding_jobs
from agentrouter.demo.tasks.data import data_questions
from agentrouter.demo.tasks.research import research_questions
from agentrouter.demo.tasks.triage import QUEUES
from agentrouter.types import Call

SQL = {
    "data/best-region": "SELECT region, SUM(units * unit_price) AS revenue FROM orders WHERE day LIKE '2026-03-%' "
    "GROUP BY region ORDER BY revenue DESC LIMIT 1",
    "data/big-lamp-orders": "SELECT COUNT(*) AS orders FROM orders WHERE product = 'lamp' AND units > 10 "
    "AND region = 'west'",
}
CODE = {
    "coding/change": "def change(amount):\n    coins = []\n    for coin in (50, 20, 10, 5, 2, 1):\n"
    "        coins += [coin] * (amount // coin)\n        amount %= coin\n    return coins",
    "coding/merge_spans": "def merge_spans(spans):\n    out = []\n    for a, b in sorted(spans):\n"
    "        if out and a <= out[-1][1]:\n            out[-1][1] = max(out[-1][1], b)\n"
    "        else:\n            out.append([a, b])\n    return out",
}
CHOICE = {"research/lighthouse": "D01", "research/winter-ferry": "D06"}
QUERY = {"research/lighthouse": "Skarv lighthouse electric lamp keeper", "research/winter-ferry": "ferry in winter"}
WORDS = {"payment": ("invoice", "refund", "billed"), "delivery": ("parcel",), "password": ("password",)}


def _json_answers() -> dict[str, object]:
    answers: dict[str, object] = {f"data/{each.name}": dict(each.answer) for each in data_questions()}
    answers |= {f"research/{each.name}": dict(each.answer) for each in research_questions()}
    for job in coding_jobs():
        total = len(job.visible)
        answers[f"coding/{job.function}"] = {"function": job.function, "passed": total, "total": total}
    return answers


def right(call: Call) -> str:
    """Answer every step rightly."""
    task, role = call.step.trajectory_id, call.step.role
    last = call.step.messages[-1].text
    if role == "plan":
        return QUERY.get(task, "first this, then that")
    if role == "tool_call":
        return f"```sql\n{SQL[task]}\n```"
    if role in ("edit", "debug"):
        return f"```python\n{CODE[task]}\n```"
    if role == "retrieve":
        return json.dumps({"id": CHOICE[task]})
    if role == "format":
        return json.dumps(_json_answers()[task])
    if role == "classify":
        return json.dumps(next(queue for queue in QUEUES if any(word in last for word in WORDS[queue])))
    return "a sentence that claims nothing"
