"""Every example runs, and every Python block of the docs that is a whole program or module does too."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
TESTED_ELSEWHERE = {"docs/learn/dataset.md"}  # tests/learn/test_dataset.py runs it, on step tables it makes
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.S | re.M))
    if "import " in block and str(page.relative_to(ROOT)) not in TESTED_ELSEWHERE
]


def python(*arguments: str, cwd: Path = ROOT) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path: Path) -> None:
    assert python(str(path)).strip()


@pytest.mark.parametrize("block", BLOCKS)
def test_block_of_the_docs_runs(block: str, tmp_path: Path) -> None:
    # The pages speak of a folder of traces; the readers' fixtures stand in for it.
    shutil.copytree(ROOT / "tests" / "fixtures" / "traces", tmp_path / "traces")
    path = tmp_path / "block.py"
    path.write_text(block, encoding="utf-8")
    python(str(path), cwd=tmp_path)


def test_the_library_example_escalates_its_last_step() -> None:
    lines = python(str(ROOT / "examples" / "library.py")).splitlines()
    assert [line.split()[0] for line in lines] == ["planner", "worker", "format", "all"]
    assert "minimal -> efficient" in lines[2]


def test_links_of_the_docs_lead_somewhere() -> None:
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert missing == []
