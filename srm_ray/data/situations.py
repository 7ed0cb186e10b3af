"""The situations of the generated word problems: their text, with which numbers, and how it is worked out.

In a text {A} and {B} are two people's names, {he}, {He}, {his} and {him} the first one's pronouns, {x} is a number and
{x apple} the number with its noun. Where a situation has items, one is drawn: {x item}, {items} and {an item} speak of
it. Numbers are drawn from their ranges; those that follow from others ("x = y * q") make every result a whole number
above zero. An expression is worked out from left to right. t is the result of the step before.

Held-out situations occur in no training text: what a model does there, it does not know by heart.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """text: as above. numbers: name -> lowest and highest, e.g. "x 5-60, y 3-30". steps: (why, expression), the last
    one's result is the answer. derived: "x = y + r", several by semicolons. items: nouns, one of which is drawn."""

    text: str
    numbers: str
    steps: tuple[tuple[str, str], ...]
    derived: str = ""
    items: tuple[str, ...] = ()


S = Situation
SMALL_THINGS = ("marble", "sticker", "postcard", "seashell", "badge")
FOUND_THINGS = ("acorn", "pebble", "leaf", "feather", "pine cone")

ONE_STEP: dict[str, Situation] = {
    "gift": S(
        "{A} has {x item}. {B} gives {him} {y} more. How many {items} does {A} have now?",
        "x 5-60, y 3-40",
        (("{A} has {x} and gets {y} more", "x + y"),),
        items=SMALL_THINGS,
    ),
    "plate": S(
        "There are {x item} on a plate. {A} eats {y} of them. How many {items} are left on the plate?",
        "y 2-9, r 3-20",
        (("{y} of the {x} are gone", "x - y"),),
        "x = y + r",
        ("cookie", "grape", "strawberry", "dumpling"),
    ),
    "tulips": S(
        "{A} plants {x} rows of tulips with {y tulip} in each row. How many tulips does {he} plant?",
        "x 2-12, y 3-15",
        (("{x} rows of {y}", "x * y"),),
    ),
    "share": S(
        "{A} shares {x item} equally among {y friend}. How many {items} does each friend get?",
        "y 2-9, q 2-12",
        (("{x} shared among {y}", "x / y"),),
        "x = y * q",
        ("walnut", "cherry", "cracker", "olive"),
    ),
    "passengers": S(
        "A bus has {x passenger}. At the next stop {y} more get on. How many passengers are on the bus now?",
        "x 8-50, y 2-25",
        (("{x} passengers and {y} more", "x + y"),),
    ),
    "pages left": S(
        "A book has {x page}. {A} has read {y} of them. How many pages does {he} still have to read?",
        "y 15-120, r 12-150",
        (("{y} of {x} pages are read", "x - y"),),
        "x = y + r",
    ),
    "museum": S(
        "A ticket to the museum costs {x dollar}. How many dollars do {y ticket} cost?",
        "x 3-15, y 2-9",
        (("{y} tickets at {x} dollars", "x * y"),),
    ),
    "boxes": S(
        "{A} packs {x item} into boxes that hold {y} each. How many boxes does {he} fill?",
        "y 3-12, q 2-12",
        (("{x} in boxes of {y}", "x / y"),),
        "x = y * q",
        ("egg", "candle", "orange", "light bulb"),
    ),
    "older": S(
        "{A} is {x year} old. {B} is {y year} older than {A}. How old is {B}?",
        "x 4-40, y 2-30",
        (("{y} years more than {x}", "x + y"),),
    ),
    "cycling": S(
        "{A} cycles {x kilometer} in the morning and {y kilometer} in the afternoon. "
        "How many kilometers does {he} cycle that day?",
        "x 3-45, y 3-45",
        (("both rides together", "x + y"),),
    ),
    "evening": S(
        "At noon it is {x degree} warm. By the evening it is {y degree} colder. How many degrees is it in the evening?",
        "y 2-14, r 3-20",
        (("{y} degrees less than {x}", "x - y"),),
        "x = y + r",
    ),
    "comparison": S(
        "{A} collected {x item} and {B} collected {y}. How many more {items} did {A} collect than {B}?",
        "y 5-50, r 2-40",
        (("the difference of {x} and {y}", "x - y"),),
        "x = y + r",
        FOUND_THINGS,
    ),
    "toy trucks": S(
        "Each toy truck has {y wheel}. How many wheels do {x toy truck} have?",
        "x 3-15, y 4-10",
        (("{x} trucks with {y} wheels", "x * y"),),
    ),
    "saving": S(
        "{A} saves {x dollar} every week. How many dollars does {he} save in {y week}?",
        "x 3-25, y 2-12",
        (("{y} weeks with {x} dollars", "x * y"),),
    ),
    "ribbon": S(
        "A ribbon of {x centimeter} is cut into {y} equal pieces. How many centimeters long is each piece?",
        "y 2-9, q 4-25",
        (("{x} centimeters in {y} pieces", "x / y"),),
        "x = y * q",
    ),
    "library": S(
        "A library lends {x book} on Monday and {y book} on Tuesday. How many books does it lend on these two days?",
        "x 12-95, y 12-95",
        (("both days together", "x + y"),),
    ),
    "teams": S(
        "{x child} are put into teams of {y}. How many teams are there?",
        "y 3-11, q 2-9",
        (("{x} children in teams of {y}", "x / y"),),
        "x = y * q",
    ),
    "given away": S(
        "{A} had {x goldfish}. After giving some of them to {B}, {he} has {y}. How many goldfish did {A} give away?",
        "y 3-15, r 2-12",
        (("{x} before and {y} after", "x - y"),),
        "x = y + r",
    ),
    "tiles": S(
        "A floor is {x tile} long and {y tile} wide. How many tiles cover the whole floor?",
        "x 4-20, y 3-12",
        (("{x} times {y} tiles", "x * y"),),
    ),
    "change": S(
        "{A} buys {an item} for {y dollar} and pays with {x dollar}. How many dollars does {he} get back?",
        "y 6-45, r 2-40",
        (("{x} paid, {y} due", "x - y"),),
        "x = y + r",
        ("umbrella", "scarf", "lamp", "apron", "teapot"),
    ),
    "parking": S(
        "A parking lot has {x space}. Cars stand on {y} of them. How many spaces are free?",
        "y 12-80, r 3-60",
        (("{y} of {x} are taken", "x - y"),),
        "x = y + r",
    ),
    "crayons": S(
        "There are {x crayon} in a pack. The teacher opens {y pack}. How many crayons is that in all?",
        "x 6-24, y 2-8",
        (("{y} packs of {x}", "x * y"),),
    ),
    "stairs": S(
        "{A} climbs {x stair} to {his} door. {B} lives higher up and climbs {y stair} more. "
        "How many stairs does {B} climb?",
        "x 12-60, y 8-45",
        (("{y} more than {x}", "x + y"),),
    ),
    "bottles": S(
        "A machine fills {x bottle} with milk every minute. How many bottles does it fill in {y minute}?",
        "x 5-30, y 3-12",
        (("{y} minutes with {x} bottles", "x * y"),),
    ),
    "chairs": S(
        "{x chair} stand in {y} equal rows. How many chairs are in each row?",
        "y 2-12, q 4-15",
        (("{x} chairs in {y} rows", "x / y"),),
        "x = y * q",
    ),
    "wish": S(
        "{A} wants to buy {an item} for {x dollar}. {He} has saved {y dollar}. How many more dollars does {he} need?",
        "y 8-70, r 4-60",
        (("{y} of {x} dollars are there", "x - y"),),
        "x = y + r",
        ("kite", "accordion", "easel", "ukulele", "tent"),
    ),
    "vote": S(
        "In a vote {x pupil} want to see the zoo and {y pupil} want to see the castle. How many pupils voted?",
        "x 5-60, y 5-60",
        (("all votes together", "x + y"),),
    ),
    "cake": S(
        "One cake takes {x egg}. How many eggs do {y cake} take?",
        "x 2-8, y 3-15",
        (("{y} cakes with {x} eggs", "x * y"),),
    ),
    "film": S(
        "A film lasts {x minute}. {A} has watched {y minute} of it. How many minutes are left?",
        "y 10-75, r 8-80",
        (("{y} of {x} minutes are over", "x - y"),),
        "x = y + r",
    ),
    "pizzas": S(
        "{A} cuts each of {x pizza} into {y slice}. How many slices are there?",
        "x 2-12, y 4-12",
        (("{x} pizzas with {y} slices", "x * y"),),
    ),
    "snow": S(
        "In the morning the snow is {x centimeter} deep. During the day {y centimeter} more fall. "
        "How many centimeters deep is the snow then?",
        "x 3-40, y 2-30",
        (("{y} centimeters on top of {x}", "x + y"),),
    ),
    "necklaces": S(
        "{A} threads {x bead} onto necklaces, {y bead} on each. How many necklaces does {he} make?",
        "y 5-20, q 2-9",
        (("{x} beads, {y} for each necklace", "x / y"),),
        "x = y * q",
    ),
}
