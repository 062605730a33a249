"""A tiny shop with two tastes, and one fitted model of each kind on it."""

from typing import Any

import numpy as np
import pytest
from portrait.models import REGISTRY, Recommender, create
from scipy.sparse import csr_matrix

N_ITEMS = 20

SMALL: dict[str, dict[str, Any]] = {
    "popularity": {},
    "repeat": {},
    "ease": {"regularisation": 5.0},
    "article": {"hidden": 16, "latent": 8, "batch_size": 16, "epochs": 3},
    "item_knn": {"neighbours": 6},
    "tifu_knn": {"neighbours": 10},
    "mult_dae": {"latent": 8, "batch_size": 16, "epochs": 4},
    "mult_vae": {"hidden": 16, "latent": 8, "batch_size": 16, "epochs": 4, "anneal_epochs": 2.0},
    "rec_vae": {"hidden": 16, "latent": 8, "batch_size": 16, "epochs": 2},
    "infinite_autoencoder": {"landmarks": 40},
    "sequence": {"latent": 8, "batch_size": 16, "epochs": 2},
    "profile_autoencoder": {
        "latent": 8,
        "hidden": 8,
        "batch_size": 16,
        "epochs": 4,
        "experts": ["ease"],
        "settings": {"ease": {"regularisation": 5.0}},
    },
    "product_of_experts": {
        "experts": ["ease", "mult_dae"],
        "settings": {
            "ease": {"regularisation": 5.0},
            "mult_dae": {"latent": 8, "batch_size": 16, "epochs": 4},
        },
    },
}
"""Parameters with which each model is trained in well under a second."""

for _name in (
    "article",
    "mult_dae",
    "mult_vae",
    "rec_vae",
    "sequence",
    "profile_autoencoder",
    "product_of_experts",
):
    SMALL[_name]["threads"] = 1  # more would only wait for each other on a busy machine


def two_tastes(n_users: int, seed: int) -> csr_matrix:
    """Users who like either the first ten or the last ten items; weights 0.5, 1, ... 3."""
    random = np.random.default_rng(seed)
    likes_first = np.arange(n_users) % 2 == 0
    chance = np.where(likes_first[:, None] == (np.arange(N_ITEMS) < N_ITEMS // 2), 0.5, 0.05)
    taken = random.random((n_users, N_ITEMS)) < chance
    weights = random.integers(1, 7, (n_users, N_ITEMS)) / 2
    return csr_matrix((taken * weights).astype(np.float32))


@pytest.fixture(scope="session")
def train() -> csr_matrix:
    return two_tastes(80, seed=1)


@pytest.fixture(scope="session")
def validation() -> tuple[csr_matrix, csr_matrix]:
    return two_tastes(20, seed=2), two_tastes(20, seed=3)


@pytest.fixture(scope="session")
def fitted(train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]) -> dict[str, Recommender]:
    """One fitted model a name; tests must not change them."""
    return {name: create(name, **SMALL[name]).fit(train, validation, seed=7) for name in REGISTRY}


@pytest.fixture(params=list(REGISTRY))
def model(request: pytest.FixtureRequest, fitted: dict[str, Recommender]) -> Recommender:
    return fitted[request.param]


@pytest.fixture(scope="session")
def small() -> dict[str, dict[str, Any]]:
    return SMALL
