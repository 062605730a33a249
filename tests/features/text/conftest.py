"""A small shop in two languages: six categories, each product named with one of its category's things."""

import itertools

import pyarrow as pa
import pytest
from portrait.config.text import TextConfig
from portrait.features.text import TextModel, train_text

CATEGORIES = {
    "Tea": (("green tea", "绿茶"), ("black tea", "红茶"), ("oolong", "乌龙茶")),
    "Milk": (("whole milk", "全脂牛奶"), ("oat drink", "燕麦奶"), ("yoghurt", "酸奶")),
    "Shoes": (("running shoes", "跑鞋"), ("sandals", "凉鞋"), ("boots", "靴子")),
    "Phones": (("smartphone", "手机"), ("charger", "充电器"), ("headphones", "耳机")),
    "Hair": (("shampoo", "洗发水"), ("conditioner", "护发素"), ("hair dryer", "吹风机")),
    "Kitchen": (("wok", "炒锅"), ("knife", "刀具"), ("teapot", "茶壶")),
}
BRANDS = (("Lotus", "荷塘"), ("Harbour", "老港"), ("Ridge", "北岭"), ("Acre", "阳光"))
SETTINGS = TextConfig(dimensions=32, training_words=250_000, neighbours=5)
SIZES = ("250 g", "500 g", "1 kg", "2-pack", "No. 3")


def shop() -> pa.Table:
    """360 products: category x thing x brand x size."""
    rows = []
    for category, things in CATEGORIES.items():
        for (thing, zh), (brand, brand_zh), size in itertools.product(things, BRANDS, SIZES):
            rows.append(
                {
                    "sku": f"s{len(rows):03d}",
                    "name": f"{brand} {thing} {size}",
                    "name_zh": f"{brand_zh}{zh} {size}",
                    "brand": brand,
                    "category": category,
                }
            )
    return pa.Table.from_pylist(rows)


def asked() -> pa.Table:
    """Every thing in both languages as a query."""
    texts = [text for things in CATEGORIES.values() for pair in things for text in pair]
    return pa.table({"query": texts, "count": [5] * len(texts)})


@pytest.fixture(scope="session")
def products() -> pa.Table:
    return shop()


@pytest.fixture(scope="session")
def queries() -> pa.Table:
    return asked()


@pytest.fixture(scope="session")
def config() -> TextConfig:
    return SETTINGS


@pytest.fixture(scope="session")
def fasttext(products: pa.Table, queries: pa.Table, config: TextConfig) -> TextModel:
    return train_text(products, queries, config, seed=3)


@pytest.fixture(scope="session")
def tfidf(products: pa.Table, queries: pa.Table, config: TextConfig) -> TextModel:
    return train_text(products, queries, config.model_copy(update={"method": "tfidf"}), seed=3)


@pytest.fixture(params=["fasttext", "tfidf"])
def model(request: pytest.FixtureRequest) -> TextModel:
    found: TextModel = request.getfixturevalue(request.param)
    return found
