"""Names of a run's tables, and waiting for locks."""

import pytest
from portrait.errors import PortraitError
from portrait.profiles.partitions import LOADING, TablesBusy, lock_pointer, partition, when_free
from portrait.warehouse import Warehouse


def test_names() -> None:
    assert partition("rfm", "2026-03-01.1") == "rfm_20260301_1"
    assert partition("rfm", "2026-03-01.12", LOADING) == "rfm_20260301_12__load"


@pytest.mark.parametrize("run_id", ["2026-03-01.1; drop table x", "", "A", "a__load", "x" * 40])
def test_a_run_id_that_makes_no_table_name_is_refused(run_id: str) -> None:
    with pytest.raises(PortraitError, match=r"must look like 2026-03-01\.1"):
        partition("rfm", run_id)


def test_a_lock_that_is_not_to_be_had_is_given_up(warehouse: Warehouse) -> None:
    with warehouse.begin() as other:
        lock_pointer(other)
        with pytest.raises(TablesBusy, match=r"locked for 0\.3 s"):
            when_free(warehouse, lock_pointer, patience_s=0.3)
    when_free(warehouse, lock_pointer, patience_s=0.3)
