"""Our engines behind lm-evaluation-harness's `LM` interface. Imported only where the harness is installed.

    harness thread --generate_until, loglikelihood--> EngineLM --event loop--> LogLikelihoodModel (many in flight)

The same texts and numbers as the harness's own Hugging Face backend gives (0.4.13): prompts are encoded and cut on the
left as there, text ends at the first stop string as if generation had stopped there, log-likelihoods are sums over the
continuation's tokens. (Prompts longer than the context are cut there too; for log-likelihoods two tokens shorter, since
an engine must have room for a token to sample.) Answers are appended to a file as they come, so that a killed
evaluation goes on.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from srm_ray.errors import RunError, UserError
from srm_ray.evaluation.samples import read
from srm_ray.files.atomic import append, write_atomically
from srm_ray.inference.completers import ChatCompletion, LogLikelihood, Sampling, Subject
from srm_ray.model.chat_template import render_text
from srm_ray.rl.seeds import completion_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Done = Callable[[float, int], None]


class Answered:
    """Answers by request, in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known = {line["key"]: line for line in read(path)}
        if path.is_file():
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in self.known.values()))

    def add(self, key: str, answer: ChatCompletion | LogLikelihood) -> None:
        self.known[key] = {"key": key, **asdict(answer)}
        append(self.path, json.dumps(self.known[key]) + "\n")

    def get(self, key: str) -> ChatCompletion | LogLikelihood | None:
        line = self.known.get(key)
        if line is None:
            return None
        fields = {name: value for name, value in line.items() if name != "key"}
        if "logprob" in fields:
            return LogLikelihood(**fields)
        return ChatCompletion(**fields | {"token_ids": tuple(fields["token_ids"])})


