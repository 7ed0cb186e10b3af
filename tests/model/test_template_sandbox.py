"""Chat templates from anywhere: the text is that of transformers, and none runs long, fills the memory or escapes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from srm_ray.errors import UserError
from srm_ray.model import chat_template, template_sandbox, tokenization
from srm_ray.model.template_sandbox import render

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How many sheep?\n\nCount\tthem."},
    {"role": "assistant", "content": "<think>\n17\n</think>\nSeventeen.", "reasoning_content": "17"},
    {"role": "user", "content": "Why? 100 % {sure}"},
]
LIKE_QWEN3 = r"""
{%- if tools %}{{- '<|im_start|>system\n' }}{%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and not(message.content.startswith('<tool_response>')) %}
        {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}{%- set reasoning_content = '' %}
    {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
        {%- set reasoning_content = message.reasoning_content %}
    {%- elif '</think>' in message.content %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\n').split('<think>')[-1] %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\n' ~ '<think>' ~ reasoning_content.strip('\n') ~ content + '<|im_end|>\n' }}
    {%- if loop.last or (not loop.last and reasoning_content) %}{{ loop.length }}{{ loop.revindex }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""
OTHERS = r"""{% macro turn(m, more='') %}[{{ m['role'] | upper }}]
{{ m.content | trim | indent(2) }}{{ more }}{% endmacro %}
{% set kept = messages | selectattr('role', 'ne', 'system') | list %}{% set pairs = {'a': 1, 'b': [1, 2]} %}
{% for m in kept if m.content %}{% if loop.index > 5 %}{% break %}{% endif %}
{{ turn(m, more='%03d|%s' % (loop.index, 'x')) }}
{{ loop.previtem.role if loop.previtem is defined else '-' }}{{ loop.cycle('odd', 'even') }}
{% else %}nothing{% endfor %}{{ pairs | tojson(indent=2) }}{{ pairs.items() | list }}{{ 'ab' * 3 }}{{ 2 ** 10 }}
{{ '{}-{:>5}'.format('a', 3) }}{{ 'a-b'.replace('-', '+').split('+') | join(', ') }}{{ range(3) | list }}{{ (1, 2) }}
{% generation %}said{% set inner = 1 %}{% endgeneration %}{{ messages | map(attribute='role') | unique | join('/') }}
{% for a, b in pairs | dictsort %}{{ a }}{{ b is iterable }}{% endfor %}
{{ messages[-1].content in 'abc' }}{{ 1 < 2 < 3 }}"""


TEMPLATES = {
    "ours": tokenization.CHAT_TEMPLATE,
    "chatml": chat_template.CHATML.replace("{start}", "<s>").replace("{end}", "</s>"),
    "like Qwen3's": LIKE_QWEN3,
    "others": OTHERS,
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("prompt", [False, True])
def test_the_text_is_that_of_transformers(template, prompt) -> None:
    variables = {"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False}
    for messages in (MESSAGES, MESSAGES[1:3], MESSAGES[1:2]):
        [expected], _ = render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=prompt, **variables
        )
        given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": prompt}
        assert render(template, given | variables) == expected


HOSTILE = {
    "an endless range": "{% for i in range(10**9) %}x{% endfor %}",
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops over a list": "{% set a = range(99999)|list %}{% for i in a %}{% for j in a %}{% endfor %}{% endfor %}",
    "a text many times": "{{ 'a' * 10**10 }}",
    "a list many times": "{{ [1] * 10**9 }}",
    "many times a text": "{{ 10**10 * 'a' }}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a tower of powers": "{% set n = namespace(x=9) %}{% for i in range(30) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "doubled": "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "added to itself": "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "a wide field": "{{ '%999999999d' % 1 }}",
    "a width given": "{{ '%*d' % (999999999, 1) }}",
    "a format": "{{ '{:>999999999}'.format(1) }}",
    "a format in a format": "{{ '{:{}}'.format(1, '>999999999') }}",
    "the filter format": "{{ '%999999999d' | format(1) }}",
    "centred": "{{ 'a' | center(10**9) }}",
    "justified": "{{ 'a'.ljust(10**9) }}",
    "filled": "{{ 'a'.zfill(10**9) }}",
    "indented": "{% set a = '\\n' * 100000 %}{{ a | indent(1000) }}",
    "indented by a text": "{% set a = '\\n' * 100000 %}{{ a | indent('x' * 100000) }}",
    "tabs": "{{ ('\\t' * 100000).expandtabs(100000) }}",
    "replaced": "{% set a = 'a' * 100000 %}{{ a.replace('a', a) }}",
    "replaced by the filter": "{% set a = 'a' * 100000 %}{{ a | replace('', a) }}",
    "joined": "{% set a = 'a' * 100000 %}{{ a.join(range(99999) | map('string') | list) }}",
    "joined by the filter": "{% set a = 'a' * 100000 %}{{ range(99999) | join(a) }}",
    "translated": "{% set a = 'a' * 100000 %}{{ a.translate({97: a}) }}",
    "lists in lists": "{% set a = ['x'] %}" + "{% set a = [a, a, a, a] %}" * 30 + "{{ a }}",
    "compared": "{% set a = ['x'] %}" + "{% set a = [a, a] %}" * 40 + "{{ a == a }}",
    "as JSON": "{% set a = {'x': 1} %}" + "{% set a = {'b': a, 'c': a} %}" * 40 + "{{ a | tojson }}",
    "JSON indented": "{{ range(1000) | list | tojson(indent=999999) }}",
    "tuples": "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 40 + "{{ a | string }}",
    "much output": "{% set a = 'a' * 100000 %}{% for i in range(99999) %}{{ a }}{% endfor %}",
    "much in a block": "{% set a = 'a' * 99999 %}{% set b %}{% for i in range(9999) %}{{ a }}{% endfor %}{% endset %}",
    "much in a macro": "{% set a = 'a' * 99999 %}{% macro m() %}{% for i in range(9999) %}{{ a }}{% endfor %}"
    "{% endmacro %}{{ m() }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "searched": "{% set a = 'a' * 1000000 %}{% for i in range(99999) %}{{ 'b' in a }}{% endfor %}",
    "counted": "{% set a = 'a' * 1000000 %}{% for i in range(99999) %}{{ a.count('b') }}{% endfor %}",
    "wrapped": "{{ ('a' * 3000000) | wordwrap(1) }}",
    "without tags": "{{ ('<!-- -->' * 400000) | striptags }}",
    "grouped by letter": "{{ ('9' * 3000000) | groupby('a') }}",
    "sorted by letter": "{{ ('ab' * 1900000) | sort | first }}",
    "joined by letter": "{{ ('a' * 3900000) | join('', 'x') }}",
    "lorem ipsum": "{{ lipsum(n=10**6) }}",
    "rounded": "{{ 5 | round(-10**9) }}",
    "a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a function's globals": "{{ raise_exception.__globals__ }}",
    "an attribute by filter": "{{ ''|attr('__class__') }}",
    "a format's attribute": "{{ '{0.__class__.__mro__}'.format('') }}",
    "the messages changed": "{{ messages.append(1) }}",
    "a file": "{% include '/etc/passwd' %}",
    "divided by nothing": "{{ 1 / 0 }}",
    "no template": "{% for %}",
    "deeply nested": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "long": "{# " + "a" * 5_000_000 + " #}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_refused_in_one_line(template) -> None:
    class Tokenizer:
        special_tokens_map: dict[str, str] = {}  # noqa: RUF012
        chat_template = template

    try:
        text = chat_template.render_text(Tokenizer(), MESSAGES)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
    else:  # Jinja shows what its sandbox forbids as nothing
        assert not text.strip() and "__" in template


PARTS = ["{{ a }}", "{{ a * 9 }}", "{% for i in a %}", "{% endfor %}", "{% set a = a ~ a %}", "{{", "{% if a %}"]
PARTS += ["{% endif %}", "}}", "{% set a = [a, a] %}", "{{ a|join }}", "\x1b[2J"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(PARTS)))
def test_any_template_ends(parts) -> None:
    class Tokenizer:
        special_tokens_map: dict[str, str] = {}  # noqa: RUF012
        chat_template = "{% set a = 'ab' %}" + "".join(parts)

    try:
        chat_template.render_text(Tokenizer(), MESSAGES)
    except UserError as error:
        assert not re.search(r"[\x00-\x1f]", str(error))


def test_what_one_rendering_took_is_not_the_next_one_s_to_pay() -> None:
    template = "{% for i in range(90000) %}{% endfor %}"
    for _ in range(template_sandbox.STEPS // 90_000 + 2):
        assert render(template, {}) == ""
