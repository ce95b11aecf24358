"""Usage objects of the vendors: counts made disjoint, conventions told apart, nonsense refused by field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.errors import InputError
from agentrouter.types import Usage
from agentrouter.wire.usage import detect_convention, read_usage, usage_from

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
RESPONSES = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}
MESSAGES = {
    "input_tokens": 36,
    "cache_read_input_tokens": 64,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 5},
}
GEMINI = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 64,
    "toolUsePromptTokenCount": 7,
    "candidatesTokenCount": 15,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 127,
}
GEMINI_SDK = {
    "prompt_token_count": 100,
    "cached_content_token_count": 64,
    "tool_use_prompt_token_count": 7,
    "candidates_token_count": 15,
    "thoughts_token_count": 5,
    "total_token_count": 127,
}
DEEPSEEK = {
    "prompt_tokens": 100,
    "prompt_cache_hit_tokens": 64,
    "prompt_cache_miss_tokens": 36,
    "completion_tokens": 20,
    "completion_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}

SHAPES = {
    "chat": ("openai", CHAT, Usage(fresh_input=36, cache_read=64, output=20, reasoning=5)),
    "responses": ("openai", RESPONSES, Usage(fresh_input=36, cache_read=64, output=20, reasoning=5)),
    "messages": (
        "anthropic",
        MESSAGES,
        Usage(fresh_input=36, cache_read=64, cache_write=10, cache_write_1h=20, output=20, reasoning=5),
    ),
    "gemini": ("gemini", GEMINI, Usage(fresh_input=43, cache_read=64, output=20, reasoning=5)),
    "gemini sdk": ("gemini", GEMINI_SDK, Usage(fresh_input=43, cache_read=64, output=20, reasoning=5)),
    "deepseek": ("deepseek", DEEPSEEK, Usage(fresh_input=36, cache_read=64, output=20, reasoning=5)),
}


@pytest.mark.parametrize(("convention", "raw", "usage"), SHAPES.values(), ids=SHAPES)
def test_each_shape_is_recognised_and_read(convention: str, raw: dict[str, Any], usage: Usage) -> None:
    assert detect_convention(raw) == convention
    assert usage_from(convention, raw) == usage
    assert read_usage(raw) == usage


class TestSpecialCases:
    def test_null_details_are_no_details(self) -> None:
        raw: dict[str, Any] = {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "prompt_tokens_details": None,
            "completion_tokens_details": {},
        }
        assert read_usage(raw) == Usage(fresh_input=9, output=1)

    def test_openai_cache_writes_are_inside_the_prompt(self) -> None:
        details = {"cached_tokens": 64, "cache_write_tokens": 30}
        raw = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": details}
        assert read_usage(raw) == Usage(fresh_input=6, cache_read=64, cache_write=30, output=1)

    def test_translated_anthropic_answer_keeps_its_writes(self) -> None:
        raw = {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 64},
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 64,
        }
        assert detect_convention(raw) == "openai"
        assert read_usage(raw) == Usage(fresh_input=6, cache_read=64, cache_write=30, output=1)

    def test_reasoning_apart_is_told_by_the_total(self) -> None:
        details = {"reasoning_tokens": 135}
        raw = {"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": details}
        assert usage_from("openai", {**raw, "total_tokens": 176}) == Usage(fresh_input=32, output=144, reasoning=135)
        with pytest.raises(InputError, match="more than the 9") as refused:
            usage_from("openai", {**raw, "total_tokens": 41})
        assert refused.value.field == "completion_tokens_details.reasoning_tokens"

    def test_embeddings_report_no_completion(self) -> None:
        assert read_usage({"prompt_tokens": 8, "total_tokens": 8}) == Usage(fresh_input=8)

    def test_anthropic_without_the_split_writes_for_five_minutes(self) -> None:
        raw = {
            "input_tokens": 1,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": None,
            "output_tokens": 2,
        }
        assert read_usage(raw) == Usage(fresh_input=1, cache_write=30, output=2)

    def test_anthropic_with_half_of_the_split(self) -> None:
        split = {"ephemeral_1h_input_tokens": 20}
        raw = {"input_tokens": 1, "cache_creation_input_tokens": 30, "cache_creation": split, "output_tokens": 2}
        assert read_usage(raw) == Usage(fresh_input=1, cache_write=10, cache_write_1h=20, output=2)

    def test_anthropic_with_the_split_alone(self) -> None:
        raw = {"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 3}, "output_tokens": 2}
        assert read_usage(raw) == Usage(fresh_input=1, cache_write=3, output=2)

    def test_bare_input_and_output_mean_the_same_in_both(self) -> None:
        raw = {"input_tokens": 9, "output_tokens": 2}
        assert usage_from("openai", raw) == usage_from("anthropic", raw) == read_usage(raw)

    def test_gemini_leaves_out_zeros(self) -> None:
        raw = {"promptTokenCount": 10, "thoughtsTokenCount": 4, "totalTokenCount": 14}
        assert read_usage(raw) == Usage(fresh_input=10, output=4, reasoning=4)

    def test_deepseek_without_the_sum(self) -> None:
        raw = {"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 4, "completion_tokens": 1}
        assert read_usage(raw) == Usage(fresh_input=4, cache_read=3, output=1)

    @pytest.mark.parametrize("raw", [None, {}])
    def test_no_usage_is_none_and_not_zero(self, raw: object) -> None:
        assert read_usage(raw) is None

    def test_a_named_convention_is_not_second_guessed(self) -> None:
        with pytest.raises(InputError) as refused:
            read_usage(CHAT, "gemini")
        assert refused.value.field == "promptTokenCount"


NONSENSE: tuple[Any, ...] = (-1, 10**12 + 1, 1.0, 1.5, float("nan"), float("inf"), True, "12", [3], {})


class TestRefusals:
    @pytest.mark.parametrize("count", NONSENSE)
    @pytest.mark.parametrize(
        ("convention", "raw"),
        [shape[:2] for name, shape in SHAPES.items() if name != "gemini sdk"],
        ids=lambda x: str(x)[:12],
    )
    def test_every_count_is_checked(self, convention: str, raw: dict[str, Any], count: object) -> None:
        checked = 0
        for name, value in raw.items():
            if isinstance(value, dict):
                for part in value:
                    with pytest.raises(InputError) as refused:
                        usage_from(convention, {**raw, name: {**value, part: count}})
                    assert refused.value.field == f"{name}.{part}"
                    checked += 1
            elif "total" not in name:
                with pytest.raises(InputError) as refused:
                    usage_from(convention, {**raw, name: count})
                assert refused.value.field == name
                checked += 1
        assert checked >= 4

    @pytest.mark.parametrize(
        ("convention", "raw", "field"),
        [
            ("openai", {"completion_tokens": 1}, "input_tokens"),
            ("openai", {"prompt_tokens": 1}, "completion_tokens"),
            ("openai", {"prompt_tokens": 1, "total_tokens": 3}, "completion_tokens"),
            ("openai", {"prompt_tokens": None, "completion_tokens": 1}, "prompt_tokens"),
            ("openai", {"input_tokens": 1}, "output_tokens"),
            ("anthropic", {"output_tokens": 1}, "input_tokens"),
            ("anthropic", {"input_tokens": 1}, "output_tokens"),
            ("gemini", {"candidatesTokenCount": 1}, "promptTokenCount"),
            ("gemini", {"promptTokenCount": 1}, "candidatesTokenCount"),
            ("gemini", {"promptTokenCount": 1, "totalTokenCount": 2}, "candidatesTokenCount"),
            ("deepseek", {"prompt_tokens": 1, "completion_tokens": 1}, "prompt_cache_hit_tokens"),
            ("deepseek", {"prompt_cache_hit_tokens": 1, "completion_tokens": 1}, "prompt_cache_miss_tokens"),
            ("deepseek", {"prompt_cache_hit_tokens": 1, "prompt_cache_miss_tokens": 1}, "completion_tokens"),
        ],
    )
    def test_missing_counts_are_named(self, convention: str, raw: dict[str, Any], field: str) -> None:
        with pytest.raises(InputError, match="got nothing") as refused:
            usage_from(convention, raw)
        assert refused.value.field == field

    @pytest.mark.parametrize(
        ("raw", "field"),
        [
            ({**CHAT, "prompt_tokens_details": {"cached_tokens": 101}}, "prompt_tokens_details.cached_tokens"),
            (
                {**CHAT, "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 37}},
                "prompt_tokens_details.cached_tokens",
            ),
            ({**RESPONSES, "input_tokens_details": {"cached_tokens": 101}}, "input_tokens_details.cached_tokens"),
            (
                {**RESPONSES, "output_tokens_details": {"reasoning_tokens": 21}},
                "output_tokens_details.reasoning_tokens",
            ),
            ({**MESSAGES, "cache_creation_input_tokens": 31}, "cache_creation_input_tokens"),
            (
                {**MESSAGES, "cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 6}},
                "cache_creation_input_tokens",
            ),
            ({**MESSAGES, "output_tokens_details": {"thinking_tokens": 21}}, "output_tokens_details.thinking_tokens"),
            ({**GEMINI, "cachedContentTokenCount": 101}, "cachedContentTokenCount"),
            ({**GEMINI_SDK, "cached_content_token_count": 101}, "cached_content_token_count"),
            ({**DEEPSEEK, "prompt_cache_hit_tokens": 65}, "prompt_cache_miss_tokens"),
            (
                {**DEEPSEEK, "completion_tokens_details": {"reasoning_tokens": 21}},
                "completion_tokens_details.reasoning_tokens",
            ),
            ({**CHAT, "prompt_tokens_details": [1]}, "prompt_tokens_details"),
            ({**RESPONSES, "cache_read_input_tokens": 3}, "input_tokens"),
        ],
    )
    def test_contradictions_are_named(self, raw: dict[str, Any], field: str) -> None:
        with pytest.raises(InputError) as refused:
            read_usage(raw)
        assert refused.value.field == field

    def test_unknown_convention(self) -> None:
        with pytest.raises(InputError, match="expected one of openai, anthropic, gemini, deepseek"):
            usage_from("cohere", CHAT)

    def test_unknown_shape_lists_what_came(self) -> None:
        with pytest.raises(InputError, match="got cost, tokens"):
            detect_convention({"tokens": 3, "cost": 1})

    def test_not_an_object(self) -> None:
        with pytest.raises(InputError, match="expected a usage object, got list") as refused:
            read_usage([1])
        assert refused.value.field == "usage"


COUNTS = st.integers(0, 10**9)


class TestAgreement:
    @given(fresh=COUNTS, cached=COUNTS, output=COUNTS)
    def test_the_same_call_reads_the_same_in_every_convention(self, fresh: int, cached: int, output: int) -> None:
        usage = Usage(fresh_input=fresh, cache_read=cached, output=output)
        whole = fresh + cached
        assert usage == read_usage(
            {"prompt_tokens": whole, "completion_tokens": output, "prompt_tokens_details": {"cached_tokens": cached}}
        )
        assert usage == read_usage(
            {"input_tokens": whole, "output_tokens": output, "input_tokens_details": {"cached_tokens": cached}}
        )
        assert usage == read_usage({"input_tokens": fresh, "cache_read_input_tokens": cached, "output_tokens": output})
        assert usage == read_usage(
            {"promptTokenCount": whole, "cachedContentTokenCount": cached, "candidatesTokenCount": output}
        )
        assert usage == read_usage(
            {
                "prompt_tokens": whole,
                "prompt_cache_hit_tokens": cached,
                "prompt_cache_miss_tokens": fresh,
                "completion_tokens": output,
            }
        )
