"""Search queries and product names as vectors: of products, of their neighbours, of customers' interests."""

from portrait.features.text.corpus import NO_CLICKS, PRODUCT_TEXTS
from portrait.features.text.interest import asked_queries, customer_interest, searched_touches, touches
from portrait.features.text.model import TextModel, has_vector
from portrait.features.text.products import neighbours, product_categories, product_vectors
from portrait.features.text.store import load_model, save_model
from portrait.features.text.train import train_text
from portrait.features.text.write import TextResult, write_text

__all__ = [
    "NO_CLICKS",
    "PRODUCT_TEXTS",
    "TextModel",
    "TextResult",
    "asked_queries",
    "customer_interest",
    "has_vector",
    "load_model",
    "neighbours",
    "product_categories",
    "product_vectors",
    "save_model",
    "searched_touches",
    "touches",
    "train_text",
    "write_text",
]
