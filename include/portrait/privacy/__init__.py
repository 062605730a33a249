"""Customers' rights: who may read what, what each customer allowed, what must be forgotten, and the keys behind hashes."""
