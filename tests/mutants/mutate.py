"""The mutants of a C file: one small change each, found on the tokens of the file.

A mutant is known by its file, the text of the lines it changes and their text after the change, so
that it stays the same one when the lines move."""

import hashlib
import re

TOKEN = re.compile(r'''
    (?P<skip>/\*.*?\*/|\\\n|\s+)
  | (?P<directive>(?<![^\n])[ \t]*\#(?:[^\n\\]|\\.|\\\n)*)
  | (?P<string>(?:u8|L)?"(?:[^"\\\n]|\\.)*")
  | (?P<char>'(?:[^'\\\n]|\\.)+')
  | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[uUlLfF]*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^!~<>=?:;,.(){}\[\]])
''', re.X | re.S)

SWAPS = {
    'arithmetic': {'+': '-', '-': '+', '*': '/', '/': '*', '%': '*',
                   '+=': '-=', '-=': '+=', '*=': '/=', '/=': '*='},
    'bits': {'<<': '>>', '>>': '<<', '&': '|', '|': '&', '^': '|', '|=': '&=', '&=': '|='},
    'boundary': {'<': '<=', '<=': '<', '>': '>=', '>=': '>'},
    'comparison': {'<': '>=', '<=': '>', '>': '<=', '>=': '<', '==': '!=', '!=': '=='},
    'logic': {'&&': '||', '||': '&&'},
    'step': {'++': '--', '--': '++'},
}
NOT_VALUES = {'return', 'case', 'else', 'sizeof', 'do', 'goto'}
NOT_CALLS = {'if', 'while', 'for', 'switch', 'return', 'sizeof', 'FN'}
EITHER_ORDER = {'mr_mul', 'mr_add', 'mr_py_equal', 'fmin', 'fmax'}   # of the first two arguments
EITHER_IF_EQUAL = {'strcmp', 'memcmp'}                                # where only 0 is asked for
NOT_STATEMENTS = {'return', 'if', 'while', 'for', 'switch', 'do', 'else', 'case', 'default', 'goto',
                  'typedef', 'struct', 'union', 'enum', 'static', 'const', 'extern'}
OPEN, CLOSE = {'(': ')', '[': ']', '{': '}'}, set(')]}')


class Token:
    def __init__(self, kind, text, at):
        self.kind, self.text, self.at, self.end = kind, text, at, at + len(text)


class Mutant:
    """`path` with the characters [at, end) replaced by `new`."""

    def __init__(self, path, source, kind, at, end, new):
        self.path, self.kind, self.at, self.end, self.new = path, kind, at, end, new
        self.line = source.count('\n', 0, at) + 1
        self.last = source.count('\n', 0, end) + 1
        start = source.rfind('\n', 0, at) + 1
        stop = source.find('\n', end)
        self.before = ' '.join(source[start:stop].split())
        self.after = ' '.join((source[start:at] + new + source[end:stop]).split())
        self.nth = 1    # of those with the same text in the same file

    def key(self):
        return (self.path, self.before, self.after, self.nth)

    def apply(self, source):
        """Keeps the number of lines."""
        lost = source.count('\n', self.at, self.end) - self.new.count('\n')
        return source[:self.at] + self.new + '\n' * lost + source[self.end:]

    def order(self, seed):
        return hashlib.sha256(repr((seed, self.key())).encode()).digest()


def tokens(source):
    at, found = 0, []
    while at < len(source):
        m = TOKEN.match(source, at)
        if m is None:
            raise ValueError(f'no C token at {source[at:at + 20]!r}')
        if m.lastgroup not in ('skip', 'directive'):
            found.append(Token(m.lastgroup, m.group(), at))
        at = m.end()
    return found


def partners(t):
    """Index of the closing bracket of every opening one."""
    stack, partner = [], {}
    for i, token in enumerate(t):
        if token.text in OPEN:
            stack.append(i)
        elif token.text in CLOSE and stack:
            partner[stack.pop()] = i
    return partner


def is_value(token):
    """Whether an operator after this token has two operands."""
    return (token.kind in ('number', 'char', 'string') or token.text in (')', ']')
            or (token.kind == 'word' and token.text not in NOT_VALUES))


def one_more(text, by):
    """The literal plus or minus one."""
    m = re.fullmatch(r'(0[xX][0-9a-fA-F]+|[\d.eE+-]+?)([uUlLfF]*)', text)
    number, suffix = m.groups()
    if re.fullmatch(r'0[xX].*|\d+', number):
        value = int(number, 0 if number[:2] in ('0x', '0X') else 10) + by
        return f'{value}{suffix}' if value >= 0 else f'({value})'
    return f'({text} {"+" if by > 0 else "-"} 1)'


