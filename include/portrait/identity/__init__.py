"""One customer across till, app and web: identifiers seen in `raw.*` in, a stable `customer_id` each out."""

from portrait.identity.resolve import IdentityResult, map_path, resolve

__all__ = ["IdentityResult", "map_path", "resolve"]
