"""Run every benchmark and write its JSON to ``benchmarks/results``. ``make bench`` runs this.

Each benchmark is a command of its own; timings are ratios within one run wherever machines are to be compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

BENCHMARKS: dict[str, list[str]] = {
    "decide": ["-m", "agentrouter", "bench", "decide", "--policy", "roles"],
    "bill": [str(HERE / "bill.py")],
    "features": [str(HERE / "features.py")],
    "ledger": [str(HERE / "ledger.py")],
    "replay_million": [str(HERE / "replay_million.py")],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; default: all")
    chosen = parser.parse_args().names or list(BENCHMARKS)
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        start = time.monotonic()
        done = subprocess.run([sys.executable, *BENCHMARKS[name], "--json", str(RESULTS / f"{name}.json")], check=False)
        how = "failed" if done.returncode else "ok"
        print(f"-- {name}: {how} after {time.monotonic() - start:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
