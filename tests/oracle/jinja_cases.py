"""Conversations, fixed templates and generators of random ones for test_jinja_oracle.py."""

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather at a place.\nSecond line.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "where <b>", "enum": ["Paris", "Zürich"]},
        "days": {"type": "integer", "description": "how many", "default": 3},
        "opts": {"type": "object", "properties": {"unit": {"type": ["string", "null"]}},
                 "required": ["unit"]},
        "list": {"type": "array", "items": {"type": "number"}},
        "flag": {"type": "boolean"}},
        "required": ["city"]},
    "return": {"type": "string"}}}
TOOL2 = {"type": "function", "function": {
    "name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, id="call00001"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


USER = {"role": "user", "content": "What is the capital of France?"}
SYSTEM = {"role": "system", "content": "You are terse."}
ANSWER = {"role": "assistant", "content": "Paris."}
CALL = {"role": "assistant", "content": None,
        "tool_calls": [call("get_weather", {"city": "Paris", "days": 2, "opts": {"unit": None}})]}
CALL_TEXT = {"role": "assistant", "content": "",
             "tool_calls": [call("get_weather", '{"city": "Paris"}'), call("now", "{}", "call00002")]}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather",
          "content": '{"temp": 21.5}'}
RESULT2 = {"role": "tool", "tool_call_id": "call00002", "name": "now", "content": "12:00"}
THOUGHT = {"role": "assistant", "content": "Paris.", "reasoning_content": "France… its capital?",
           "thinking": "France… its capital?"}
THINK_TAG = {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nParis."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Look:"},
                                     {"type": "image", "image": "x.png"},
                                     {"type": "text", "text": "what is it?"}]}
UNICODE = {"role": "user", "content": "naïve 日本語 🙂 \u00a0 {{ not a tag }} <|im_end|> \"q\" 'r' \\n"}

CONVERSATIONS = {
    "plain": [USER],
    "system": [SYSTEM, USER],
    "turns": [SYSTEM, USER, ANSWER, {"role": "user", "content": "And of Italy?"}],
    "ends with assistant": [USER, ANSWER],
    "thought": [USER, THOUGHT, {"role": "user", "content": " thanks \n"}],
    "think tag": [SYSTEM, USER, THINK_TAG, {"role": "user", "content": "more"}],
    "tool call": [SYSTEM, USER, CALL, RESULT],
    "tool call answered": [USER, CALL, RESULT, ANSWER, {"role": "user", "content": "ok"}],
    "two calls": [USER, CALL_TEXT, RESULT, RESULT2, ANSWER],
    "thought call": [USER, {**CALL, "reasoning_content": "I need a tool"}, RESULT],
    "parts": [PARTS],
    "system parts": [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}, PARTS,
                     ANSWER],
    "unicode": [{"role": "system", "content": "Sé breve – 100 %"}, UNICODE],
    "empty": [{"role": "user", "content": ""}],
    "empty assistant": [USER, {"role": "assistant", "content": ""},
                        {"role": "user", "content": "?"}],
    "no messages": [],
    "developer": [{"role": "developer", "content": "Use lists."}, USER],
    "wrong order": [ANSWER, USER],
    "two users": [USER, USER],
    "strange role": [{"role": "critic", "content": "hm"}, USER],
    "no content": [{"role": "user"}],
    "null content": [USER, {"role": "assistant", "content": None}],
    "late system": [USER, ANSWER, SYSTEM, USER],
    "tool without call": [USER, RESULT],
    "name": [{"role": "user", "name": "Ann", "content": "Hi"}, {**ANSWER, "name": "bot"}],
}

BASE = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

EXTRAS = [
    {},
    {"enable_thinking": False},
    {"enable_thinking": True, "reasoning_effort": "high", "thinking": True},
    {"documents": [{"title": "T", "text": "Body", "doc_id": 1}], "date_string": "1 Jan 2030",
     "keep_cot": True, "available_tools": [TOOL]},
]


def contexts():
    out = []
    for messages in CONVERSATIONS.values():
        for prompt in (False, True):
            for tools in (None, [TOOL], [TOOL, TOOL2]):
                for extra in EXTRAS if prompt else EXTRAS[:1]:
                    out.append({**BASE, "messages": messages, "tools": tools, "documents": None,
                                "add_generation_prompt": prompt, **extra})
    return out


# --- values that expressions meet ---

VALUES = {
    "i": 7, "z": 0, "neg": -3, "f": 2.5, "big": 1e21, "small": 1.5e-7, "t": True, "no": False,
    "n": None, "s": "Hello, World", "e": "", "u": "naïve ß 日本 🙂 İΣς", "sp": "  a b\n c  ",
    "d": "42", "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "mix": [1, "a", None, 2.5, True],
    "nest": [[1, 2], [3, [4, 5]]], "em": [], "m": {"a": 1, "b": {"c": [1, 2, {"d": "x"}]}, "items": 5},
    "em2": {}, "rows": [{"name": "x", "age": 3, "on": True}, {"name": "Y", "age": 1, "on": False},
                        {"name": "z", "age": 2}, {"name": "x", "age": 1, "on": True}],
    "q": "it's \"q\" \\ \t\u00ad\u200b", "html": "<a href='x'>&</a>", "num": "-1_000.50",
    "mkey": {"B": 2, "a": 1, "C": 0}, "msgs": [{"role": "user", "content": "hi"}],
}

