"""AgentRouter: routes each step of an agent trajectory to the cheapest of four model tiers that will do.

Nothing happens at import; the public names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentrouter.catalog import Catalog as Catalog
    from agentrouter.config import load_config as load_config
    from agentrouter.policies import build as build_policy
    from agentrouter.router import Router as Router
    from agentrouter.types import Candidate as Candidate
    from agentrouter.types import Context as Context
    from agentrouter.types import Decision as Decision
    from agentrouter.types import Step as Step
    from agentrouter.types import StepRecord as StepRecord
    from agentrouter.types import Tier as Tier

__all__ = [
    "Candidate",
    "Catalog",
    "Context",
    "Decision",
    "Router",
    "Step",
    "StepRecord",
    "Tier",
    "build_policy",
    "load_config",
]

_HOMES = {
    "Candidate": "types:Candidate",
    "Catalog": "catalog:Catalog",
    "Context": "types:Context",
    "Decision": "types:Decision",
    "Router": "router:Router",
    "Step": "types:Step",
    "StepRecord": "types:StepRecord",
    "Tier": "types:Tier",
    "build_policy": "policies:build",
    "load_config": "config:load_config",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentrouter' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    return getattr(importlib.import_module(f"agentrouter.{module}"), attribute)
