"""A provider without a model: answers from a script, deterministically. For tests, docs and trying things out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from agentrouter import bill
from agentrouter.types import CacheEntry, Call, Outcome, Reply, Status, TokenCounts

Answer: TypeAlias = "str | Reply | Outcome"
Script: TypeAlias = "Mapping[str, Answer | list[Answer]] | Callable[[Call], Answer]"


class Scripted:
    """Answer each call from a script.

    Args:
        script: a function of the call, or a mapping from candidate name, tier label, role or ``"*"`` (looked up in that
            order) to an answer or to a list of answers given in turn, the last one again and again.
        name: the provider's name.

    A ``str`` or ``Reply`` becomes an ok outcome whose usage is the step's estimated input (its prompt cache simulated
    over the calls of each trajectory) and one output token per four characters; an ``Outcome`` is passed through, its
    usage filled in the same way if it is ok and has none.
    """

    def __init__(self, script: Script, *, name: str = "example") -> None:
        self.name = name
        self.calls: list[Call] = []
        self._script = script
        self._turns: dict[str, int] = {}
        self._caches: dict[tuple[str, str, str], CacheEntry] = {}
        self._clock = 0.0

    async def send(self, call: Call) -> Outcome:
        """Return the scripted outcome."""
        self.calls.append(call)
        answer = self._script(call) if callable(self._script) else self._look_up(self._script, call)
        if isinstance(answer, Outcome):
            if answer.status is not Status.OK or answer.usage.input_total:
                return answer
            outcome = answer
        else:
            outcome = Outcome(reply=answer if isinstance(answer, Reply) else Reply(text=answer))
        return self._with_usage(call, outcome)

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _look_up(self, script: Mapping[str, Answer | list[Answer]], call: Call) -> Answer:
        for key in (call.candidate.name, call.candidate.tier.label, call.step.role, "*"):
            if key in script:
                answers = script[key]
                if not isinstance(answers, list):
                    return answers
                turn = self._turns.get(key, 0)
                self._turns[key] = turn + 1
                return answers[min(turn, len(answers) - 1)]
        return f"{call.candidate.tier.label} answer to step {call.step.index}"

    def _with_usage(self, call: Call, outcome: Outcome) -> Outcome:
        reply = outcome.reply
        written = len(reply.text) + sum(len(each.name) + len(each.arguments) for each in reply.tool_calls)
        tokens = TokenCounts(
            input=call.step.tokens.input, output=max(1, written // 4), cacheable=call.step.tokens.cacheable
        )
        key = (call.step.trajectory_id, call.step.prefix_hash, call.candidate.name)
        usage = bill.simulate_usage(call.candidate, tokens, self._caches.get(key), self._clock)
        entry = bill.cache_after(call.candidate, tokens, self._caches.get(key), self._clock)
        if entry is not None:
            self._caches[key] = entry
        return msgspec.structs.replace(outcome, usage=usage)
