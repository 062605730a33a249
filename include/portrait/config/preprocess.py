"""The shape of `preprocess` in `features.yaml`: how features become the columns of a model's input."""

from typing import Literal, Self

from pydantic import Field, model_validator

from portrait.config.origins import Frozen

Strategy = Literal["mean", "median", "most_frequent", "zero"]


class Impute(Frozen):
    """What stands in for a missing value.

    Attributes
    ----------
    strategy : statistic of the training customers that have the value; texts have `most_frequent` only. `zero` is for
        what is missing because nothing happened, and learns nothing.
    by : a column whose values form groups with a statistic each; a group not met in training, or without any
        value there, has that of everyone.
    indicator : add a column that is 1 where the value was missing.
    """

    strategy: Strategy = "median"
    by: str | None = None
    indicator: bool = True


class Preprocess(Frozen):
    """One feature and what is done to it: missing values are filled, then it is scaled or encoded.

    Attributes
    ----------
    column : a feature.
    impute : without it a missing number is an error, and a missing text a category of its own.
    log1p : take log(1 + value) before scaling, for amounts and counts.
    scale : `standard` (mean 0, standard deviation 1) or `robust` (median 0, interquartile range 1).
    encode : for texts. `one_hot`: a column a category; `ordinal`: its place in alphabetical order.
    unknown : a category not met in training: `ignore` (no column is 1; ordinal -1) or `error`.
    rarest : categories of fewer training customers share one column.
    """

    column: str
    impute: Impute | None = None
    log1p: bool = False
    scale: Literal["standard", "robust"] | None = None
    encode: Literal["one_hot", "ordinal"] | None = None
    unknown: Literal["ignore", "error"] = "ignore"
    rarest: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _number_or_text(self) -> Self:
        if self.encode and (self.scale or self.log1p):
            raise ValueError(f"{self.column}: encode is for texts, scale and log1p for numbers; keep one")
        if self.encode and self.impute and self.impute.strategy != "most_frequent":
            raise ValueError(f"{self.column}: a text has no {self.impute.strategy}; say most_frequent")
        if not self.encode and self.rarest > 1:
            raise ValueError(f"{self.column}: rarest is for one_hot; remove it or add encode")
        return self
