"""Which public sources may train weights that ship, which are for comparison in the lab, which for measuring only.

Law: a literal table, as read on the day of ``AS_OF``; a source that is not in it has no licence mark and trains nothing
that ships until somebody has looked and added a row.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

AS_OF = "2026-11-22"
"""When the marks were last checked."""


class Use(StrEnum):
    """What a source may be used for."""

    SHIP = "ship"
    """May train what ships."""
    COMPARE = "compare"
    """May train models that stay in the lab."""
    MEASURE = "measure"
    """A published yardstick: trains nothing at all."""
    UNKNOWN = "unknown"
    """Not in the table; treated as ``COMPARE``."""


class Mark(msgspec.Struct, frozen=True):
    """The licence mark of one source."""

    licence: str
    use: Use
    note: str = ""


_NO_LICENCE = "none stated"
_INTERNAL = "not cleared"

SOURCES: dict[str, Mark] = {
    "bfcl_v2": Mark("Apache-2.0", Use.SHIP, "licence of the questions"),
    "bfcl_v4_gptoss": Mark("Apache-2.0", Use.SHIP),
    "planbench": Mark("MIT", Use.SHIP),
    "mint": Mark("Apache-2.0", Use.SHIP),
    "mint_turns": Mark("Apache-2.0", Use.SHIP),
    "intercode_first": Mark("MIT", Use.SHIP, "a first turn that only looks counts as failed"),
    "intercode_later": Mark("MIT", Use.SHIP),
    "taubench_gpt4o_airline": Mark("MIT", Use.SHIP),
    "whoandwhen": Mark("MIT", Use.SHIP, "failed runs; their system has no tier"),
    "openhands_index": Mark("MIT", Use.SHIP, "whole runs; only the task is shown"),
    "twinrouter_part": Mark("Apache-2.0, MIT", Use.SHIP, "outcomes derive from the cheapest tier that was verified"),
    "zeroeval_gsm": Mark("Apache-2.0", Use.SHIP, "repeats a RouteLLM set"),
    "zeroeval_mathl5": Mark("Apache-2.0", Use.SHIP),
    "zeroeval_numersensev2": Mark("Apache-2.0", Use.SHIP),
    "mmlupro": Mark("Apache-2.0", Use.SHIP),
    "llmrouter_fusion": Mark("MIT", Use.SHIP),
    "llmrouter_nq": Mark("MIT", Use.SHIP),
    "lcb_generation": Mark("MIT", Use.SHIP, "licence of the text"),
    "lcb_testgen": Mark("MIT", Use.SHIP, "licence of the text"),
    "routellm_mmlu": Mark("published evaluation set", Use.MEASURE),
    "routellm_gsm8k": Mark("published evaluation set", Use.MEASURE),
    "routellm_mtbench": Mark("published evaluation set", Use.MEASURE),
    "agentprocessbench_critic": Mark(_NO_LICENCE, Use.COMPARE),
    "agentprocessbench_worker": Mark(_NO_LICENCE, Use.COMPARE),
    "swebench_bash_only": Mark("CC BY-NC", Use.COMPARE),
    "alpacaeval_v1": Mark(_INTERNAL, Use.COMPARE),
    "alpacaeval_v2": Mark(_INTERNAL, Use.COMPARE),
    "gemini_benchmark": Mark(_INTERNAL, Use.COMPARE),
    "routerbench_part": Mark(_INTERNAL, Use.COMPARE),
    "routerdc_7b": Mark(_INTERNAL, Use.COMPARE),
}
"""Source -> mark."""

_UNMARKED = Mark("unknown", Use.UNKNOWN, "no row in the table of licences")


def mark(source: str) -> Mark:
    """Return the mark of a source; one without a row is ``UNKNOWN``, and one of RouteLLM's sets is for measuring."""
    found = SOURCES.get(source)
    if found is not None:
        return found
    if source.startswith("routellm_"):
        return Mark("published evaluation set", Use.MEASURE)
    return _UNMARKED


def may_train(source: str, *, licensed_only: bool) -> bool:
    """Whether a source belongs in a training table."""
    use = mark(source).use
    return use is Use.SHIP or (not licensed_only and use is not Use.MEASURE)
