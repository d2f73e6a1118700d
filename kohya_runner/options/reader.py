"""The options of a train script, found by following ``setup_parser()`` through its modules. Nothing is imported or run.

A checkout may come from anybody, so only calls that build the parser are followed and only plain expressions are
evaluated. What cannot be followed is an error with its file and line: an option is never silently missing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from kohya_runner.engine_info import EngineInfo
from kohya_runner.errors import TrainerError
from kohya_runner.options.constants import NotConstantError, evaluate, plain
from kohya_runner.options.declaration import ENUMERATIONS, declared, dict_keys, dotted, enumeration_of, table_of
from kohya_runner.options.modules import Binding, Expression, External, Function, Imported, Module, Modules, named
from kohya_runner.options.script_options import Default, Option, ScriptOptions

MAX_STATEMENTS = 20_000
MAX_DEPTH = 20
BUILTINS = frozenset({"str", "int", "float", "bool"})
HARMLESS = frozenset({"description", "epilog", "usage", "prog", "formatter_class"})
"""What ``ArgumentParser(...)`` may be given without a change in what the parser accepts."""
HINT = "use the commit this version was made for, or report the line"


@dataclass(slots=True)
class _Parser:
    """An ``argparse.ArgumentParser`` as far as it has been built; ``defaults`` were set for options to come."""

    options: dict[str, Option] = field(default_factory=dict)
    defaults: dict[str, Default] = field(default_factory=dict)

    def add(self, option: Option, call: ast.Call) -> None:
        """Take up one more option; the same flag or name twice is a fault, as argparse would say."""
        taken = {flag for other in self.options.values() for flag in other.flags} | {"-h", "--help"}
        if option.name in self.options or taken & set(option.flags):
            raise NotConstantError(call, f"the option {option.flag} is declared a second time")
        if option.name in self.defaults and all(keyword.arg != "default" for keyword in call.keywords):
            option = replace(option, default=self.defaults[option.name])
        self.options[option.name] = option


@dataclass(slots=True)
class _Frame:
    """One call being followed: where it stands and what its local names are."""

    module: Module
    depth: int
    names: dict[str, object] = field(default_factory=dict)
    result: object = None
    done: bool = False


def read_script(script: str, modules: Modules, engine: EngineInfo, *, positional: bool = False) -> ScriptOptions:
    """The options of one script of a checkout; a ``TrainerError`` with file and line where they cannot be followed.

    Those of a train script have names; ``positional``: the script has others, too.
    """
    module = modules.module(engine.script_path(script))
    try:
        parser = _Walk(modules).entry(module, engine.entry)
    except RecursionError:
        raise TrainerError(f"{modules.root / script}: nested too deeply to be read", hint=HINT) from None
    bare = next((option for option in parser.options.values() if not option.flags[0].startswith("-")), None)
    if bare is not None and not positional:
        place = f"{modules.root / bare.where}: cannot follow '{bare.name}'"
        raise TrainerError(f"{place}: an option begins with '-'", hint=HINT)
    return ScriptOptions(script, tuple(parser.options.values()))


class _Walk:
    """Follows the statements that build one parser."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.statements = 0

    def entry(self, module: Module, name: str) -> _Parser:
        start = self.modules.resolve(module, (name,))
        if not isinstance(start, Function):
            raise TrainerError(f"{self.modules.root / module.path}: has no {name}()", hint=HINT)
        parser = self.call(start, {}, depth=0)
        if not isinstance(parser, _Parser):
            raise TrainerError(f"{self.modules.root / module.path}: {name}() returns no parser", hint=HINT)
        return parser

    def call(self, function: Function, given: Mapping[str, object], *, depth: int) -> object:
        """What a function of the checkout returns for these arguments; a fault names the function's own file."""
        frame = _Frame(function.module, depth, dict(given))
        with self.faults_in(function.module):
            if function.node.decorator_list:
                raise NotConstantError(function.node, f"cannot follow the decorators of {function.node.name}")
            self.block(function.node.body, frame)
        return frame.result

    @contextmanager
    def faults_in(self, module: Module) -> Iterator[None]:
        try:
            yield
        except NotConstantError as fault:
            place = f"{self.modules.root / module.path}:{fault.line}"
            raise TrainerError(f"{place}: {fault}", hint=HINT) from fault

    def block(self, statements: list[ast.stmt], frame: _Frame) -> None:
        for statement in statements:
            if frame.done:
                return
            self.statements += 1
            if self.statements > MAX_STATEMENTS:
                raise NotConstantError(statement, "too many statements")
            self.statement(statement, frame)

    def statement(self, statement: ast.stmt, frame: _Frame) -> None:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call() as call):
                if not self.is_unrelated(call, frame):
                    self.value(call, frame)
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                parser = _parsing(value, frame)
                if parser is not None:  # ``args = parser.parse_args()``: the parser is complete
                    frame.result, frame.done = parser, True
                else:
                    frame.names[name] = self.value(value, frame)
            case ast.Return(value=value):
                frame.result = None if value is None else self.value(value, frame)
                frame.done = True
            case ast.If(test=test, body=body, orelse=other):
                self.block(body if self.constant(test, frame) else other, frame)
            case _:
                self.rarer_statement(statement, frame)

    def rarer_statement(self, statement: ast.stmt, frame: _Frame) -> None:
        match statement:
            case ast.For(target=ast.Name(id=name), iter=items, body=body, orelse=[]):
                group = self.constant(items, frame)
                if not isinstance(group, tuple):
                    raise NotConstantError(items, "cannot follow a loop over this")
                for item in group:
                    frame.names[name] = item
                    self.block(body, frame)
            case ast.FunctionDef(name=name):
                frame.names[name] = Function(frame.module, statement)
            case ast.Import() | ast.ImportFrom():
                frame.names.update(named(statement, frame.module.package))
            case _:
                raise NotConstantError(statement, f"cannot follow '{ast.unparse(statement).splitlines()[0]}'")

    def is_unrelated(self, call: ast.Call, frame: _Frame) -> bool:
        """Whether a call can add no option: it is given no parser and no function of the checkout is called."""
        names = [node.id for node in ast.walk(call) if isinstance(node, ast.Name)]
        if any(isinstance(frame.names.get(name), _Parser | Function) for name in names):
            return False
        called = dotted(call.func)
        head = called[0] if called else ""
        if head in frame.names or head not in frame.module.bindings:
            return head == "print"
        return not isinstance(self.modules.resolve(frame.module, called), Function)

    def value(self, node: ast.expr, frame: _Frame) -> object:
        """What an expression stands for: a parser, a function, something outside the checkout, or a constant."""
        match node:
            case ast.Call() if table_of(node) is None:
                return self.called(node, frame)
            case ast.Name() | ast.Attribute():
                return self.lookup(node, frame)
            case ast.Call() | ast.ListComp():
                return self.listed(node, frame)
            case _:
                return evaluate(node, lambda name: self.constant(name, frame))

    def listed(self, node: ast.expr, frame: _Frame) -> object:
        """The keys of a table of the checkout, or the members of a known enumeration."""
        named = table_of(node) or enumeration_of(node)
        found = self.modules.resolve(frame.module, dotted(named)) if named is not None else None
        match found:
            case External(name) if name in ENUMERATIONS and isinstance(node, ast.ListComp):
                return tuple(ENUMERATIONS[name])
            case Expression(home, table) if isinstance(node, ast.Call) and (keys := dict_keys(table)) is not None:
                inner = _Frame(home, self.deeper(frame, node))
                return tuple(self.constant(key, inner) for key in keys)
            case _:
                raise NotConstantError(node, f"cannot follow '{ast.unparse(node)}'")

    def constant(self, node: ast.expr, frame: _Frame) -> object:
        """``value``, where nothing but a constant will do: a condition, a part of a text."""
        value = self.value(node, frame)
        if isinstance(value, _Parser | Function | External | Imported):
            raise NotConstantError(node, f"cannot tell the value of '{ast.unparse(node)}' without running it")
        return value

    def lookup(self, node: ast.expr, frame: _Frame) -> object:
        names = dotted(node)
        local = frame.names.get(names[0]) if names else None
        if names and names[0] in frame.names and not isinstance(local, Imported):
            if len(names) == 1:
                return local
            raise NotConstantError(node, f"cannot follow '{ast.unparse(node)}'")
        module = frame.module
        if isinstance(local, Imported):  # the module as a function sees it that imports the name itself
            own = {names[0]: [Binding(local, conditional=False)]}
            module = Module(module.path, {**module.bindings, **own})
        match self.modules.resolve(module, names) if names else None:
            case Expression(home, inner):
                return self.module_constant(home, inner, depth=self.deeper(frame, node))
            case Function() as function:
                return function
            case External(name) as outside if not name.startswith("builtins.") or name[9:] in BUILTINS:
                return outside
            case _:
                raise NotConstantError(node, f"cannot tell what '{ast.unparse(node)}' is")

    def module_constant(self, module: Module, node: ast.expr, *, depth: int) -> object:
        """The value of a module-level name; a parser made there could have been filled anywhere, so no call counts."""
        frame = _Frame(module, depth)
        with self.faults_in(module):
            if isinstance(node, ast.Name | ast.Attribute):
                return self.lookup(node, frame)
            return evaluate(node, lambda name: self.constant(name, frame))

    def deeper(self, frame: _Frame, node: ast.AST) -> int:
        if frame.depth >= MAX_DEPTH:
            raise NotConstantError(node, "nested too deeply")
        return frame.depth + 1

    def called(self, call: ast.Call, frame: _Frame) -> object:
        names = dotted(call.func)
        local = frame.names.get(names[0]) if names else None
        if isinstance(local, _Parser) and len(names) == 2:
            return self.method(local, names[1], call, frame)
        if isinstance(local, Function):  # it sees the names around it, a parser among them
            raise NotConstantError(call, f"cannot follow the function inside a function, {local.node.name}")
        harmless = {keyword.arg for keyword in call.keywords} <= HARMLESS and not call.args
        match self.lookup(call.func, frame):
            case External("argparse.ArgumentParser") if harmless:
                return _Parser()
            case Function() as function:
                return self.call(function, self.bound(function, call, frame), depth=self.deeper(frame, call))
            case _:
                raise NotConstantError(call, f"cannot follow '{ast.unparse(call.func)}(...)'")

    def method(self, parser: _Parser, method: str, call: ast.Call, frame: _Frame) -> object:
        if method == "add_argument_group":
            return parser
        if method == "set_defaults":
            self.set_defaults(parser, call, frame)
        elif method == "add_argument":
            where = f"{frame.module.path}:{call.lineno}"
            parser.add(declared(call, lambda node: self.value(node, frame), where), call)
        else:
            raise NotConstantError(call, f"cannot follow the parser's {method}()")
        return None

    def set_defaults(self, parser: _Parser, call: ast.Call, frame: _Frame) -> None:
        for keyword in call.keywords:
            value, name = plain(self.constant(keyword.value, frame), call), str(keyword.arg)
            parser.defaults[name] = value
            if name in parser.options:
                parser.options[name] = replace(parser.options[name], default=value)

    def bound(self, function: Function, call: ast.Call, frame: _Frame) -> dict[str, object]:
        """The arguments of a call under the function's own parameter names, defaults included."""
        form = function.node.args
        names = [parameter.arg for parameter in (*form.posonlyargs, *form.args)]
        keywords = {str(keyword.arg): keyword.value for keyword in call.keywords}
        given = dict(zip(names, call.args, strict=False)) | keywords
        starred = any(isinstance(argument, ast.Starred) for argument in call.args)
        if form.vararg or form.kwarg or starred or len(call.args) > len(names) or "None" in keywords:
            raise NotConstantError(call, f"cannot follow the arguments of {function.node.name}")
        home = _Frame(function.module, self.deeper(frame, call))
        defaults = dict(zip(reversed(names), reversed(form.defaults), strict=False))
        defaults |= {p.arg: d for p, d in zip(form.kwonlyargs, form.kw_defaults, strict=True) if d is not None}
        values = {name: self.value(node, home) for name, node in defaults.items() if name not in given}
        values |= {name: self.value(node, frame) for name, node in given.items()}
        if values.keys() != {*names, *(parameter.arg for parameter in form.kwonlyargs)}:
            raise NotConstantError(call, f"{function.node.name} is called with other arguments than it has")
        return values


def _parsing(value: ast.expr, frame: _Frame) -> _Parser | None:
    """The parser of a statement that begins to parse, in the script's entry itself; None for any other."""
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="parse_args")) if frame.depth == 0:
            found = frame.names.get(name)
            return found if isinstance(found, _Parser) else None
        case _:
            return None
