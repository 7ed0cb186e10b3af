"""The situations of the generated word problems: what is told, with which numbers, and how it is worked out.

In a text {A} and {B} are two people's names, {he}, {He}, {his} and {him} the first one's pronouns, {x} is a number and
{x apple} the number with its noun. Where a situation has items, one is drawn: {x item}, {items} and {an item} speak of
it. Numbers are drawn from their ranges; those that follow from others ("x = y * q") make every result a whole number
above zero. An expression is worked out from left to right. t is the result of the step before.

Held-out situations are told of in no training text: what a model does there, it does not know by heart.
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

TRAIN: dict[str, Situation] = {
    # One step
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
    # Two steps
    "found and lost": S(
        "{A} had {x item}. {He} found {y} more and then lost {z}. How many {items} does {he} have now?",
        "x 10-50, y 3-30, z 2-9",
        (("with the ones found", "x + y"), ("without the ones lost", "t - z")),
        items=("coin", "button", "token", "bead"),
    ),
    "notebooks": S(
        "{A} buys {x notebook} for {y dollar} each and a pen for {z dollar}. How many dollars does {he} pay?",
        "x 2-9, y 2-7, z 2-9",
        (("the notebooks cost", "x * y"), ("with the pen", "t + z")),
    ),
    "broken cups": S(
        "A shop gets {x box} with {y cup} in each. Of all the cups {z} are broken. How many cups are whole?",
        "x 2-9, y 4-12, z 2-7",
        (("cups in all", "x * y"), ("without the broken ones", "t - z")),
    ),
    "muffins": S(
        "{A} bakes {x muffin}. {He} eats {y} and shares the rest equally among {z friend}. "
        "How many muffins does each friend get?",
        "y 2-5, z 2-8, q 2-6",
        (("left to share", "x - y"), ("for each friend", "t / z")),
        "x = z * q + y",
    ),
    "reading": S(
        "{A} reads {x page} a day. After {y day} {he} still has {z page} to go. How many pages does the book have?",
        "x 5-25, y 2-9, z 4-60",
        (("pages read", "x * y"), ("with those to go", "t + z")),
    ),
    "bus stop": S(
        "A tram leaves with {x passenger}. At the first stop {y} get off and {z} get on. "
        "How many passengers are on the tram now?",
        "y 2-12, z 2-15, r 4-40",
        (("after {y} got off", "x - y"), ("after {z} got on", "t + z")),
        "x = y + r",
    ),
    "times as many": S(
        "{A} has {x item}. {B} has {y} times as many. How many {items} do they have together?",
        "x 3-15, y 2-6",
        (("{B} has", "x * y"), ("both together", "t + x")),
        items=SMALL_THINGS,
    ),
    "fewer": S(
        "{A} picks {x item}. {B} picks {y} fewer than {A}. How many {items} do they pick together?",
        "y 2-15, r 4-30",
        (("{B} picks", "x - y"), ("both together", "t + x")),
        "x = y + r",
        ("plum", "mushroom", "lemon", "raspberry"),
    ),
    "wages": S(
        "{A} earns {x dollar} an hour and works for {y hour}. Then {he} spends {z dollar} on lunch. "
        "How many dollars are left?",
        "x 8-20, y 2-8, z 4-14",
        (("earned", "x * y"), ("after lunch", "t - z")),
    ),
    "cartons": S(
        "On a farm {A} collects {x egg} in the morning and {y} in the evening. {He} packs them into cartons of {z}. "
        "How many cartons does {he} fill?",
        "z 4-12, y 3-9, q 4-9",
        (("eggs in all", "x + y"), ("cartons of {z}", "t / z")),
        "x = z * q - y",
    ),
    "carrots": S(
        "{A} plants {x} rows of {y carrot} and {z} single carrots along the fence. How many carrots does {he} plant?",
        "x 2-9, y 4-15, z 3-20",
        (("in the rows", "x * y"), ("with those along the fence", "t + z")),
    ),
    "tickets and change": S(
        "A ticket for the circus costs {x dollar}. {A} buys {y ticket} and pays with {z dollar}. "
        "How many dollars does {he} get back?",
        "x 4-15, y 2-6, r 2-20",
        (("the tickets cost", "x * y"), ("back from {z}", "z - t")),
        "z = x * y + r",
    ),
    "bags": S(
        "{A} has {x bag} with {y marble} in each. {He} shares all the marbles equally among {z child}. "
        "How many marbles does each child get?",
        "x 2-6, z 2-5, k 2-5",
        (("marbles in all", "x * y"), ("for each child", "t / z")),
        "y = z * k",
    ),
    "tank": S(
        "A tank holds {x liter}, and {y liter} are in it. A pump adds {z liter} every minute. "
        "After how many minutes is the tank full?",
        "y 5-60, z 2-15, q 3-12",
        (("still missing", "x - y"), ("minutes at {z} liters", "t / z")),
        "x = z * q + y",
    ),
    "flock": S(
        "A flock has {x sheep}. In spring {y lamb} are born, and in autumn {z animal} are sold. "
        "How many animals does the flock have then?",
        "x 15-70, y 4-25, z 3-14",
        (("after spring", "x + y"), ("after autumn", "t - z")),
    ),
    "class": S(
        "A class has {x girl} and {y boy}. Today {z} of the children are ill. How many children are at school?",
        "x 8-18, y 8-18, z 2-7",
        (("children in all", "x + y"), ("without those who are ill", "t - z")),
    ),
    "album": S(
        "{A} fills {x} sheets of an album with {y stamp} each and has {z stamp} left over. "
        "How many stamps does {he} have?",
        "x 3-12, y 4-12, z 2-11",
        (("in the album", "x * y"), ("with those left over", "t + z")),
    ),
    "running": S(
        "{A} runs {x kilometer} on each of {y day} and {z kilometer} on Sunday. How many kilometers does {he} run?",
        "x 3-12, y 2-6, z 4-21",
        (("on the first days", "x * y"), ("with Sunday", "t + z")),
    ),
    "plank": S(
        "A plank is {x centimeter} long. {A} cuts off {y centimeter} and saws the rest into {z} equal pieces. "
        "How many centimeters long is each piece?",
        "y 4-30, z 2-8, q 5-25",
        (("what is left", "x - y"), ("each of {z} pieces", "t / z")),
        "x = z * q + y",
    ),
    "hikers": S(
        "Each of {x hiker} carries {y bottle} of water. Together they have emptied {z}. "
        "How many bottles are still full?",
        "x 4-12, y 2-4, z 2-7",
        (("bottles in all", "x * y"), ("without the empty ones", "t - z")),
    ),
    "sale": S(
        "A coat costs {x dollar}. In the sale it is {y dollar} cheaper. How many dollars do {z coat} cost in the sale?",
        "y 5-30, z 2-5, r 15-60",
        (("one coat in the sale", "x - y"), ("{z} coats", "t * z")),
        "x = y + r",
    ),
    "younger": S(
        "{A} is {x year} old. {B} is {y year} younger. How old will {B} be in {z year}?",
        "y 2-15, z 2-20, r 4-30",
        (("{B} is now", "x - y"), ("in {z} years", "t + z")),
        "x = y + r",
    ),
    "hall": S(
        "A hall has {x} rows of {y seat}. People sit on {z} of the seats. How many seats are free?",
        "x 5-15, y 6-12, z 8-28",
        (("seats in all", "x * y"), ("free ones", "t - z")),
    ),
    "pocket money": S(
        "{A} has {x dollar} and gets {y dollar} of pocket money every week. "
        "How many dollars does {he} have after {z week}?",
        "x 5-50, y 2-10, z 2-12",
        (("pocket money", "y * z"), ("with what {he} had", "t + x")),
    ),
    "candy": S(
        "A bag holds {x candy} and a jar holds {y}. {A} empties both and gives {z} candies to {his} sister. "
        "How many candies does {he} keep?",
        "x 8-40, y 8-40, z 3-14",
        (("candies in all", "x + y"), ("kept", "t - z")),
    ),
    "shelves": S(
        "{x book} stand on {y shelf}, as many on each. {A} takes {z} of them from one shelf. "
        "How many books are left on that shelf?",
        "y 2-9, z 2-8, r 2-15",
        (("on each shelf", "x / y"), ("left on that one", "t - z")),
        "x = z + r * y",
    ),
    "rolls": S(
        "A baker bakes {x tray} of rolls with {y roll} on each. At noon {z roll} are left. "
        "How many rolls are sold by then?",
        "x 2-9, y 8-20, z 3-15",
        (("rolls baked", "x * y"), ("rolls sold", "t - z")),
    ),
    "paint": S(
        "{A} needs {x can} of paint and has {y} already. A can costs {z dollar}. "
        "How many dollars do the missing cans cost?",
        "y 2-6, z 5-20, r 2-9",
        (("cans that are missing", "x - y"), ("their price", "t * z")),
        "x = y + r",
    ),
    "train": S(
        "A train of {x car} gets {y} more cars. Each car has {z seat}. How many seats does the train have then?",
        "x 3-8, y 2-5, z 10-40",
        (("cars in all", "x + y"), ("seats in all", "t * z")),
    ),
    "puzzle": S(
        "A puzzle has {x piece}. {A} places {y} of them on Saturday and {z} on Sunday. "
        "How many pieces are not placed yet?",
        "y 15-60, z 15-60, r 5-60",
        (("after Saturday", "x - y"), ("after Sunday", "t - z")),
        "x = y + z + r",
    ),
    "orchard": S(
        "An orchard has {x tree}. Each of them gives {y basket} of pears. A cart carries {z basket}. "
        "How many carts are filled?",
        "x 3-10, z 2-6, k 2-5",
        (("baskets in all", "x * y"), ("carts of {z}", "t / z")),
        "y = z * k",
    ),
    "homework": S(
        "{A} needs {x minute} for each of {y exercise} and {z minute} to check them all. "
        "How many minutes does {he} work?",
        "x 2-9, y 3-12, z 3-15",
        (("for the exercises", "x * y"), ("with checking", "t + z")),
    ),
}

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
