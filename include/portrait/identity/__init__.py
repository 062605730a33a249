"""One customer across till, app and web: identifiers seen in `raw.*` in, a stable `customer_id` each out."""

from portrait.identity.mapfile import map_path
from portrait.identity.outcome import IdentityResult
from portrait.identity.resolve import resolve
from portrait.identity.rules import add_rule, revoke_rule

__all__ = ["IdentityResult", "add_rule", "map_path", "resolve", "revoke_rule"]
