"""Whether the answer has the form the caller demanded: JSON, JSON Schema, a tool call with valid arguments."""

from __future__ import annotations

from typing import Any

import jsonschema
import msgspec

from agentrouter.types import Reply, Step, ToolCall, Verdict
from agentrouter.verifiers import broken, failed, passed


class Contract(msgspec.Struct, frozen=True):
    """Check the output contract and every tool call against the tool's own schema."""

    name: str = "contract"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Return failed with the first breach, naming the place."""
        try:
            problem = _breach(step, reply)
        except jsonschema.SchemaError as error:
            return broken(self.name, f"the caller's schema is not a JSON Schema: {error.message}")
        except RecursionError:
            return failed(self.name, "the answer is nested too deeply to be checked")
        return failed(self.name, problem) if problem else passed(self.name)


def _breach(step: Step, reply: Reply) -> str:
    form = step.output.form
    if form == "tool":
        names = {call.name for call in reply.tool_calls}
        if not names:
            return "a tool call was required, the answer has none"
        if step.output.tool and step.output.tool not in names:
            return f"tool {step.output.tool!r} was required, the answer calls {', '.join(sorted(names))}"
    for call in reply.tool_calls:
        problem = _call_breach(step, call)
        if problem:
            return problem
    if form in ("json", "json_schema") and not reply.tool_calls:
        try:
            value = msgspec.json.decode(reply.text.strip())
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            return f"the answer is not JSON: {error}"
        if form == "json_schema" and step.output.schema:
            return _schema_breach(value, step.output.schema)
    return ""


def _call_breach(step: Step, call: ToolCall) -> str:
    tool = next((tool for tool in step.tools if tool.name == call.name), None)
    if tool is None:
        return f"the answer calls tool {call.name!r}, which the step does not offer" if step.tools else ""
    try:
        arguments = msgspec.json.decode(call.arguments.strip() or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        return f"the arguments of {call.name} are not JSON: {error}"
    problem = _schema_breach(arguments, tool.parameters) if tool.parameters else ""
    return f"the arguments of {call.name}: {problem}" if problem else ""


def _schema_breach(value: Any, schema_text: str) -> str:
    schema = msgspec.json.decode(schema_text)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    error = next(iter(validator(schema).iter_errors(value)), None)
    if error is None:
        return ""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return f"{place.lstrip('.') or 'the value'}: {error.message}"
