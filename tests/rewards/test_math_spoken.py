"""Numbers as one says them, money of other countries, words for nothing and for no end, `C(10,3)`."""

import pytest

from rewards.math import normalize, spoken
from rewards.math.reading import kind
from tests.rewards.in_process import InProcess

# The same, whichever of the two is the gold
SAME = [
    ("twelve", "12"),
    (r"\text{Twelve}", "12"),
    ("twelve apples", "12"),
    ("twenty-one", "21"),
    ("one hundred and five", "105"),
    ("two thousand ten", "2010"),
    ("one million two hundred thousand", "1,200,000"),
    ("a hundred", "100"),
    ("minus three", "-3"),
    ("two thirds", "2/3"),
    ("three-quarters", "0.75"),
    ("two and a half", "5/2"),
    ("three point one four", "3.14"),
    ("twelve percent", r"12\%"),
    ("twelve dollars", "$12"),
    ("1.5 million", "1500000"),
    ("$1.5 million", "1,500,000"),
    (r"\$1.5 \text{ million}", "1500000"),
    ("3 billion dollars", "3000000000"),
    ("2.5 million people", "2500000"),
    ("5 thousand", "5000"),
    ("$10k", "10000"),
    ("€18/day", "18"),
    ("18 € / day", "18 euros per day"),
    ("£3.50 per hour", "3.5"),
    ("£5", "5 pounds"),
    ("¥500", "500 yuan"),
    ("¥500", "500 yen"),
    ("₹1,250", "1250"),
    ("Rs. 250", "250 rupees"),
    ("US$18", "$18"),
    ("€1.5 million", "1500000"),
    ("DNE", "does not exist"),
    ("The limit does not exist.", r"\text{DNE}"),
    ("doesn't exist", "undefined"),
    ("No such x exists", "no solution"),
    ("There are no real solutions.", r"\emptyset"),
    ("none", "no solutions"),
    ("does not exist", "no solution"),
    ("infinitely many", "There are infinitely many solutions"),
    ("The area is 24", "24"),
    ("Area: 24 cm^2", "24"),
    ("all real numbers except 2", r"x \ne 2"),
    ("all real numbers except x = 2", r"\mathbb{R}\setminus\{2\}"),
    ("all real numbers except 2 and 3", r"\mathbb{R}\setminus\{2,3\}"),
    ("x is at least 2", r"[2,\infty)"),
    ("x greater than 2", "x > 2"),
    ("∠ABC = 60°", "60"),
    ("minus 5", "-5"),
    ("1.234,5", "1234.5"),
    ("9:00 in the evening", "21:00"),
    ("C(10,3)", "120"),
    ("C(10, 3)", r"\binom{10}{3}"),
    ("10C3", "120"),
    ("^{10}C_3", "120"),
    ("C_{10}^{3}", "120"),
    ("10 choose 7", "C(10,3)"),
    ("C(10,3)", "(C(10,3))"),
    ("half past three", "3:30"),
    ("a quarter to one", "12:45"),
    ("twenty-five past 6", "6:25"),
    ("half past three in the afternoon", "15:30"),
    ("2h30m", "2 hours 30 minutes"),
    ("1h15", "75 minutes"),
    ("1m30s", "90 seconds"),
    ("max: 5", "5"),
    (r"\max = 5", "5"),
    ("Ratio: 2:3", "2:3"),
    ("1 in 6", r"\frac{1}{6}"),
    ("2 out of every 3", "2/3"),
    ("i+2j", "(1,2)"),
    (r"\mathbf{i}-3\mathbf k", "(1,0,-3)"),
    (r"\vec{v}=\hat{\imath}+2\hat{\jmath}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"\frac{1}{2}\vec{i}-\sqrt{3}\vec{j}", r"\left(\frac12,-\sqrt3\right)"),
]
OTHER = [
    ("seven", "12"),
    ("a", "1"),
    ("twelve or thirteen", "12"),
    ("one two", "12"),
    ("twenty-third", "23"),
    ("third", "1/3"),
    ("hundred", "100"),
    ("twelve cm", "12 m"),
    ("1.5 million", "1.5"),
    ("1.5 million", "1523000"),
    ("1.5 million", "1.5 billion"),
    ("5-6 million", "5000000"),
    ("3 million or 4 million", "3000000"),
    ("four", "four-leaf clover"),
    ("4", "four-leaf clover"),
    ("2", "Two Rivers"),
    ("€18", "$18"),
    ("€18/day", "€18/week"),
    ("$18/day", "€18/day"),
    ("500 yen", "500 yuan"),
    ("£5", "5 kg"),
    ("£5", "5 lb"),
    ("DNE", "0"),
    ("the limit exists", "DNE"),
    ("no solution", "0"),
    ("no solution", "one solution"),
    ("it is false that the limit does not exist", "DNE"),
    ("infinitely many", "no solution"),
    ("no 5", "5"),
    ("The area is not 24", "24"),
    ("The area is 24 or 25", "24"),
    ("The sum is 12 and the product is 24", "24"),
    ("The mean is 5, the median is 6", "5"),
    ("all real numbers except x = 2", "2"),
    ("all real numbers except 2", r"\mathbb{R}"),
    ("x is less than 2", "x > 2"),
    ("x is greater than 2", "2"),
    ("minus 5 plus 10", "5"),
    ("1.234,5", "1.2345"),
    ("9:00 in the evening", "9:00 AM"),
    ("C(10,3)", "C(10,4)"),
    ("C(10,3)", "(10,3)"),
    ("C_1^2", "0"),
    ("half past three", "4:30"),
    ("half past three", "3.5"),
    ("half past seven", "7"),
    ("quarter to four", "4:15"),
    ("2h30m", "2 hours 30 seconds"),
    ("1h15", "15 hours"),
    ("max: 3 or 5", "5"),
    ("Ratio: 2:3", "3:2"),
    ("1 in 6", "1"),
    ("2 out of 3", "2"),
    ("2i+j", "(1,2)"),
    ("3i", "(3,0)"),
    ("i+2j+k", "(1,2)"),
    ("i+i+j", "(2,1)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_both_are_one_answer(in_process: InProcess, one: str, other: str) -> None:
    assert in_process.equivalent(one, other).correct is True
    assert in_process.equivalent(other, one).correct is True


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_they_are_two_answers(in_process: InProcess, one: str, other: str) -> None:
    assert in_process.equivalent(one, other).correct is False
    assert in_process.equivalent(other, one).correct is False


@pytest.mark.parametrize(
    ("question", "answer", "gold"),
    [
        ("Write twelve as a numeral.", "twelve", "12"),
        ("Write 1.5 million in digits.", "1.5 million", "1500000"),
        ("A town has two million people. How many is that?", "two million", "2000000"),
        ("Write 12 in words.", "12", "twelve"),
        ("Spell 40.", "40", "forty"),
        ("What is C(10,3)?", "C(10,3)", "120"),
        ("What is 10 choose 3?", "10C3", "120"),
        ("Find $C(10, 3)$.", r"\binom{10}{7}", "120"),
        ("Write half past three in digits.", "half past three", "3:30"),
        ("How many minutes are 2h30m?", "2h30m", "150"),
        ("What is the chance of 2 in 12?", "2 in 12", r"\frac{1}{6}"),
        ("What is 3+2?", "sum: 3+2", "5"),
        ("What is (1,1)+(0,1)?", "i+(1+1)j", "(1,2)"),
    ],
)
def test_what_the_question_says_is_no_answer(in_process: InProcess, question: str, answer: str, gold: str) -> None:
    assert in_process.equivalent(answer, gold, question).correct is False


@pytest.mark.parametrize(
    ("question", "answer", "gold"),
    [
        ("Write twelve as a numeral.", "12", "12"),
        ("There are three boxes of four. How many is that?", "twelve", "12"),
        ("What percent is it?", "twelve percent", "12"),
        ("He earns USD 18 on each of 5 days. How much a day?", "USD 18", "18"),
        ("In how many ways can 3 of 10 people be chosen?", "C(10,3)", "120"),
    ],
)
def test_what_was_worked_out_is_one(in_process: InProcess, question: str, answer: str, gold: str) -> None:
    assert in_process.equivalent(answer, gold, question).correct is True


def test_every_number_below_ten_thousand_is_read_as_it_is_said() -> None:
    units, tens = {value: word for word, value in spoken.UNITS.items()}, {v: w for w, v in spoken.TENS.items()}

    def said(value: int) -> list[str]:
        if value < 20:
            return [units[value]]
        if value < 100:
            return [tens[value // 10 * 10], *(said(value % 10) if value % 10 else [])]
        size, word = (1000, "thousand") if value >= 1000 else (100, "hundred")
        rest = value % size
        return [*said(value // size), word, *(["and"] if rest < 100 and rest else []), *(said(rest) if rest else [])]

    for value in range(10_000):
        assert spoken.figures_of(" ".join(said(value))) == str(value)


def test_golds_of_these_kinds_are_read() -> None:
    for gold in ("Rs. 250", "1.5 million", "twelve", "€18/day", "C(10,3)", "DNE"):
        assert kind(normalize.clean(gold)) != "none", gold


def test_the_point_of_an_abbreviation_ends_no_sentence(in_process: InProcess) -> None:
    assert in_process.score("So the answer is Rs. 250. That is all.", "250").correct is True
    assert in_process.score("The answer is approx. 2.5 metres.", "2.5").correct is True
