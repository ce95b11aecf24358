"""Vendors that speak OpenAI chat completions: one row each. To add one, add a row (docs/how-to/add-a-provider.md).

Law: data only. Base URLs and differences as stored copies of the pages beside the rows gave them on ``CHECKED``; where
the vendor's own page was not among them, the row says whose it was. No vendor's endpoint was called for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec

from agentrouter.wire.openai_request import Dialect

CHECKED = "2026-11-22"
"""When the rows were last compared with the documentation (ISO date)."""


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor's endpoint."""

    name: str
    base_url: str
    """Where ``/chat/completions`` is appended."""
    api_key_env: str = ""
    """Environment variable of the key by the vendor's own convention; empty: no key is needed."""
    dialect: Dialect = Dialect()
    usage: str = "openai"
    """How it counts tokens: a convention of ``wire.usage``, ``openai_total`` (see ``wire.openai_reply``), or empty:
    told from the fields."""
    source: str = ""
    """The page that the row was checked with."""


_ROWS = (
    Vendor(
        name="openai",
        base_url="https://api.openai.com/v1",
        api_key_env="OPENAI_API_KEY",
        dialect=Dialect(limit_field="max_completion_tokens", developer_role=True),
        source="URL: lmstudio.ai/docs/api/openai-api, which quotes it; limit field: the API's own error message",
    ),
    Vendor(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        api_key_env="ANTHROPIC_API_KEY",
        # response_format and logprobs are documented as ignored; the form is asked for in words.
        dialect=Dialect(limit_field="max_completion_tokens", structured="none", developer_role=True, logprobs=False),
        source="platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk",
    ),
    Vendor(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        api_key_env="GEMINI_API_KEY",
        # Gemini 3 refuses earlier tool calls without their thought signature; this word stands for one not kept.
        dialect=Dialect(logprobs=False, call_signature="skip_thought_signature_validator"),
        usage="openai_total",
        source="ai.google.dev/gemini-api/docs/thought-signatures; URL: several clients' documentation",
    ),
    Vendor(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        api_key_env="MISTRAL_API_KEY",
        # Log-probabilities are off for want of a page that has them.
        dialect=Dialect(some_tool="any", short_call_ids=True, logprobs=False),
        source="URL: docs.pipecat.ai (Mistral); call ids: the API's error message in langchain-ai/langchain#24668",
    ),
    Vendor(
        name="deepseek",
        base_url="https://api.deepseek.com",
        api_key_env="DEEPSEEK_API_KEY",
        dialect=Dialect(structured="object"),
        usage="deepseek",
        source="api-docs.deepseek.com",
    ),
    Vendor(
        name="xai",
        base_url="https://api.x.ai/v1",
        api_key_env="XAI_API_KEY",
        source="docs.x.ai/developers/model-capabilities/text/comparison; URL: reference.langchain.com (ChatXAI)",
    ),
    Vendor(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        api_key_env="GROQ_API_KEY",
        # A request that asks for log-probabilities is answered with 400.
        dialect=Dialect(limit_field="max_completion_tokens", logprobs=False),
        source="console.groq.com/docs/openai",
    ),
    Vendor(
        name="together",
        base_url="https://api.together.ai/v1",
        api_key_env="TOGETHER_API_KEY",
        # Log-probabilities there take a number and come in a shape of their own (not looked up: from experience).
        dialect=Dialect(logprobs=False),
        source="docs.together.ai/docs/inference/openai-compatibility",
    ),
    Vendor(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        api_key_env="FIREWORKS_API_KEY",
        source="docs.fireworks.ai/tools-sdks/openai-compatibility",
    ),
    Vendor(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        api_key_env="OPENROUTER_API_KEY",
        source="openrouter.ai/docs/api/reference/errors-and-debugging; URL: docs.boundaryml.com (OpenRouter)",
    ),
    Vendor(
        name="vllm",
        base_url="http://localhost:8000/v1",
        source="docs.vllm.ai: serving/openai_compatible_server",
    ),
    Vendor(
        name="ollama",
        base_url="http://localhost:11434/v1",
        source="docs.ollama.com/api/openai-compatibility",
    ),
    Vendor(
        name="lm_studio",
        base_url="http://localhost:1234/v1",
        source="lmstudio.ai/docs/developer/openai-compat",
    ),
    Vendor(
        name="llama_cpp",
        base_url="http://localhost:8080/v1",
        source="mintlify.com/ggml-org/llama.cpp/api/rest/overview",
    ),
)

VENDORS: Mapping[str, Vendor] = MappingProxyType({row.name: row for row in _ROWS})
"""Name -> row."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def vendor_for(name: str, base_url: str = "") -> Vendor | None:
    """Return the row for a configured provider, with the configured base URL; None: no row fits and no URL is given.

    The host of the URL counts first, then the provider's name; an endpoint that fits neither is a plain one whose
    counting convention is told from its answers.
    """
    if not base_url:
        return VENDORS.get(name)
    url = base_url.rstrip("/")
    parts = urlsplit(url)
    for row in VENDORS.values():
        own = urlsplit(row.base_url)
        if parts.hostname == own.hostname and parts.scheme == own.scheme and parts.hostname not in _LOCAL_HOSTS:
            return msgspec.structs.replace(row, base_url=url)
    named = VENDORS.get(name)
    if named is None:
        return Vendor(name=name, base_url=url, usage="")
    # The vendor's key is for the vendor: another host gets one only if the config names it.
    return msgspec.structs.replace(named, base_url=url, api_key_env="")
