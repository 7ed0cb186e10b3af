"""The form that a question asks for, where the gold shows it: the question's own expression is no answer to it."""

from rewards import extract
from rewards.math import families, forms, latex, normalize
from rewards.math.compare import readings
from rewards.math.questions import asked_of
from rewards.math.tree import Node, TooBig, Undefined, Unreadable
from tests.rewards.in_process import InProcess
from tests.rewards.shared_data import rows

# (question, gold, answers of its value in another form, answers that are right)
ASKED: list[tuple[str, str, list[str], list[str]]] = [
    ("Expand (x+2)(x+3)", "x^2+5x+6", ["(x+2)(x+3)", "(3+x)(x+2)", "x^2+2x+3x+6", "x(x+5)+6", "x*x+5x+6"],
     ["6+5x+x^2", "x^2+6+5x"]),
    ("Multiply out $(a-b)^2$.", "a^2-2ab+b^2", ["(a-b)^2", "(b-a)^2", "a^2-ab-ab+b^2", "a(a-2b)+b^2"],
     ["a^2+b^2-2ab", "b^2-2ba+a^2"]),
    (r"Expand $\ln(xy)$ for positive x, y.", r"\ln x+\ln y", [r"\ln(xy)", r"\ln(yx)"], [r"\ln y+\ln x"]),
    ("Factor x^2-1", "(x-1)(x+1)", ["x^2-1", "1(x^2-1)", "x(x-1/x)", "x^2-1^2", "(x^2-1)x^0"],
     ["(x+1)(x-1)", "(1-x)(-x-1)", "-(1-x)(1+x)"]),
    ("Factorise $2x^2-2$ completely.", "2(x-1)(x+1)", ["2x^2-2", "2(x^2-1)", "(2x-2)(x+1)"], ["2(x+1)(x-1)"]),
    ("Factor $x^2+2x+1$.", "(x+1)^2", ["x^2+2x+1", "x(x+2)+1"], ["(1+x)(x+1)", "(x+1)(x+1)"]),
    ("Factor out: 6x+9", "3(2x+3)", ["6x+9", "9+6x", "(6x+9)"], ["3(3+2x)"]),
    ("Solve 2y=x for y", "y=x/2", ["2y=x", "x=2y", "y-x/2=0", "4y=2x", "y=x-y"], ["y=0.5x", r"\frac{x}{2}", "x/2=y"]),
    ("Solve ax+b=0 for x.", "x=-b/a", ["ax+b=0", "ax=-b", "x+b/a=0"], ["-b/a", r"x=\frac{-b}{a}"]),
    ("Express y in terms of x: 3x+y=7", "y=7-3x", ["3x+y=7", "y+3x=7", "7=y+3x"], ["y=-3x+7", "7-3x"]),
    ("Write 2x-y+3=0 in slope-intercept form.", "y=2x+3", ["2x-y+3=0", "2x+3-y=0"], ["y=3+2x"]),
    ("Simplify 2x+3x", "5x", ["2x+3x", "x+4x", "5x+0", "10x/2", r"5x\cdot 1", "5x^1"], ["5x", r"x\cdot 5"]),
    (r"Simplify $\frac{x^2-1}{x-1}$.", "x+1",
     [r"\frac{x^2-1}{x-1}", r"\frac{(x-1)(x+1)}{x-1}", r"\frac{2x+2}{2}", r"\frac{x^2+x}{x}"], ["1+x"]),
    ("Simplify $x^2x^3$.", "x^5", ["x^2x^3", "x x^4", "x^{2+3}"], ["x^{5}"]),
    ("Simplify $(x^2)^3$.", "x^6", ["(x^2)^3", "(x^3)^2", "x^{2*3}"], ["x^6"]),
    (r"Simplify $e^{\ln x}$.", "x", [r"e^{\ln x}", "x/1", "--x"], ["x"]),
    (r"Simplify $\sin^2 x+\cos^2 x+x$", "x+1", [r"\sin^2 x+\cos^2 x+x", r"x+\tan x\cot x"], ["1+x"]),
    (r"Simplify $\sqrt{50}$", r"5\sqrt2", [r"\sqrt{25}\sqrt2", r"\frac{10}{\sqrt2}", r"\frac{\sqrt{200}}{2}"],
     [r"\sqrt2\cdot 5", r"5\cdot 2^{1/2}"]),
    ("Simplify 24/2.", "12", ["24/2", "48/4"], ["12"]),
    ("Factor 12", r"2^2\cdot 3", ["24/2", "12", "4*3", r"2\cdot 6", r"2^2\cdot 3\cdot 1", "36/3"],
     [r"3\cdot 2^2", r"2\cdot2\cdot3", r"2^{2}\times 3"]),
    ("Find the prime factorisation of 60.", r"2^2\cdot3\cdot5", ["60", "4*15", "120/2"], ["5*3*2^2", "2*2*3*5"]),
    ("Write 0.75 as a fraction in lowest terms.", "3/4", ["75/100", "0.75", "6/8", r"75\%"], [r"\frac{3}{4}"]),
    ("Write 1.5 as an improper fraction.", "3/2", ["1.5", r"1\frac12"], [r"\frac32"]),
    ("Express it as a common fraction.", r"\frac{3}{4}", ["0.75", r"75\%"], ["3/4", "6/8"]),
    ("Write 3/4 as a decimal", "0.75", ["6/8", "75/100", r"75\%", "3/4"], ["0.750", ".75"]),
    ("Write 1/4 as a percent", r"25\%", ["1/4", "0.25"], ["25", r"25.0\%", "25 percent"]),
    ("Write 3.5 as a mixed number.", r"3\frac12", ["3.5", "7/2", r"2\frac32", "14/4"], ["3 1/2"]),
    ("Write 1500 in scientific notation.", r"1.5\times 10^3", ["1500", r"15\times 10^2", "3000/2"],
     [r"1.50\cdot 10^{3}"]),
    ("Write 10 in base 2.", "1010_2", ["10", "10_{10}", "12_8"], ["1010", "1010_{2}"]),
    ("Write ten in binary.", "1010", ["10", "12_8", "10_2"], ["1010_2"]),
    ("Complete the square: x^2+2x+3", "(x+1)^2+2", ["x^2+2x+3", "x(x+2)+3", "(x+1)(x+1)+2x-2x+2"], ["2+(1+x)^2"]),
    ("Write in vertex form: y=2x^2+4x", "y=2(x+1)^2-2", ["y=2x^2+4x", "y=2x(x+2)", "2x^2+4x"], ["y=-2+2(x+1)^2"]),
    (r"Rationalise the denominator: $\frac{1}{\sqrt3}$", r"\frac{\sqrt3}{3}",
     [r"\frac{1}{\sqrt3}", r"\frac{3}{3\sqrt3}", r"\sqrt{1/3}", "3^{-1/2}"], [r"\frac13\sqrt3"]),
    (r"Find the partial fraction decomposition of $\frac{1}{x^2-1}$.", r"\frac{1}{2(x-1)}-\frac{1}{2(x+1)}",
     [r"\frac{1}{x^2-1}", r"\frac{1}{(x-1)(x+1)}", r"\frac{x}{x^2-1}-\frac{1}{x+1}"],
     [r"\frac{1/2}{x-1}-\frac{1/2}{x+1}", r"-\frac{1}{2x+2}+\frac{1}{2x-2}"]),
    (r"Write $\frac1x+\frac1y$ as a single fraction.", r"\frac{x+y}{xy}", [r"\frac1x+\frac1y", r"\frac{1+x/y}{x}"],
     [r"\frac{y+x}{yx}"]),
    (r"Write $\log 2+\log x$ as a single logarithm.", r"\log(2x)", [r"\log 2+\log x", r"\log x+\log 2"],
     [r"\log(x\cdot 2)"]),
    ("Subtract 3x from 5x.", "2x", ["5x-3x", "-3x+5x", "x+x"], ["2x", r"x\cdot 2"]),
    ("Add $2x+3$ and $4x-1$.", "6x+2", ["2x+3+4x-1", "(2x+3)+(4x-1)"], ["2+6x", "2(3x+1)"]),
    ("What is the sum of 1/x and 2/x?", r"\frac{3}{x}", ["1/x+2/x", r"\frac{1+2}{x}", r"\frac{3x}{x^2}"], ["3/x"]),
    ("Multiply x+1 by x+2.", "x^2+3x+2", ["(x+1)(x+2)", "x(x+3)+2"], ["2+3x+x^2"]),
    ("Write 1000 as a power of 10.", "10^3", ["1000", "1000^1", "10^{2+1}", "100^{3/2}"], ["10^{3}"]),
    ("Write in exponential form: 2*2*2", "2^3", ["8", "2*2*2", "8^1"], ["2^{3}"]),
    ("Write x^{1/2} in radical form.", r"\sqrt{x}", ["x^{1/2}", "x^{0.5}"], [r"\sqrt x"]),
    (r"Write $\sqrt[3]{x}$ with a rational exponent.", "x^{1/3}", [r"\sqrt[3]{x}"], [r"x^{\frac13}"]),
    ("Write the ratio 2:4 in simplest form.", "1:2", ["2:4", "3:6"], ["1:2", "1/2"]),
    ("Разложите на множители x^2-1", "(x-1)(x+1)", ["x^2-1", "1(x^2-1)"], ["(x+1)(x-1)"]),
    ("因式分解x^2-4。", "(x-2)(x+2)", ["x^2-4", "1(x^2-4)"], ["(x+2)(x-2)"]),
    ("求(x+1)^2的展开式", "x^2+2x+1", ["(x+1)^2", "x(x+2)+1"], ["1+2x+x^2"]),
    ("Développer (x+1)^2", "x^2+2x+1", ["(x+1)^2", "(x+1)(x+1)"], ["1+2x+x^2"]),
    ("Vereinfache 2x+3x.", "5x", ["2x+3x", "x+4x"], ["5x"]),
    ("计算47+36等于几?", "83", ["47+36", "83/1+0"], ["83"]),
    ("What is the sum of $2x+1$ and the like, $(x+1)^2-x^2$?", "2x+1", ["(x+1)^2-x^2"], ["1+2x"]),
]  # fmt: skip