FIXED = [
    # white space
    "a\n  {% if t %}\n  b\n  {% endif %}\nc\n", "a {%- if t %} b {%- endif %} c", "  {% if t %}x{% endif %}",
    "x  {%+ if t %} y {% endif +%}\n z", "{{ i -}}  \n  y", "x \n {{- i }}", "{# c #}\n  {# d -#}  x",
    "{% raw %}\n {{ x }} {% y %}{% endraw %}\nz", "a {%- raw -%}  {{ b }}  {%- endraw -%} c",
    "l1\r\nl2\rl3\n\n", "{% set x = 1 %}\n{{ x }}\n", "a\n\n\t{% set x %}\n q\n{% endset %}{{ x }}|",
    "\u00a0{%- if t %}y{% endif -%}\u3000z", "{{ '%}' }}{{ {'a': {'b': 1}} }}{{ '}}' }}", "{{ [1,2][0] }}",
    "\n  {# x #}\n{% if t %}\n{% endif %}\n", "{{ 1 }}\n{% if t %} {% endif %}\n\n{{ 2 }}\n",
    # errors when parsed
    "{{ ", "{% if %}", "{% if t %}", "{% endif %}", "{{ 1 | nofilter }}", "{{ 1 is notest }}",
    "{% if no %}{{ 1|nofilter }}{% endif %}", "{% if no %}{% for x in l %}{{ x|nofilter }}{% endfor %}{% endif %}",
    "{{ (1|nofilter) if no else 2 }}", "{% break %}", "{% unknown %}", "{{ 'abc }}", "{{ a b }}", "{{ 1 is }}",
    "{# x", "{% raw %}x", "{{ ) }}", "{{ (1] }}", "{% set 1 = 2 %}", "{% set x.y.z = 2 %}", "{% for loop in l %}{% endfor %}",
    "{% do l.append(1) %}", "{% macro f(a=1, b) %}{% endmacro %}", "{{ f(a=1, 2) }}", "{% set true = 1 %}",
    "{{ '\\xg' }}", "{{ '\\d\\n\\x41\\u00e9\\101' }}", "{% include 'x' %}", "{% if no %}{% include 'x' %}{% endif %}",
    "{{ a.1.5 }}", "{{ 1_000 + 0x1F + 0b11 + 0o17 + 1e3 + 1.5E-3 }}", "{{ 007 }}", "{{ x is defined is defined }}",
    # loops
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}", "{% for x in em %}{% else %}E{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in [1] %}{% continue %}{% else %}E{% endfor %}", "{% for x in [1] %}{% break %}{% else %}E{% endfor %}",
    "{% for x in [1,2] %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% else %}E{% endfor %}",
    "{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in m %}{{ k }}{% endfor %}",
    "{% for a, b in [1, 2] %}{% endfor %}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for c in u %}{{ c }}|{% endfor %}",
    "{% for x in nest recursive %}{{ loop.depth }}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}", "{% for x in i %}{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}u{% endfor %}", "{% for x in n %}{% endfor %}", "{{ loop }}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in l %}{{ loop }}{% endfor %}", "{% for x in l|map('string') %}{{ loop.index }}{{ loop.last }}{{ x }}{{ loop.length }}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for x in l if ns.n < 1 %}{% set ns.n = ns.n + 1 %}{{ x }}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for x in l if ns.n < 1 %}{% set ns.n = ns.n + 1 %}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for x in l %}{% set y = x %}{% endfor %}{{ y }}", "{% set y = 0 %}{% for x in l %}{{ y }}{% set y = y + x %}{{ y }} {% endfor %}{{ y }}",
    "{% for x in range(10, 0, -3) %}{{ x }},{% endfor %}{{ range(3) }}{{ range(0) }}{{ range(5)[2] }}{{ range(9)[1:7:2] }}{{ range(2, 8)|length }}",
    "{{ range(100001) }}", "{{ range(1, 2, 0) }}", "{% for x in l %}{% if loop.index == 2 %}{% set l = [9] %}{% endif %}{{ l }}{% endfor %}{{ l }}",
    # scopes
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = (1, 2) %}{{ a }}", "{% set (a, b) = [3, 4] %}{{ b }}", "{% set a, b = [1] %}",
    "{% if t %}{% set q2 = 1 %}{% endif %}{{ q2 }}", "{% if no %}{% set i = 1 %}{% endif %}{{ i }}", "{% with a = 1, b = 2 %}{{ a + b }}{% set c = 3 %}{% endwith %}{{ a }}{{ c }}",
    "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}", "{% set x | upper %}abc{{ i }}{% endset %}{{ x }}",
    "{% filter upper | replace('A', 'b') %}abc{% set zz = 1 %}{% endfilter %}{{ zz }}", "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}",
    "{% set m.a = 1 %}", "{% set nope.a = 1 %}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{{ ns }}", "{{ namespace(_a=1) }}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set ns = namespace(l=[]) %}{% for x in l %}{% set ns.l = ns.l + [x] %}{% endfor %}{{ ns.l }}", "{% generation %}{% set g = 1 %}x{{ g }}{% endgeneration %}{{ g }}",
    "{% for x in l %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% block b %}{{ i }}{% endblock b %}", "{% for x in l %}{% set v %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endset %}{{ v }}{% endfor %}",
    # macros
    "{% macro f(a, b=2, c=b) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 5) }} {{ f(b=3, a=0) }} {{ f() }}",
    "{% macro f(a) %}{{ varargs }}{{ kwargs }}{{ a }}{% endmacro %}{{ f(1, 2, 3, x=4) }}", "{% macro f() %}{% endmacro %}{{ f(1) }}", "{% macro f() %}{% endmacro %}{{ f(x=1) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}", "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}in{{ i }}{% endcall %}",
    "{% macro f() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b=3) f() %}{{ a }}{{ b }}{% endcall %}", "{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}",
    "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}", "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}", "{% macro f(x) %}{% if x %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f() %}{{ late }}{% endmacro %}{% set late = 5 %}{{ f() }}", "{% macro f() %}{% set inner = 1 %}{% endmacro %}{{ f() }}{{ inner }}", "{{ f is defined }}{% macro f() %}{% endmacro %}{{ f is defined }}{{ f.name }}{{ f is callable }}",
    "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(*[1]) }}{{ f(**{'x': 2}) }}{{ f(*[1], **{'x': 2}) }}", "{% for x in l %}{% macro g() %}{{ x }}{% endmacro %}{{ g() }}{% endfor %}{{ g is defined }}",
    "{% macro f() %}{{ i }}{{ f(1) if no }}{% endmacro %}{{ f() }}{{ f }}", "{% macro f(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ f() }}", "{% macro f(a) %}{{ a.b }}{% endmacro %}{{ f() }}",
    # undefined
    "{{ missing }}", "{{ missing.x }}", "{{ m.x }}", "{{ m.x.y }}", "{{ missing + 1 }}", "{{ missing ~ 1 }}", "{{ missing == none }}{{ missing == missing2 }}{{ missing in l }}{{ 1 in missing }}",
    "{{ missing is defined }}{{ missing|default('d') }}{{ e|default('d') }}{{ e|default('d', true) }}{{ n|default('d') }}{{ m.x|default('q') }}", "{{ missing() }}", "{{ missing[0] }}", "{{ missing|length }}{{ missing|list }}{{ missing|string }}{{ missing|join }}{{ missing|first }}",
    "{{ missing < 1 }}", "{{ -missing }}", "{{ missing|int }}", "{{ missing|float }}", "{{ missing|tojson }}", "{{ missing|upper }}{{ missing|trim }}", "{{ not missing }}{{ missing and 1 }}{{ missing or 1 }}", "{{ missing is string }}{{ missing is iterable }}{{ missing is sequence }}{{ missing is mapping }}{{ missing is callable }}{{ missing is none }}",
    "{{ 'a' in missing }}{{ missing in 'a' }}", "{{ (1 if no) }}{{ (1 if no) is defined }}", "{{ [missing] }}", "{{ {missing: 1} }}", "{{ '%s' % missing }}{{ '{}'.format(missing) }}",
    # the sandbox
    "{{ l.append(1) }}", "{{ l.append }}", "{{ m.pop('a') }}", "{{ m.update({}) }}", "{{ ''.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ l.append is defined }}", "{{ m.__len__() }}", "{% set _ = l.append(2) %}",
    # strings
    "{{ s.split(', ') }}{{ sp.split() }}{{ 'a,b,,c'.split(',') }}{{ 'a b c'.split(' ', 1) }}{{ 'a b c'.rsplit(' ', 1) }}{{ ' a  b '.split(None, 1) }}{{ ' a  b '.rsplit(None, 1) }}{{ 'x'.split('') }}",
    "{{ 'a\\nb\\r\\nc\\x0bd\\u2028e\\n'.splitlines() }}{{ 'a\\nb'.splitlines(true) }}{{ ''.splitlines() }}", "{{ sp.strip() }}|{{ sp.lstrip() }}|{{ sp.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.strip('ab') }}|{{ '\\u3000a\\u00a0'.strip() }}|",
    "{{ u.upper() }}{{ u.lower() }}{{ u.title() }}{{ u.capitalize() }}{{ u.swapcase() }}{{ 'ΑΣ'.lower() }}{{ \"it's a dog's\".title() }}{{ u|title }}{{ u|capitalize }}{{ 'ﬁ ŉ ß'.upper() }}{{ 'ǆ'.title() }}", "{{ \"it's (a) foo-bar {x}\"|title }}",
    "{{ s.find('o') }}{{ s.find('o', 5) }}{{ s.rfind('o') }}{{ s.find('zz') }}{{ u.find('日') }}{{ s.index('zz') }}", "{{ s.count('l') }}{{ s.count('') }}{{ 'aaa'.count('aa') }}{{ s.replace('l', 'L', 1) }}{{ 'abc'.replace('', '-') }}{{ 'abc'.replace('', '-', 2) }}{{ 'a'|replace('a', 1) }}",
    "{{ s.startswith('He') }}{{ s.startswith(('x', 'H')) }}{{ s.endswith('d', 0, 5) }}{{ s.startswith('lo', 3) }}{{ s.endswith('') }}{{ s.startswith(1) }}", "{{ ','.join(ls) }}{{ ','.join('ab') }}{{ ','.join(l) }}",
    "{{ 'ab'.center(7, '*') }}{{ 'ab'.center(6) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '0') }}{{ '-5'.zfill(4) }}{{ 'abc'.center(6, '.') }}{{ 'abcd'.center(7, '.') }}", "{{ 'a-b-c'.partition('-') }}{{ 'a-b-c'.rpartition('-') }}{{ 'abc'.partition('x') }}{{ 'abc'.rpartition('x') }}{{ 'xab'.removeprefix('x') }}{{ 'abx'.removesuffix('x') }}",
    "{{ 'a1'.isalnum() }}{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ 'Ab'.isupper() }}{{ 'AB1'.isupper() }}{{ ''.isalpha() }}{{ 'é'.isalpha() }}{{ '٣'.isdigit() }}", "{{ u[0] }}{{ u[-1] }}{{ u[2:4] }}{{ u[::-1] }}{{ u[99] }}{{ s[1:-1:2] }}{{ s[-3:] }}{{ s[:-20] }}{{ s[5:2] }}{{ s[5:2:-1] }}{{ s[::0] }}",
    "{{ l[::-1] }}{{ l[5:] }}{{ l[-2:] }}{{ l[1.0] }}{{ l['x'] }}{{ l[true] }}{{ m['a'] }}{{ m['items'] }}{{ m.items is callable }}{{ m.b.c[2].d }}{{ l.0 }}{{ l[10**15:] }}{{ l[-10**15:2] }}", "{{ m[1:2] }}", "{{ i[1:2] }}", "{{ l['a':] }}", "{{ l[1:2, 3] }}",
    "{{ 'a' 'b' \"c\" }}{{ 'a' * 3 }}{{ 3 * 'a' }}{{ 'a' * -1 }}{{ [1] * 2 }}{{ (1,) + (2,) }}{{ [1] + [2] }}{{ 'a' + 'b' }}{{ 'a' ~ 1 ~ none ~ true ~ [1] }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ [1] + (2,) }}",
    # format
    "{{ '{} {}'.format(1, 'a') }}{{ '{0}{1}{0}'.format(1, 2) }}{{ '{a.b}{c[0]}{c[x]}'.format(a={'b': 1}, c=[5]) }}{{ '{{}}'.format() }}{{ '{!r}'.format('a') }}", "{{ '{a[x]}{a[0]}'.format(a={'x': 1}) }}",
    "{{ '{:5}|{:<5}|{:>5}|{:^5}|{:*^7}|{:05d}|{:+}|{:,}|{:x}|{:#x}|{:b}|{:.2f}|{:.3}|{:e}|{:g}|{:%}'.format('a', 'b', 'c', 'd', 'e', 42, 7, 1234567, 255, 255, 5, 3.14159, 'abcdef', 12345.678, 0.0001, 0.5) }}", "{{ '{:{}}'.format('a', 5) }}|{{ '{:{w}.{p}f}'.format(3.14159, w=8, p=2) }}{{ '{:10}'.format(true) }}{{ '{}'.format(true) }}{{ '{:d}'.format(true) }}{{ '{:_}'.format(1234567) }}{{ '{:,.2f}'.format(1234567.891) }}",
    "{{ '{'.format() }}", "{{ '}'.format() }}", "{{ '{}'.format() }}", "{{ '{x}'.format() }}", "{{ '{:d}'.format('a') }}", "{{ '{0}{}'.format(1, 2) }}", "{{ '{:s}'.format(1) }}", "{{ '{}'.format(none) }}{{ '{:5}'.format(2.5) }}{{ '{:.1%}'.format(0.123) }}",
    "{{ '%s %d %5.2f %r %x %%' % ('a', 42, 3.14159, 'q', 255) }}{{ '%(a)s' % {'a': 1} }}{{ '%-5s|%5s|%05d|%+d' % ('a', 'b', 42, 7) }}{{ '%s' % l }}{{ 'x' % l }}{{ '%c%c' % (65, 'b') }}{{ '%i' % 3.9 }}{{ '%.2s' % 'abc' }}{{ '%*d' % (5, 1) }}", "{{ '%s' % () }}", "{{ '%s' % (1, 2) }}", "{{ '%d' % 'a' }}", "{{ 'x' % 1 }}", "{{ '%s-%s'|format(1, 2) }}{{ '%(a)s'|format(a=1) }}{{ '%s'|format }}",
    # numbers
    "{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % -3 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 6 / 2 }}{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 2 ** 3 ** 2 }}{{ -2 ** 2 }}{{ 7.5 // 2 }}{{ -7.5 % 2 }}{{ 1e300 * 1e10 }}{{ 5 % 3.0 }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ 1.0 // 0 }}", "{{ 0 ** -1 }}", "{{ true + true }}{{ -true }}{{ +2.5 }}",
    "{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789.123456789 }} {{ 0.1 + 0.2 }} {{ 1e-5 }} {{ 0.0001 }} {{ 1e100 }} {{ -0.0 }} {{ 1.5e300 * 1e300 }} {{ big }} {{ small }}", "{{ 1 == 1.0 }}{{ true == 1 }}{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ (1, 2) == (1, 2) }}{{ [1] == (1,) }}{{ {'a': 1} == {'a': 1.0} }}{{ none == none }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ {} < {} }}", "{{ 1 in l }}{{ 'a' in m }}{{ 'ell' in s }}{{ 9 not in l }}{{ 1 in 'a' }}", "{{ 1 in 5 }}", "{{ [] in {} }}",
    "{{ '42'|int }}{{ ' 42 '|int }}{{ '4.9'|int }}{{ 'x'|int }}{{ 'x'|int(7) }}{{ 'ff'|int(0, 16) }}{{ '0x1f'|int(0, 16) }}{{ '0b11'|int(0, 2) }}{{ none|int }}{{ 3.99|int }}{{ -3.99|int }}{{ true|int }}{{ l|int }}{{ '1_000'|int }}{{ '1e3'|int }}", "{{ '4.5'|float }}{{ 'x'|float }}{{ 3|float }}{{ 'inf'|float }}{{ '1e3'|float }}{{ none|float(1.5) }}{{ 'nan'|float }}", "{{ 2.5|round }}{{ 3.5|round }}{{ 2.675|round(2) }}{{ 2.123|round(1, 'ceil') }}{{ 2.9|round(0, 'floor') }}{{ 5|round }}{{ 1234|round(-2) }}{{ 1250.0|round(-2) }}", "{{ -5|abs }}{{ (-5)|abs }}{{ -2.5|abs }}{{ true|abs }}", "{{ 'a'|abs }}", "{{ 10000000|filesizeformat }}{{ 1|filesizeformat }}{{ 999|filesizeformat }}{{ 2048|filesizeformat(true) }}",
    # printing
    "{{ mix }}{{ nest }}{{ m }}{{ (1,) }}{{ () }}{{ {} }}{{ [] }}{{ q }}{{ [q] }}{{ ['\\x00\\x7f\\u0085\\ue000🙂é'] }}{{ [\"it's\"] }}{{ [1.0, 1e20] }}{{ {1: 2, 'a': none, 2.5: true, (1, 2): 3} }}", "{{ m.keys() }}{{ m.values() }}{{ mkey.items() }}{{ m.keys()|list }}{{ m.keys()|length }}{{ 'a' in m.keys() }}{{ m.items()[0] }}", "{{ {1: 'a', true: 'b', 1.0: 'c'} }}", "{{ {[]: 1} }}",
    "{{ dict(a=1, b=2) }}{{ dict({'a': 1}, c=3) }}{{ dict([['x', 1]]) }}{{ dict.fromkeys(['a', 'b'], 0) }}", "{{ dict(1) }}", "{{ html|e }}{{ html|escape|e }}{{ html|safe }}{{ (html|e) + html }}{{ html|forceescape }}{{ [html|safe] }}{{ (html|safe) ~ html }}{{ html|e|length }}{{ html|safe|upper }}", "{{ cycler('a', 'b') is defined }}{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner('-') %}{{ j() }}{{ j() }}",
    # json
    "{{ mix|tojson }}{{ m|tojson }}{{ u|tojson }}{{ q|tojson }}{{ html|tojson }}{{ '\\x00\\x1f\\x7f\\b\\f'|tojson }}{{ [1.0, 1e20, 1e-7, -0.0]|tojson }}{{ (1, 2)|tojson }}{{ {1: 2, none: 3, true: 4, 2.5: 5}|tojson }}", "{{ m|tojson(indent=2) }}{{ [[], {}, [1]]|tojson(indent=4) }}{{ l|tojson(indent='\t') }}{{ l|tojson(indent=0) }}", "{{ mkey|tojson(sort_keys=true) }}{{ m|tojson(separators=(',', ':')) }}{{ u|tojson(ensure_ascii=true) }}{{ u|tojson(true) }}{{ m|tojson(indent=1, separators=(' , ', ' = ')) }}", "{{ range(3)|tojson }}", "{{ m.items()|tojson }}", "{{ {(1, 2): 3}|tojson }}", "{{ l|tojson(nope=1) }}", "{{ namespace()|tojson }}", "{{ {'a': 1, 2: 3}|tojson(sort_keys=true) }}", "{{ ('inf'|float)|tojson }}", "{{ (html|safe)|tojson }}",
    # sequences
    "{{ l|sort }}{{ ls|sort }}{{ ls|sort(case_sensitive=true) }}{{ l|sort(reverse=true) }}{{ rows|sort(attribute='age')|map(attribute='name')|join }}{{ rows|sort(attribute='name,age')|map(attribute='age')|join }}", "{{ mix|sort }}", "{{ [none, none]|sort }}{{ 'hello'|sort }}{{ m|sort }}", "{{ rows|sort(attribute='on') }}", "{{ mkey|dictsort }}{{ mkey|dictsort(true) }}{{ mkey|dictsort(by='value') }}{{ mkey|dictsort(reverse=true) }}", "{{ m|dictsort(by='x') }}", "{{ l|dictsort }}", "{{ {1: 2, 'a': 3}|dictsort }}",
    "{{ ls|unique|list }}{{ (ls + ls)|unique(true)|list }}{{ rows|unique(attribute='name')|map(attribute='age')|list }}{{ [1, 1.0, true]|unique|list }}", "{{ [[1]]|unique|list }}", "{{ l|min }}{{ l|max }}{{ ls|min }}{{ ls|max }}{{ em|min }}{{ rows|max(attribute='age') }}{{ l|sum }}{{ rows|sum(attribute='age') }}{{ [[1], [2]]|sum(start=[]) }}{{ em|sum }}", "{{ ls|sum }}", "{{ mix|max }}", "{{ rows|groupby('age') }}{% for a, xs in rows|groupby('name') %}{{ a }}{{ xs|length }}{% endfor %}{% for g in rows|groupby('age') %}{{ g.grouper }}{{ g.list|length }}{% endfor %}", "{{ rows|groupby('on') }}", "{{ rows|groupby('on', default=false)|length }}",
    "{{ l|map('string')|list }}{{ rows|map(attribute='name')|list }}{{ rows|map(attribute='on', default='?')|list }}{{ ls|map('replace', 'a', 'x')|join('+') }}{{ rows|map(attribute='on')|list }}", "{{ l|map|list }}", "{{ l|map('nofilter')|list }}", "{{ l|map('nofilter') is defined }}", "{{ em|map('nofilter')|list }}", "{{ l|map(attribute='x', nope=1)|list }}", "{{ l|select|list }}{{ l|select('odd')|list }}{{ l|reject('gt', 1)|list }}{{ rows|selectattr('on')|list|length }}{{ rows|selectattr('age', 'equalto', 1)|map(attribute='name')|list }}{{ rows|rejectattr('on', 'defined')|list }}{{ rows|selectattr('name', 'in', ['x'])|list|length }}", "{{ l|select('notest')|list }}",
    "{% if em|select|list %}y{% else %}n{% endif %}{% if em|select %}y{% else %}n{% endif %}", "{{ (l|select)|length }}", "{{ (l|select)[0] }}", "{{ l|select|first }}{{ l|first }}{{ l|last }}{{ em|first }}{{ s|first }}{{ s|last }}{{ m|first }}{{ m|last }}", "{{ l|select|last }}", "{{ i|first }}", "{{ l|reverse|list }}{{ s|reverse }}{{ l|reverse is iterable }}{{ m|reverse|list }}{{ (l|map('string'))|reverse }}", "{{ l|join(', ') }}{{ l|join }}{{ rows|join('|', attribute='name') }}{{ mix|join(1) }}", "{{ m|items|list }}{{ missing|items|list }}", "{{ l|items|list }}", "{{ l|batch(2)|list }}{{ l|batch(2, 'x')|list }}{{ l|slice(2)|list }}{{ [1,2,3,4,5]|slice(3, 'f')|list }}{{ em|batch(2)|list }}", "{{ l|batch(0)|list }}", "{{ l|slice(0)|list }}", "{{ s|list }}{{ m|list }}{{ i|list }}",
    "{% set g = l|map('string') %}{{ g|list }}{{ g|list }}", "{{ s|length }}{{ u|length }}{{ m|length }}{{ m|count }}", "{{ i|length }}", "{{ 'a b'|wordcount }}{{ u|wordcount }}{{ 'x\\ny\\n\\nz'|indent }}|{{ 'x\\ny\\n\\nz'|indent(2, true) }}|{{ 'x\\n\\nz'|indent('>', blank=true) }}|{{ 'x\\n'|indent }}|{{ ''|indent(2, true) }}|", "{{ i|indent }}", "{{ 'hello big world'|truncate(9) }}{{ 'hello big world'|truncate(9, true) }}{{ 'hello big world'|truncate(9, false, '…', 0) }}{{ 'short'|truncate }}", "{{ 'x'|center(5) }}|{{ 'a b&c/d?é'|urlencode }}{{ sp|trim }}|{{ 'xax'|trim('x') }}{{ i|trim }}{{ n|upper }}{{ m|attr('a') is defined }}{{ m|attr('items') is defined }}",
    # tests
    "{{ i is odd }}{{ i is even }}{{ i is divisibleby 7 }}{{ i is divisibleby(2) }}{{ t is boolean }}{{ 1 is boolean }}{{ 1 is true }}{{ t is true }}{{ no is false }}{{ i is integer }}{{ t is integer }}{{ f is float }}{{ t is number }}{{ f is number }}{{ s is string }}{{ m is mapping }}{{ l is sequence }}{{ s is sequence }}{{ m is sequence }}{{ i is iterable }}{{ n is none }}{{ n is not none }}{{ i is not odd }}", "{{ 'a' is in ['a'] }}{{ 'a' is in 'abc' }}{{ 1 is eq 1 }}{{ 1 is ne 1 }}{{ 1 is lt 2 }}{{ 1 is ge 1 }}{{ 2 is gt 1 }}{{ 1 is le 0 }}{{ 1 is equalto 1.0 }}{{ none is sameas none }}{{ 1 is sameas true }}{{ l is sameas l }}{{ 'A' is upper }}{{ 'a1' is lower }}{{ '1' is upper }}{{ 'upper' is filter }}{{ 'odd' is test }}{{ 'x' is filter }}", "{{ 1 is ==1 }}", "{{ 'x' is odd }}", "{{ 1 is divisibleby 0 }}", "{{ range is callable }}{{ l is callable }}{{ m.get is callable }}{{ s is escaped }}{{ s|safe is escaped }}",
    "{{ 1 is odd and 2 is even or no }}{{ not 1 is odd }}{{ 1 if 2 is odd else 3 }}{{ i is in l }}{{ [1, 2] is in [[1, 2]] }}{{ (1 is odd) ~ 'x' }}{{ s is defined and s }}", "{{ i if t }}{{ i if no }}{{ 1 if no else 2 if no else 3 }}{{ (t and 'yes') or 'no' }}{{ '' or 'x' }}{{ [] and 1 }}{{ not [] }}", "{{ -1|abs }}{{ 2 * 3 ~ 4 + 5 }}{{ 1 + 2 ~ 3 * 4 }}{{ 10 - 2 - 3 }}{{ 2 + 3 * 4 ** 2 / 8 }}{{ 'a' ~ 'b' in 'xab' }}{{ not 1 == 2 }}{{ -i + 1 }}{{ - - 1 }}{{ 1 - -1 }}",
    # functions
    "{{ raise_exception('no: ' ~ i) }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %B %d %A %j %-d %% %Z|%z|%f %y %b %p %I') }}", "{{ strftime_now() }}", "{{ range(2.5) }}", "{{ range() }}", "{{ s.upper(1) }}", "{{ s.nope() }}", "{{ i() }}", "{{ lipsum is defined }}{{ m.get('a') }}{{ m.get('q') }}{{ m.get('q', 5) }}{{ m.get([]) }}", "{{ l.index(1) }}{{ l.count(1) }}{{ (1, 2).index(2) }}{{ l.copy() }}{{ m.copy() }}", "{{ l.index(99) }}", "{{ s.split(sep=',') }}{{ s.split(',', maxsplit=1) }}", "{{ s.replace(old='a', new='b') }}", "{{ m.get(key='a') }}", "{% print i, s %}", "{{ l, i }}{{ (l) }}{{ 1, }}", "{{ () }}", "{{ }}", "{% if l, %}y{% endif %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}",
]

