"""Short chat templates that behave as those of known models do, each with the control tokens it needs."""

from dataclasses import dataclass
from typing import Any

from srm_ray.data import arithmetic
from srm_ray.model import tokenization


@dataclass(frozen=True)
class Family:
    """template: Jinja. controls: tokens that end or begin turns. eos: what the tokenizer calls its end."""

    template: str
    controls: tuple[str, ...]
    eos: str


CHATML = Family(
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
# A system text of its own where there is none; an eos that is not what ends a turn, as in Qwen2.5's base models.
QWEN25 = Family(
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% if tools %}<|im_start|>system\nTools:{% for t in tools %}\n{{ t | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    '{% for c in m.tool_calls or [] %}\n<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "<|endoftext|>",
)
# Thinking of turns before the last question is dropped; the last one always has thinking, empty if need be.
QWEN3 = Family(
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set content = m.content %}{% set thought = m.reasoning_content or '' %}"
    "{% if not thought and '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}<|im_start|>assistant\n"
    "{% if loop.index0 > ns.last %}<think>\n{{ thought.strip('\\n') }}\n</think>\n\n{% endif %}"
    "{{ content }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
# DeepSeek-R1's distilled models: every turn without its thinking, the generation prompt opens it.
R1 = Family(
    "<s>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<|User|>"
    "{{ m.content }}{% else %}{% set content = m.content %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}<|Assistant|>{{ content }}<|eos|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}",
    ("<s>", "<|User|>", "<|Assistant|>", "<|eos|>"),
    "<|eos|>",
)
# ... and their first template, whose generation prompt opens nothing.
R1_OLD = Family(R1.template.replace("<|Assistant|><think>\n", "<|Assistant|>"), R1.controls, R1.eos)
# No system message; roles must alternate; turns are trimmed.
GEMMA = Family(
    "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    ("<start_of_turn>", "<end_of_turn>"),
    "<eos>",
)
# The day stands in the system turn; tool calls end otherwise than words do.
LLAMA3 = Family(
    "<bos><|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ strftime_now('%d %b %Y') }}\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% endif %}<|eot_id|>"
    "{% for m in messages %}{% if m.role != 'system' %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    '{% if m.tool_calls %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": '
    "{{ m.tool_calls[0].function.arguments | tojson }}}<|eom_id|>"
    "{% else %}{{ m.content | trim }}<|eot_id|>{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
    "<|eot_id|>",
)
# No generation prompt at all; the answer begins with a space.
LLAMA2 = Family(
    "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m.role == 'user' %}<bos>[INST] {{ (system if loop.first else '') + m.content | trim }} "
    "[/INST]{% else %} {{ m.content | trim }} </s>{% endif %}{% endfor %}",
    ("</s>",),
    "</s>",
)
# Behind a finished conversation stands another token than behind a turn.
PHI3 = Family(
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}",
    ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
    "<|endoftext|>",
)
# The last turn ends without the line break that follows the others.
OLMO2 = Family(
    "<|endoftext|>{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n{{ m.content }}<|endoftext|>"
    "{% if not loop.last %}\n{% endif %}{% else %}<|{{ m.role }}|>\n{{ m.content }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ("<|endoftext|>",),
    "<|endoftext|>",
)
ZEPHYR = Family(
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ("</s>",),
    "</s>",
)
# A turn ends with nothing: the opening of the user's next turn is what to stop at.
GLM = Family(
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ("<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>"),
    "<|endoftext|>",
)
# Only the words of user and assistant are shown.
FORGETFUL = Family(
    "{% for m in messages %}{% if m.role in ('user', 'assistant') %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    CHATML.controls,
    CHATML.eos,
)
# Turns end with words, as in templates that were written before there were control tokens.
ALPACA = Family(
    "{% for m in messages %}### {{ 'Response' if m.role == 'assistant' else 'Instruction' }}:\n{{ m.content }}\n\n"
    "{% endfor %}{% if add_generation_prompt %}### Response:\n{% endif %}",
    ("</s>",),
    "</s>",
)

FAMILIES = {
    "chatml": CHATML,
    "qwen2.5": QWEN25,
    "qwen3": QWEN3,
    "r1": R1,
    "r1 old": R1_OLD,
    "gemma": GEMMA,
    "llama 3": LLAMA3,
    "llama 2": LLAMA2,
    "phi-3": PHI3,
    "olmo 2": OLMO2,
    "zephyr": ZEPHYR,
    "glm": GLM,
    "alpaca": ALPACA,
}

_core: list[Any] = []


def tokenizer_of(family: Family) -> Any:
    """A small byte-level tokenizer with the family's template and control tokens."""
    from tokenizers import AddedToken, Tokenizer

    if not _core:
        _core.append(tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384).to_str())
    core = Tokenizer.from_str(_core[0])
    made = tokenization.wrap(core)
    made.add_special_tokens({"additional_special_tokens": [AddedToken(name, special=True) for name in family.controls]})
    made.eos_token = family.eos
    made.chat_template = family.template
    return made


def metaspace_tokenizer_of(family: Family) -> Any:
    """The same with a tokenizer of SentencePiece's kind, as Llama 2 and Mistral have it: a space belongs to the word
    behind it, and stands before the first word too."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    alphabet = [chr(code) for code in range(32, 127)] + ["\n"]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<bos>"], initial_alphabet=alphabet)
    core.train_from_iterator(arithmetic.tokenizer_texts(1, 300), trainer=trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<bos>")
    made.add_special_tokens({"additional_special_tokens": [AddedToken(name, special=True) for name in family.controls]})
    made.eos_token = family.eos
    made.chat_template = family.template
    return made
