"""The roles of steps: the canonical names, what other programs call them, and the guess where nobody said.

Law: pure tables and functions over values.
"""

from __future__ import annotations

from agentrouter.types import CallKind, Step

_ALIASES: dict[str, str] = {
    "plan": "planner planning orchestrator orchestrate supervisor coordinator decompose architect lead director",
    "reason": "reasoner reasoning think thinker solver solve analyst analyse analyze analysis math debug diagnose",
    "retrieve": (
        "retriever retrieval search searcher research researcher browse browser lookup explore explorer read reader rag"
    ),
    "tool_call": "tool tools tool_use tool_caller tool_calling function_call function function_calling api_call",
    "edit": (
        "editor code coder coding developer programmer engineer write writer draft refactor implement implementer "
        "fix generate generator author"
    ),
    "execute": (
        "executor execution worker actor act action run runner operator shell terminal computer_terminal agent "
        "subagent sub_agent"
    ),
    "summarise": "summarize summary summariser summarizer summarization compact compaction condense compress",
    "format": (
        "formatter formatting extract extractor extraction convert structured translate translator classify "
        "classifier classification route label"
    ),
    "verify": (
        "verifier verification critic critique review reviewer check checker judge evaluator evaluate validator "
        "validate test tester grade grader guardrail"
    ),
    "chat": "assistant conversation conversational dialog dialogue respond responder answer answerer support talk",
    "title": "titles naming namer headline",
    "probe": "ping health warmup warm_up quota",
    "unknown": "none null other default step main llm model",
}

ROLES: dict[str, frozenset[str]] = {role: frozenset(words.split()) for role, words in _ALIASES.items()}
"""Canonical role -> its aliases (lower case, words joined by ``_``)."""

_CANONICAL = {alias: role for role, aliases in ROLES.items() for alias in (role, *aliases)}

_VERBS: dict[str, str] = {
    "plan": "plan design decompose outline organize organise strategize schedule prioritize prioritise",
    "reason": (
        "explain why prove solve calculate compute analyze analyse compare debug diagnose investigate derive "
        "determine decide reason think"
    ),
    "retrieve": "find search look list show read fetch get locate browse retrieve grep open explore research lookup",
    "tool_call": "call invoke book cancel send transfer refund",
    "edit": (
        "fix implement write edit refactor add create change update modify rename remove delete build replace "
        "insert port migrate code generate develop complete"
    ),
    "execute": "run execute install deploy start restart launch compile commit push",
    "summarise": "summarize summarise condense recap shorten compact tldr",
    "format": "format convert extract translate classify label rewrite reformat sort parse transcribe rephrase",
    "verify": "verify check review test validate evaluate judge critique grade assess confirm rate",
}

VERBS: dict[str, str] = {verb: role for role, words in _VERBS.items() for verb in words.split()}
"""Verb of an instruction -> the canonical role of a step that carries it out."""

_VERB_CHARS = 320
_VERB_WORDS = 40
_KINDS = {CallKind.TITLE: "title", CallKind.PROBE: "probe", CallKind.COMPACTION: "summarise"}
_PUNCTUATION = ".,:;!?\"'`()[]{}<>*#-"

_TOOLS: dict[str, str] = {
    "plan": "todo plan task agent transfer_to",
    "edit": "edit write replace patch create",
    "retrieve": "search grep glob read fetch list view find lookup get_ browse retrieve",
    "execute": "bash shell exec run terminal python command",
    "verify": "test",
    "format": "final",
}
_TOOL_WORDS = tuple((word, role) for role, words in _TOOLS.items() for word in words.split())
"""Part of a tool's name -> the role of a step that calls it; the first match counts."""


def canonical_role(name: str) -> str:
    """Return the canonical role a name stands for, or ``""`` where it is the user's own word."""
    if not name:
        return "unknown"
    found = _CANONICAL.get(name)
    if found is not None:
        return found
    return _CANONICAL.get("_".join(name.lower().replace("-", " ").split()), "")


def verb_role(instruction: str) -> str:
    """Return the role that the first known verb among the opening words of an instruction asks for."""
    for word in instruction[:_VERB_CHARS].lower().split(None, _VERB_WORDS)[:_VERB_WORDS]:
        role = VERBS.get(word) or VERBS.get(word.strip(_PUNCTUATION))
        if role is not None:
            return role
    return "unknown"


def tool_role(name: str) -> str:
    """Return the role of a step that calls a tool of this name."""
    lowered = name.lower()
    for word, role in _TOOL_WORDS:
        if word in lowered:
            return role
    return "tool_call"


def role_from(step: Step, verb: str, last_call: str, *, is_tool_result: bool, last_is_error: bool) -> str:
    """Guess the canonical role from what is visible: kind, contract, newest message, tools, verb.

    Args:
        step: the step.
        verb: ``verb_role`` of its newest instruction.
        last_call: name of the newest tool the agent called, or empty.
        is_tool_result: whether the newest message is a tool's answer.
        last_is_error: whether the newest observation reports a failure.
    """
    by_kind = _KINDS.get(step.kind)
    if by_kind is not None:
        return by_kind
    form = step.output.form
    if form == "tool":
        return "format" if _only_answers(step) else "tool_call"
    if not step.messages:
        return "unknown"
    if is_tool_result:
        if last_is_error:
            return "reason"
        return tool_role(last_call) if last_call else "tool_call"
    if form in ("json", "json_schema") and verb == "unknown":
        return "format"
    if verb != "unknown":
        return verb
    return "tool_call" if step.tools else "chat"


def _only_answers(step: Step) -> bool:
    """Whether the forced tool only wraps the answer (``final_result`` and the like)."""
    forced = step.output.tool or (step.tools[0].name if len(step.tools) == 1 else "")
    return forced.startswith(("final_", "structured_", "respond", "answer", "output"))
