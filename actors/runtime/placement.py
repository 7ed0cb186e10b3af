"""Places for the actors of a run: reserved all at once, or refused within 30 seconds; never a silent wait.

    Need of each role --reserve--> one placement group --> Places of each role --take--> options of an actor

A Ray placement group is held whole or not at all, so of two runs that ask for the same GPUs one gets them. Its places
outlive who works in them: a replacement takes the place of the one that died, and the places of a node that dies move
to another. A worker beyond those that a run began with gets a placement group of its own, which ends with it.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict

from srm_ray.errors import UserError

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

WAIT = 30.0  # seconds
LOWER = "rollout.workers, learner.workers or their cpus and gpus"

Resources = dict[str, float]  # e.g. {"CPU": 1.0, "GPU": 0.5}
Strategy = Literal["pack", "spread"]


class Scheduling(TypedDict, total=False):
    """Options of an actor that put it in its place."""

    scheduling_strategy: "PlacementGroupSchedulingStrategy"


def resources(cpus: float, gpus: float = 0.0) -> Resources:
    """Of one actor; what it does not need is left out."""
    return {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}


@dataclass(frozen=True, slots=True)
class Need:
    """What a role needs. count: of its actors. each: resources of one. side: roles of one side may share a node where
    sides are kept apart."""

    count: int
    each: Resources
    side: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one actor runs. group: None for anywhere. own: of this actor alone, and ended with it."""

    group: "PlacementGroup | None" = None
    bundle: int = 0
    own: bool = False

    @property
    def options(self) -> Scheduling:
        if self.group is None:
            return {}
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return {"scheduling_strategy": PlacementGroupSchedulingStrategy(self.group, self.bundle)}


