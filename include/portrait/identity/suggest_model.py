"""The Splink model: what is compared, which pairs, and how much agreement says (docs/review.md)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from portrait.config.review import Review
from portrait.errors import PortraitError

if TYPE_CHECKING:
    import duckdb
    from splink import Linker

log = logging.getLogger(__name__)

SEED = 7
U_PAIRS = 4e6
EM_PAIRS = 2e6
LEAST_LINKED = 100  # pairs of records that identifiers have joined: fewer do not show how people mistype
LEAST_PROBABILITY = {"m": 5e-3, "u": 1e-7}


@dataclass(frozen=True)
class Level:
    """One answer of a comparison.

    Attributes
    ----------
    label : for people; never holds a value.
    sql : predicate on ``<column>_l`` and ``<column>_r``; "ELSE" for whatever is left.
    m, u : of matches and of other pairs the share that gives this answer, in the default model.
    frequency : column whose frequent values count for less.
    """

    label: str
    sql: str
    m: float
    u: float
    frequency: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The levels of one column, best first; a pair for which `missing` holds says nothing.

    `kept` ones are not trained: the pairs that identifiers have joined agree in them by construction.
    """

    column: str
    missing: str
    levels: tuple[Level, ...]
    kept: bool = False


_PART = "part_a_l = part_a_r or part_b_l = part_b_r or part_a_l = part_b_r or part_b_l = part_a_r"
_SAME_CITY = "coalesce(city_l = city_r, true)"
_NO_ADDRESS = "(address_l is null or address_r is null)"
_SAME_STREET = "jaro_winkler_similarity(street_l, street_r) >= 0.95"
_SAME_PLACE = f"{_SAME_STREET} and (list_has_all(numbers_l, numbers_r) or list_has_all(numbers_r, numbers_l))"


def _missing(column: str) -> str:
    return f"{column}_l is null or {column}_r is null"


COMPARISONS = (
    Comparison(
        "name",
        _missing("name_key"),
        (
            Level("name exact", "name_l = name_r", 0.72, 4e-4, "name"),
            Level("name the same in pinyin", "name_key_l = name_key_r", 0.19, 4e-4, "name_key"),
            Level(
                "name almost the same in pinyin",
                "jaro_winkler_similarity(pinyin_l, pinyin_r) >= 0.93",
                0.04,
                0.004,
            ),
            Level("part of the name the same", _PART, 0.03, 0.035),
            Level("name different", "ELSE", 0.02, 0.96),
        ),
    ),
    Comparison(
        "birth_date",
        _missing("birth_date"),
        (
            Level("birth_date exact", "birth_date_l = birth_date_r", 0.96, 5e-5),
            Level(
                "birth_date one slip apart",
                "damerau_levenshtein(birth_date_l, birth_date_r) = 1",
                0.02,
                0.002,
            ),
            Level("birth_date different", "ELSE", 0.02, 0.998),
        ),
    ),
    Comparison(
        "address",
        _missing("city"),
        (
            Level("address exact", f"address_l = address_r and {_SAME_CITY}", 0.38, 1.5e-5),
            Level("address the same, a part left out", f"{_SAME_PLACE} and {_SAME_CITY}", 0.13, 3e-5),
            Level("street and city the same", f"{_SAME_STREET} and {_SAME_CITY}", 0.02, 0.001),
            Level("city exact, no address to compare", "city_l = city_r and " + _NO_ADDRESS, 0.40, 0.035),
            Level("city exact, another address", "city_l = city_r", 0.03, 0.044),
            Level("city and address different", "ELSE", 0.04, 0.92),
        ),
    ),
    Comparison(
        "phone_last4",
        _missing("phone_last4"),
        (
            Level("phone_last4 exact", "phone_last4_l = phone_last4_r", 0.10, 1e-4),
            Level("phone_last4 different", "ELSE", 0.90, 0.9999),
        ),
        kept=True,
    ),
    Comparison(
        "email_local",
        _missing("email_local"),
        (
            Level("email_local exact", "email_local_l = email_local_r", 0.05, 1e-5),
            Level(
                "email_local almost the same",
                "levenshtein(email_local_l, email_local_r) <= 2 and length(email_local_l) >= 6",
                0.40,
                5e-5,
            ),
            Level("email_local different", "ELSE", 0.55, 0.9999),
        ),
        kept=True,
    ),
)
"""All that is compared, with the default model.

m of phone and e-mail: of pairs that are one person although no identifier joined them, so mostly different.
"""