def arguments(t, start, stop):
    """Token ranges between the commas of a bracket."""
    depth, first, found = 0, start + 1, []
    for i in range(start + 1, stop):
        if t[i].text in OPEN:
            depth += 1
        elif t[i].text in CLOSE:
            depth -= 1
        elif t[i].text == ',' and depth == 0:
            found.append((first, i))
            first = i + 1
    return found + [(first, stop)] if first < stop else found


def is_pointer(source, token):
    """`int *x`, `&x`: how this tree writes what is not a product, nor a conjunction of bits."""
    return token.text in '*&' and not source[token.end].isspace()


def operators(path, source, t):
    for i in range(1, len(t)):
        token = t[i]
        if is_pointer(source, token):
            continue
        if token.kind == 'number':
            for by in (1, -1):
                yield Mutant(path, source, 'constant', token.at, token.end, one_more(token.text, by))
        elif token.kind == 'char':
            yield Mutant(path, source, 'constant', token.at, token.end, f'({token.text} + 1)')
        elif token.text == '!' or (token.text == '-' and not is_value(t[i - 1])):
            yield Mutant(path, source, 'unary', token.at, token.end, '')
        elif token.kind == 'sign' and (is_value(t[i - 1]) or token.text in ('++', '--')):
            for kind, swap in SWAPS.items():
                if token.text in swap:
                    yield Mutant(path, source, kind, token.at, token.end, f' {swap[token.text]} ')


def brackets(path, source, t, partner):
    functions = [(i, stop) for i, stop in partner.items() if t[i].text == '{']
    for i, stop in partner.items():
        before = t[i - 1] if i > 0 else None
        inside = source[t[i].end:t[stop].at]
        if t[i].text == '(' and before is not None and before.text in ('if', 'while'):
            yield Mutant(path, source, 'condition', t[i].end, t[stop].at, f'!({inside})')
        elif t[i].text == '(' and before is not None and before.kind == 'word' \
                and before.text not in NOT_CALLS and any(a < i < b for a, b in functions):
            parts = [(t[a].at, t[b - 1].end) for a, b in arguments(t, i, stop) if a < b]
            same = before.text in EITHER_ORDER or (
                before.text in EITHER_IF_EQUAL and t[stop + 1].text in ('==', '!='))
            for (a, b), (c, d) in list(zip(parts, parts[1:]))[same:]:
                if source[a:b] != source[c:d]:
                    yield Mutant(path, source, 'arguments', a, d,
                                 source[c:d] + source[b:c] + source[a:b])
        elif t[i].text == '[':
            words = [k for k in range(i + 1, stop) if t[k].kind == 'word'
                     and t[k + 1].text not in ('(', '.', '->') and t[k - 1].text not in ('.', '->')]
            if words and t[words[0]].text != t[words[-1]].text:
                a, b = t[words[0]], t[words[-1]]
                yield Mutant(path, source, 'indices', a.at, b.end,
                             b.text + source[a.end:b.at] + a.text)


def statements(path, source, t, partner):
    """Expression statements, break and continue, as `;`."""
    closes = {stop: start for start, stop in partner.items()}
    in_head = {k for i, stop in partner.items() if t[i].text != '{' for k in range(i, stop)}
    for i in range(1, len(t)):
        if i in in_head:
            continue
        before = t[i - 1]
        heads = before.text == ')' and t[closes.get(i - 1, 0) - 1].text in ('if', 'while', 'for')
        if not (before.text in (';', '{', '}', 'else') or heads):
            continue
        if t[i].kind not in ('word', 'sign') or t[i].text in NOT_STATEMENTS or t[i].text in '{};':
            continue
        k, depth = i, 0
        while k < len(t) and not (t[k].text in (';', '{', '}') and depth == 0):
            depth += (t[k].text in OPEN) - (t[k].text in CLOSE)
            k += 1
        if k >= len(t) or t[k].text != ';' or k == i:
            continue
        two_words = t[i].kind == 'word' and k > i + 1 and t[i + 1].kind == 'word'
        if not two_words:   # else a declaration
            yield Mutant(path, source, 'statement', t[i].at, t[k - 1].end, '')


def mutants(path, source):
    t = tokens(source)
    partner = partners(t)
    # The cost of a loop decides how many threads share it, which no result may depend on.
    costs = [(t[i].at, t[stop].end) for i, stop in partner.items() if t[i - 1].text == 'PARALLEL_FOR']
    found, count = [], {}
    for m in sorted([*operators(path, source, t), *brackets(path, source, t, partner),
                     *statements(path, source, t, partner)], key=lambda m: (m.at, m.end, m.new)):
        if any(a <= m.at < b for a, b in costs):
            continue
        key = (m.before, m.after)
        count[key] = count.get(key, 0) + 1
        m.nth = count[key]
        found.append(m)
    return found
