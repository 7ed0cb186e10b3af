"""What cannot be used is counted by reason, with rows to look at, and refused past a share."""

import pytest

from srm_ray.data.drops import Drops
from srm_ray.errors import UserError


def test_reasons_are_counted_and_their_first_rows_named() -> None:
    drops = Drops(read=1000)
    for line in (3, 17, 40, 41):
        drops.add("null answer", f"x.jsonl:{line}")
    drops.add("too long", "x.jsonl:5")
    assert str(drops) == "4 null answer (x.jsonl:3, x.jsonl:17, x.jsonl:40, ...), 1 too long (x.jsonl:5)"
    drops.check(0.005)
    with pytest.raises(UserError, match=r"^0\.5% of 1,000 rows cannot be used, more than data\.max_dropped 0\.004"):
        drops.check(0.004)


def test_what_was_asked_for_is_counted_and_never_refused() -> None:
    drops = Drops(read=4)
    for _ in range(3):
        drops.add("weight 0", asked=True)
    drops.check(0.0)
    assert str(drops) == "3 weight 0"
    drops.add("null answer")
    with pytest.raises(UserError, match=r"25\.0%.*3 weight 0, 1 null answer"):
        drops.check(0.2)
