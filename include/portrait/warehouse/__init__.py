"""PostgreSQL: where it is, its migrations, and Arrow in and out of it."""

from portrait.warehouse.database import Warehouse, open_warehouse

__all__ = ["Warehouse", "open_warehouse"]
