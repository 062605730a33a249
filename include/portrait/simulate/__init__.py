"""A multi-channel retailer with known truth, for the demo and for tests of accuracy and scale.

`simulate` writes source files day by day, as a retailer's systems would deliver them, dirt included, and
beside them the truth: who is who, what they like, whether and when they left.
"""

from portrait.simulate.day import write_day
from portrait.simulate.reference import write_reference
from portrait.simulate.retailer import Counts, Dirt, Retailer
from portrait.simulate.run import simulate

__all__ = ["Counts", "Dirt", "Retailer", "simulate", "write_day", "write_reference"]