# --- random expressions ---

METHODS = ["upper()", "lower()", "strip()", "split()", "split(',')", "title()", "capitalize()",
           "startswith('H')", "replace('l', 'L')", "find('o')", "items()", "keys()", "values()",
           "get('a')", "get('zz', 3)", "count('a')", "index(1)", "rstrip('d')", "splitlines()",
           "join(['x', 'y'])", "isdigit()", "format(1, 2)", "rsplit(' ', 1)", "partition(',')", "nope()",
           "zfill(5)", "center(9)", "swapcase()", "endswith('d')", "lstrip('H')", "append(1)"]
FILTERS = ["upper", "lower", "trim", "length", "string", "int", "float", "list", "first", "last",
           "sort", "reverse", "join", "join('-')", "tojson", "default('D')", "default('D', true)",
           "abs", "round", "round(1)", "unique|list", "min", "max", "sum", "map('string')|list",
           "select|list", "reject('none')|list", "select('string')|list", "items|list", "dictsort",
           "title", "capitalize", "replace('a', 'b')", "wordcount", "indent", "e", "safe",
           "batch(2)|list", "slice(2)|list", "map(attribute='name')|list", "tojson(indent=2)",
           "selectattr('on')|list", "groupby('name')", "sort(reverse=true)", "truncate(5)",
           "map(attribute=0)|list", "center(11)", "count", "reverse|list", "format(1)", "d"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
         "mapping", "iterable", "sequence", "true", "false", "odd", "even", "divisibleby 2",
         "eq 1", "gt 1", "in [1, 'a', none]", "callable", "sameas none", "lower", "upper"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in",
             "and", "or"]