def key_of(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class EngineLM(TemplateLM):
    """subject: engines with a tokenizer here, or a server that answers messages.

    loop: where they live; the harness itself runs in another thread. answers: completion by context, as generated.
    """

    def __init__(
        self,
        subject: Subject,
        loop: asyncio.AbstractEventLoop,
        answered: Answered,
        done: Done,
        *,
        seed: int,
        think_end: str,
        in_flight: int,
    ) -> None:
        super().__init__()
        self.reader, self.completer = subject.reader, subject.completer
        self.tokenizer: PreTrainedTokenizerFast = subject.tokenizer  # None only where `reader` is
        self.loop = loop
        self.answered, self.done = answered, done
        self.seed, self.think_end, self.in_flight = seed, think_end, in_flight
        self.answers: dict[str, ChatCompletion] = {}
        self.cut_prompts = 0

    # What the harness asks of every model

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        start = self.tokenizer.bos_token_id
        return int(start if start is not None else self.tokenizer.eos_token_id)

    @property
    def max_length(self) -> int:
        assert self.reader is not None
        return self.reader.context

    @property
    def tokenizer_name(self) -> str:
        return getattr(self.tokenizer, "name_or_path", "endpoint").replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        if self.tokenizer is None:
            return json.dumps(chat_history)
        text = render_text(self.tokenizer, chat_history, add_generation_prompt=add_generation_prompt)
        if add_generation_prompt:
            return text
        last = chat_history[-1]["content"]  # which the model goes on with
        found = text.rfind(last.strip())
        if found < 0:
            raise UserError("the model's chat template does not show the last message, which is to be continued")
        return text[: found + len(last.strip())]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        if add_special_tokens is None and has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id)):
            options["add_special_tokens"] = False
        return self.tokenizer.encode(string, **options)

    # Generation

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        return self._run([self._generate(request) for request in requests])

    async def _generate(self, request: Any) -> str:
        context, options = request.args
        kwargs: dict[str, Any] = dict(normalize_gen_kwargs(options, 256))
        eos = None if self.tokenizer is None else self.tokenizer.decode([self.eot_token_id])
        until = handle_stop_sequences(kwargs.pop("until", None), eos=eos)
        limit, sampling = self._sampling(kwargs)
        seed = completion_seed(self.seed, request.doc_id or 0, 0, request.idx)
        asked = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.max_new_tokens,
        }
        key = key_of(context, limit, asked, seed)
        found = self.answered.get(key)
        if found is None:
            found = await self._complete(context, limit, seed, sampling)
            self.answered.add(key, found)
        assert isinstance(found, ChatCompletion)
        self.answers[context] = found
        self.done(0.0, found.tokens)
        text = found.text if self.tokenizer is None else self._text(found.token_ids, until)
        return postprocess_generated_text(generation=text, stop=until, think_end_token=self.think_end or None)

    def _sampling(self, kwargs: dict[str, Any]) -> tuple[int, Sampling]:
        """(limit of new tokens, sampling) of normalised options. Raises `UserError` for one that we do not have."""
        limit = int(kwargs.pop("max_gen_toks"))
        if self.reader is not None:
            limit = min(limit, self.max_length // 2)
        temperature = float(kwargs.pop("temperature", 0.0))
        sampled = kwargs.pop("do_sample", temperature > 0)
        top_p = float(kwargs.pop("top_p", 1.0))
        if kwargs:
            raise UserError(f"the harness asks for generation options that are not supported: {', '.join(kwargs)}")
        return limit, Sampling(temperature if sampled else 0.0, limit, top_p if sampled else 1.0)

    async def _complete(self, context: str, limit: int, seed: int, sampling: Sampling) -> ChatCompletion:
        if self.reader is None:
            return (await self.completer.answer(json.loads(context), (seed,), sampling))[0]
        ids = self.tok_encode(context)
        longest = self.max_length - limit
        self.cut_prompts += len(ids) > longest
        return await self.reader.complete(ids[-longest:], seed, sampling)

    def _text(self, ids: Sequence[int], until: Sequence[str]) -> str:
        """Text of the tokens up to and with the one that completes the first stop string; control tokens left out."""

        def stopped(count: int) -> bool:
            text = self.tokenizer.decode(ids[:count])
            return any(stop in text for stop in until if stop)

        end = len(ids)
        if stopped(end):
            low = 0  # not stopped after `low` tokens, stopped after `end`
            while end - low > 1:
                middle = (low + end) // 2
                low, end = (low, middle) if stopped(middle) else (middle, end)
        return self.tokenizer.decode(ids[:end], skip_special_tokens=True)

    # Log-likelihood

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return super().loglikelihood(requests, disable_tqdm=True)  # the suite has a progress line of its own

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        return self._run([self._score(context, continuation) for _, context, continuation in requests])

    async def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        if self.reader is None:
            raise UserError(
                "this suite needs log-likelihoods, which a chat endpoint does not give: evaluate a checkpoint"
            )
        # One position fewer than the context holds: the engine must have room for a token to sample.
        ids = (context + continuation)[-(self.max_length - 1) :]
        self.cut_prompts += len(ids) < len(context) + len(continuation)
        start = len(ids) - len(continuation)
        key = key_of(ids, start)
        found = self.answered.get(key)
        if found is None:
            found = await self.reader.score(ids, start)
            self.answered.add(key, found)
        assert isinstance(found, LogLikelihood)
        self.done(0.0, len(ids))
        return found.logprob, found.greedy

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        async def whole(text: str) -> float:
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length - 2,
                context_len=1,
            )
            pairs = [make_disjoint_window(window) for window in windows]
            return sum([(await self._score(list(context), list(rest)))[0] for context, rest in pairs])

        return self._run([whole(request.args[0]) for request in requests])

    # From the harness's thread into the event loop

    def _run(self, calls: Sequence[Awaitable[Any]]) -> list[Any]:
        async def all_of_them() -> list[Any]:
            slots = asyncio.Semaphore(self.in_flight)

            async def bounded(call: Awaitable[Any]) -> Any:
                async with slots:
                    return await call

            return list(await asyncio.gather(*(bounded(call) for call in calls)))

        try:
            return asyncio.run_coroutine_threadsafe(all_of_them(), self.loop).result()
        except CancelledError:
            raise RunError("the evaluation was ended") from None
