"""Situations of the generated word problems that no training text uses (see `situations`)."""

from srm_ray.data.situations import S, Situation

HELD_OUT: dict[str, Situation] = {
    # One step
    "aquarium": S(
        "An aquarium shows {x seahorse} and {y turtle}. How many animals is that together?",
        "x 4-50, y 3-40",
        (("all animals", "x + y"),),
    ),
    "balloons": S(
        "{A} ties {x balloon} to the gate. The wind carries {y} of them off. How many balloons are still at the gate?",
        "y 2-14, r 3-25",
        (("{y} of {x} are gone", "x - y"),),
        "x = y + r",
    ),
    "choir": S(
        "A choir stands in {x} lines with {y singer} in each. How many singers does it have?",
        "x 2-9, y 4-15",
        (("{x} lines of {y}", "x * y"),),
    ),
    "piles": S(
        "{A} sorts {x item} into {y} piles of the same size. How many {items} are in each pile?",
        "y 2-9, q 3-15",
        (("{x} in {y} piles", "x / y"),),
        "x = y * q",
        ("domino", "key", "playing card", "photo"),
    ),
    "ferry": S(
        "A ferry takes {x truck} on each crossing. How many trucks does it take on {y crossing}?",
        "x 3-20, y 2-9",
        (("{y} crossings with {x} trucks", "x * y"),),
    ),
    "tower": S(
        "A tower is {x meter} high. The tree beside it is {y meter} lower. How many meters high is the tree?",
        "y 4-40, r 5-30",
        (("{y} meters less than {x}", "x - y"),),
        "x = y + r",
    ),
    "rounds": S(
        "{A} scores {x point} in the first round of a game and {y point} in the second. "
        "How many points does {he} have?",
        "x 10-90, y 10-90",
        (("both rounds together", "x + y"),),
    ),
    "tents": S(
        "{x camper} sleep in tents, {y camper} in each. How many tents are there?",
        "y 2-8, q 2-12",
        (("{x} campers, {y} to a tent", "x / y"),),
        "x = y * q",
    ),
    # Two steps
    "lemonade": S(
        "{A} sells {x glass} of lemonade for {y dollar} each. The lemons cost {him} {z dollar}. "
        "How many dollars does {he} earn in the end?",
        "x 5-20, y 2-4, z 2-9",
        (("money taken", "x * y"), ("without the lemons", "t - z")),
    ),
    "carousel": S(
        "A carousel has {x horse} and {y swan}, with one rider on each. {z} more riders are waiting. "
        "How many riders are there in all?",
        "x 6-30, y 2-15, z 3-25",
        (("riders on the carousel", "x + y"), ("with those who wait", "t + z")),
    ),
    "letters": S(
        "{A} wrote {x letter} and {B} wrote {y}. They tie them into {z} bundles of the same size. "
        "How many letters are in each bundle?",
        "z 3-8, y 2-8, q 4-12",
        (("letters in all", "x + y"), ("in each bundle", "t / z")),
        "x = z * q - y",
    ),
    "greenhouse": S(
        "A greenhouse has {x table} with {y pot} on each, and {z} more pots hang from the roof. "
        "How many pots are in the greenhouse?",
        "x 2-9, y 5-20, z 3-25",
        (("on the tables", "x * y"), ("with those that hang", "t + z")),
    ),
    "boat": S(
        "Hiring a boat costs {x dollar} and {y dollar} more for every hour. "
        "How many dollars does it cost for {z hour}?",
        "x 5-30, y 3-15, z 2-8",
        (("for the hours", "y * z"), ("with the first price", "t + x")),
    ),
    "hens": S(
        "Each of {x hen} lays {y egg}. {A} uses {z} of them for breakfast. How many of the eggs are left?",
        "x 3-12, y 2-6, z 2-5",
        (("eggs in all", "x * y"), ("after breakfast", "t - z")),
    ),
    "medals": S(
        "{A} has won {x medal}. {B} has won {y} more than {A}. How many medals have they won together?",
        "x 3-25, y 2-15",
        (("{B} has", "x + y"), ("both together", "t + x")),
    ),
    "cable": S(
        "A cable of {x meter} is cut into {y} equal parts, and {A} uses {z} of these parts. "
        "How many meters of cable does {he} use?",
        "z 2-5, r 2-4, q 2-12",
        (("one part", "x / y"), ("{z} parts", "t * z")),
        "y = z + r; x = y * q",
    ),
    "parcels": S(
        "A van leaves with {x parcel} and delivers {y} at each of {z stop}. How many parcels are left in the van?",
        "y 2-9, z 2-9, r 3-30",
        (("delivered", "y * z"), ("left", "x - t")),
        "x = y * z + r",
    ),
    "kittens": S(
        "Each of {x cat} has {y kitten}. How many animals is that, cats and kittens together?",
        "x 2-12, y 2-6",
        (("kittens", "x * y"), ("with the cats", "t + x")),
    ),
    "board game": S(
        "{A} has {x dollar} and {B} has {y dollar}. Together they buy a board game for {z dollar}. "
        "How many dollars do they have left?",
        "x 12-40, y 12-40, z 8-22",
        (("together", "x + y"), ("after buying", "t - z")),
    ),
    "wall": S(
        "{A} has {x brick}. {He} builds a wall of {y} layers with {z brick} in each. How many bricks are not used?",
        "y 2-9, z 4-15, r 3-30",
        (("in the wall", "y * z"), ("not used", "x - t")),
        "x = y * z + r",
    ),
}
