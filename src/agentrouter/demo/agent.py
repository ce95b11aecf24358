"""An agent in one screen: a conversation whose every model call is a routed step.

This is example code to copy. It uses nothing but ``Router.step`` and ``Router.run``. What it adds to a chat loop so
that it can be routed well are three things: a *role* for each step (the org chart and the bill go by it), an *output
contract* (so that a wrong form is noticed), and *checks* (so that a wrong answer is noticed and goes one tier up).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agentrouter.router import Router
from agentrouter.types import OutputContract, StepRecord
from agentrouter.verifiers import Verifier

MAX_TOKENS = 160


class Helper(msgspec.Struct, frozen=True):
    """The fixed head of a short prompt: what the work is, and examples of it done."""

    system: str
    examples: tuple[tuple[str, str], ...] = ()


class StepFailedError(Exception):
    """No model could answer a step; the message says which step and why."""


class Agent:
    """A conversation with one system prompt. Every ``ask`` is one step of the trajectory.

    Args:
        router: what chooses, calls, checks and books.
        trajectory_id: the task's id; all steps of it share prompt caches and budget.
        system: the system prompt. It stays the same, and messages are only ever appended, because every provider's
            prompt cache lives by that.
        on_step: called with each finished step.
    """

    def __init__(
        self,
        router: Router,
        trajectory_id: str,
        system: str,
        on_step: Callable[[StepRecord], None] = lambda record: None,
    ) -> None:
        self._router = router
        self._trajectory_id = trajectory_id
        self._on_step = on_step
        self._messages: list[dict[str, str]] = [{"role": "system", "content": system}]

    async def ask(
        self,
        role: str,
        instruction: str,
        *,
        schema: Mapping[str, Any] | None = None,
        checks: Sequence[Verifier] = (),
        max_tokens: int = MAX_TOKENS,
    ) -> str:
        """Go on with the conversation: run one step on all of it and return the answer that was served.

        Args:
            role: what kind of work this step is (``plan``, ``edit``, ``summarise``, ``format``, ...).
            instruction: what to do now, with the results of tools in it.
            schema: JSON Schema the answer must obey; None: free text.
            checks: what the answer must pass, beyond its form; a failure sends the step one tier up.
            max_tokens: the longest answer wanted.

        Raises:
            StepFailedError: no model answered.
        """
        self._messages.append({"role": "user", "content": instruction})
        text = await self._step(role, self._messages, _contract(schema, max_tokens), checks)
        self._messages.append({"role": "assistant", "content": text})
        return text

    async def aside(
        self,
        role: str,
        instruction: str,
        *,
        helper: Helper,
        schema: Mapping[str, Any] | None = None,
        checks: Sequence[Verifier] = (),
        max_tokens: int = MAX_TOKENS,
    ) -> str:
        """Run one step on a short prompt of its own instead of the conversation; see ``ask`` for the rest.

        A small model does small work well when it is shown only that work; and the long conversation need not be
        computed, or paid for, a second time at another model.

        Raises:
            StepFailedError: no model answered.
        """
        messages = [{"role": "system", "content": helper.system}]
        for question, answer in helper.examples:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": instruction})
        return await self._step(role, messages, _contract(schema, max_tokens), checks)

    async def _step(
        self, role: str, messages: list[dict[str, str]], contract: OutputContract, checks: Sequence[Verifier]
    ) -> str:
        step = self._router.step(messages, trajectory_id=self._trajectory_id, role=role, output=contract)
        record = await self._router.run(step, checks=checks)
        self._on_step(record)
        if record.reply is None:
            detail = record.attempts[-1].outcome.failure_detail if record.attempts else ""
            raise StepFailedError(f"step {step.id} ({role}) got no answer: {detail or record.status}")
        return record.reply.text


def parsed(text: str) -> Any:
    """Return the value of a JSON answer; None where even the last tier's answer is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _contract(schema: Mapping[str, Any] | None, max_tokens: int) -> OutputContract:
    if schema is None:
        return OutputContract(max_tokens=max_tokens)
    return OutputContract(form="json_schema", schema=json.dumps(schema), max_tokens=max_tokens)
