"""Route the steps of a small run in process: decide, call, check, escalate, and read the bill.

Run: ``python examples/library.py``. The scripted provider stands in for models, so this needs no key; with
``Router.from_config(load_config("router.yaml"))`` the same lines run on real ones.
"""

from __future__ import annotations

import asyncio

from agentrouter import Router, load_config
from agentrouter.bill import format_usd
from agentrouter.providers.scripted import Scripted
from agentrouter.types import OutputContract

ANSWERS = {
    "frontier": "1. count the open invoices  2. sum them  3. report as JSON",
    "mid": "SELECT count(*), sum(amount) FROM invoices WHERE paid = 0",
    "minimal": "There are 3 open invoices worth 120 EUR.",  # not the JSON that was asked for
    "efficient": '{"open": 3, "total": 120}',
}

STEPS = (
    ("planner", "Plan how to report the open invoices.", OutputContract()),
    ("worker", "Write the SQL.", OutputContract()),
    ("format", "Give the result as JSON.", OutputContract(form="json")),
)


async def main() -> None:
    config = load_config()
    async with Router(config.world, "escalate:roles", providers={"example": Scripted(ANSWERS)}) as router:
        messages = [{"role": "system", "content": "You are an accountant's assistant."}]
        for role, task, contract in STEPS:
            messages.append({"role": "user", "content": task})
            step = router.step(messages, trajectory_id="invoices", role=role, output=contract)
            record = await router.run(step)
            assert record.reply is not None, record.status
            messages.append({"role": "assistant", "content": record.reply.text})
            tried = " -> ".join(attempt.candidate.tier.label for attempt in record.attempts)
            print(f"{role:8} {tried:24} {format_usd(record.cost_nusd):>12}  {record.reply.text}")
        spend = router.sessions.state("invoices").history.spend_nusd
        print(f"{'all':33} {format_usd(spend):>12}")


if __name__ == "__main__":
    asyncio.run(main())
