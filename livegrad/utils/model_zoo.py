"""The older name for what `livegrad.hub` does."""

from ..hub import load_state_dict_from_url

__all__ = ["load_url"]

load_url = load_state_dict_from_url
