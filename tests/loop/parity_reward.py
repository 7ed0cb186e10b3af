"""A reward that a random model earns sometimes: for the tests that need groups with signal, not skill."""


def reward(prompt: str, completion: str, answer: str | None) -> float:
    return float(sum(completion.encode()) % 2)
