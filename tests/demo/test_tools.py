from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from agentrouter.demo.corpus import island_corpus
from agentrouter.demo.tasks.data import make_orders, orders
from agentrouter.demo.tools import MAX_ROWS, Corpus, Database, Document, ToolError, words


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return make_orders(tmp_path / "orders.sqlite")


def test_a_select_gives_its_rows(database: Database) -> None:
    found = database.query("SELECT COUNT(*) AS n, MIN(id) FROM orders;")
    assert found.columns == ("n", "MIN(id)")
    assert found.rows == ((len(orders()), 1),)
    assert found.text() == "n | MIN(id)\n240 | 1"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "INSERT INTO orders VALUES (1,'','','',1,1.0)",
        "UPDATE orders SET units = 0",
        "DROP TABLE orders",
        "CREATE TABLE x (a)",
        "PRAGMA writable_schema = 1",
        "ATTACH DATABASE 'other.sqlite' AS other",
        "VACUUM INTO 'copy.sqlite'",
        "SELECT load_extension('x')",
        "SELECT 1; DROP TABLE orders",
        "not sql",
        "",
        "SELECT '\ud800'",
        "SELECT nothing FROM orders",
    ],
)
def test_everything_but_one_select_is_refused_and_the_file_stays_as_it_was(sql: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    database = make_orders(path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ToolError):
        database.query(sql)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [found.name for found in tmp_path.iterdir()] == ["orders.sqlite"]


def test_a_query_without_end_is_stopped(tmp_path: Path) -> None:
    make_orders(tmp_path / "orders.sqlite")
    database = Database(tmp_path / "orders.sqlite", seconds=0.2)
    began = time.monotonic()
    with pytest.raises(ToolError, match=r"took longer than 0\.2 s"):
        database.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n")
    assert time.monotonic() - began < 5


def test_long_results_are_cut(database: Database) -> None:
    assert len(database.query("SELECT * FROM orders").rows) == MAX_ROWS


def test_search_puts_the_apt_document_first() -> None:
    corpus = island_corpus()
    assert corpus.search("Skarv lighthouse electric lamp")[0].title == "Skarv lighthouse"
    assert corpus.search("ferry in winter")[0].title == "Winter ferry"
    assert [document.id for document in corpus.search("puffins", top=1)] == ["D25"]
    assert len(list(corpus)) == 42


def test_search_without_a_match_finds_nothing() -> None:
    corpus = island_corpus()
    assert corpus.search("") == []
    assert corpus.search("the of and") == []
    assert corpus.search("zeppelin") == []
    with pytest.raises(ToolError, match="no document 'D99'"):
        corpus.get("D99")


def test_search_scores_by_bm25() -> None:
    # Two documents of which one holds the word: rarity log(1 + 1.5/1.5) = log 2 > 0, so only that one is found;
    # equal documents are in the order of their ids.
    corpus = Corpus((Document("b", "x", "apple"), Document("a", "x", "apple"), Document("c", "x", "pear")))
    assert [document.id for document in corpus.search("apples")] == ["a", "b"]


def test_words_are_lower_case_without_stop_words_and_plurals() -> None:
    assert words("The Ferries of Varn's cars, in 1894") == ["ferrie", "varn", "s", "car", "1894"]
