"""Whether two models mean the same by every token id."""

from typing import TYPE_CHECKING

from srm_ray.errors import UserError, printable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def check_same(student: "PreTrainedTokenizerFast", teacher: "PreTrainedTokenizerFast", name: str) -> None:
    """Raises `UserError`, with the first id that they differ in, where they do not. name: of the teacher's option."""
    own, other = ids_to_tokens(student), ids_to_tokens(teacher)
    for token in sorted(own.keys() | other.keys()):
        if own.get(token) != other.get(token):
            shown = [repr(printable(one)) if one is not None else "none" for one in (own.get(token), other.get(token))]
            raise UserError(
                f"{name}: its vocabulary is another than the policy's (token {token} is {shown[1]} there, {shown[0]} "
                "here): a teacher scores the policy's own token ids, so choose one of the same family"
            )


def ids_to_tokens(tokenizer: "PreTrainedTokenizerFast") -> dict[int, str]:
    return {token: text for text, token in tokenizer.get_vocab().items()}