def test_another_form_than_the_one_asked_for_is_wrong(in_process: InProcess) -> None:
    accepted = [
        (question, answer)
        for question, gold, answers, _ in ASKED
        for answer, verdict in zip(answers, in_process.grade([(a, gold) for a in answers], question), strict=True)
        if verdict.correct is not False
    ]
    assert accepted == []


def test_order_signs_and_spelling_are_free(in_process: InProcess) -> None:
    refused = [
        (question, answer)
        for question, gold, _, answers in ASKED
        for answer, verdict in zip(answers, in_process.grade([(a, gold) for a in answers], question), strict=True)
        if verdict.correct is not True
    ]
    assert refused == []


def test_where_no_form_is_asked_for_the_value_decides(in_process: InProcess) -> None:
    right = [
        ("", "(x+2)(x+3)", "x^2+5x+6"),
        ("What is the area of a rectangle x+2 wide and x+3 long?", "(x+2)(x+3)", "x^2+5x+6"),
        ("Find the line through (0,3) and (1,5).", "2x-y+3=0", "y=2x+3"),
        ("How likely is it? Answer with a fraction or a decimal.", "3/4", "0.75"),
        ("How likely is it? Answer with a decimal or a fraction.", "0.75", "3/4"),
        ("What is the greatest common factor of 24 and 36?", "12", "12"),
        ("How many?", "12", "24/2"),
        ("What is 12?", r"2^2\cdot 3", r"2^2\cdot 3"),
        ("Their price was reduced. By how much?", "1/2", "2/4"),
    ]
    assert [row for row in right if in_process.equivalent(row[2], row[1], row[0]).correct is not True] == []


def turned(node: Node) -> Node:
    """Every sum and product the other way round."""
    args = tuple(map(turned, node.args))
    return Node(node.head, args[::-1] if node.head in ("add", "mul") and node.value != "mixed" else args, node.value)


def test_no_gold_of_math500_loses_its_form_by_order() -> None:
    """With its own question, each sum and product of it turned round."""
    checked, refused = 0, []
    for row in rows("math500/test.jsonl"):
        asked = asked_of(row["question"])
        gold = extract.boxed(row["answer"])[-1]
        for text in readings(families.split(normalize.clean(gold)).text):
            try:
                tree = latex.parse(text)
                if forms.is_unevaluated(turned(tree), tree, asked):
                    refused.append((gold, row["question"]))
                checked += 1
            except (Unreadable, Undefined, TooBig):
                continue
    assert refused == []
    assert checked > 450
