"""Situations of generated word problems that are worked out in two steps (see `situations`)."""

from srm_ray.data.situations import SMALL_THINGS, S, Situation

TWO_STEPS: dict[str, Situation] = {
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
