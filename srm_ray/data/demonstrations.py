"""What the policy is shown to be its own teacher: the problem's conversation, with a demonstration in its last message.

Task (messages, row) --template(question, demonstration)--> messages --chat template--> token ids
"""

from typing import TYPE_CHECKING

from srm_ray.config.teacher import TeacherConfig
from srm_ray.data.rendering import render_prompt
from srm_ray.data.tasks import Task
from srm_ray.errors import UserError, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Demonstrations:
    """Renders them. limit: tokens that a prompt may have. Raises `UserError` for a template that is none."""

    def __init__(
        self, options: TeacherConfig, tokenizer: "PreTrainedTokenizerFast", *, system: str, limit: int
    ) -> None:
        from jinja2 import TemplateError

        from srm_ray.model.template_sandbox import compiled

        self.column, self.template, self.limit = options.demonstration, options.template, limit
        self._tokenizer, self._system = tokenizer, system
        try:
            compiled(self.template)
        except TemplateError as error:
            raise UserError(f"teacher.template: {one_line(error)}") from None

    def ids(self, task: Task) -> tuple[int, ...]:
        """Raises `UserError`, with the row, where it lacks the column."""
        from srm_ray.data.prompts import with_system
        from srm_ray.model.template_sandbox import render

        demonstration = (task.row or {}).get(self.column)
        if not isinstance(demonstration, str) or not demonstration.strip():
            has = ", ".join(task.row or {}) or "none"
            raise UserError(
                f"{task.where or f'a problem of {task.source}'}: teacher.demonstration wants text in the column "
                f"{self.column!r} (its columns: {has})"
            )
        *before, last = with_system(task.messages, self._system)
        shown = render(self.template, {"question": last["content"], "demonstration": demonstration})
        return tuple(render_prompt(self._tokenizer, [*before, {**last, "content": shown}]))

    def fits(self, task: Task) -> str:
        """Why a task cannot be used with its demonstration; "" where it can."""
        size = len(self.ids(task))
        return "" if size <= self.limit else f"prompts of more than {self.limit} tokens with their demonstration"
