"""PostgreSQL: where it is, its migrations, and Arrow in and out of it."""

from portrait.warehouse.database import Transaction, Warehouse, open_warehouse

__all__ = ["Transaction", "Warehouse", "open_warehouse"]
