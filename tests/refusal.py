"""What a call is refused with."""

from collections.abc import Callable

import pytest


def refusal(function: Callable, *args, **kwargs) -> str:
    """The message of the ValueError that the call raises: one line."""
    with pytest.raises(ValueError) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)
