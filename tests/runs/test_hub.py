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


def test_what_has_come_is_told_while_more_is_coming(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    blobs = tmp_path / "models--x--y" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "a").write_bytes(bytes(10_000_000))
    assert hub.downloaded("x/y") == ""
    (blobs / "b.incomplete").write_bytes(bytes(20_000_000))
    assert hub.downloaded("x/y") == "0.03 GB downloaded"
    assert hub.downloaded("/a/folder") == ""
