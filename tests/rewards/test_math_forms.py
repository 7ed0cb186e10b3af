"""An equal value is not always an answer: the question said again, degenerate forms, numbers side by side."""

import pytest

from rewards.math.questions import asked_of
from tests.rewards.in_process import InProcess

SUM = "What is 47+36+29?"

# For a gold of 112: none of these is an answer, whether or not the question is known.
UNEVALUATED = r"""
47+36+29
36+47+29
(47+36)+29
47+(36+29)
47+36+29.
$47+36+29$
47+36+29+0
83+29
100+12
112+0
+112+0
2*56
1*112
112\cdot 1
1.12*100
224/2+0
x=47+36+29
47+36+29=29+36+47
|47+36+29|
\sqrt{(47+36+29)^2}
(47+36+29)^1
\frac{47+36+29}{1}
47+36+29\text{ apples}
47+36+29 apples
\$47+36+29
(4700+3600+2900)\%
47-(-36)+29
--112
-(-112)
-(-(112))
++112
+-+-112
\max(47,112)
\lfloor 47+36+29\rfloor
\log_2(2^{47+36+29})
\log_2(2^{47}2^{36}2^{29})
\ln(e^{47}e^{36}e^{29})
e^{\ln 47}+e^{\ln 36}+e^{\ln 29}
47^1+36+29
47^{2^0}+36+29
47+36+\sqrt{841}
47+36+29+i^2+1
47+36+29 \pm 0
x-x+47+36+29
\frac{47x+36x+29x}{x}
\{47+36+29\}
(47+36+29,)
[47+36+29]
\text{47+36+29}
\sum_{k=1}^{112} 1
\prod_{k=1}^{1} 112
\int_0^{112} 1 dx
\lim_{x\to 0} (112+x)
\binom{112}{1}+0
112!/111!+0
47.0+36.0+29.0
４７＋３６＋２９
\underline{47+36+29}
\text{the sum } 47+36+29
47+36+29=
=47+36+29
about 47+36+29
47 kg + 36 kg + 29 kg
112 e^{0}
112\cos 0
\sqrt{112}\sqrt{112}
1-(-111)
2^{6}+2^{5}+2^{4}
7\cdot 2^4
16*7
""".strip().split("\n")

# Numbers and words that a freer reader adds, joins or chooses from.
SIDE_BY_SIDE = r"""
47 36 29
47, 36, 29
47;36;29
47 + 36 29
47\ 36\ 29
47\,36\,29
47 \quad 36 \quad 29
47\text{ and }36\text{ and }29
47\text{ plus }36\text{ plus }29
5 or 112
112 or 5
112, 5
112 \text{ or 5}
112\text{ (or 113)}
112\text{ or five}
112\text{ is wrong}
112 \sim 113
112-113
112 \cup 113
112 \pm 1
112 113
112 \quad 113
112 \& 113
112|113
at least 112
x<113
x=112=113
112 \to 113
112 not 5
""".strip().split("\n")


@pytest.mark.parametrize("question", ["", SUM], ids=["no question", "question"])
def test_what_is_left_to_do_is_no_number(in_process: InProcess, question: str) -> None:
    pairs = [(answer, "112") for answer in UNEVALUATED + SIDE_BY_SIDE]
    verdicts = zip(pairs, in_process.grade(pairs, question), strict=True)
    assert [(answer, verdict) for (answer, _), verdict in verdicts if verdict.correct is not False] == []


def test_it_has_a_reason_of_its_own(in_process: InProcess) -> None:
    assert in_process.equivalent("47+36+29", "112", SUM).reason == "unevaluated"
    assert in_process.equivalent("47+36+28", "112", SUM).reason == "wrong"


def test_final_forms_are_answers(in_process: InProcess) -> None:
    forms = ["112", "112.0", "+112", "x=112", "47+36+29=112", "x=47+36+29=112", r"1.12\times 10^2"]
    forms += ["112 apples", r"\sqrt{12544}", r"\$112", "112.", r"\boxed{112}"]
    assert [form for form in forms if in_process.equivalent(form, "112", SUM).correct is not True] == []


