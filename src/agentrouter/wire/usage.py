"""Usage objects of the vendors -> ``Usage``: the four counting conventions, told apart by their shape.

Law: every count is taken as reported or refused; nothing is guessed. A response without a usage object is None here,
and whoever needs a figure makes an estimate and says so (``Usage(..., estimated=True)``).

============  =========================================  ======================================================
convention    prompt count                               output count
============  =========================================  ======================================================
openai        includes cached and cache-write tokens     includes reasoning, unless the total says it is apart
anthropic     excludes cache reads and cache writes      includes thinking
gemini        includes cached tokens, not tool use       candidates; thoughts are counted apart
deepseek      sum of cache hits and misses               includes reasoning
============  =========================================  ======================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agentrouter.bill import MAX_TOKENS
from agentrouter.errors import InputError
from agentrouter.types import Usage


def usage_from(convention: str, raw: Mapping[str, object]) -> Usage:
    """Return the usage that ``raw`` reports, its counts made disjoint.

    Args:
        convention: one of ``openai``, ``anthropic``, ``gemini``, ``deepseek``.
        raw: the usage object itself (``usage``, ``usageMetadata``), not the response around it.

    Raises:
        InputError: an unknown convention; a count is missing, negative, not a whole number, absurdly large, or
            contradicts another (more cached than input); names the field.
    """
    try:
        read = _CONVENTIONS[convention]
    except KeyError:
        known = ", ".join(_CONVENTIONS)
        raise InputError(f"unknown usage convention {convention!r}: expected one of {known}") from None
    return read(raw)


def detect_convention(raw: Mapping[str, object]) -> str:
    """Return the convention that ``raw`` follows, by the names of its fields.

    A bare ``input_tokens`` and ``output_tokens`` pair means the same in both conventions that use these names and
    reads as ``anthropic``.

    Raises:
        InputError: the fields are of no convention, or of two that count differently.
    """
    if "promptTokenCount" in raw or "prompt_token_count" in raw:
        return "gemini"
    if "prompt_cache_hit_tokens" in raw or "prompt_cache_miss_tokens" in raw:
        return "deepseek"
    if "prompt_tokens" in raw:
        return "openai"
    if "input_tokens" in raw:
        apart = [name for name in _ANTHROPIC_ONLY if raw.get(name) is not None]
        inside = [name for name in ("input_tokens_details", "total_tokens") if raw.get(name) is not None]
        if apart and inside:
            raise InputError(
                f"{apart[0]} (input excludes cached) and {inside[0]} (input includes cached) contradict each other",
                field="input_tokens",
            )
        return "openai" if inside else "anthropic"
    names = ", ".join(sorted(str(name) for name in raw)) or "nothing"
    raise InputError(f"expected a usage object with prompt_tokens, input_tokens or promptTokenCount, got {names}")


def read_usage(raw: object, convention: str = "") -> Usage | None:
    """Return the usage that ``raw`` reports; None: the response has none (absent, null or empty).

    Raises:
        InputError: ``raw`` is not an object, or as for ``usage_from`` and ``detect_convention``.
    """
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise InputError(f"expected a usage object, got {type(raw).__name__}", field="usage")
    if not raw:
        return None
    return usage_from(convention or detect_convention(raw), raw)


_ANTHROPIC_ONLY = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")


def _openai(raw: Mapping[str, object]) -> Usage:
    """Chat Completions (``prompt_tokens``) and Responses (``input_tokens``)."""
    before, after = ("prompt", "completion") if "prompt_tokens" in raw else ("input", "output")
    total_input = _required(raw, f"{before}_tokens")
    whole = _optional(raw, "total_tokens")
    # Embeddings report no completion, and a total that equals the prompt.
    none_made = raw.get(f"{after}_tokens") is None and whole == total_input
    output = 0 if none_made else _required(raw, f"{after}_tokens")
    details, details_path = _object(raw, f"{before}_tokens_details")
    cached = _optional(details, "cached_tokens", details_path)
    written = _optional(details, "cache_write_tokens", details_path)
    if not written:
        # Gateways that translate an Anthropic answer put its cache writes at the top and inside the prompt count.
        written = _optional(raw, "cache_creation_input_tokens")
    if cached + written > total_input:
        raise InputError(
            f"{cached} cached and {written} written tokens are more than the {total_input} of the prompt",
            field=f"{details_path}.cached_tokens",
        )
    out_details, out_path = _object(raw, f"{after}_tokens_details")
    reasoning = _optional(out_details, "reasoning_tokens", out_path)
    if reasoning and whole == total_input + output + reasoning:
        output += reasoning  # xAI counts reasoning apart from the completion; the total shows it
    if reasoning > output:
        raise InputError(
            f"{reasoning} reasoning tokens are more than the {output} of the output",
            field=f"{out_path}.reasoning_tokens",
        )
    return Usage(
        fresh_input=total_input - cached - written,
        cache_read=cached,
        cache_write=written,
        output=output,
        reasoning=reasoning,
    )


def _anthropic(raw: Mapping[str, object]) -> Usage:
    split, path = _object(raw, "cache_creation")
    five_minutes = _optional(split, "ephemeral_5m_input_tokens", path)
    one_hour = _optional(split, "ephemeral_1h_input_tokens", path)
    written = _optional(raw, "cache_creation_input_tokens")
    if raw.get("cache_creation_input_tokens") is None:
        written = five_minutes + one_hour
    elif split.get("ephemeral_5m_input_tokens") is None:
        five_minutes = written - one_hour
    if five_minutes < 0 or five_minutes + one_hour != written:
        raise InputError(
            f"the split {five_minutes} + {one_hour} does not add up to the {written} tokens written",
            field="cache_creation_input_tokens",
        )
    output = _required(raw, "output_tokens")
    details, details_path = _object(raw, "output_tokens_details")
    thinking = _optional(details, "thinking_tokens", details_path)
    if thinking > output:
        raise InputError(
            f"{thinking} thinking tokens are more than the {output} of the output",
            field=f"{details_path}.thinking_tokens",
        )
    return Usage(
        fresh_input=_required(raw, "input_tokens"),
        cache_read=_optional(raw, "cache_read_input_tokens"),
        cache_write=five_minutes,
        cache_write_1h=one_hour,
        output=output,
        reasoning=thinking,
    )


def _gemini(raw: Mapping[str, object]) -> Usage:
    """``usageMetadata`` of the HTTP API, or its snake-case form in the Python SDK."""
    if "promptTokenCount" in raw or "prompt_token_count" not in raw:
        prompt_name, cached_name, tool_name = "promptTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount"
        answer_name, thought_name, total_name = "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"
    else:
        prompt_name, cached_name = "prompt_token_count", "cached_content_token_count"
        tool_name, answer_name = "tool_use_prompt_token_count", "candidates_token_count"
        thought_name, total_name = "thoughts_token_count", "total_token_count"
    prompt = _required(raw, prompt_name)
    cached = _optional(raw, cached_name)
    if cached > prompt:
        raise InputError(f"{cached} cached tokens are more than the {prompt} of the prompt", field=cached_name)
    tool_use = _optional(raw, tool_name)
    thoughts = _optional(raw, thought_name)
    if raw.get(answer_name) is None and _optional(raw, total_name) == prompt + tool_use + thoughts:
        answer = 0  # the API leaves out counts that are zero; the total proves that this one is
    else:
        answer = _required(raw, answer_name)
    return Usage(
        fresh_input=prompt - cached + tool_use, cache_read=cached, output=answer + thoughts, reasoning=thoughts
    )


def _deepseek(raw: Mapping[str, object]) -> Usage:
    hits = _required(raw, "prompt_cache_hit_tokens")
    misses = _required(raw, "prompt_cache_miss_tokens")
    if raw.get("prompt_tokens") is not None and _required(raw, "prompt_tokens") != hits + misses:
        raise InputError(
            f"{hits} cache hits and {misses} misses do not add up to prompt_tokens {raw['prompt_tokens']}",
            field="prompt_cache_miss_tokens",
        )
    output = _required(raw, "completion_tokens")
    details, path = _object(raw, "completion_tokens_details")
    reasoning = _optional(details, "reasoning_tokens", path)
    if reasoning > output:
        raise InputError(
            f"{reasoning} reasoning tokens are more than the {output} of the output", field=f"{path}.reasoning_tokens"
        )
    return Usage(fresh_input=misses, cache_read=hits, output=output, reasoning=reasoning)


_CONVENTIONS: Mapping[str, Callable[[Mapping[str, object]], Usage]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "deepseek": _deepseek,
}


def _required(raw: Mapping[str, object], name: str) -> int:
    if raw.get(name) is None:
        raise InputError("expected a number of tokens, got nothing", field=name)
    return _optional(raw, name)


def _optional(raw: Mapping[str, object], name: str, path: str = "") -> int:
    count = raw.get(name)
    if count is None:
        return 0
    # bool is an int to Python, not to a bill; 5.0 is refused with 5.5, since a float may already have been rounded.
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_TOKENS:
        raise InputError(
            f"expected a whole number of tokens from 0 to {MAX_TOKENS}, got {count!r}",
            field=f"{path}.{name}" if path else name,
        )
    return count


def _object(raw: Mapping[str, object], name: str) -> tuple[Mapping[str, object], str]:
    part = raw.get(name)
    if part is None:
        return {}, name
    if not isinstance(part, Mapping):
        raise InputError(f"expected an object, got {type(part).__name__}", field=name)
    return part, name
