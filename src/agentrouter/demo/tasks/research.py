"""A question to a small corpus: plan, search, choose the passage, copy the evidence, answer, give it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from agentrouter.demo.agent import Agent, Helper, parsed
from agentrouter.demo.checks import Finds, Grounded, Mentions, query_of
from agentrouter.demo.corpus import island_corpus
from agentrouter.demo.tasks import TO_JSON, TaskVerdict
from agentrouter.demo.tools import Corpus, ToolError

SYSTEM = """You answer questions about the island of Varn from its handbook, which you can search. \
Use only what the handbook says. Be brief."""


EXTRACT = Helper(
    "Answer the question in one sentence from the passage. Copy names and figures exactly.",
    (
        (
            "Question: How many rooms has the inn, and where is it?\n"
            "Passage: The inn by the west quay has eleven rooms. Fishermen used to pay for their beer in cod.",
            "The inn has eleven rooms, and it is by the west quay.",
        ),
    ),
)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its known answer."""

    name: str
    text: str
    schema: Mapping[str, Any]
    answer: Mapping[str, Any]


class ResearchTask(msgspec.Struct, frozen=True):
    """Answer one question from the corpus."""

    question: Question
    corpus: Corpus = msgspec.field(default_factory=island_corpus)

    @property
    def name(self) -> str:
        """``research/<question>``."""
        return f"research/{self.question.name}"

    @property
    def goal(self) -> str:
        """The question."""
        return self.question.text

    @property
    def system(self) -> str:
        """Who the agent is."""
        return SYSTEM

    async def run(self, agent: Agent) -> TaskVerdict:
        """Search, choose, extract, answer, format."""
        query = await agent.ask(
            "plan",
            f"Question: {self.question.text}\nWhich three to five words should be searched for in the handbook? "
            "Answer with the words only.",
            checks=(Finds(self.corpus),),
            max_tokens=30,
        )
        found = self.corpus.search(query_of(query)) or self.corpus.search(self.question.text)
        listed = "\n".join(f"{document.id} {document.title}" for document in found)
        chosen = await agent.ask(
            "retrieve",
            f"The search found:\n{listed}\nWhich document answers the question: {self.question.text} "
            "Give its id as JSON.",
            schema=_choice([document.id for document in found]),
            max_tokens=40,
        )
        text = self._read(parsed(chosen))
        sentence = await agent.aside(
            "summarise",
            f"Question: {self.question.text}\nPassage: {text}",
            helper=EXTRACT,
            checks=(Mentions(f"{self.question.text} {text}"),),
            max_tokens=80,
        )
        keys = self.question.schema["properties"]
        answer = await agent.aside(
            "format",
            f"Result: {sentence}\nKeys: {', '.join(keys)}",
            helper=TO_JSON,
            schema=self.question.schema,
            checks=(Grounded(text),),
            max_tokens=80,
        )
        return self._verdict(parsed(answer))

    def _read(self, chosen: Any) -> str:
        try:
            return self.corpus.get(chosen["id"]).text if isinstance(chosen, dict) else ""
        except (ToolError, KeyError):
            return ""

    def _verdict(self, answer: Any) -> TaskVerdict:
        expected = self.question.answer
        got = {key: str(value).strip().lower() for key, value in answer.items()} if isinstance(answer, dict) else {}
        solved = all(got.get(key) == str(value).lower() for key, value in expected.items())
        return TaskVerdict(solved=solved, expected=json.dumps(expected), got=json.dumps(answer))


def research_questions() -> tuple[Question, ...]:
    """Return the questions. Their answers were written with the corpus; a test looks them up in it."""
    return (
        Question(
            name="lighthouse",
            text="In which year did Skarv lighthouse get an electric lamp, and who was keeper then?",
            schema=_schema(year={"type": "integer"}, keeper={"type": "string"}),
            answer={"year": 1931, "keeper": "Ida Brekke"},
        ),
        Question(
            name="winter-ferry",
            text="What is the ferry that sails in winter called, and how many cars does it carry?",
            schema=_schema(ferry={"type": "string"}, cars={"type": "integer"}),
            answer={"ferry": "Alke", "cars": 14},
        ),
    )


def _schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _choice(names: list[str]) -> dict[str, Any]:
    return _schema(id={"enum": names})