# (question, gold, answers that hand the question back)
HANDED_BACK: list[tuple[str, str, list[str]]] = [
    ("What is 224/2?", "112", ["224/2", r"\frac{224}{2}", "224÷2", "(224)/(2)", "448/4", "896/8 m"]),
    (SUM, "112", [r"\frac{224}{2}", "-336/-3"]),
    ("What is $2^5$?", "32", ["64/2", r"\dfrac{96}{3}", "x=64/2"]),
    ("Two children share 224 marbles equally. How many each?", "112", ["224/2", r"\dfrac{224}{2}"]),
    ("What is 47*36?", "1692", ["47*36", "36*47", r"47\times 36", "47(36)", "47/(1/36)"]),
    ("Evaluate $2^{10}$.", "1024", ["4^5", "32^2", "16^{2.5}", "8^{10/3}", "2^{10}", "2**10", "(2)^{10}", "2^{9+1}"]),
    ("Evaluate sqrt(16)", "4", [r"\sqrt{16}", "16^{1/2}", "sqrt(16)"]),
    ("What is five factorial?", "120", ["5!"]),
    ("What is two to the power of ten?", "1024", ["2^{10}"]),
    ("What is thirty-five squared?", "1225", ["35^2", "(35)^{2}"]),
    ("Find the cube of negative 7.", "-343", ["(-7)^3", "-7^3"]),
    ("What is the square root of 144?", "12", [r"\sqrt{144}", r"\sqrt[2]{144}"]),
    ("What is the cube root of 27?", "3", [r"\sqrt[3]{27}"]),
    ("What is the logarithm of 8 to base 2?", "3", [r"\log_2 8"]),
    ("What is the absolute value of -7?", "7", ["|-7|"]),
    ("Round 7.5 down.", "7", [r"\lfloor 7.5\rfloor"]),
    (r"Simplify $\sqrt{50}$", r"5\sqrt{2}", [r"\sqrt{50}", r"\sqrt{50}\cdot 1", "50^{1/2}"]),
    (r"Simplify $\sqrt{8}+\sqrt{2}$", r"3\sqrt{2}", [r"\sqrt{8}+\sqrt{2}", r"\sqrt2+\sqrt8"]),
    (r"Find $\log_2 8$.", "3", [r"\log_2 8", r"\log_2(8)"]),
    ("Write 3/4 as a decimal", "0.75", ["3/4", r"\frac34"]),
    (r"Write 0.75 as a fraction in lowest terms", "3/4", ["0.75"]),
    (r"Reduce \frac{6}{8}", "3/4", ["6/8", r"\frac{6}{8}"]),
    ("What is 1/4 as a percent?", r"25\%", ["1/4"]),
    (r"Compute $\frac{10!}{8!}$", "90", [r"\frac{10!}{8!}", "10!/8!"]),
    (r"What is $\binom52$?", "10", [r"\binom{5}{2}"]),
    (r"What is $\sin 30^\circ$?", r"\frac12", [r"\sin 30^\circ", r"\sin(30^\circ)"]),
    ("Solve 2x+3=7", "x=2", ["2x+3=7", "2x=4", "x+0=2", "x=7-5"]),
    ("Solve 2x+3>7", "x>2", ["2x+3>7", "2x>4", "x>4-2"]),
    ("Solve 2x+3>7", r"(2,\infty)", ["2x+3>7", "2x>4", r"(4-2,\infty)"]),
    ("Simplify the ratio 6:8", "3:4", ["6:8", "6/8", r"\frac{6}{8}"]),
    ("Twenty sweets are shared between 2 children.", "10", ["20/2", r"\frac{20}{2}"]),
    ("What is 1/2+1/3?", r"\frac{5}{6}", ["1/2+1/3", "3/6+2/6", r"\frac{3+2}{6}"]),
    ("What is 4-7?", "-3", ["4-7", "-(7-4)", "--3"]),
    (r"What is $2\pi+4\pi$?", r"6\pi", [r"2\pi+4\pi", r"2\pi\cdot 3", r"3\pi+3\pi"]),
    (r"Simplify \sqrt{12}.", r"2\sqrt{3}", [r"\sqrt{12}", r"\sqrt{3}+\sqrt{3}", r"\sqrt{3\cdot 4}"]),
    ("Half of 224 marbles are red. How many?", "112", ["224/2"]),
    ("Write 1024 as a power of 2.", "2^{10}", ["1024"]),
    (r"Write 1500 in scientific notation.", r"1.5\times 10^3", ["1500"]),
    (r"Write $1.5\times 10^3$ in full.", "1500", [r"1.5\times 10^3"]),
    (r"Write 25\% as a fraction.", "1/4", [r"25\%", "25 percent"]),
    ("What is 90 degrees in radians?", r"\frac{\pi}{2}", [r"90^\circ", "90 degrees"]),
    (r"What is $\frac{\pi}{3}$ in degrees?", r"60^\circ", [r"\frac{\pi}{3}", r"\pi/3"]),
    ("How many metres are 5 km?", r"5000\text{ m}", ["5 km", r"5\text{ km}"]),
    ("What is 15:30 on a dial of twelve hours?", "3:30 PM", ["15:30"]),
    ("Write 3.5 as a mixed number.", r"3\frac{1}{2}", ["3.5"]),
    ("What is the gcd of 12 and 9?", "3", [r"\gcd(12,9)", "gcd(12,9)"]),
    ("Compute 2^10.", "1024", ["2^{10}", "2^{5}2^{5}", "4^5*1"]),
    ("What is 6!?", "720", ["6!", r"6\cdot5\cdot4\cdot3\cdot2\cdot1"]),
    ("Which numbers?", "1,2", ["3-2,4-2", "2-1,2"]),
    ("Where do they meet?", "(1,2)", ["(3-2,2)"]),
    ("How many inches are 5 feet 3 inches?", "63", ["5 feet 3 inches", "5 ft 3 in", r"5\text{ feet }3\text{ inches}"]),
    ("How many days are 47 weeks and 36 days?", "365 days", ["47 weeks 36 days", "47 weeks and 36 days"]),
    ("How many days?", "365", ["47 weeks 36 days"]),
    (r"What is $\{1,2\}\cup\{3\}$?", r"\{1,2,3\}", [r"\{1,2\}\cup\{3\}", r"\{3\}\cup\{1,2\}"]),
    (r"What is $\{1,x\}\cup\{y\}$?", r"\{1,x,y\}", [r"\{1,x\}\cup\{y\}"]),
    ("Solve $x^3=8$", "2", ["8^{1/3}", r"\sqrt[3]{8}"]),
    ("Solve $2^x=8$", "3", [r"\frac{\ln 8}{\ln 2}", r"\frac{\log 8}{\log 2}"]),
    (r"What is $\cos 60^\circ$?", r"\frac12", [r"\sin 30^\circ", r"\cos\frac{\pi}{3}", r"\cos 300^\circ"]),
    (r"What is $\cos 30^\circ$?", r"\frac{\sqrt3}{2}", [r"\sin 60^\circ"]),
    (r"What is $\arctan 1$?", r"\frac{\pi}{4}", [r"\arctan 1", r"\arcsin\frac{1}{\sqrt2}"]),
    ("What is $(1+i)^2$?", "2i", ["1+2i+i^2", "(1+i)^2"]),
    ("Evaluate 5 choose 2.", "10", [r"\binom{5}{2}", r"\binom{5}{3}"]),
    ("How many dozens are 48 eggs?", "4", ["48/12", r"\frac{48}{12}"]),
    (r"Find $\int x^2 dx$.", r"\frac{x^3}{3}", [r"\int x^2 dx", r"\int x^2\,dx"]),
    (r"Find $\int_0^1 \frac{1}{1+x^2}dx$.", r"\frac{\pi}{4}", [r"\int_0^1 \frac{1}{1+x^2}dx"]),
    (r"Find $\sum_{k=1}^n k$.", r"\frac{n(n+1)}{2}", [r"\sum_{k=1}^n k"]),
    (r"Find the limit.", "e", [r"\lim_{n\to\infty}(1+1/n)^n", r"\sum_{k=0}^\infty \frac{1}{k!}"]),
    ("Differentiate $x^2/2$.", "x", [r"\frac{d}{dx}x^2", r"\frac{d}{dx}\frac{x^2}{2}"]),
    ("What is 47*36?", "1692", [
        r"\frac{94}{1/18}", r"\frac{e^{\ln 47}}{e^{-\ln 36}}", r"\log_2((2^{94})^{18})", r"\frac{4700\%}{1/36}",
        r"\frac{47!/46!}{1/36}", r"\frac{47}{\sqrt{36^{-2}}}", r"\frac{94}{18^{-1}}",
    ]),
    (SUM, "112", [r"\ln\frac{e^{83}}{e^{-29}}", r"\log_x x^{83+29}", r"\frac{\ln(x^{47}x^{36}x^{29})}{\ln x}"]),
    ("Each of 47 boxes has 36 pens. How many are there?", "1692", [r"94\cdot 18\cdot 2^2/4", r"\ln((e^{94})^{18})"]),
    ("What is 940*25?", "23500", [r"\frac{940}{0.04}", r"\frac{940}{4\%}", r"\frac{9.4\times10^4}{4}"]),
    ("What is 224/2?", "112", [
        r"(\frac{2}{224})^{-1}", r"\frac{224}{\sqrt4}", r"\frac{224}{e^{\ln 2}}", r"\binom{224/2}{1}",
        r"\frac{224}{|2|}",
    ]),
    ("Solve $2^x=8$", "3", [r"\log_4 64", r"\frac{\log_5 8}{\log_5 2}", r"\log_2\sqrt{64}", r"8^{\log_8 3}"]),
    (r"What is $\sin^2 x+\cos^2 x$?", "1", [r"\sin^2 y+\cos^2 y", r"\tan x\cot x", "x/x"]),
    ("Its sides are 2 and 3. How long is the diagonal?", r"\sqrt{13}", [
        "|2+3i|", r"\sqrt{2^2-(3i)^2}", r"\sqrt{\sqrt{16}+\sqrt{81}}", r"e^{\frac12\ln 13}",
    ]),
    ("A rope of 47 m, one of 36 m and one of 29 m: how long?", "112 m", [
        "47+36+29 m", r"(47+36+29)\text{ m}", "47 m + 36 m + 29 m", "47+36+29", "83 m + 29 m", r"2\cdot 56",
    ]),
    ("How far is it? It is 3.5 m and 20 cm.", "3.7 m", ["3.5 m 20 cm", r"3.5\text{ m }20\text{ cm}"]),
    ("What is 47+36 cm?", r"83\text{ cm}", ["0.47 m 36 cm", r"0.47\text{ m }36\text{ cm}"]),
    ("How many apples?", "112", [r"112\text{ I guess}", r"112\text{ plus}"]),
    ("Each of 25 days has 940 calls. How many are there?", "23500", [
        "47000/2", "94000/4", r"\frac{94000}{4}", "-94000/-4", "9400000/400", "2500/(100/940)",
    ]),
    ("A bottle holds 1.5 litres. How many are 8 bottles?", "12", ["1500/125", "150/12.5", "15000/1250"]),
    ("How large is a disc of radius 3?", r"9\pi", [
        r"\pi 3^2", r"\pi\cdot(3)^2", r"3^2\pi", r"\pi\sqrt{81}", r"\frac{\pi 6^2}{4}",
        r"(3\sqrt{\pi})^2", r"9\sqrt{\pi^2}",
        r"\pi\left(\frac{6}{2}\right)^2", r"3!\pi+3\pi", r"\binom91\pi", r"\frac{27}{2}\cdot\frac{2\pi}{3}",
    ]),
    ("How large is a disc of radius 3?", "28.27433388", [r"\pi 3^2", r"\pi\sqrt{81}"]),
    ("How large is a disc of radius 10?", r"100\pi", [r"10^2\pi"]),
    ("A cylinder of radius 10 is 2 high. How large is it?", r"200\pi", [r"2\cdot 10^2\pi"]),
    ("How large is a ball of radius 3?", r"36\pi", [r"\frac43\pi 3^3", r"\frac43\pi\cdot27", r"\frac43\cdot27\pi"]),
    ("Its legs are 2 and 4. How long is the other side?", r"2\sqrt5", [
        r"\sqrt4\sqrt5", r"\sqrt{2^2\cdot5}", r"2^1\sqrt5",
    ]),
    ("What is $e^2$ about?", "e^2", [r"e\cdot e", r"(e^{1/2})^4"]),
    ("What is the sum?", r"\begin{pmatrix}4\\6\end{pmatrix}", [
        r"\begin{pmatrix}1\\2\end{pmatrix}+\begin{pmatrix}3\\4\end{pmatrix}", r"\begin{pmatrix}1+3\\2+4\end{pmatrix}",
    ]),
]  # fmt: skip


