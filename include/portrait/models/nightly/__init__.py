"""The model stages of a night: train, evaluate, promote, score."""
