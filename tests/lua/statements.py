"""The statements of a Lua 5.1 script, with their places in its text.

The parser knows where statements begin and end, and nothing of what they mean. It has no
error messages: the scripts are known to compile.
"""

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""(?P<space>\s+|--\[\[.*?\]\]|--[^\n]*)
    |(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\[\[.*?\]\])
    |(?P<number>0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<symbol>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])""",
    re.VERBOSE | re.DOTALL,
)
BLOCK_ENDS = {"end", "else", "elseif", "until", None}
UNARY = {"not", "-", "#"}
BINARY = {"+", "-", "*", "/", "%", "^", "..", "<", "<=", ">", ">=", "==", "~=", "and", "or"}


@dataclass(frozen=True)
class Statement:
    file: str
    start: int
    end: int
    line: int
    text: str
    # True if it ends the run of a script: a return outside of all functions.
    is_exit: bool

    @property
    def first_line(self):
        """The name of the statement in the tables of the docs."""
        return self.text.split("\n")[0].strip()


class Parser:
    def __init__(self, file, source):
        self.file, self.source, self.at, self.found = file, source, 0, []
        self.functions = 0
        self.tokens = []
        place = 0
        while place < len(source):
            match = TOKEN.match(source, place)
            if not match:
                raise ValueError(f"{file}: no token at {source[place:place + 20]!r}")
            if match.lastgroup != "space":
                self.tokens.append((match.lastgroup, match.group(), match.start(), match.end()))
            place = match.end()

    def peek(self):
        return self.tokens[self.at][1] if self.at < len(self.tokens) else None

    def take(self, *wanted):
        """Takes the next token if it is one of these, or any if none is named."""
        token = self.peek()
        if wanted and token not in wanted:
            return None
        self.at += 1
        return token

    def need(self, wanted):
        if not self.take(wanted):
            raise ValueError(f"{self.file}: {wanted!r} expected, not {self.tokens[self.at:][:1]}")

    def block(self):
        while self.peek() not in BLOCK_ENDS:
            start = self.tokens[self.at][2]
            self.statement()
            end = self.tokens[self.at - 1][3]
            line = self.source.count("\n", 0, start) + 1
            text = self.source[start:end]
            is_exit = text.startswith("return") and self.functions == 0
            self.found.append(Statement(self.file, start, end, line, text, is_exit))
            self.take(";")

    def statement(self):
        if self.take("if"):
            self.expression()
            self.need("then")
            self.block()
            while self.take("elseif"):
                self.expression()
                self.need("then")
                self.block()
            if self.take("else"):
                self.block()
            self.need("end")
        elif self.take("while"):
            self.expression()
            self.need("do")
            self.block()
            self.need("end")
        elif self.take("do"):
            self.block()
            self.need("end")
        elif self.take("for"):
            while not self.take("in", "="):
                self.take()
            self.expressions()
            self.need("do")
            self.block()
            self.need("end")
        elif self.take("repeat"):
            self.block()
            self.need("until")
            self.expression()
        elif self.take("function"):
            while self.peek() != "(":
                self.take()
            self.function()
        elif self.take("local"):
            if self.take("function"):
                self.take()
                self.function()
                return
            self.take()
            while self.take(","):
                self.take()
            if self.take("="):
                self.expressions()
        elif self.take("return"):
            if self.peek() not in BLOCK_ENDS and self.peek() != ";":
                self.expressions()
        elif not self.take("break"):
            # An assignment, or a call.
            self.suffixed()
            while self.take(","):
                self.suffixed()
            if self.take("="):
                self.expressions()

    def function(self):
        """From the parameters to the end."""
        while self.take() != ")":
            pass
        self.functions += 1
        self.block()
        self.functions -= 1
        self.need("end")

    def expressions(self):
        self.expression()
        while self.take(","):
            self.expression()

    def expression(self):
        while self.take(*UNARY):
            pass
        if self.take("function"):
            self.function()
        elif self.peek() == "{":
            self.table()
        elif self.tokens[self.at][0] in ("string", "number") or self.peek() in ("nil", "true", "false", "..."):
            self.take()
        else:
            self.suffixed()
        if self.take(*BINARY):
            self.expression()

    def suffixed(self):
        if self.take("("):
            self.expression()
            self.need(")")
        else:
            if self.tokens[self.at][0] != "name":
                raise ValueError(f"{self.file}: a name expected, not {self.tokens[self.at]}")
            self.take()
        while True:
            if self.take(".", ":"):
                self.take()
            elif self.take("["):
                self.expression()
                self.need("]")
            elif self.take("("):
                if self.peek() != ")":
                    self.expressions()
                self.need(")")
            elif self.peek() == "{":
                self.table()
            elif self.at < len(self.tokens) and self.tokens[self.at][0] == "string":
                self.take()
            else:
                return

    def table(self):
        self.need("{")
        while not self.take("}"):
            if self.take("["):
                self.expression()
                self.need("]")
                self.need("=")
            elif self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][1] == "=":
                self.at += 2
            self.expression()
            self.take(",", ";")


def statements(file, source):
    """All statements of the script, those of inner blocks and functions among them."""
    parser = Parser(file, source)
    parser.block()
    if parser.peek() is not None:
        raise ValueError(f"{file}: ends at {parser.peek()!r}")
    return sorted(parser.found, key=lambda statement: statement.start)


def without(source, statement):
    """The script without this statement. Its lines keep their numbers."""
    blank = "\n" * statement.text.count("\n")
    return source[: statement.start] + blank + source[statement.end :]


# The statement that logs the numbers of a run.
LOG = "redis.log(3, '~' .. cjson.encode(KEYS))"


def noting(source, numbered):
    """The script, which logs at its end the numbers of the statements that it has reached.

    The notes are in KEYS and ARGV, tables of the run: Lua has room for 200 local names, and
    some scripts need most of them. A run that ends with an error logs nothing."""
    parts, at, ends_early = [], 0, False
    for number, statement in numbered:
        parts.append(source[at : statement.start])
        parts.append(f"KEYS.n{number} = 1 ")
        at = statement.start
        ends_early = statement.is_exit and not source[statement.end :].strip()
        if statement.is_exit:
            value = statement.text.removeprefix("return").strip()
            parts.append(f"ARGV.r = {value or 'nil'} {LOG} return ARGV.r")
            at = statement.end
    parts.append(source[at:])
    # A part that other parts follow logs nothing.
    is_part = numbered[0][1].file.startswith(("lib_", "prelude", "window"))
    if not ends_early and not is_part:
        parts.append(f"\n{LOG}\n")
    return "".join(parts)
