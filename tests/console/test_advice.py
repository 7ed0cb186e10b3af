"""Warnings that a person can act on are said in our words, once; others are not said."""

from srm_ray.console.advice import Advisor

WARNING = "WARNING services.py:2155 -- The object store is using /tmp instead of /dev/shm because of its size\n"


def test_said_once_and_only_of_what_was_printed_since(tmp_path) -> None:
    (tmp_path / "driver.log").write_text(WARNING)
    advisor = Advisor()
    advisor.follow(tmp_path)
    assert list(advisor.due()) == []
    with (tmp_path / "driver.log").open("a") as log:
        log.write("something else\n" + WARNING[:20])
        log.flush()
        assert list(advisor.due()) == []
        log.write(WARNING[20:] + WARNING)
    said = list(advisor.due())
    assert len(said) == 1 and "--shm-size" in said[0]
    (tmp_path / "rollout-0.log").write_text(WARNING)
    assert list(advisor.due()) == []


def test_logs_of_workers_are_read_too(tmp_path) -> None:
    advisor = Advisor()
    advisor.follow(tmp_path)
    (tmp_path / "learner-0.log").write_text("UserWarning: The NVIDIA driver on your system is too old\n")
    assert ["driver" in line for line in advisor.due()] == [True]
    assert list(Advisor().due()) == []