class Places:
    """Of the workers of a role. each: resources of one. reserved: None where nothing is, and all run anywhere."""

    def __init__(self, each: Resources, reserved: Sequence[Place] | None = None):
        self.each = each
        self.reserves = reserved is not None
        self.free = list(reserved or ())

    def take(self) -> Place:
        """A free place, else one of its own, which Ray finds when resources are free."""
        if self.free:
            return self.free.pop(0)
        if not self.reserves or not self.each:
            return Place()
        from ray.util import placement_group

        return Place(placement_group([self.each], strategy="PACK"), own=True)

    def give_back(self, place: Place) -> None:
        """Of an actor that is no more, or is being ended. What still runs in a place of its own ends with it."""
        if place.own:
            from ray.util import remove_placement_group

            remove_placement_group(place.group)
        elif self.reserves and place.group is not None:
            self.free.append(place)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Places by role, and the placement group that holds them until `release`."""

    places: dict[str, Places]
    group: "PlacementGroup | None" = None

    def release(self) -> None:
        """What still runs in the places ends."""
        from ray.util import remove_placement_group

        if self.group is not None:
            remove_placement_group(self.group)


@dataclass(slots=True)
class Bundle:
    """What lies on one node whatever happens. parts: resources of its actors. roles: theirs."""

    parts: list[Resources] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    def add(self, role: str, each: Resources) -> None:
        self.parts.append(each)
        self.roles.append(role)

    @property
    def holds(self) -> Resources:
        """All of them, as Ray counts: to four digits, and in whole GPUs from the first on."""
        found: Resources = {}
        for part in self.parts:
            for name, amount in part.items():
                found[name] = round(found.get(name, 0.0) + amount, 4)
        return {name: math.ceil(n) if name == "GPU" and n > 1 else n for name, n in found.items()}


def reserve(
    needs: Mapping[str, Need], *, strategy: Strategy = "pack", wait: float = WAIT, lower: str = LOWER
) -> Reservation:
    """Places for all actors of all roles. Raises UserError where the cluster does not have them within `wait` seconds.

    strategy: "pack": on as few nodes as hold them; "spread": no two sides on one node, and each side on as few nodes
    as hold it. lower: the options that ask for less.
    """
    from ray.util import placement_group, remove_placement_group

    totals = all_nodes()
    bundles = in_sides(needs, totals) if strategy == "spread" else one_each(needs)
    placed = [bundle for bundle in bundles or () if bundle.holds]
    if bundles is None or not fits([bundle.holds for bundle in placed], totals, apart=strategy == "spread"):
        raise refusal(needs, lower, strategy=strategy)
    group = None
    if placed:
        ray_strategy = "STRICT_SPREAD" if strategy == "spread" else "PACK"
        group = placement_group([bundle.holds for bundle in placed], strategy=ray_strategy)
        if not group.wait(wait):
            remove_placement_group(group)
            raise refusal(needs, lower, strategy=strategy, waited=wait)
    reserved: dict[str, list[Place]] = {role: [] for role in needs}
    for index, bundle in enumerate(placed):
        for role in bundle.roles:
            reserved[role].append(Place(group, index))
    return Reservation({role: Places(need.each, reserved[role]) for role, need in needs.items()}, group)


def one_each(needs: Mapping[str, Need]) -> list[Bundle]:
    """A bundle for each actor; where one of each of two roles shares a card, they share a bundle, and so the card.

    Actors that need nothing lie in the others' bundles: Ray reserves none that is empty.
    """
    sharing = [role for role, need in needs.items() if need.count == 1 and 0 < need.each.get("GPU", 0) < 1]
    if len(sharing) < 2 or sum(needs[role].each["GPU"] for role in sharing) > 1:
        sharing = []
    bundles = [Bundle()] if sharing else []
    with_needs = {role: need for role, need in needs.items() if need.each}
    for role, need in with_needs.items():
        for _ in range(need.count):
            if role not in sharing:
                bundles.append(Bundle())
            bundles[0 if role in sharing else -1].add(role, need.each)
    for role in needs.keys() - with_needs.keys() if bundles else ():
        for number in range(needs[role].count):
            bundles[number % len(bundles)].add(role, {})
    return bundles


def in_sides(needs: Mapping[str, Need], nodes: Sequence[Resources]) -> list[Bundle] | None:
    """A bundle for each node that a side takes, of as few nodes in all as hold them; None where none do.

    A side's actors are dealt evenly: those of a role that come first share the first node.
    """
    sides = list(dict.fromkeys(need.side for need in needs.values()))
    counts = dict.fromkeys(sides, 1)
    while sum(counts.values()) <= len(nodes):
        bundles = {side: dealt(needs, side, counts[side]) for side in sides}
        if fits([bundle.holds for side in sides for bundle in bundles[side] if bundle.holds], nodes, apart=True):
            return [bundle for side in sides for bundle in bundles[side]]
        # The side with the largest part on one node takes one more.
        largest = max(sides, key=lambda side: max(map(_size, (bundle.holds for bundle in bundles[side]))))
        counts[largest] += 1
    return None


def dealt(needs: Mapping[str, Need], side: str, nodes: int) -> list[Bundle]:
    bundles = [Bundle() for _ in range(nodes)]
    for role, need in needs.items():
        if need.side == side:
            for number in range(need.count):
                bundles[number * nodes // need.count].add(role, need.each)
    return bundles


def require(each: Resources, count: int, *, wait: float = WAIT, lower: str = "workers") -> None:
    """Return once `count` actors would fit, which whoever starts them reserves; raise UserError after `wait`
    seconds."""
    bundles, needs = [each] * count, {"": Need(count, each)}
    deadline = time.monotonic() + wait
    while not fits(bundles, free_nodes()):
        if not fits(bundles, all_nodes()):
            raise refusal(needs, lower)
        if time.monotonic() > deadline:
            raise refusal(needs, lower, waited=wait)
        time.sleep(0.5)


def fits(bundles: Iterable[Mapping[str, float]], nodes: Sequence[Resources], *, apart: bool = False) -> bool:
    """Whether the bundles lie on the nodes, largest first. apart: each on a node of its own."""
    free = [dict(node) for node in nodes]
    for bundle in sorted(bundles, key=_size, reverse=True):
        found = [node for node in free if all(node.get(name, 0) + 1e-9 >= amount for name, amount in bundle.items())]
        if not found:
            return False
        node = min(found, key=_size) if apart else found[0]
        if apart:
            free.remove(node)
            continue
        for name, amount in bundle.items():
            node[name] -= amount
    return True


def _size(bundle: Mapping[str, float]) -> tuple[float, float]:
    return bundle.get("GPU", 0.0), bundle.get("CPU", 0.0)


def all_nodes() -> list[Resources]:
    """What each node has in all."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def free_nodes() -> list[Resources]:
    """What nobody has taken on each node."""
    import ray

    return [dict(node) for node in ray._private.state.available_resources_per_node().values()]


def refusal(
    needs: Mapping[str, Need], lower: str, *, strategy: Strategy = "pack", waited: float | None = None
) -> UserError:
    """What is needed, what is there, what to lower. waited: seconds for what others hold; None: not to be had."""
    asked: Counter[str] = Counter()
    for need in needs.values():
        for _ in range(need.count):
            asked.update(need.each)
    apart = ", sampling and learning on nodes of their own (placement spread)" if strategy == "spread" else ""
    nodes = all_nodes()
    return UserError(
        f"the cluster cannot hold this run: asked for {_show(asked)} in {sum(n.count for n in needs.values())} actors"
        f"{apart}, {_show(_sum(free_nodes()))} available of {_show(_sum(nodes))} on {len(nodes)} node(s)"
        + ("" if waited is None else f" (waited {waited:.0f} s)")
        + f"; lower {lower}, or add nodes"
    )


def _sum(nodes: Iterable[Resources]) -> Counter[str]:
    total: Counter[str] = Counter()
    for node in nodes:
        total.update({name: node.get(name, 0.0) for name in ("CPU", "GPU")})
    return total


def _show(held: Mapping[str, float]) -> str:
    return ", ".join(f"{held.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