ATOMS = list(VALUES) + ["missing", "0", "1", "2", "-1", "2.5", "'a'", "'ab'", "''", "true", "false",
                        "none", "[]", "{}", "()", "'%s'", "'{}'", "1e3", "0.1", "'日本'"]


# an unhashable constant as a key fails when jinja2 folds constants, even where it is never reached
KEYS = [a for a in ATOMS if a not in ("[]", "{}")]


def expression(r, depth):
    if depth <= 0 or r.random() < 0.12:
        return r.choice(ATOMS)

    def sub(n=1):
        return expression(r, depth - n)

    kind = r.randrange(16)
    if kind < 4:
        return f"({sub()} {r.choice(OPERATORS)} {sub()})"
    if kind < 7:
        return f"({sub()})|{r.choice(FILTERS)}"
    if kind == 7:
        return f"({sub()} is {'not ' if r.random() < 0.3 else ''}{r.choice(TESTS)})"
    if kind == 8:
        return f"({sub()}).{r.choice(METHODS)}"
    if kind == 9:
        return f"({sub()})[{sub(2)}]"
    if kind == 10:
        parts = [r.choice(["", "0", "1", "-1", "-2", "3", "i"]) for _ in range(2)]
        step = r.choice(["", "", ":2", ":-1", ":-2"])
        # never of a constant: jinja2 folds those, and then a TypeError becomes an undefined
        return f"([{sub()}, i]|first)[{parts[0]}:{parts[1]}{step}]"
    if kind == 11:
        return f"({sub()}).{r.choice(['a', 'b', 'name', 'items', '0', 'x'])}"
    if kind == 12:
        return "[" + ", ".join(sub(2) for _ in range(r.randrange(4))) + "]"
    if kind == 13:
        pairs = ", ".join(f"{r.choice(KEYS)}: {sub(2)}" for _ in range(r.randrange(3)))
        return "{" + pairs + "}"
    if kind == 14:
        return f"({sub()} if {sub()} else {sub()})"
    return r.choice([f"(not {sub()})", f"(-({sub()}))", f"({sub()}, {sub()})",
                     f"({sub()} < {sub()} < {sub()})", f"({r.choice(ATOMS)} ** 2)"])


