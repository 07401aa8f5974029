"""Makes random small templates from a grammar of Jinja and compares Caravan's text, or the fact of an error, with
transformers' renderer.

Usage: TZ=UTC python scripts/differential_jinja.py build/release/bin/caravan_differential [--count 20000] [--seed 1]
Written against transformers 5.24, jinja2 3.1.6, Python 3.11.
"""
import argparse
import collections
import copy
import json
import os
import random
import re
import subprocess
import sys
import tempfile

os.environ["TZ"] = "UTC"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "golden"))
from chat_template_cases import V  # noqa: E402
from chat_templates import render  # noqa: E402

VARIABLES = {**V, "w": "see https://a.org/x?y=1&z=2, (www.b.com) mail me@c.de. <b>", "text": "a-b c_d\n\n  e'f \"g\" \u00e9\u0301 \u4e2d",
             "deep": {"list": [{"k": [1, {"z": None, "a": "x" * 40}]}, "long words in a long line of text that is wrapped"], "n": {"a": 1.5}}, "fn": "upper"}
ATOMS = ["s", "u", "n", "f", "l", "d", "e", "t", "no", "html", "lines", "neg", "users", "w", "text", "deep", "x", "users[0]", "users[1].name", "d.a", "l[7]",
         "0", "1", "2", "-1", "3.5", "'a'", "'<b>'", "''", "' x '", "'a,b'", "'%s-%s'", "'{}{}'", "none", "true", "false", "[]", "[1, 2, 3]", "(1, 'b')", "{'k': 1}",
         "range(3)", "'b'|safe", "html|e", "namespace(q=1)", "dict(a=1)", "[n, s]", "d.items()", "s.split('o')", "users|map(attribute='name')", "'é'", "1e20", "0.1", "10**18"]
FILTERS = ["abs", "attr('name')", "attr('upper')", "batch(2)", "batch(3, 0)", "capitalize", "center(15)", "count", "default('D')", "d('D', true)", "dictsort", "dictsort(by='value')",
           "e", "escape", "filesizeformat", "first", "float", "forceescape", "format(1)", "format('x', 2)", "groupby('age')", "groupby(0)", "indent", "indent(2, true)", "indent('>', blank=true)", "int",
           "int(default=5)", "items", "join", "join(', ')", "join('<')", "join('<'|safe)", "join(attribute='name')", "last", "length", "list", "lower", "map('upper')", "map('string')", "map(attribute='name')", "map(attribute='age', default=1)",
           "map('length')", "map('default', 3)", "max", "min", "max(attribute='age')", "pprint", "reject('odd')", "rejectattr('active')", "replace('l', '<')", "replace('a', 'b'|safe)", "replace('', '.')", "reverse", "round", "round(1)",
           "round(0, 'floor')", "safe", "select", "select('string')", "select('defined')", "selectattr('name')", "selectattr('age', 'gt', 26)", "slice(2)", "slice(3, 'f')", "sort", "sort(reverse=true)", "sort(attribute='age')", "string",
           "striptags", "sum", "sum(start=1)", "sum(attribute='age')", "title", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "trim", "trim('a ')", "truncate(5)", "truncate(5, true, '')",
           "unique", "upper", "urlencode", "urlize", "urlize(10, true)", "urlize(target='_blank')", "wordcount", "wordwrap(7)", "wordwrap(5, false)", "xmlattr"]
TESTS = ["boolean", "callable", "defined", "divisibleby(2)", "divisibleby 3", "eq(1)", "equalto 2", "escaped", "even", "false", "filter", "float", "ge(1)", "gt 1", "in([1, 2])", "in 'abc'", "integer", "iterable",
         "le(3)", "lower", "lt 2", "mapping", "ne 1", "none", "number", "odd", "sameas none", "sequence", "string", "test", "true", "undefined", "upper", "== 1", "is_defined"]
METHODS = ["upper()", "lower()", "strip()", "strip('a')", "lstrip()", "rstrip('\\n')", "split()", "split(',')", "split('l', 1)", "rsplit(maxsplit=1)", "splitlines()", "splitlines(true)", "replace('a', '<')", "title()", "capitalize()", "swapcase()",
           "startswith('H')", "endswith(('d', 'x'))", "find('o')", "rfind('o')", "count('l')", "index('e')", "join(['a', 'b'])", "join(l)", "format(1, 2)", "center(9, '*')", "ljust(7)", "rjust(7, '0')", "zfill(6)", "partition('o')", "rpartition(' ')",
           "isdigit()", "isalpha()", "isupper()", "islower()", "isspace()", "isalnum()", "istitle()", "isidentifier()", "isprintable()", "isnumeric()", "encode()", "encode('latin-1', 'replace')", "encode('ascii', 'backslashreplace')", "encode().decode()",
           "encode()|length", "encode().hex()", "encode()[0]", "encode()|list", "encode('ascii', 'xmlcharrefreplace')", "encode() == 'a'.encode()", "translate({97: 'X', 108: none})", "translate(s.maketrans('lo', '01'))", "translate('a'.maketrans({'e': '33', 'b': none}))",
           "translate(''.maketrans('ab', 'ba', 'l'))", "removeprefix('He')", "removesuffix('ld')", "expandtabs(4)", "casefold()", "keys()", "values()", "items()", "get('a')", "get('z', 5)", "copy()", "append(1)", "pop('a')", "index(1)", "count(1)",
           "name", "age", "address.city", "a", "items", "q", "bit_length()", "is_integer()", "real", "conjugate()", "bit_count()", "as_integer_ratio()", "numerator", "hex()", "nope", "format_map({'a': 1})"]
