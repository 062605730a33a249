"""How long a large retailer takes to simulate, and how much memory.

python benchmarks/simulate.py --customers 1000000 --events 50000000 --days 365
"""

import argparse
import resource
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from portrait.simulate import Counts, Retailer, simulate, write_reference


def main() -> None:
    """Simulate into a temporary folder and print rows, seconds, rows a second and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=50_000_000, help="online events over all days")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--stores", type=int, default=400)
    parser.add_argument("--write-days", type=int, help="measure only so many days and extrapolate")
    parser.add_argument("--out", type=Path, help="keep the files here")
    options = parser.parse_args()
    rate = options.events / options.customers / options.days
    retailer = Retailer(
        customers=options.customers,
        products=options.products,
        stores=options.stores,
        history_days=options.days,
        events_per_customer_day=rate,
        receipts_per_customer_day=rate / 10,
        app_format="parquet",
    )
    out = options.out or Path(tempfile.mkdtemp(prefix="simulate-"))
    days = options.write_days or options.days
    began = time.perf_counter()
    write_reference(retailer, out)
    reference = time.perf_counter() - began
    print(f"reference       {reference:8.1f} s", flush=True)
    times = [time.perf_counter()]

    def progress(day: date, counts: Counts) -> None:
        times.append(time.perf_counter())
        if (day.toordinal() - retailer.start.toordinal()) % 30 == 0:
            print(f"{day} {counts.events:9,d} events {times[-1] - times[-2]:6.2f} s", flush=True)

    last = retailer.start + timedelta(days=days - 1)
    total = simulate(retailer, out, retailer.start, last, progress)
    seconds = times[-1] - times[0]
    rows = total.events + total.receipts + total.receipt_lines
    first, rest = times[1] - times[0], (times[-1] - times[1]) / max(1, days - 1)
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{days} days         {seconds:8.1f} s   first day {first:.1f} s, then {rest:.3f} s a day")
    print(
        f"rows            {total.events:,} events, {total.receipts:,} receipts, {total.receipt_lines:,} lines"
    )
    print(
        f"speed           {rows / seconds:,.0f} rows/s   {size / 2**30:.2f} GiB written, peak {peak:.2f} GiB"
    )
    if days < options.days:
        whole = reference + first + rest * (options.days - 1)
        print(f"extrapolated    {whole:8.1f} s for {options.days} days")
    if options.out is None:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
