"""Asking the hub: its client's own words about every try are kept from the terminal."""

import logging

import pytest

from srm_ray.console import hub


def test_the_client_is_quiet_while_it_is_asked_and_as_before_after() -> None:
    client = logging.getLogger("huggingface_hub.utils._http")
    before = client.isEnabledFor(logging.WARNING)
    with pytest.raises(OSError), hub.asking("x/y"):
        assert not client.isEnabledFor(logging.WARNING)
        assert client.isEnabledFor(logging.ERROR)
        raise OSError("no network")
    assert client.isEnabledFor(logging.WARNING) == before
