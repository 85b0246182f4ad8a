#!/usr/bin/env python3
"""Writes chat_templates.json: what Python's jinja2 prints in the environment of `transformers`.

    make_templates.py        needs jinja2 3.1

The templates are our own, with what those of known model families do.
"""
import json
from pathlib import Path

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_say"), [], [], body).set_lineno(line)

    def _say(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    return made


CALL = {"type": "function", "id": "abcdefghi", "function": {
    "name": "get_weather", "arguments": {"city": "Z\u00fcrich", "n": 1.5, "deep": {"a": [1, None, True]}}}}
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Get it.\nNow", "parameters": {
        "type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Where", "enum": ["a", "b"]},
            "n": {"type": ["number", "null"]}}}}}]


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


CONVERSATIONS = [
    (turns(("user", "Why?")), {}),
    (turns(("system", "Be kind.\nAlways."), ("user", "a"), ("assistant", " b \n"), ("user", "\n c ")), {}),
    (turns(("user", "<b>\"q\" & 'x' {{ m }} {% if %} \\n"), ("assistant", "{{ 1 }}"), ("user", "z")), {}),
    (turns(("user", "q"), ("assistant", "<think>\nstep\n</think>\n\nanswer"), ("user", "next")), {}),
    (turns(("user", "q")), {"enable_thinking": False}),
    (turns(("system", ""), ("user", "")), {}),
    (turns(("user", "a"), ("user", "b")), {}),
    ([{"role": "user", "content": "weather?"}, {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
      {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"t\": 21}"},
      {"role": "assistant", "content": "21."}], {"tools": TOOLS}),
    ([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": "because"},
      {"role": "user", "content": "n"}], {"documents": [{"title": "T", "text": "x"}]}),
    (turns(("system", "Tu es \u4f60\u597d"), ("user", "na\u00efve \U0001f937\U0001f3fd \u00a0 \u2028"),
           ("assistant", "ok\r\nok"), ("user", "\u00df \u0130")), {}),
]

FAMILIES = {
    "qwen": r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
    {{- "# Tools\n<tools>" }}
    {%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(waits=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.waits and message.role == "user" and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.waits = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
            {%- set thought = message.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '<tool_call>\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
            {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<r>\n' }}{{- message.content }}{{- '\n</r>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}""",
    "llama-3": r"""{{- bos_token }}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\n\n" }}{%- endfor %}
{%- endif %}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
        {{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}{{- call.arguments | tojson }}{{- "}" }}{{- "<|eot_id|>" }}
        {%- for name, value in call.arguments | items %}{{- name + '=' }}{{- value }}{% if not loop.last %}{{- ", " }}{% endif %}{%- endfor %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}""",
    "mistral": r"""{%- set user_messages = messages | selectattr("role", "equalto", "user") | list %}
{%- if messages[0]["role"] == "system" %}{%- set system = messages[0]["content"] %}{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}
{%- set ns = namespace() %}{%- set ns.index = 0 %}
{%- for message in rest %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system is defined %}{{- "[INST] " + system + "\n\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function|tojson %}
            {{- out[:-1] }}
            {%- if not call.id is defined or call.id|length != 9 %}{{- raise_exception("ids have 9 characters") }}{%- endif %}
            {{- ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + ", " }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- raise_exception("unknown role " ~ message.role) }}{%- endif %}
{%- endfor %}""",
    "phi": "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
           "{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}"
           "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ '<|endoftext|>' }}{% endif %}",
    "gemma": r"""{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}{%- set first = messages[0]['content'] + '\n\n' -%}{%- else -%}{%- set first = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}{%- set first = "" -%}{%- set loop_messages = messages -%}{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("Conversation roles must alternate") }}{%- endif -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}
    {%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}""",
    "types": r"""{%- macro type_of(schema, indent="  ") -%}
    {%- if schema.type is string %}
        {%- if schema.type == "object" -%}
            {{- "{\n" }}
            {%- for name, value in schema.properties.items() -%}
                {%- if value.description %}{{- indent + "// " + value.description + "\n" }}{%- endif %}
                {{- indent + name }}{%- if name not in (schema.required or []) %}{{- "?" }}{%- endif %}{{- ": " }}{{- type_of(value, indent + "  ") }}{{- ",\n" }}
            {%- endfor %}
            {{- indent[2:] + "}" }}
        {%- elif schema.enum is defined %}{{- '"' + schema.enum|join('" | "') + '"' }}
        {%- else %}{{- schema.type }}{%- endif %}
    {%- elif schema.type is defined and schema.type is iterable %}{{- schema.type|join(" | ") }}
    {%- else %}{{- "any" }}{%- endif %}
{%- endmacro -%}
{%- for tool in tools or [] %}{%- set tool = tool.function %}
    {{- "// " + tool.description|replace("\n", "\n// ") + "\n" }}
    {{- "type " + tool.name + " = (_: " }}{{- type_of(tool.parameters) }}{{- ") => any;\n" }}
{%- endfor %}
{%- for d in documents or [] %}{{ "Document: %s\n" % loop.index0 }}{% for k, v in d.items() %}{{ '%s: %s\n' % (k, v) }}{% endfor %}{% endfor %}
{%- for message in messages %}
    {%- generation %}{{- "<|start|>" ~ message.role ~ "<|message|>" ~ (message.content or "") ~ "<|end|>" }}{%- endgeneration %}
    {%- if loop.index > 3 %}{%- break %}{%- endif %}
{%- endfor %}""",
}

# One habit each, with a conversation of four turns.
FOUR = turns(("system", "Be brief.\n"), ("user", " Hello, <b>W</b> & 'you' \"two\"\n"),
             ("assistant", "<think>\nhm\n</think>\n\nHi \u00e9\u4e2d"), ("user", "bye"))
HABITS = r"""
{{ none }}|{{ true }}|{{ false }}|{{ [none, true, 1.0, 'a', "it's"] }}|{{ {'a': none, 'b': [1,2]} }}|{{ (1,) }}|{{ (1,2) }}
{{ none ~ 'x' }}|{{ true ~ 1 }}|{{ 1.0 ~ '' }}|{{ [1] ~ 'a' }}
{{ messages[0].content | string }}{{ none | string }}{{ messages | string }}
{{ messages }}
{{ undefined_thing }}|{{ undefined_thing is defined }}|{{ messages[0].nope }}|{{ messages[0].nope is defined }}
{{ 'a' in 'abc' }}|{{ 'a' in ['a'] }}|{{ 'x' not in {'x':1} }}|{{ 1 in [1.0] }}
{{ 'abc'[1] }}|{{ 'abc'[-1] }}|{{ 'abcdef'[1:4] }}|{{ 'abcdef'[::-1] }}|{{ 'abcdef'[::2] }}|{{ [1,2,3][::-1] }}|{{ [1,2,3][-2:] }}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for k in {'z':1,'y':2} %}{{ k }}{% endfor %}
{% for k, v in {'b': 1, 'a': 2}|dictsort %}{{ k }}={{ v }};{% endfor %}{% for k, v in {'b': 2, 'a': 1}|items %}{{ k }}{{ v }}{% endfor %}
{{ {'b': 1, 'a': 2}.keys()|list }}{{ {'b': 1}.values()|list }}{{ {'a': 1}.get('b', 'd') }}{{ {'a': 1}.get('b') }}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.cycle('a','b') }}{{ loop.changed(i) }};{% else %}none{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in range(10) if i is even %}{{ i }}{% if i > 5 %}{% break %}{% endif %}{% endfor %}{% for i in range(5) %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% set ns = namespace(a=1, b=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% set ns.b = ns.b + [i] %}{% endfor %}{{ ns.a }}{{ ns.b }}
{% set x %}  block {{ 1 + 1 }} {% endset %}[{{ x }}]{% set y | upper %}abc{% endset %}{{ y }}
{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}hi{% endcall %}
{{ '{} {x} {0!r}'.format('a', x=1) if false else '' }}{{ '{} {}'.format(1, 'b') }}{{ '{x:>5}|{0:.2f}|{1:05d}'.format(3.14159, 42, x='r') }}
{{ 'abc'|length }}{{ [3,1,2]|sort }}{{ [3,1,2]|sort(reverse=true)|join(',') }}{{ ['b','A','c']|sort }}{{ ['b','A','c']|sort(case_sensitive=true) }}{{ [1,2,3]|sum }}{{ [1,2,3]|first }}{{ [1,2,3]|last }}{{ [1,2,2]|unique|list }}{{ [1,5]|max }}{{ [1,5]|min }}
{{ messages|selectattr('role','equalto','user')|list|length }}{{ messages|rejectattr('role','equalto','user')|map(attribute='role')|list }}{{ messages|map(attribute='nope', default='d')|list }}{{ messages|selectattr('role')|list|length }}{{ messages|selectattr('role','in',['user'])|list|length }}{{ [1,2,3]|select('odd')|list }}{{ [1,2,3]|reject('odd')|list }}{{ ['a','b']|map('upper')|join }}
{{ 3.7|int }}{{ '12'|int }}{{ 'x'|int(5) }}{{ '1.5'|float }}{{ 3.14159|round(2) }}{{ 2.5|round }}{{ 7|float }}{{ -3|abs }}{{ 10|string|length }}
{{ none|default('d') }}{{ none|default('d', true) }}{{ nope|default('d') }}{{ ''|default('d', true) }}{{ nope|d('x') }}
{{ [1,2,3,4,5]|batch(2)|list }}{{ [1,2,3,4,5]|slice(2)|list }}{{ [[1,2],[3]]|sum(start=[]) }}{% for g in messages|groupby('role') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}
{{ {'a':1,'b':[1,2,{'c':none}]}|tojson }}{{ {'a':1,'b':[1,2]}|tojson(indent=2) }}{{ 'é<>&\''|tojson }}{{ 'é\u2028'|tojson(ensure_ascii=true) }}{{ [1.0, 1e20, 0.1, 1e-7, 1e16, 123456789012345678, true]|tojson }}
{{ 1 // 2 }}{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 / 2 }}{{ 4 / 2 }}{{ 2 ** 3 }}{{ 2 ** -1 }}{{ 2 ** 0.5 }}{{ 1.5 + 1 }}{{ 1e3 }}{{ 1_000 }}{{ 0.1 + 0.2 }}{{ 'a' * 3 }}{{ [1] * 2 }}{{ [1] + [2] }}{{ (1,) + (2,) }}
{{- "a" "b" }}{{ 'it\'s' }}{{ "tab\tq\"\\n\x41\u00e9" }}{{ '\d' }}
{% raw %}{{ x }}{% endraw %}{# comment #}{%- if true -%} a {%- endif -%} b
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{% filter upper %}abc{% endfilter %}{% do [].append(1) %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set l = [] %}{% set _ = l.append(1) %}{{ l }}
{% set d = {} %}{% set _ = d.update({'a': 1}) %}{{ d }}
{% if messages[0]['content'] is string and messages[0].content|length > 3 %}yes{% elif x %}{% else %}no{% endif %}
{% for m in messages %}{% if not loop.last %}{{ messages[loop.index].role }}{% endif %}{% endfor %}
{{ messages[-1]['role'] }}{{ messages[1:]|length }}{{ (messages|last).role }}{{ messages|length - 1 }}{{ messages[messages|length - 1].role }}
{% for a in [1,2] %}{% for b in [1,2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for x in [[1,[2]]] recursive %}{{ loop.depth }}{% endfor %}
{%- for item in tree recursive -%}{{ item }}{%- endfor -%}
{{ ['a','b']|join(', ') }}{{ [1,none]|join('-') }}{{ messages|join(',', attribute='role') }}{{ {'a':1}|join }}
{{ 'a' ~ 1 + 2 }}{{ 1 + 2 ~ 3 }}{{ -2 ** 2 }}{{ 2 * 3 % 4 }}{{ not 1 == 2 }}
{{ messages[0].content.split('e')[0] }}{{ messages[0].content.split('zz')|length }}{{ 'a  b'.split(' ') }}{{ 'a  b'.split(none) }}{{ ''.split() }}{{ ''.split(',') }}
{{ 1.0 }}{{ 100000000000000000000.0 }}{{ 1e-5 }}{{ 3.0|int }}{{ 1/3 }}{{ 2/1 }}{{ 10000000000000000 * 1.0 }}
{{ {1: 'a', none: 2, true: 3} }}{{ {'a': {'b': 'c"d'}} }}{{ ['\n', '\\', 'é', "'", '"', '\'"'] }}
{% if (messages[0].tool_calls is defined and messages[0].tool_calls) or 'tool_calls' in messages[0] %}t{% else %}f{% endif %}
{{ [1,2,3]|map('string')|join }}{{ ['1']|map('int')|sum }}{{ [{'a':{'b':1}}]|map(attribute='a.b')|list }}{{ messages|map('length')|list }}
{{ messages|tojson(indent=4) }}
{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y is defined }}{{ ns.y }}
{% block a %}x{% endblock %}{{ self.a() }}
{% autoescape true %}{{ '<' }}{% endautoescape %}
{{ [3,1]|sort|first }}{{ [{'n':2},{'n':1}]|sort(attribute='n')|map(attribute='n')|join }}{{ 'b,a'.split(',')|sort|join }}
{{ messages[0].role == 'user' and messages[0]['content'] or '' }}{{ messages[0].keys()|list }}{{ messages[0].items()|list }}
{%- set loop_messages = messages[1:] %}{% for m in loop_messages %}{{ m['role'] }}{% endfor %}
{{ [1,2].index(2) }}{{ [1,2].count(1) }}{{ {'a':1}.pop('a') }}
{{ [1, 2, 3].pop() }}
{{ 'a' == 'a' == 'a' }}{{ 1 if 1 else 2 if 3 else 4 }}{{ (1 if 0 else 2) * 3 }}
{{ none.x is defined }}
{{ messages.x }}|{{ 'abc'.x }}|{{ messages[99] is defined }}|{{ messages[99] }}
{{ nope.x }}
{{ 1 + 'a' }}
{{ 'a' + 1 }}
{{ none + 'a' }}
{{ none|length }}
{{ messages[0].content + nope }}
{{ none|trim }}|{{ none|upper }}|{{ nope|trim }}|{{ 5|trim }}
{% for x in nope %}a{% endfor %}|{% for c in 'abc' %}{{ c }}.{% endfor %}|{% for a, b in [[1,2],[3,4]] %}{{ a }}{{ b }}{% endfor %}
{{ nope['x'] }}
{{ 'a'|nofilter }}
{{ 'x'.nomethod() }}
{{ ''.join(messages|map(attribute='role')) }}{{ messages|map(attribute='role')|unique|join(' ') }}
{{ 'abc'|batch(2)|map('join')|list }}{{ 'aAbB'.swapcase() }}{{ 'a-b_c'.replace('-', ' ').replace('_', ' ') }}{{ 'x=1'.partition('=') }}
{{ messages | selectattr("role", "==", "user") | list | count }}{{ messages|selectattr('content','defined')|list|length }}{{ messages|selectattr('tool_calls','defined')|list }}
{{ [[1, 'a'], [2, 'b']]|map('first')|list }}{{ [[1,2],[3,4]]|map('join', '-')|list }}{{ ['a']|map('replace', 'a', 'b')|list }}
{{ (messages|list)[0].role }}{{ messages[0]['content'][:3] }}{{ messages[0].content[0] }}{{ messages[0]['role'][0]|upper }}
{{ 'Today' ~ ': ' ~ (date if date is defined else 'none') }}{{ ['a', 'b'][true] }}{{ 3 ~ none }}
{{ 'İ'.lower()|length }}{{ 'ß'.upper() }}{{ '你好'|length }}{{ '🤷🏽‍♀️'|length }}
{{ '<p>x</p>'|striptags }}|{{ 'hello world foo'|truncate(11) }}|{{ 'a'|center(5) }}|{{ range is callable }}{{ 1 is callable }}
{{ 'a b c d e f g'|truncate(5, true, '!', leeway=0) }}{{ 'a b c d e f g'|truncate(length=5, leeway=0) }}{{ 'a é/&'|urlencode }}
{{ 'a' is sequence }}{{ {} is sequence }}{{ [] is sequence }}{{ 1 is sequence }}{{ none is iterable }}{{ none is sequence }}{{ 'a' is iterable }}{{ {} is iterable }}
{{ {'a': 1.0, 'b': [1e20, 1e-7, 1e16, 0.0001]}|tojson }}{{ 'é😀'|tojson(ensure_ascii=true) }}{{ messages[0]|tojson(separators=(',', ':')) }}
{% macro f() %}{{ varargs|length }}{{ kwargs|length }}{% endmacro %}{{ f(1, 2, a=3) }}
{% macro f(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{{ caller(a) if caller else '' }}{% endmacro %}{{ f(1) }}{% call(x) f(1, 2, 3, z=4) %}[{{ x }}]{% endcall %}
{% set f = '%s is %d' %}{{ f % ('a', 5) }}{{ (f ~ '|') % ('b', 6) }}{{ '%s' % [1] }}{{ '%(k)s' % {'k': 1} }}{{ 7 % 3 * 2 }}{{ -7 % 3 }}{{ 7.5 % -2 }}
""".strip("\n").split("\n")


def vector(template, messages, variables, opens):
    given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": opens,
             "bos_token": "<s>", "eos_token": "</s>", **variables}
    try:
        text = environment().from_string(template).render(**given)
    except Exception:
        text = None
    return {"template": template, "messages": messages, "variables": variables, "opens": opens, "text": text}


def main():
    vectors = [vector(HABIT, FOUR, {}, True) for HABIT in HABITS]
    for name, template in FAMILIES.items():
        for messages, variables in CONVERSATIONS:
            for opens in (True, False):
                vectors.append({**vector(template, messages, variables, opens), "template": name})
    families, lines = (",\n".join(parts) for parts in (
        [f"{json.dumps(name)}: {json.dumps(source)}" for name, source in FAMILIES.items()],
        [json.dumps(each, ensure_ascii=False) for each in vectors],
    ))
    text = f'{{"families": {{\n{families}\n}},\n"vectors": [\n{lines}\n]}}\n'
    Path(__file__).with_name("chat_templates.json").write_text(text)


if __name__ == "__main__":
    main()