SPACES = ["", "", "", " ", "\n", "  ", "\n\n", "\t", " \n "]
TEXTS = ["", "a", "<x>", "text\n", "  line\n", "\n", " - ", "&", "é\n"]
COMMENTS = ["{# c #}", "{#- c -#}", "{#\n c #}\n"]


class Maker:
    def __init__(self, rng, pool):
        self.rng = rng
        self.pool = pool  # expressions that work by themselves
        self.names = ["v1", "v2"]

    def pick(self, items):
        return self.rng.choice(items)

    def expr(self, depth=3):
        r = self.rng.random()
        if depth <= 0 or r < 0.2:
            return self.pick(self.pool if self.rng.random() < 0.7 else ATOMS + self.names) if self.rng.random() < 0.95 else "loop.index"
        sub = lambda: self.expr(depth - 1)  # noqa: E731
        if r < 0.45:
            return f"{self.group(sub())}|{self.pick(FILTERS)}"
        if r < 0.57:
            return f"{self.group(sub())}.{self.pick(METHODS)}"
        if r < 0.65:
            return f"{sub()} {self.pick(['+', '-', '*', '/', '//', '%', '~', '~', '~', '**'])} {sub()}"
        if r < 0.70:
            return f"{sub()} {self.pick(['==', '!=', '<', '>', '<=', '>=', 'in', 'not in', 'and', 'or'])} {sub()}"
        if r < 0.76:
            return f"{self.group(sub())} is {self.pick(['', '', 'not '])}{self.pick(TESTS)}"
        if r < 0.82:
            return f"{self.group(sub())}[{self.pick(['0', '-1', '1:', ':2', '::2', '::-1', '1:-1', repr('a'), repr('name'), 'n', '-9:9', sub()])}]"
        if r < 0.87:
            return f"({sub()} if {sub()}{self.pick([' else ' + sub(), ''])})"
        if r < 0.90:
            return f"[{sub()}, {sub()}]"
        if r < 0.92:
            return "{" + f"{sub()}: {sub()}, 'z': {sub()}" + "}"
        if r < 0.94:
            return f"({sub()}, {sub()})"
        if r < 0.97:
            return f"not {sub()}" if self.rng.random() < 0.5 else f"-{self.group(sub())}"
        return self.pick([f"range({sub()})", f"dict({sub()})", f"m1({sub()})", f"m2({sub()}, {sub()})", f"cycler({sub()}).next()", f"joiner({sub()})()", "caller()", f"m1(*{sub()})", f"m2(**{sub()})", "self.blk()"])

    def group(self, e):
        return e if re.fullmatch(r"[\w.\[\]']+", e) and not re.match(r"\d", e) else f"({e})"

    def tag(self, body):
        left, right = self.pick(["", "", "", "-", "+"]), self.pick(["", "", "", "-", "+"])
        return "{%" + left + f" {body} " + right + "%}"

    def output(self):
        return "{{" + self.pick(["", "", "-"]) + f" {self.expr()} " + self.pick(["", "", "-"]) + "}}"

    def body(self, depth, inside=()):
        return "".join(self.pick(SPACES) + self.statement(depth, inside) for _ in range(self.rng.randint(1, 3)))

    def statement(self, depth, inside=()):
        r = self.rng.random()
        if depth <= 0 or r < 0.35:
            return self.pick(TEXTS) + self.output() + self.pick(TEXTS)
        sub = lambda more=(): self.body(depth - 1, (*inside, *more))  # noqa: E731
        space = self.pick(SPACES)
        if r < 0.45:
            other = self.tag("else") + sub() if self.rng.random() < 0.4 else ""
            middle = self.tag(f"elif {self.expr(2)}") + sub() if self.rng.random() < 0.3 else ""
            return self.tag(f"if {self.expr(2)}") + space + sub() + middle + other + self.tag("endif") + space
        if r < 0.57:
            target = self.pick(["v1", "v2", "v1, v2", "i"])
            condition = self.pick(["", "", f" if {self.expr(1)}"]) + self.pick(["", "", "", " recursive"])
            uses = self.pick(["", "{{ loop.index }}", "{{ loop.last }}{{ loop.length }}", "{{ loop.previtem }}{{ loop.nextitem }}", "{{ loop.cycle('x', '<') }}", "{{ loop.changed(v1) }}", "{% if v1 %}{{ loop(v1) }}{% endif %}"])
            other = self.tag("else") + sub() if self.rng.random() < 0.3 else ""
            return self.tag(f"for {target} in {self.expr(2)}{condition}") + space + uses + sub(("loop",)) + other + self.tag("endfor")
        if r < 0.66:
            name = self.pick(["v1", "v2", "v1, v2", "ns.x"])
            prefix = self.tag("set ns = namespace(x=1)") if name == "ns.x" else ""
            return prefix + self.tag(f"set {name} = {self.expr()}") + "{{ " + (name if self.rng.random() < 0.5 else "ns.x") + " }}"
        if r < 0.71:
            return self.tag("set v1" + self.pick(["", " | upper", f" | {self.pick(FILTERS)}"])) + sub() + self.tag("endset") + "{{ v1 }}{{ v1 is escaped }}"
        if r < 0.77:
            return self.tag(f"macro m1({self.pick(['', 'v1', 'v1=2', 'v1, v2=s'])})") + sub(("macro",)) + self.tag("endmacro") + self.pick(["", "{{ m1(1) }}", "{{ m1('<') }}", "{{ m1() ~ '<' }}"])
        if r < 0.81:
            return self.tag("call" + self.pick(["", "(v1)"]) + " m1(1)") + sub() + self.tag("endcall") if self.rng.random() < 0.5 else \
                self.tag("macro m2(a=1, b=2)") + "<{{ caller(a) }}{{ b }}>" + self.tag("endmacro") + self.tag("call(v1=0) m2(" + self.expr(1) + ")") + sub() + self.tag("endcall")
        if r < 0.84:
            return self.tag(f"filter {self.pick(FILTERS)}") + sub() + self.tag("endfilter")
        if r < 0.87:
            return self.tag(f"with v1 = {self.expr(2)}") + sub() + self.tag("endwith")
        if r < 0.93:
            return self.tag(f"autoescape {self.pick(['true', 'true', 'false', self.expr(1)])}") + space + sub() + self.tag("endautoescape")
        if r < 0.95:
            return self.tag("generation") + sub() + self.tag("endgeneration")
        if r < 0.96:
            return self.tag("raw") + "{{ x }} {% y %}" + self.tag("endraw")
        if r < 0.97 and "block" not in inside and "loop" not in inside and "macro" not in inside:
            return self.tag("block blk") + sub(("block",)) + self.tag("endblock")
        if r < 0.98:
            return self.pick(COMMENTS)
        if r < 0.99 and "loop" in inside:
            return self.tag(f"if {self.expr(1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
        return self.tag(f"print {self.expr(2)}")


def working_expressions(rng, count):
    """Most random expressions are errors of types: these are not."""
    pool = list(ATOMS)
    for _ in range(count):
        expression = Maker(rng, pool).expr(1)
        if len(expression) < 90 and "text" in render("{{ " + expression + " }}", VARIABLES):
            pool.append(expression)
    return pool


# What Caravan leaves out on purpose (docs/chat_templates.md).
ALLOWED = [
    (r"object( \w+)? at 0x[0-9a-f]+", "the address of an object is printed"),
    (r"random|lipsum", "random"),
]


def explained(case, want, have):
    if "text" in want:
        for pattern, _ in ALLOWED:
            if re.search(pattern, want["text"]) or re.search(pattern, case):
                return True
    fault = have.get("fault")
    if "error" in have and (fault in ("limit", "fuel") or "128 bits" in have["error"] or "is unsafe" in have["error"] or "complex numbers" in have["error"]):
        return True
    if "unhashable" in want.get("error", "") or "not subscriptable" in have.get("error", ""):
        return True  # Jinja's compiler computes what is constant: errors of branches that do not run, and x[1:] of any constant
    return "Exceeds the limit" in want.get("error", "") or "MemoryError" in want.get("error", "") or "Range too big" in want.get("error", "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    pool = working_expressions(rng, options.count)
    cases = []
    while len(cases) < options.count:
        source = Maker(rng, pool).body(2)
        if len(source) < 1500 and not re.search(r"\*\*\s*\(?[\d.]*e|\*\*.*\*\*|10\*\*18.*[*]|1e20.*[*]", source):
            cases.append(source)
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "cases")
        with open(name, "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"template": c, "variables": VARIABLES}, ensure_ascii=False) + "\n" for c in cases)
        subprocess.run([options.binary, "templates", name], check=True)
        got = [json.loads(line) for line in open(name + ".out", encoding="utf-8")]
    tally, shown = collections.Counter(), 0
    for case, have in zip(cases, got):
        want = render(case, copy.deepcopy(VARIABLES))  # templates may change what they are given
        same = want.get("text") == have.get("text")
        kind = "text" if "text" in want else "error"
        if not same and explained(case, want, have):
            tally[kind + " explained"] += 1
            continue
        tally[kind + (" equal" if same else " DIFFERENT")] += 1
        if not same and shown < options.show:
            shown += 1
            print(repr(case), "\n  want", json.dumps(want, ensure_ascii=False)[:500], "\n  have", json.dumps(have, ensure_ascii=False)[:500])
    print(dict(tally))
    return 1 if any("DIFFERENT" in k for k in tally) else 0


if __name__ == "__main__":
    sys.exit(main())
