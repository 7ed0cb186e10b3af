"""The one place that picks a grader: a problem and a completion's text in, a verdict out.

    Problem, text --kind--> math       answers compared, at first sight or in processes (rewards.math)
                            code       tests run, in the sandbox                        (rewards.code)
                            gym        Reasoning Gym's own scorers, in processes        (rewards.gym)
                            text       equal strings                                    (rewards.text)
                            choice     the right one of the choices                     (rewards.choice)
                            countdown  an expression that reaches the target            (rewards.countdown)
                  <-- Verdict

Reward workers and evaluations grade with it alike. Each kind has a queue of its own, with a bound on what is in
flight: past it `grade` waits, and so does its caller. There is no batching delay: answers go to a process one by one,
so that none waits behind another in a batch.
"""

from dataclasses import replace

import rewards.choice
import rewards.code
import rewards.countdown
import rewards.gym
import rewards.math.grader
import rewards.text
from rewards.code.sandbox import Limits
from rewards.grading_queue import GradingQueue
from rewards.problem import Problem
from rewards.verdict import Verdict, one_of


class Graders:
    """The graders and the processes that they own; `close` ends them.

    processes: how many answers of each kind are graded at once. math_timeout, code_timeout: seconds for one comparison,
    and for all tests of one candidate. allow_unsafe: run code without a sandbox where none works; otherwise it is
    `sandbox_unavailable`. in_flight: answers of each kind that are held before `grade` waits.
    """

    def __init__(
        self,
        processes: int = 2,
        *,
        math_timeout: float = 5.0,
        code_timeout: float = 10.0,
        allow_unsafe: bool = False,
        in_flight: int = 256,
    ) -> None:
        self.math = rewards.math.grader.Grader(processes, math_timeout)
        self.gym = rewards.gym.Scorer(processes, math_timeout, allow_unsafe)
        self._code: rewards.code.Grader | None = None
        self._make_code = lambda: rewards.code.Grader(processes, Limits(seconds=code_timeout), allow_unsafe)
        self.queues = {kind: GradingQueue(kind, processes, in_flight) for kind in ("math", "code", "gym")}

    @property
    def code(self) -> rewards.code.Grader:
        """Made when first asked for: it tries which sandbox works here."""
        if self._code is None:
            self._code = self._make_code()
        return self._code

    async def grade(
        self, problem: Problem, question: str | None, text: str, *, truncated: bool = False, last_number: bool = False
    ) -> Verdict:
        """Whether a completion is right. A truncated one never is.

        question: the problem's text, which the math grader reads, and whose definitions code tests may use. text: the
        completion, with the thinking that its prompt opened (`rewards.extract.opened_thinking`). last_number: without
        an announced answer, take the last number of the text.
        """
        kind = problem.kind
        if not kind:
            return Verdict(None, "bad_input")
        if truncated:
            return Verdict(False, "truncated", kind)
        graders = {
            "math": self._math,
            "code": self._tests,
            "gym": self._gym,
            "text": self._text,
            "choice": self._choice,
            "countdown": self._countdown,
        }
        if kind not in graders:
            return Verdict(None, "bad_input")
        return replace(await graders[kind](problem, question, text, last_number), kind=kind)

    async def same(self, one: str, other: str) -> bool:
        """Whether two answers are the same mathematical object."""
        verdict = rewards.math.grader.quick(one, other)
        if verdict is None:
            verdict = await self.queues["math"].run((one, other, ""), lambda: self.math.equivalent(one, other))
        return verdict.correct is True

    async def _math(self, problem: Problem, question: str | None, text: str, last_number: bool) -> Verdict:
        """Each of several golds is right."""
        if not isinstance(problem.answer, str):
            return Verdict(None, "bad_input")
        answers = rewards.math.grader.answers_of(text, last_number)
        if isinstance(answers, Verdict):
            return answers
        verdicts = []
        for gold in (problem.answer, *problem.also_right):
            verdicts.append(await self._compare(answers, gold, question or ""))
            if verdicts[-1].correct:
                break
        return replace(one_of(verdicts), answer=answers[-1])

    async def _compare(self, answers: list[str], gold: str, question: str) -> Verdict:
        if len(answers) > 1:
            return await self.queues["math"].run(
                (tuple(answers), gold, question), lambda: self._several(answers, gold, question)
            )
        answer = answers[0]
        verdict = rewards.math.grader.quick(answer, gold, question)
        if verdict is not None:
            return verdict
        return await self.queues["math"].run(
            (answer, gold, question), lambda: self.math.equivalent(answer, gold, question)
        )

    def _several(self, answers: list[str], gold: str, question: str) -> Verdict:
        verdicts = self.math.grade([(answer, gold) for answer in answers], question)
        return rewards.math.grader.choose(answers, verdicts, self.math.grade)

    async def _tests(self, problem: Problem, question: str | None, text: str, _: bool) -> Verdict:
        code, tests, entry = self.code, problem.tests, problem.entry_point

        def run() -> Verdict:
            reward = code.score(text, tests, entry, question)
            return Verdict(reward.correct, reward.reason)

        return await self.queues["code"].run((text, repr(tests), entry, question), run)

    async def _gym(self, problem: Problem, question: str | None, text: str, _: bool) -> Verdict:
        """A right answer is right also where Reasoning Gym gives another as an example."""
        task, answer = problem.gym, rewards.text.the_answer(text)
        if task is None:
            return Verdict(None, "bad_input")
        if isinstance(answer, Verdict):
            return answer
        verdict = await self.queues["gym"].run((answer, task), lambda: self.gym.grade(answer, task))
        return replace(verdict, answer=answer)

    async def _text(self, problem: Problem, question: str | None, text: str, _: bool) -> Verdict:
        if not isinstance(problem.answer, str):
            return Verdict(None, "bad_input")
        answer = rewards.text.the_answer(text)
        return (
            answer
            if isinstance(answer, Verdict)
            else replace(rewards.text.equal(answer, problem.answer), answer=answer)
        )

    async def _choice(self, problem: Problem, question: str | None, text: str, _: bool) -> Verdict:
        return rewards.choice.grade(text, problem.answer or "", problem.given)

    async def _countdown(self, problem: Problem, question: str | None, text: str, _: bool) -> Verdict:
        return rewards.countdown.grade(text, problem.answer or "", problem.given)

    # Processes

    def warm(self) -> None:
        """Start the math grader's processes in the background, so that the first hard pair does not wait for them."""
        self.queues["math"].threads.submit(self.math.warm)

    def tier(self) -> str:
        """The code sandbox's tier, "" where none holds."""
        return self.code.tier

    def replaced(self) -> int:
        """Processes that died and were replaced."""
        code = self._code.sandbox.restarts if self._code else 0
        return self.math.own.replaced + self.math.fallback.replaced + code + self.gym.pool.replaced

    def pids(self) -> list[int]:
        """Processes that grade (not their forkservers)."""
        return [*self.math.pids(), *(self._code.pids() if self._code else []), *self.gym.pids()]

    def close(self) -> None:
        """End every process."""
        for queue in self.queues.values():
            queue.close()
        self.math.close()
        self.gym.close()
        if self._code is not None:
            self._code.close()
