"""The exception tree. Each class says whose fault it is, which HTTP status it maps to, and whether a retry can help.

    AgentRouterError
    ├── InputError              client    a step, body, trace or table that cannot be read; says file, line and field
    ├── ConfigError             client    config file or policy spec; carries every problem found, exit 2
    ├── NoCandidateError        client    the hard rules left no candidate; carries each one's reason
    ├── UnknownPriceError       client    a model without a price; names it. Never treated as zero
    ├── BudgetError             client    the budget cannot pay for the step
    ├── ProviderError           provider  a call failed; carries the FailureKind
    ├── ModelFileError          us        a model file is missing, corrupt or of the wrong sum
    ├── LedgerError             us        the ledger cannot be opened, is newer than this program, or is not a ledger
    └── MissingExtraError       client    an optional dependency is not installed; names the pip command

Must not import any other module of the package.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class FailureKind(StrEnum):
    """Why a call to a provider failed; the fallback chain depends on it."""

    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    CONTEXT_WINDOW = "context_window"
    CONTENT_POLICY = "content_policy"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    UNREADABLE = "unreadable"
    CANCELLED = "cancelled"


class AgentRouterError(Exception):
    """Root of everything this package raises on purpose."""

    fault: ClassVar[str] = "us"
    status_hint: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False


class InputError(AgentRouterError):
    """Input that cannot be read. The message says what was expected, what came and what to do.

    Args:
        message: the problem.
        file: path of the file, if any.
        line: 1-based line number, if any.
        field: dotted path of the field (``messages[3].role``), if any.
    """

    fault = "client"
    status_hint = 400

    def __init__(self, message: str, *, file: str = "", line: int = 0, field: str = "") -> None:
        self.message, self.file, self.line, self.field = message, file, line, field
        place = file + (f":{line}" if line and file else f"line {line}" if line else "")
        super().__init__(": ".join(part for part in (place, field, message) if part))

    def at(self, *, file: str = "", line: int = 0) -> InputError:
        """Return the same error with the place added where it was unknown."""
        return InputError(self.message, file=self.file or file, line=self.line or line, field=self.field)


class ConfigError(AgentRouterError):
    """A config or policy spec that cannot be used; ``problems`` lists everything found, not only the first."""

    fault = "client"
    exit_code = 2

    def __init__(self, problems: str | list[str], *, file: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.file = file
        head = f"{file}: " if file else ""
        super().__init__("\n".join(f"{head}{problem}" for problem in self.problems))


class NoCandidateError(AgentRouterError):
    """The hard rules left no candidate. Nothing is widened: the caller must change the step, the pin or the config.

    Args:
        step_id: the step.
        reasons: ``(candidate, rule, detail)`` for each candidate of the catalogue.
    """

    fault = "client"
    status_hint = 400

    def __init__(self, step_id: str, reasons: tuple[tuple[str, str, str], ...]) -> None:
        self.step_id, self.reasons = step_id, reasons
        listed = "; ".join(f"{name}: {rule} ({detail})" for name, rule, detail in reasons) or "the catalogue is empty"
        super().__init__(f"no candidate is allowed for step {step_id!r}: {listed}")


class UnknownPriceError(AgentRouterError):
    """A model whose price is not known. Add it to the catalogue or to the price override file."""

    fault = "client"
    status_hint = 400

    def __init__(self, model: str, detail: str = "") -> None:
        self.model = model
        super().__init__(
            f"no price is known for model {model!r}{': ' + detail if detail else ''}; "
            "give its price under models: in the config or in the price override file"
        )


class BudgetError(AgentRouterError):
    """The budget cannot pay for the step."""

    fault = "client"
    status_hint = 429


class ProviderError(AgentRouterError):
    """A provider failed in a way that ended the step; single attempts report through ``Outcome.failure``."""

    fault = "provider"
    status_hint = 502
    retryable = True

    def __init__(self, message: str, kind: FailureKind) -> None:
        self.kind = kind
        super().__init__(message)


class ModelFileError(AgentRouterError):
    """A model file is missing, corrupt, of the wrong sum or cannot be fetched."""


class LedgerError(AgentRouterError):
    """The ledger cannot be opened or written."""


class MissingExtraError(AgentRouterError):
    """An optional dependency is missing."""

    fault = "client"

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'agentrouter[{extra}]'")
