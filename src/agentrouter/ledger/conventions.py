"""The names under which a step leaves as OpenTelemetry spans: the one table of them.

Law: literals only, pure. The ``gen_ai.*`` names are OpenTelemetry's GenAI semantic conventions as of November 2026
(status: development; they moved to a repository of their own at version 1.42, and the Python package marks all of them
as moved, so they are written out here and a test compares them with the installed package). The ``agentrouter.*`` names
are ours: there is no standard name for cost, tier, propensity or reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Name(StrEnum):
    """Attribute names. On which span: (s) the step's, (a) an attempt's."""

    # OpenTelemetry's
    OPERATION = "gen_ai.operation.name"  # a
    PROVIDER = "gen_ai.provider.name"  # a
    REQUEST_MODEL = "gen_ai.request.model"  # a
    RESPONSE_MODEL = "gen_ai.response.model"  # a
    MAX_TOKENS = "gen_ai.request.max_tokens"  # a
    OUTPUT_TYPE = "gen_ai.output.type"  # a
    FINISH_REASONS = "gen_ai.response.finish_reasons"  # a
    FIRST_CHUNK_S = "gen_ai.response.time_to_first_chunk"  # a, seconds
    INPUT_TOKENS = "gen_ai.usage.input_tokens"  # a, cached ones included
    OUTPUT_TOKENS = "gen_ai.usage.output_tokens"  # a
    CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"  # a
    CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"  # a
    REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"  # a
    CONVERSATION = "gen_ai.conversation.id"  # s, a: the trajectory
    AGENT = "gen_ai.agent.name"  # s, a: the role
    INPUT_MESSAGES = "gen_ai.input.messages"  # a, only with content
    OUTPUT_MESSAGES = "gen_ai.output.messages"  # a, only with content
    ERROR_TYPE = "error.type"  # s, a

    # ours
    STEP_ID = "agentrouter.step.id"  # s, a
    STEP = "agentrouter.step"  # s, a: index in the trajectory, as given
    TRAJECTORY = "agentrouter.trajectory.id"  # s, a
    PARENT = "agentrouter.parent.id"  # s, a: the trajectory that started this one
    ROLE = "agentrouter.role"  # s, a
    KIND = "agentrouter.kind"  # s
    RETRY = "agentrouter.retry"  # s
    STATUS = "agentrouter.status"  # s, a
    TIER = "agentrouter.tier"  # s, a
    MODEL = "agentrouter.model"  # s: the served candidate
    POLICY = "agentrouter.policy"  # s
    REASON = "agentrouter.reason"  # s
    PROPENSITY = "agentrouter.propensity"  # s: of the decision that chose the served candidate
    ATTEMPTS = "agentrouter.attempts"  # s
    ESCALATED = "agentrouter.escalated"  # s
    FEATURES_HASH = "agentrouter.features.hash"  # s
    NOTES = "agentrouter.notes"  # s
    EXCLUDED = "agentrouter.excluded"  # s: "candidate: rule (detail)"
    ATTEMPT = "agentrouter.attempt"  # a: its number
    ATTEMPT_KIND = "agentrouter.attempt.kind"  # a
    ESTIMATED = "agentrouter.usage.estimated"  # a
    COST_NUSD = "agentrouter.cost.nusd"  # s, a: integer nano-dollars, checks included
    COST_USD = "agentrouter.cost.usd"  # s, a: the same in dollars, for dashboards
    FAILURE = "agentrouter.failure.detail"  # a


PROVIDER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "azure": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "gemini": "gcp.gemini",
        "google": "gcp.gemini",
        "mistral": "mistral_ai",
        "moonshot": "moonshot_ai",
        "vertex": "gcp.vertex_ai",
        "watsonx": "ibm.watsonx.ai",
        "xai": "x_ai",
    }
)
"""Values of ``gen_ai.provider.name`` that differ from what the provider is called here; the others go as they are."""
