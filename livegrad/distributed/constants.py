"""How long processes wait for each other where nothing is said."""

from .errors import DEFAULT_TIMEOUT as default_pg_timeout

__all__ = ["default_pg_timeout"]
