"""Reading a next-basket data set: everybody's history, the basket that came next, and who is trained and tested."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models.benchmark.files import read_columns
from portrait.models.rerank.purchases import Purchases

COLUMNS = ("user_id", "order_number", "product_id")
KEYSET_PATTERN = "keyset_*.json"


@dataclass(frozen=True, eq=False)
class Baskets:
    """A data set in rows and columns.

    Attributes
    ----------
    history : what every customer bought before.
    future : float32 [customers, items], 1 for what is in the basket to be foretold.
    users, items : int64, the user_id of each row and the product_id of each column, ascending.
    first_seen : int64 [rows of the history]
        Place of each purchase in the file: the order in which the literature's baselines settle ties.
    """

    history: Purchases
    future: csr_matrix
    users: np.ndarray
    items: np.ndarray
    first_seen: np.ndarray


@dataclass(frozen=True, eq=False)
class Keyset:
    """Rows of the customers to train on, to choose settings by, and to be judged on; ascending."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def read_baskets(folder: Path) -> Baskets:
    """Read `history.csv` and `future.csv` (or `.csv.gz`), `user_id,order_number,product_id` each.

    Raises
    ------
    PortraitError
        If a file or column is missing, an id is no whole number, a customer of one file is absent from the
        other, has two future baskets, or a future basket that does not come after the history.
    """
    past, next_ = (_numbers(folder / f"{name}.csv") for name in ("history", "future"))
    users = np.unique(past["user_id"])
    items = np.unique(np.concatenate([past["product_id"], next_["product_id"]]))
    _check_same_users(folder, users, np.unique(next_["user_id"]))
    row = np.searchsorted(users, past["user_id"])
    column = np.searchsorted(items, past["product_id"])
    log = Purchases.of(row, past["order_number"], column, len(users), len(items))
    _check_one_later_basket(folder, users, past, next_)
    future = csr_matrix(
        (
            np.ones(len(next_["user_id"]), dtype=np.float32),
            (np.searchsorted(users, next_["user_id"]), np.searchsorted(items, next_["product_id"])),
        ),
        shape=(len(users), len(items)),
    )
    future.data[:] = 1
    return Baskets(log, future, users, items, _first_seen(log, row, column))


def read_keysets(folder: Path, users: np.ndarray, files: Sequence[Path] = ()) -> list[Keyset]:
    """Read the JSON files that say who is in `train`, `val` and `test`; those of the folder unless some are given.

    Raises
    ------
    PortraitError
        If there is none, or one is unreadable, lacks a part, names a user without a history, or names one twice.
    """
    found = list(files) or sorted(folder.glob(KEYSET_PATTERN))
    if not found:
        raise PortraitError(
            f"{folder} holds no {KEYSET_PATTERN} with the users of train, val and test; give one with --keyset"
        )
    return [_keyset(file, users) for file in found]


def _keyset(file: Path, users: np.ndarray) -> Keyset:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PortraitError(f"{file} cannot be read as a JSON keyset: {error}") from error
    parts = {name: _rows(file, name, content, users) for name in ("train", "val", "test")}
    everyone = np.sort(np.concatenate(list(parts.values())))
    twice = everyone[1:][everyone[1:] == everyone[:-1]]
    if len(twice):
        raise PortraitError(f"{file}: user {users[twice[0]]} and {len(twice) - 1} others are listed twice")
    for name in ("train", "test"):
        if not len(parts[name]):
            raise PortraitError(f"{file}: '{name}' lists no user")
    return Keyset(file.stem, parts["train"], parts["val"], parts["test"])


def _rows(file: Path, name: str, content: object, users: np.ndarray) -> np.ndarray:
    listed = content.get(name) if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise PortraitError(
            f"{file} has no list '{name}'; a keyset is {{train: [...], val: [...], test: [...]}}"
        )
    try:
        ids = np.array([int(user) for user in listed], dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise PortraitError(f"{file}: '{name}' lists a user that is no whole number: {error}") from error
    place = np.searchsorted(users, ids)
    unknown = ids[users[np.minimum(place, len(users) - 1)] != ids]
    if len(unknown):
        raise PortraitError(
            f"{file}: user {unknown[0]} of '{name}' and {len(unknown) - 1} others have no row in history.csv"
        )
    return np.sort(place)


def _numbers(file: Path) -> dict[str, np.ndarray]:
    rows = read_columns(file, COLUMNS)
    for name in COLUMNS:
        if not pa.types.is_integer(rows[name].type):
            raise PortraitError(f"{file}: column {name} must hold whole numbers, it holds {rows[name].type}")
    return {name: rows[name].to_numpy().astype(np.int64) for name in COLUMNS}


def _check_same_users(folder: Path, past: np.ndarray, next_: np.ndarray) -> None:
    for ids, others, here, there in ((past, next_, "history", "future"), (next_, past, "future", "history")):
        lacking = np.setdiff1d(ids, others)
        if len(lacking):
            raise PortraitError(
                f"{folder}: user {lacking[0]} and {len(lacking) - 1} others are in {here}.csv and not in {there}.csv"
            )


def _check_one_later_basket(
    folder: Path, users: np.ndarray, past: dict[str, np.ndarray], next_: dict[str, np.ndarray]
) -> None:
    last = np.full(len(users), np.iinfo(np.int64).min)
    np.maximum.at(last, np.searchsorted(users, past["user_id"]), past["order_number"])
    row = np.searchsorted(users, next_["user_id"])
    early = np.flatnonzero(next_["order_number"] <= last[row])
    if len(early):
        raise PortraitError(
            f"{folder}/future.csv: order {next_['order_number'][early[0]]} of user {next_['user_id'][early[0]]} is not "
            "later than the user's history"
        )
    orders = np.unique(np.stack([row, next_["order_number"]]), axis=1)[0]
    twice = orders[1:][orders[1:] == orders[:-1]]
    if len(twice):
        raise PortraitError(f"{folder}/future.csv: user {users[twice[0]]} has more than one basket there")


def _first_seen(log: Purchases, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """int64 [len(log)]: the first line of the file with the customer and item of each row of the log."""
    pairs, place = np.unique(row * log.n_items + column, return_index=True)
    own = log.customer.astype(np.int64) * log.n_items + log.item
    return place[np.searchsorted(pairs, own)]