def test_the_question_handed_back_is_wrong(in_process: InProcess) -> None:
    accepted = [
        (question, answer)
        for question, gold, answers in HANDED_BACK
        for answer, verdict in zip(answers, in_process.grade([(a, gold) for a in answers], question), strict=True)
        if verdict.correct is not False
    ]
    assert accepted == []


def test_a_form_that_the_question_does_not_show_is_right(in_process: InProcess) -> None:
    right = [
        ("How many subsets has a ten-element set?", "2^{10}", "1024"),
        ("What is the ratio of their areas?", r"\frac{7}{32}", "7:32"),
        ("What is the ratio of their areas?", "7/32", "S_{1}:S_{2}=7:32"),
        ("What is the ratio of a to b?", "3:2", "1.5"),
        ("What is the ratio of a to b?", "1.5", "3:2"),
        ("What is the largest power of 2 that divides $12!$?", "2^{10}", "1024"),
        ("How many subsets but the empty one has {a,b,c,d,e}?", "2^5-1", "31"),
        ("A bag has 4 balls, 2 of them red. How likely is red?", "2/4", "1/2"),
        ("A bag has 4 balls, 2 of them red. How likely is red?", r"\frac{1}{2}", "0.5"),
        ("Which is larger, 2/3 or 3/5?", "2/3", r"\frac{2}{3}"),
        (r"Rationalise $\frac{1}{\sqrt2}$", r"\frac{\sqrt2}{2}", r"\frac{1}{2}\sqrt2"),
        ("Expand (x+1)^2", "x^2+2x+1", "1+2x+x^2"),
        ("Factor x^2-1", "(x-1)(x+1)", "(x+1)(x-1)"),
        ("What is 3+4?", "7", "7"),
        ("How many orders of six books are there?", "6!", "720"),
        ("A circle has radius 3. How long is it?", r"\pi\cdot 6", r"6\pi"),
        ("What is 0.5+0.5?", "1.0", "1"),
        ("How tall is she?", "63", "5 feet 3 inches"),
        ("How many days?", r"365\text{ days}", "52 weeks 1 day"),
        (r"Solve $x^2\ne 1$.", r"(-\infty,-1)\cup(-1,1)\cup(1,\infty)", r"\mathbb{R}\setminus\{-1,1\}"),
        ("How long is the leg?", r"3\sin 40^\circ", r"3\cos 50^\circ"),
        ("How many hands?", "10", r"\binom{5}{2}"),
        ("How long is it?", r"3\pi", "9.42477796"),
        ("How far is 3 km and 500 m?", "3500 m", "3500 m"),
        ("How far is it? It is 3 m and 20 cm more.", "3.2 m", r"320\text{ cm}"),
        ("How long are m sticks?", "m*5", "5m"),
        ("How long are m sticks?", "5m", r"m\cdot 5"),
        ("How long?", r"112\text{ m}", "112 m"),
        ("How long?", "224/2 m", "112 m"),
        ("How long is it?", r"2\sqrt2", "2.82842712"),
        ("How likely is it?", r"\frac{3!}{2^3}", "3/4"),
        ("How likely is it?", r"1-\frac{1}{2^5}", r"\frac{31}{32}"),
        ("What is 47*36?", r"\frac{94}{1/18}=1692", "1692"),
        ("How many are there?", r"\frac{94000}{4}", "23500"),
        ("How many are there on average?", r"\frac{96}{4}", "24"),
        ("How large is a disc of radius 3?", r"\frac{36\pi}{4}", r"9\pi"),
        ("How large is it?", r"\frac{3}{2}\pi", r"1.5\pi"),
        ("How large is it?", r"1.5\times10^{3}\pi", r"1500\pi"),
        ("How large is it?", r"(\ln 2)^2", "0.480453013918"),
        ("How many?", r"\frac{1}{2^{10}}", "2^{-10}"),
        ("How many?", r"2^{10}\sqrt3", r"2^{10}\sqrt3"),
        ("How many?", r"\frac{2^{5/2}}{3}", r"\frac{4\sqrt2}{3}"),
        ("Where is it?", r"\frac{\sqrt2}{2}+\frac{i\sqrt2}{2}", r"\frac{1+i}{\sqrt2}"),
        ("Where is it?", r"2e^{i\pi/3}", r"1+i\sqrt3"),
        ("Solve $2^x=5$", r"\frac{\ln 5}{\ln 2}", r"\log_2 5"),
    ]
    assert [row for row in right if in_process.equivalent(row[1], row[2], row[0]).correct is not True] == []


