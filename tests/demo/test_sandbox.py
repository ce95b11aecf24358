from __future__ import annotations

import http.server
import threading
import time
from pathlib import Path

import pytest

from agentrouter.demo.sandbox import Case, Limits, run_cases

DOUBLE = (Case((2,), 4), Case((0,), 0))


def probe(body: str, limits: Limits | None = None):  # type: ignore[no-untyped-def]
    """Run ``f`` with this body on one case that wants the text ``done``."""
    code = "def f():\n" + "\n".join(f"    {line}" for line in body.splitlines())
    return run_cases(code, "f", (Case((), "done"),), limits)


def test_right_code_passes_and_wrong_code_says_which_case_failed() -> None:
    right = run_cases("def double(x):\n    return 2 * x", "double", DOUBLE)
    assert (right.ok, right.passed, right.total, right.error) == (True, 2, 2, "")
    wrong = run_cases("def double(x):\n    return x * x", "double", (*DOUBLE, Case((3,), 6)))
    assert (wrong.ok, wrong.passed, wrong.total) == (False, 2, 3)
    assert wrong.failures == ("double(3) returned 9, expected 6.",)
    assert wrong.summary() == "2 of 3 tests pass. double(3) returned 9, expected 6."


def test_a_tuple_counts_as_the_list_it_stands_for() -> None:
    assert run_cases("def f(x):\n    return (x, x)", "f", (Case((1,), [1, 1]),)).ok


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def double(x) return x", "SyntaxError"),
        ("def other(x):\n    return x", "defines no function double"),
        ("double = 3", "defines no function double"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("", "defines no function double"),
    ],
)
def test_code_that_cannot_be_loaded_fails_with_its_reason(code: str, said: str) -> None:
    report = run_cases(code, "double", DOUBLE)
    assert report.passed == 0
    assert not report.ok
    assert said in report.error


def test_what_a_case_raises_is_that_case_s_failure_only() -> None:
    report = run_cases("def f(x):\n    return 1 // x", "f", (Case((0,), 0), Case((1,), 1)))
    assert report.passed == 1
    assert report.failures == ("f(0) failed: ZeroDivisionError: integer division or modulo by zero.",)


def test_an_endless_loop_is_stopped() -> None:
    began = time.monotonic()
    report = probe("while True: pass", Limits(cpu_s=1, wall_s=5))
    assert report.error == "The tests ran out of time (an endless loop?)."
    assert time.monotonic() - began < 10


def test_a_sleeper_is_stopped_by_the_wall_clock() -> None:
    report = probe("import time\ntime.sleep(60)\nreturn 'done'", Limits(wall_s=0.5))
    assert report.error == "The tests ran out of time (an endless loop?)."


def test_a_memory_bomb_is_stopped() -> None:
    report = probe("x = bytearray(2_000_000_000)\nreturn 'done'")
    assert report.failures == ("f() failed: ran out of memory.",)
    growing = probe("x = []\nwhile True: x.append('a' * 1_000_000)")
    assert not growing.ok


@pytest.mark.parametrize(
    "body",
    [
        "import os\nif os.fork() == 0: os._exit(0)\nreturn 'done'",
        "import subprocess\nsubprocess.run(['true'])\nreturn 'done'",
        "import os\nos.system('true')\nreturn 'done'",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})\nreturn 'done'",
        "import os\nos.execv('/bin/true', ['true'])\nreturn 'done'",
        "import ctypes\nctypes.CDLL(None).fork()\nreturn 'done'",
        "import os\nos.kill(os.getppid(), 0)\nreturn 'done'",
    ],
    ids=["fork", "subprocess", "system", "spawn", "exec", "ctypes", "kill"],
)
def test_no_process_is_started_or_signalled(body: str) -> None:
    report = probe(body)
    assert report.passed == 0
    assert "PermissionError" in " ".join(report.failures)


def test_nothing_is_written_inside_or_outside_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    for body in (
        f"open({str(target)!r}, 'w').write('x')\nreturn 'done'",
        "open('here.txt', 'x')\nreturn 'done'",
        f"import os\nos.open({str(target)!r}, os.O_CREAT | os.O_RDWR)\nreturn 'done'",
        f"import os\nos.mkdir({str(target)!r})\nreturn 'done'",
        f"import os\nos.remove({__file__!r})\nreturn 'done'",
    ):
        report = probe(body)
        assert report.passed == 0, body
        assert "PermissionError" in report.failures[0], body
    assert not target.exists()
    assert Path(__file__).exists()


def test_there_is_no_network() -> None:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_address[1]
        report = probe(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nreturn 'done'")
        assert report.passed == 0
        assert report.failures
        assert report.network in {"namespace", "hook"}
        # The server itself is fine: the same connection from here works, and ends its thread.
        import socket

        socket.create_connection(("127.0.0.1", port), 1).close()


def test_no_secret_of_the_environment_reaches_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert probe("import os\nreturn 'leaked' if 'SOME_API_KEY' in os.environ else 'done'").ok


def test_printing_cannot_forge_or_break_the_result() -> None:
    forged = probe("""print('{"passed": 1, "failures": [], "error": "", "network": ""}')\nreturn 'wrong'""")
    assert (forged.passed, forged.ok) == (0, False)
    assert probe("print('noise' * 10_000)\nreturn 'done'").ok


def test_a_child_that_dies_without_a_result_fails() -> None:
    report = probe("import os\nos._exit(7)")
    assert report.error == "The test process ended without a result (exit 7)."


def test_endless_code_is_refused_unread_and_no_cases_are_no_success() -> None:
    assert "longer than" in run_cases("#" * 30_000, "f", DOUBLE).error
    assert not run_cases("def f(): pass", "f", ()).ok
