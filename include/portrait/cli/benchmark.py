"""Models on plain files."""

from pathlib import Path
from typing import Annotated

import typer

from portrait.cli.common import console

app = typer.Typer()


@app.command()
def benchmark(
    dataset: Annotated[Path, typer.Argument(help="Folder of the data set's files.")],
    protocol: Annotated[str, typer.Option(help="strong, next-basket, temporal or behaviours.")] = "strong",
    models: Annotated[
        str, typer.Option(help="Comma-separated names, see docs/models.md.")
    ] = "popularity,ease",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="model.param=value, as often as needed.", show_default=False),
    ] = None,
    keysets: Annotated[
        list[Path] | None,
        typer.Option("--keyset", help="next-basket: JSON of train/val/test users; all of the folder's."),
    ] = None,
    holdout_days: Annotated[int, typer.Option(min=1, help="temporal: length of each window.")] = 14,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures here.")] = None,
    seed: int = 0,
    threads: Annotated[int, typer.Option(min=0, help="0: all cores.")] = 0,
    device: Annotated[
        str, typer.Option(help="auto (a CUDA GPU where there is one), cpu, cuda, cuda:1.")
    ] = "auto",
) -> None:
    """Models on plain files, judged as papers judge them; prints a table.

    strong: train.csv, validation_tr.csv, validation_te.csv, test_tr.csv, test_te.csv with uid,sid, as Liang's
    code writes them.

    next-basket: history.csv and future.csv with user_id,order_number,product_id, and keysets in JSON.

    temporal: interactions.csv with user_id,item_id,date; validated and tested on its last days.

    behaviours: train.txt, validation.txt, test.txt (purchases) and a file a behaviour (cart.txt, ...) of lines
    "user item"; every model on purchases alone and with the other behaviours beside them.
    """
    from portrait.models.benchmark import Options, model_requests, run_benchmark
    from portrait.models.benchmark.report import table, write_json

    requests = model_requests(models, settings or ())
    options = Options(seed, threads, device, holdout_days, tuple(keysets or ()))
    rows = []
    try:
        for row in run_benchmark(dataset, protocol, requests, options):
            rows.append(row)
    finally:  # what was measured is shown, whatever happened to a later model
        if rows:
            console().print(table(f"{dataset.name}, {protocol}", rows))
            if json_file is not None:
                write_json(json_file, dataset, protocol, rows)
