"""Where MLflow's own commands find the store, and what is said when its UI is not installed."""

from collections.abc import Callable
from typing import Any

import pytest
from portrait.errors import PortraitError
from portrait.models.nightly.registry import ui
from portrait.warehouse import Warehouse
from portrait.warehouse.grants import MODEL
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool


def test_the_uri_is_that_of_the_schema_and_role(settings: Any, warehouse: Warehouse) -> None:
    engine = create_engine(ui.uri_of(settings), poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(text("select current_user, current_schema(), current_database()")).one()
    assert tuple(found) == (MODEL, "mlflow", warehouse.url.database)


def test_without_the_ui_it_says_what_to_install(
    make_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "find_spec", lambda name: None)
    with pytest.raises(PortraitError, match=r"pip install -r requirements-mlflow\.txt -c constraints\.txt"):
        ui.serve(make_settings(), "127.0.0.1", 5000)
