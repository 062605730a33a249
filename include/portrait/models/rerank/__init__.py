"""The nightly recommender: candidates from several models and the customer's own history, in a learned order.

`purchases` is the log it works on, `habits` what the log says by itself, `linear` and `similar` the models that
propose candidates, `evidence` candidates with all their columns, `ranker` the learned order, `model` the whole.
"""
