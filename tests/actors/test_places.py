"""Places are reserved whole or refused in one line; who dies leaves its place to its successor."""

import re
import time

import pytest

from actors.runtime import placement
from actors.runtime.placement import Need, Place, Places, fits, in_sides, one_each, reserve
from srm_ray.errors import UserError

ENGINE, GRADER, RANK = {"CPU": 1.0, "GPU": 1.0}, {"CPU": 0.1}, {"CPU": 0.5, "GPU": 1.0}
BIG = {"rollout": Need(8, ENGINE, "sampling"), "reward": Need(8, GRADER, "sampling"), "learner": Need(8, RANK, "learn")}


def node(cpus: float, gpus: float = 0.0) -> placement.Resources:
    return {"CPU": cpus, "GPU": gpus}


def roles(bundles: list[placement.Bundle] | None) -> list[dict[str, int]]:
    assert bundles is not None
    return [{role: bundle.roles.count(role) for role in dict.fromkeys(bundle.roles)} for bundle in bundles]


def test_one_actor_is_not_spread_over_nodes() -> None:
    nodes = [node(2), node(2)]
    assert fits([{"CPU": 2.0}, {"CPU": 1.0}, {"CPU": 1.0}], nodes)
    assert not fits([{"CPU": 3.0}], nodes)


def test_bundles_that_are_kept_apart_need_a_node_each() -> None:
    assert fits([{"CPU": 1.0}, {"CPU": 1.0}], [node(4)])
    assert not fits([{"CPU": 1.0}, {"CPU": 1.0}], [node(4)], apart=True)
    # The small one leaves the large node to the large one.
    assert fits([{"CPU": 1.0}, {"CPU": 4.0}], [node(4), node(2)], apart=True)


def test_one_node_samples_and_one_learns() -> None:
    """The recipe of configs/grpo/3b.yaml on two nodes of eight GPUs."""
    assert roles(in_sides(BIG, [node(64, 8), node(64, 8)])) == [{"rollout": 8, "reward": 8}, {"learner": 8}]


def test_a_side_takes_as_many_nodes_as_it_needs() -> None:
    nodes = [node(64, 8), node(64, 4), node(64, 4)]
    assert roles(in_sides(BIG, nodes)) in (
        [{"rollout": 8, "reward": 8}, {"learner": 4}, {"learner": 4}],
        [{"rollout": 4, "reward": 4}, {"rollout": 4, "reward": 4}, {"learner": 8}],
    )
    assert in_sides(BIG, nodes[:2]) is None


def test_a_card_that_two_share_is_one_card() -> None:
    half = {"CPU": 1.0, "GPU": 0.5}
    shared = one_each({"rollout": Need(1, half), "reward": Need(2, GRADER), "learner": Need(1, half)})
    assert roles(shared) == [{"rollout": 1, "learner": 1}, {"reward": 1}, {"reward": 1}]
    assert shared[0].holds == {"CPU": 2.0, "GPU": 1.0}
    two = one_each({"rollout": Need(2, half), "learner": Need(1, half)})
    assert roles(two) == [{"rollout": 1}, {"rollout": 1}, {"learner": 1}]


def test_who_needs_nothing_lies_with_the_others() -> None:
    """So that reward workers without CPUs of their own run where the engines do."""
    beside = one_each({"reward": Need(3, {}), "rollout": Need(2, ENGINE)})
    assert roles(beside) == [{"rollout": 1, "reward": 2}, {"rollout": 1, "reward": 1}]
    assert [bundle.holds for bundle in beside] == [ENGINE, ENGINE]
    assert one_each({"reward": Need(3, {})}) == []


def test_what_many_hold_is_counted_as_ray_counts() -> None:
    bundle = placement.Bundle()
    for _ in range(8):
        bundle.add("reward", GRADER)
    assert bundle.holds == {"CPU": 0.8}  # the sum of eight floats of 0.1 is less
    for _ in range(3):
        bundle.add("rollout", {"CPU": 1.0, "GPU": 0.5})
    assert bundle.holds == {"CPU": 3.8, "GPU": 2}


def test_a_successor_takes_the_place_of_who_died() -> None:
    first, second = Place(object(), 0), Place(object(), 1)  # type: ignore[arg-type]  # stand for Ray's
    places = Places(ENGINE, [first, second])
    assert (places.take(), places.take()) == (first, second)
    places.give_back(second)
    assert places.take() == second


def test_without_a_reservation_all_run_anywhere() -> None:
    places = Places(ENGINE)
    assert places.take().options == {}
    places.give_back(places.take())
    assert places.free == []


class Here:
    def ping(self) -> None:
        """Here."""


@pytest.mark.integration
def test_what_can_never_be_had_is_refused_at_once(ray_session) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"asked for 8.5 CPU, 8 GPU in 9 actors, .* of 12 CPU, 0 GPU on 1 node") as one:
        reserve({"rollout": Need(8, ENGINE), "reward": Need(1, {"CPU": 0.5})})
    assert "waited" not in str(one.value)
    apart = {"rollout": Need(1, GRADER, "sampling"), "learner": Need(1, GRADER, "learning")}
    with pytest.raises(UserError, match=r"on nodes of their own \(placement spread\), .* on 1 node"):
        reserve(apart, strategy="spread")
    assert time.monotonic() - began < placement.WAIT


@pytest.mark.integration
def test_of_two_runs_one_gets_the_places_and_the_other_after_it(ray_session) -> None:
    free = int(ray_session.available_resources()["CPU"])
    need = {"rollout": Need(free - 1, {"CPU": 1.0}, "sampling")}
    first = reserve(need)  # nobody works there yet
    refused = re.escape(f"asked for {free - 1} CPU, 0 GPU in {free - 1} actors") + r".*\(waited 2 s\); lower workers"
    with pytest.raises(UserError, match=refused):
        reserve(need, wait=2, lower="workers")
    with pytest.raises(UserError, match=r"\(waited 2 s\)"):
        placement.require({"CPU": 1.0}, free - 1, wait=2)
    first.release()
    reserve(need).release()


@pytest.mark.integration
def test_workers_beyond_the_first_come_and_go_with_a_place_of_their_own(ray_session) -> None:
    remote = ray_session.remote(Here)
    reservation = reserve({"reward": Need(1, {"CPU": 1.0})})
    places = reservation.places["reward"]
    try:
        first = places.take()
        one = remote.options(num_cpus=1, **first.options).remote()
        ray_session.get(one.ping.remote(), timeout=400)
        beyond = places.take()
        assert beyond.own and not first.own
        two = remote.options(num_cpus=1, **beyond.options).remote()
        ray_session.get(two.ping.remote(), timeout=400)
        places.give_back(beyond)
        with pytest.raises(ray_session.exceptions.RayError):  # soon after
            for _ in range(600):
                ray_session.get(two.ping.remote(), timeout=400)
                time.sleep(0.1)
        places.give_back(first)
        ray_session.kill(one)
        again = places.take()
        assert again == first
        three = remote.options(num_cpus=1, **again.options).remote()
        ray_session.get(three.ping.remote(), timeout=400)
    finally:
        reservation.release()
