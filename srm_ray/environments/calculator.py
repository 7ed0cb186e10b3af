"""A calculator: `--tools srm_ray.environments.calculator:calculate`. A function is all that a stateless tool needs.

Exact, in fractions; nothing is evaluated but arithmetic, and nothing larger than a few hundred digits is made.
"""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction

LONGEST = 500  # characters of an expression
DIGITS = 300  # of a result
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}


def calculate(expression: str) -> str:
    """Work out an arithmetic expression.

    Args:
        expression: Numbers, + - * / // % ** and brackets, for example (12 + 7) * 3.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"the expression has more than {LONGEST} characters")
    plain = expression.replace("×", "*").replace("÷", "/").replace("^", "**").replace(",", "")
    try:
        tree = ast.parse(plain.strip(), mode="eval")
    except SyntaxError:
        raise ValueError(f"not an arithmetic expression: {expression}") from None
    return shown(value(tree.body))


def value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return bounded(Fraction(str(node.value)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        return -value(node.operand) if isinstance(node.op, ast.USub) else value(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = value(node.left), value(node.right)
        if isinstance(node.op, ast.Pow):
            return power(left, right)
        if type(node.op) in OPERATORS:
            return bounded(OPERATORS[type(node.op)](left, right))
    raise ValueError(f"only numbers, + - * / // % ** and brackets: {ast.unparse(node)}")


def power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > DIGITS * 4:
        raise ValueError(f"exponents are whole numbers up to {DIGITS * 4}")
    if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > DIGITS * 4:
        raise ValueError("the result is too large")
    return bounded(base ** int(exponent))


def bounded(number: Fraction) -> Fraction:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > DIGITS * 4:
        raise ValueError("the result is too large")
    return number


def shown(number: Fraction) -> str:
    """Whole, as a short decimal where that is exact, else to twelve digits."""
    if number.denominator == 1:
        return str(number.numerator)
    decimal = f"{float(number):.12g}"
    return decimal if Fraction(decimal) == number else f"{number.numerator}/{number.denominator} = {decimal}"