# Pairs are compared that have one of these in common.
BLOCKS = (
    ("birth_date", "part_a"),
    ("birth_date", "part_b"),
    ("birth_date", "city"),
    ("birth_date", "phone_last4"),
    ("phone_last4", "part_a"),
    ("phone_last4", "part_b"),
    ("name_key", "city"),
    ("email_local",),
    ("street", "numbers", "part_a"),
    ("street", "numbers", "part_b"),
)
DUPLICATES = 0.02
"""Default model: how many duplicates that identifiers did not join there are, for each record."""
_APART = "l.customer_id <> r.customer_id"


@dataclass(frozen=True)
class Scored:
    """Pairs of records of different customers, at least `review_from` likely, the best of each two customers.

    `pairs`: place_l, place_r, match_weight, match_probability, and of each comparison ``gamma_`` and ``mw_``.
    `prior` is the weight of any two records before anything is compared.
    """

    pairs: pa.Table
    records: int
    prior: float
    trained: bool

    def waterfall(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """column, level and weight of each comparison of a pair; the weights add up to the match weight."""
        steps = [_step("prior", "any two records", self.prior)]
        for comparison in COMPARISONS:
            column, gamma = comparison.column, int(row[f"gamma_{comparison.column}"])
            label = f"{column} not known" if gamma < 0 else comparison.levels[-1 - gamma].label
            steps.append(_step(column, label, row[f"mw_{column}"]))
            rarity = row.get(f"mw_tf_adj_{column}") or 0.0
            if gamma >= 0 and rarity:
                steps.append(_step(column, f"{column} {'rare' if rarity > 0 else 'common'}", rarity))
        return steps


def _step(column: str, level: str, weight: float) -> dict[str, Any]:
    return {"column": column, "level": level, "weight": round(float(weight), 3)}


def score(records: pa.Table, review: Review, threads: int, memory_limit: str = "2GB") -> Scored | None:
    """Compare records (`RECORD`) and keep what is likely enough; None when there are not two customers.

    Raises
    ------
    PortraitError : when DuckDB fails; its message may quote a value and is not passed on.
    """
    import duckdb

    if len(records["customer_id"].unique()) < 2:
        return None
    try:
        with _engine(threads, memory_limit) as engine:
            _prepare(engine, records, review.largest_block)
            parameters, trained, chance = _parameters(engine, review, records.num_rows, threads)
            linker = _linker(engine, parameters, chance, frequencies=trained)
            found = linker.inference.predict(
                threshold_match_weight=review.review_from, warning_mode="never"
            ).physical_name
            return Scored(_best(engine, found), records.num_rows, log2(chance / (1 - chance)), trained)
    except duckdb.Error as error:
        raise PortraitError(
            f"comparing {records.num_rows} member records failed in DuckDB ({type(error).__name__}); if memory ran "
            "out raise memory_limit in features.yaml, or lower review.largest_block in identity.yaml"
        ) from None


@contextmanager
def _engine(threads: int, memory_limit: str) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A DuckDB that never writes to disk: what it holds is clear."""
    import duckdb

    config: dict[str, Any] = {"temp_directory": "", "threads": threads, "memory_limit": memory_limit}
    with duckdb.connect(":memory:", config=config) as engine:
        engine.execute("set enable_progress_bar = false")
        yield engine


def _prepare(engine: "duckdb.DuckDBPyConnection", records: pa.Table, largest: int) -> None:
    """The table `record`, with a blocking key for each of BLOCKS that is null where it is too common."""
    keys = [
        (
            f"block_{n}",
            " || '|' || ".join(c if c != "numbers" else "array_to_string(numbers, ' ')" for c in b),
        )
        for n, b in enumerate(BLOCKS)
    ]
    written = ", ".join(f"{sql} as {name}" for name, sql in keys)
    capped = ", ".join(
        f"case when count(*) over (partition by {name}) <= {largest} then {name} end as {name}"
        for name, _ in keys
    )
    engine.register("given", records)
    engine.execute(
        f"create table record as select * exclude ({', '.join(n for n, _ in keys)}), {capped} "
        f"from (select *, {written} from given)"
    )
    engine.unregister("given")


Parameters = dict[tuple[str, str], tuple[float, float]]
"""(column, label) -> m, u."""


def default_parameters() -> Parameters:
    """The documented model, for retailers with too few records to train one."""
    return {(c.column, v.label): (v.m, v.u) for c in COMPARISONS for v in c.levels}


def _parameters(
    engine: "duckdb.DuckDBPyConnection", review: Review, records: int, threads: int
) -> tuple[Parameters, bool, float]:
    """m and u of every level, whether they are trained, and the chance that two records are one person's."""
    pairs = max(records * (records - 1) / 2, 1.0)
    linked, agreeing = _one(
        engine,
        "select count(*), count(*) filter (where l.name_key = r.name_key and l.birth_date = r.birth_date) "
        "from record l join record r on l.customer_id = r.customer_id and l.place < r.place",
    )
    if records < review.train_from or linked < LEAST_LINKED:
        log.info(
            "%d member records, %d pairs joined by identifiers: the default model is used", records, linked
        )
        return default_parameters(), False, _bounded(DUPLICATES * records / pairs)
    (apart,) = _one(
        engine,
        "select count(*) from record l join record r on l.name_key = r.name_key and l.birth_date = r.birth_date "
        "and l.customer_id < r.customer_id",
    )
    chance = _bounded(max(apart, 1) / max(agreeing / linked, 0.05) / pairs)
    linker = _linker(engine, default_parameters(), _bounded((linked + apart) / pairs), frequencies=False)
    linker.training.estimate_u_using_random_sampling(max_pairs=U_PAIRS, seed=SEED)
    # One thread: sums in another order would be other weights.
    engine.execute("set threads = 1")
    # All pairs, those that identifiers joined too: they show how the same people type on two occasions.
    for rule in ("l.email_local = r.email_local", "l.birth_date = r.birth_date"):
        linker.training.estimate_parameters_using_expectation_maximisation(rule, max_pairs=EM_PAIRS)
    engine.execute(f"set threads = {threads}")
    trained = _trained(linker)
    log.info(
        "trained on %d member records, %d pairs joined by identifiers; chance of a match %.2e: %s",
        records, linked, chance, {f"{k[1]}": (round(m, 4), round(u, 6)) for k, (m, u) in trained.items()},
    )  # fmt: skip
    return trained, True, chance


def _bounded(chance: float) -> float:
    return min(max(chance, 1e-13), 0.05)


def _trained(linker: "Linker") -> Parameters:
    """The trained m and u, the default's where a level was not observed; none so small that it decides alone."""
    learnt = {c["output_column_name"]: c for c in linker.misc.save_model_to_json()["comparisons"]}
    found: Parameters = {}
    for comparison in COMPARISONS:
        levels = {v.get("label_for_charts"): v for v in learnt[comparison.column]["comparison_levels"]}
        for level in comparison.levels:
            values = []
            for which, default in (("m", level.m), ("u", level.u)):
                value = levels[level.label].get(f"{which}_probability")
                trained = (
                    default
                    if not isinstance(value, int | float) or (comparison.kept and which == "m")
                    else value
                )
                values.append(max(float(trained), LEAST_PROBABILITY[which]))
            found[comparison.column, level.label] = (values[0], values[1])
    return found


def _linker(
    engine: "duckdb.DuckDBPyConnection", parameters: Parameters, chance: float, frequencies: bool
) -> "Linker":
    from splink import DuckDBAPI, Linker, SettingsCreator

    logging.getLogger("splink").setLevel(logging.ERROR)
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="place",
        comparisons=[_comparison(c, parameters, frequencies) for c in COMPARISONS],
        blocking_rules_to_generate_predictions=[
            {"blocking_rule": f"l.block_{n} = r.block_{n} and {_APART}"} for n in range(len(BLOCKS))
        ],
        probability_two_random_records_match=chance,
        retain_matching_columns=True,
        retain_intermediate_calculation_columns=True,
        additional_columns_to_retain=["customer_id"],
    )
    return Linker(DuckDBAPI(engine).register("record"), settings, log_level=None)