def test_a_percent_sign_counts_as_the_question_says(in_process: InProcess) -> None:
    asking = ["What percentage of them is red?", "Give it as a percent.", "By what % did it rise?"]
    asking += ["How many percent?", "占百分之几？", "Quel pourcentage ?", "Wie viel Prozent?", "Сколько процентов?"]
    silent = ["What is 20% of 300?", "After a 20 percent rise, what does it cost?", "Twenty percent of what?", ""]
    silent += [
        "Thirty percent of them wear glasses. How many do not?",
        "How many must they win for a percentage of 64?",
    ]
    for question in asking:
        assert asked_of(question).percent, question
        for answer, gold in ((r"60\%", "60"), ("60 percent", "60"), ("60", r"60\%"), ("60%, 40%", "40, 60")):
            assert in_process.equivalent(answer, gold, question).correct is True, (question, answer)
        assert in_process.equivalent(r"0.6\%", "60", question).correct is False
        assert in_process.equivalent("0.6", "60", question).correct is False
    for question in silent:
        assert not asked_of(question).percent, question
        assert in_process.equivalent(r"60\%", "60", question).correct is False


# What absorbs, and what is empty: (gold, answers that are not it)
DEGENERATE: list[tuple[str, list[str]]] = [
    ("2:3", ["0:0", "0:0:0"]),
    ("0:0", ["1:2", "0:1"]),
    ("0:1:2", ["0:5:3"]),
    ("1:0", ["0:0", "0:1"]),
    (r"\text{Да}", [r"\text{Нет}", "Нет", r"\text{}", r"\text{---}", r"\text{!}"]),
    ("Да", ["Нет"]),
    (r"\text{是}", [r"\text{否}", "否"]),
    ("是", ["否"]),
    (r"\text{はい}", [r"\text{いいえ}"]),
    (r"5\text{ яблок}", [r"5\text{ груш}"]),
    (r"\emptyset", ["(1,1]", r"x<0 \text{ and } x>1", "[1,0)", r"\mathbb{R}\setminus\mathbb{R}", "0"]),
    ("(1,1]", ["(2,2]"]),
    (
        r"\mathbb{R}",
        [
            r"x=5 \text{ or } x\ne 5",
            r"x<5 \text{ or } x\ge 5",
            r"x<3 \text{ or } x>1",
            r"(-\infty,5]\cup[5,\infty)",
            r"\{5\}\cup(\mathbb{R}\setminus\{5\})",
        ],
    ),
    (r"(-\infty,\infty)", [r"x=5 \text{ or } x\ne 5", r"x\le 1 \text{ or } x\ge 1"]),
    (r"\mathbb{R}", ["x=x", "0=0", r"x\ne 1, x\ne 2", r"x^2\ge 0", "[0,1]", "x>1, x<3"]),
    (r"x\ne 1, x\ne 2", [r"\mathbb{R}", r"x\ne 1"]),
    ("x<3", ["x<3 or x=1", "x<3, x=1", "x<3; x<2", r"x<3 \text{ or } x\in\{1,2\}", r"(-\infty,3)\cup\{1\}"]),
    (r"(2,\infty)", [r"(2,\infty)\cup(3,4)", r"x\in(2,5]\cup(4,\infty)\cup\{3\}", r"(2,\infty)\cup(2,\infty)"]),
    (r"\infty", [r"47+\infty", r"2\infty", r"\infty^2", r"-\ln 0", "1/0", r"\infty+\infty", r"x\infty"]),
    ("0", ["0x", "x-x", "0/5x", "0/0"]),
    ("5", ["5/0*0", "0/0", "x/x*5", "5=5=6", r"5\text{ million}", r"5\text{ and a half}"]),
    ("1,2", ["1.2", "12"]),
    ("1<2", ["3<4", "0<1", "2>1.5"]),
    (r"\int_0^1 x\,dx", ["1/2, 5", r"\{1/2\}", "(1/2, 3)"]),
    ("y=2x", ["0=0", "x=x", "0x=0y", "y=y"]),
    ("B", ["(B) or (C)", "(A) (B) (C)", "B. or C", "(B) and (C)", "B: no, A"]),
]


