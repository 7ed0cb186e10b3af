"""What tokens cost on a machine that is paid by the hour."""


def per_thousand_tokens(price_per_hour: float, tokens_per_second: float) -> float:
    """Dollars for 1,000 tokens: price / 3600 / (tokens/s) x 1000. $0.68 an hour at 30 tokens/s is $.0063."""
    if tokens_per_second <= 0:
        raise ValueError(f"tokens/s must be above 0, got {tokens_per_second:g}")
    return price_per_hour / 3600 / tokens_per_second * 1000


def dollars(amount: float) -> str:
    """`$0.0063`: two significant digits, so that small prices do not read as nothing."""
    if amount == 0:
        return "$0"
    digits = 2
    while amount < 10 ** (1 - digits) and digits < 12:
        digits += 1
    return f"${amount:.{digits}f}"
