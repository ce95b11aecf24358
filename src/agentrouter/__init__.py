"""AgentRouter: routes each step of an agent trajectory to the cheapest of four model tiers that will do."""
