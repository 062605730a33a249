"""What a customer will be worth: BG/NBD for how often they come back, Gamma-Gamma for what they spend, a regression beside.

BTYD's words differ from RFM's: here `repeats` (x) are purchase days after the first, `last` (t_x) is when the last of
them was and `observed` (T) how long the customer is known, both in weeks from the first purchase.
"""