def template(r, depth):
    """A few pieces of text, output and statements with any white space control."""
    return "".join(piece(r, depth) for _ in range(r.randrange(1, 5)))


def tag(r, text):
    return f"{{%{r.choice(['', '', '-', '+'])} {text} {r.choice(['', '', '-', '+'])}%}}"


def piece(r, depth):
    kind = r.randrange(13) if depth > 0 else r.randrange(4)
    if kind == 0:
        return r.choice([" ", "\n", "text", "\n  ", "  \n", "a b\n", "\t", "x\n\n  "])
    if kind < 3:
        dash = r.choice(["", "", "-"])
        return "{{" + dash + " " + expression(r, 2) + " " + r.choice(["", "", "-"]) + "}}"
    if kind == 3:
        return tag(r, f"set {r.choice('xyz')} = {expression(r, 2)}")
    body = template(r, depth - 1)
    if kind < 6:
        orelse = tag(r, "else") + template(r, depth - 1) if r.random() < 0.5 else ""
        return tag(r, f"if {expression(r, 2)}") + body + orelse + tag(r, "endif")
    if kind < 9:
        source = r.choice(["l", "ls", "rows", "nest", "em", "m", "u", "range(3)", "mix", "missing"])
        condition = r.choice(["", "", " if x", " if x is string", " if loop"])
        inside = r.choice(["", "{{ loop.index }}", "{{ loop.last }}{{ loop.length }}", "{{ x }}",
                           "{% if loop.first %}{% continue %}{% endif %}", "{{ loop.previtem }}",
                           "{% if loop.index > 1 %}{% break %}{% endif %}"])
        orelse = tag(r, "else") + "E" if r.random() < 0.3 else ""
        return tag(r, f"for x in {source}{condition}") + inside + body + orelse + tag(r, "endfor")
    if kind == 9:
        name = r.choice(["f", "g"])
        return (tag(r, f"macro {name}(x, y={expression(r, 1)})") + body + "{{ x }}{{ y }}"
                + tag(r, "endmacro") + "{{ " + name + "(" + expression(r, 1) + ") }}")
    if kind == 10:
        return tag(r, "set x") + body + tag(r, "endset") + "[{{ x }}]"
    if kind == 11:
        return tag(r, "with y = " + expression(r, 1)) + body + tag(r, "endwith")
    return r.choice([tag(r, "raw") + " {{ x }} " + tag(r, "endraw").replace("+%}", "%}"), "{# c #}",
                     tag(r, "filter upper") + body + tag(r, "endfilter"),
                     tag(r, "generation") + body + tag(r, "endgeneration")])
