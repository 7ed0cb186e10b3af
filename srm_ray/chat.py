"""Talk to a model in the terminal: thinking dimmed, the answer plain, both as they are sampled.

a folder, an adapter or a .gguf file -> Engine -> Conversation -> terminal

With --tools or --environment the model calls tools or plays: its calls and their results are shown.
/think on|off  /temperature X  /reset  /help  /quit. Ctrl-C stops the answer, Ctrl-D ends the conversation.
Lines piped in are asked one after another. --serve_command prints how to serve the model with vLLM instead.
"""

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from srm_ray.config.chat import ChatConfig
from srm_ray.config.command_line import parse
from srm_ray.console import output
from srm_ray.console.command import interactive
from srm_ray.console.progress import phase
from srm_ray.errors import UserError, printable

if TYPE_CHECKING:
    from srm_ray.environments.contract import Contract
    from srm_ray.inference.completers import Sampling
    from srm_ray.inference.conversation import Conversation
    from srm_ray.inference.engine import Engine
    from srm_ray.inference.terminal import Terminal

HELP = """\
/think on|off     think before answering, or answer at once
/temperature X    0 to 2; 0 is greedy
/reset            forget the conversation
/help             this
/quit             end (Ctrl-D too); Ctrl-C stops an answer"""


@interactive
def main(argv: list[str] | None = None) -> int:
    config = parse(ChatConfig, sys.argv[1:] if argv is None else argv, stage="chat", about=__doc__)
    if not config.model:
        raise UserError("--model is needed: a model folder, an adapter's folder or a .gguf file, e.g. runs/grpo/final")
    if config.serve_command:
        from srm_ray.inference.serving import serving_notes

        print(printable(serving_notes(config.model)))
        return 0
    from srm_ray.inference.completers import Sampling
    from srm_ray.inference.conversation import Conversation
    from srm_ray.inference.engine import open_engine
    from srm_ray.inference.terminal import Terminal

    terminal = Terminal(sys.stdin, sys.stdout)
    terminal.notice(f"loading {config.model} ...")
    with output.routed(), phase("loading", kind="talking"):
        engine = open_engine(
            config.model, threads=config.threads, dtype=config.dtype, chat_template=config.chat_template
        )
    sampling = Sampling(config.temperature, config.max_new_tokens)
    about = f"{engine.about}, context {engine.context} tokens. /help lists the commands, Ctrl-D ends."
    if config.playing().plays_episodes:
        return play(config, engine, sampling, terminal, about)
    conversation = Conversation(engine, sampling, config.seed, system=config.system, thinking=config.think)
    lost = conversation.check()
    terminal.notice(about)
    for what in lost:
        terminal.notice(what)
    return talk(conversation, terminal)


def play(config: ChatConfig, engine: "Engine", sampling: "Sampling", terminal: "Terminal", about: str) -> int:
    """With an environment, or tools, whose processes end with the conversation."""
    from actors.environment.check import contract_of, renderer_of, spec_of
    from srm_ray.environments.sessions import Sessions
    from srm_ray.environments.talk import OpenEnvironment, PlayedConversation

    options = config.environment
    with asyncio.Runner() as runner:
        contract = runner.run(contract_of(config.playing()))
        assert contract is not None, "the config names an environment or tools"
        renderer = renderer_of(options, contract, engine.tokenizer, engine.stop_ids)
        sessions = Sessions(spec_of(config.playing()))
        try:
            runner.run(sessions.start())
            environment = OpenEnvironment(contract, renderer, sessions, runner, options.max_turns)
            conversation = PlayedConversation(engine, sampling, config.seed, environment, system=config.system)
            terminal.notice(about)
            terminal.notice(how_to_play(contract))
            return talk(conversation, terminal)
        finally:
            sessions.close()


def how_to_play(contract: "Contract") -> str:
    columns = f"; a JSON object gives reset its columns ({', '.join(contract.takes)})" if contract.takes else ""
    if contract.kind == "turns":
        return f"Any line begins an episode, which the model plays{columns}."
    return f"It has {', '.join(contract.names)}. /reset begins anew{columns}."


def talk(conversation: "Conversation", terminal: "Terminal") -> int:
    """Until /quit or the end of input."""
    with terminal:
        while (line := terminal.read_line()) is not None:
            text = line.strip()
            if text in ("/quit", "/exit"):
                break
            try:
                if text.startswith("/"):
                    terminal.notice(obey(conversation, text))
                elif text:
                    terminal.show_answer(conversation, text)
            except UserError as error:  # a slip in a conversation does not end it
                terminal.notice(f"error: {error}")
    return 0


def obey(conversation: "Conversation", text: str) -> str:
    """Carry out a command; returns the text to print. Raises `UserError` for one that does not exist."""
    name, _, value = text.partition(" ")
    value = value.strip()
    if name == "/help":
        return HELP
    if name == "/reset":
        conversation.reset()
        return "conversation forgotten"
    if name == "/think":
        if value not in ("on", "off"):
            raise UserError(f"/think on or /think off (got {value!r})")
        conversation.thinking = value == "on"
        return f"thinking is {value}"
    if name == "/temperature":
        conversation.sampling = replace(conversation.sampling, temperature=temperature_of(value))
        return f"temperature is {conversation.sampling.temperature:g}"
    raise UserError(f"no command {name}; /help lists them")


def temperature_of(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise UserError(f"/temperature takes a number from 0 to 2 (got {text!r})")
    return value


if __name__ == "__main__":
    sys.exit(main())
