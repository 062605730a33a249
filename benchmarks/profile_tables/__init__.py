"""What `benchmarks/profiles.py` is made of."""