def test_degenerate_forms_equal_nothing_else(in_process: InProcess) -> None:
    accepted = [
        (answer, gold)
        for gold, answers in DEGENERATE
        for answer, verdict in zip(answers, in_process.grade([(a, gold) for a in answers]), strict=True)
        if verdict.correct is not False
    ]
    assert accepted == []


def test_no_gold_that_cannot_be_read_is_a_reward_of_0(in_process: InProcess) -> None:
    for gold in (r"\frac{1}{2", "5?6", r"\begin{tabular}x\end{tabular}", r"\mystery{3}", "1 2 3"):
        verdict = in_process.equivalent("5", gold)
        assert (verdict.correct, verdict.reason) == (None, "bad_gold"), gold
        assert in_process.equivalent(gold, gold).correct is True


@pytest.mark.parametrize("answer", [r"\text{}", r"\text{ }", r"\mathrm{}", "{}", r"\left.\right.", r"\,\;"])
def test_what_holds_nothing_equals_nothing(answer: str) -> None:
    """Not even the same nothing, which would be the answer to every row whose gold was lost."""
    for gold in (answer, r"\text{ }", "5"):
        assert InProcess().equivalent(answer, gold).correct is not True


def test_inequalities_with_complex_factors_are_decided(in_process: InProcess) -> None:
    """Undecided would be a free way out of any sample."""
    for gold in (r"\{1,2\}", "x<1", "ix<1", "5"):
        for answer in ("x<1,ix<1,ix<1", "x=x<1,ix<1,ix<1", "ix<1,2ix<2", "-ix<1,ix>-1"):
            assert in_process.equivalent(answer, gold).correct is not None, (answer, gold)
    assert in_process.equivalent("2ix<2", "ix<1").correct is True
    assert in_process.equivalent("2ix>2", "ix<1").correct is False