def _comparison(comparison: Comparison, parameters: Parameters, frequencies: bool) -> dict[str, Any]:
    levels: list[dict[str, Any]] = [
        {"sql_condition": comparison.missing, "label_for_charts": "not known", "is_null_level": True}
    ]
    for level in comparison.levels:
        m, u = parameters[comparison.column, level.label]
        entry = {
            "sql_condition": level.sql,
            "label_for_charts": level.label,
            "m_probability": m,
            "u_probability": u,
            "fix_m_probability": comparison.kept,
        }
        if frequencies and level.frequency:
            entry["tf_adjustment_column"] = level.frequency
            entry["tf_minimum_u_value"] = 1e-5
            entry["disable_tf_exact_match_detection"] = True
        levels.append(entry)
    return {"output_column_name": comparison.column, "comparison_levels": levels}


def _best(engine: "duckdb.DuckDBPyConnection", found: str) -> pa.Table:
    columns = ", ".join(
        c for c in engine.table(found).columns if c.startswith(("match_", "place_", "gamma_", "mw_"))
        and c != "match_key"
    )  # fmt: skip
    return engine.sql(
        f"select {columns} from {found} qualify row_number() over (partition by "
        "least(customer_id_l, customer_id_r), greatest(customer_id_l, customer_id_r) "
        "order by round(match_weight, 3) desc, place_l, place_r) = 1 order by place_l, place_r"
    ).to_arrow_table()


def _one(engine: "duckdb.DuckDBPyConnection", sql: str) -> tuple[Any, ...]:
    (row,) = engine.execute(sql).fetchall()
    return tuple(row)
