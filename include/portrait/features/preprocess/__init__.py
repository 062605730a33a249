"""From features to the columns of a model's input: imputation, scaling and encoding as `preprocess` of `features.yaml` says.

What is learnt from data (means, quantiles, categories) comes from training customers only, is kept with the model
version and applied unchanged when customers are scored.
"""

from portrait.features.preprocess.preprocessor import Preprocessor

__all__ = ["Preprocessor"]
