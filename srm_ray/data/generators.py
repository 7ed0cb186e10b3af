"""The built-in generators of supervised examples, by the name that `data.generator` takes."""

from collections.abc import Callable

from srm_ray.data import arithmetic, word_problems
from srm_ray.data.arithmetic import Messages

CONVERSATIONS: dict[str, Callable[[int, int], Messages]] = {
    "arithmetic": arithmetic.conversation,
    "word_problems": word_problems.conversation,
}
