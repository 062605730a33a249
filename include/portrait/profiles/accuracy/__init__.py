"""How right a night's profiles are, against the truth that the simulated retailer keeps; no stage reads that truth."""
