"""Chat templates as model families write them, much shortened, and a tokenizer for each. Written for these tests."""

from typing import Any

IM = "<|im_start|>{role}\n{content}<|im_end|>\n"

HERMES = """{%- if tools -%}
<|im_start|>system
Tools: {% for tool in tools %}{{ tool | tojson }}{% endfor %} Answer in <tool_call></tool_call>.<|im_end|>
{% endif -%}
{%- for m in messages -%}
{%- if m.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{ '<|im_start|>user' }}{%- endif -%}
{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{ '<|im_end|>\n' }}{%- endif -%}
{%- else -%}
{{ '<|im_start|>' + m.role + '\n' + m.content }}
{%- for c in m.tool_calls or [] -%}
{{ '\n' if m.content or not loop.first }}
{{- '<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' + (c.function.arguments | tojson) }}
{{- '}\n</tool_call>' }}
{%- endfor -%}
{{ '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"""

# Drops the thinking of turns before the last question, and shows an empty one in the last turn.
THINKS = """{%- set ns = namespace(last=0) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{%- set said = m.content.split('</think>')[-1] -%}
{{ '<|im_start|>assistant\n' }}
{%- if loop.last and loop.index0 > ns.last -%}{{ '<think>\n\n</think>\n\n' }}{%- endif -%}
{{ said + '<|im_end|>\n' }}
{%- else -%}
{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n<think>\n' }}{%- endif -%}"""

# Turns must alternate, a result belongs to a call, and the call's own text is not shown.
STRICT = """{%- set ns = namespace(n=0) -%}
{%- for m in messages -%}
{%- if m.role == 'user' or (m.role == 'assistant' and m.tool_calls is not defined) -%}
{%- if (m.role == 'user') != (ns.n % 2 == 0) -%}{{ raise_exception('roles must alternate') }}{%- endif -%}
{%- set ns.n = ns.n + 1 -%}
{%- endif -%}
{%- endfor -%}
{%- if tools -%}{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}{{ '[INST] ' + m.content + '[/INST]' }}
{%- elif m.role == 'tool' -%}
{%- if m.tool_call_id is not defined or m.tool_call_id | length != 9 -%}{{ raise_exception('no id') }}{%- endif -%}
{{ '[TOOL_RESULTS]' + ({'content': m.content} | tojson) + '[/TOOL_RESULTS]' }}
{%- elif m.tool_calls is defined -%}
{{ '[TOOL_CALLS][' }}{%- for c in m.tool_calls -%}{{ c.function | tojson }}{%- endfor -%}{{ ']<|im_end|>' }}
{%- else -%}{{ ' ' + m.content + '<|im_end|>' }}{%- endif -%}
{%- endfor -%}"""

# Says how many messages there are at the top: every message changes what stood before.
COUNTS = "{{ messages | length }}\n" + HERMES

# Ends a text that no turn is to follow.
CLOSES = HERMES + "{%- if not add_generation_prompt -%}{{ '<eos>' }}{%- endif -%}"

# Shows the last message from the environment alone.
FORGETS = """{%- for m in messages -%}
{%- if m.role == 'assistant' or loop.last or loop.first -%}
{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endif -%}{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"""


def tokenizer_with(template: str | None) -> Any:
    """A byte-level tokenizer whose only merges are none, with this chat template (None: this project's own)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    from srm_ray.model import tokenization

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*tokenization.SPECIALS, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokenization.SPECIALS])
    made = tokenization.wrap(tokenization.keep_in_text(core))
    if template is not None:
        made.chat_template = template
    return made
