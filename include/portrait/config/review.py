"""The shape of `review` in `identity.yaml`."""

from typing import Self

from pydantic import Field, model_validator

from portrait.config.origins import Frozen


class Review(Frozen):
    """Which probable duplicates are shown to people.

    Attributes
    ----------
    review_from : match weight (bits) from which a pair is put in the queue; 2 is odds of 4 to 1.
    auto_link_from : match weight from which a pair is linked without a person; None: never.
    train_from : member records from which the model is trained on one's own data, below it is the default model.
    largest_block : records with the same blocking key beyond which the key says nothing and compares nobody.
    """

    review_from: float = 2.0
    auto_link_from: float | None = None
    train_from: int = Field(default=5000, ge=2)
    largest_block: int = Field(default=300, ge=2)

    @model_validator(mode="after")
    def _auto_link_is_stricter(self) -> Self:
        if self.auto_link_from is not None and self.auto_link_from < self.review_from:
            raise ValueError("auto_link_from is below review_from; raise it")
        return self
