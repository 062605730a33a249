"""Independent random streams: every day of every part has its own generator."""

from enum import IntEnum

import numpy as np

from portrait.simulate.retailer import Retailer


class Stream(IntEnum):
    """The part of the simulation that draws from a stream."""

    STORES = 1
    PRODUCTS = 2
    PEOPLE = 3
    STAPLES = 4
    PROMOTIONS = 5
    ORDERS = 6
    BROWSING = 7
    RECEIPTS = 8
    MEMBERS = 9
    CONSENTS = 10
    EVENT_DIRT = 11
    RECEIPT_DIRT = 12
    ACCOUNTS = 13
    TYPING = 14
    NAMES = 17
    TYPED_NAMES = 18
    RECYCLED = 15
    LATER_CONSENTS = 19


def generator(retailer: Retailer, stream: Stream, day: int = 0) -> np.random.Generator:
    """The generator of one stream on one day (days since the retailer's start).

    A day never draws from another day's generator, so it does not matter which days were simulated before.
    """
    return np.random.default_rng([retailer.seed, int(stream), day])
