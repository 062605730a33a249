"""Seconds and peak memory of whole nights through Airflow: the demo's first and second, and UCI Online Retail.

    python benchmarks/nights.py [--repeat N]

Each run starts from an empty home. Memory is the sum of the proportional set sizes of every process (Airflow's
services, tasks, PostgreSQL), sampled twice a second. The targets (issue 1): three minutes and 4 GB for the demo, two
minutes for the UCI file (ONLINE_RETAIL or PORTRAIT_BENCHMARK_DATA says where it is; skipped where it is absent).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from portrait.warehouse.server import stop_server

ROOT = Path(__file__).parents[1]
UCI = ROOT / "include" / "config" / "examples" / "online_retail.yaml"


def proportional_bytes(process: psutil.Process) -> int:
    """Proportional set size of a process (shared pages divided by their sharers); 0 once it has ended."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def family(process: psutil.Process, home: Path) -> list[psutil.Process]:
    """The run's processes, and those of the PostgreSQL of its home."""
    found = {}
    try:
        for member in [process, *process.children(recursive=True)]:
            found[member.pid] = member
        for server in psutil.process_iter(["cmdline"]):
            if f"{home}/postgres" in (server.info["cmdline"] or []):
                for member in [server, *server.children()]:
                    found[member.pid] = member
    except psutil.Error:
        return list(found.values())
    return list(found.values())


def measure(home: Path, *arguments: str, **environ: str) -> tuple[float, float]:
    """(seconds, peak GiB) of one `portrait run`."""
    command = [sys.executable, "-c", "from portrait.cli import main; main()", "run", *arguments]
    started, peak = time.perf_counter(), 0
    with (home.parent / "output.log").open("w") as log:
        run = subprocess.Popen(
            command, env={**os.environ, **environ, "PORTRAIT_HOME": str(home)}, stdout=log, stderr=log
        )
        while run.poll() is None:
            peak = max(peak, sum(map(proportional_bytes, family(psutil.Process(run.pid), home))))
            time.sleep(0.5)
    if run.returncode:
        raise SystemExit((home.parent / "output.log").read_text()[-2000:])
    return time.perf_counter() - started, peak / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=1)
    repeat = parser.parse_args().repeat
    data = Path(os.environ.get("PORTRAIT_BENCHMARK_DATA") or ROOT.parent / "shared" / "data")
    uci = Path(os.environ.get("ONLINE_RETAIL") or data / "online_retail.csv.gz")
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            rows.setdefault("demo, first night", []).append(measure(home))
            rows.setdefault("demo, second night", []).append(measure(home))
            if uci.exists():
                result = measure(home, "--sources", str(UCI), ONLINE_RETAIL=str(uci))
                rows.setdefault("UCI Online Retail", []).append(result)
            stop_server(home / "postgres")
    print(f"{'night':20} {'median s':>9} {'peak GiB':>9}   ({repeat} run(s), {os.cpu_count()} cores)")
    for name, results in rows.items():
        seconds = statistics.median(s for s, _ in results)
        print(f"{name:20} {seconds:9.0f} {max(m for _, m in results):9.2f}")
    if not uci.exists():
        print(f"UCI Online Retail: skipped, no file at {uci}")


if __name__ == "__main__":
    main()
