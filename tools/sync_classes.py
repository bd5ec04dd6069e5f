"""Prints the blocking twin of one async class; used by ``gen_sync.py``.

No logic is printed: each method forwards to the async one, by way of the portal where that has to be awaited.
"""

from __future__ import annotations

import ast
import copy
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sync_source import AsyncClass, Definition, Member, Module, Origin, Refusal
from sync_text import Words
from sync_types import Twin, Types

RENAMED = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
}
PORTAL: Origin = ("openwop.sync._portal", "Portal")
BATCHES: Origin = ("openwop.sync._batches", "BatchIterator")
ENTERED: Origin = ("openwop.sync._bases", "entered")
CLIENT_PARTS: Origin = ("openwop.sync._bases", "client_parts")
RESPONSE: Origin = ("openwop.response", "ApiResponse")


@dataclass(frozen=True)
class Items:
    """What reads ahead for a class."""

    made: str
    """An expression that makes it; ``portal`` and ``native`` are there."""
    needs: Origin | None = None
    properties: frozenset[str] = frozenset()
    """What it tells instead of the async object, because it is about the last item, and that object is further on."""


BATCHED = Items("portal.iterate(native)")
ITEMS: dict[str, Items] = {
    "AsyncEventStream": Items(
        "EventItems(portal, native)",
        ("openwop.sync._events", "EventItems"),
        frozenset({"cursor", "gaps", "last_event_id", "last_sequence", "reconnects", "skipped", "transport"}),
    ),
    "AsyncDownload": Items(
        "Pieces(portal, native)", ("openwop.sync._bases", "Pieces"), frozenset({"sha256"})
    ),
    # What is read makes room for another run, and nobody has asked for that yet.
    "AsyncFanOut": Items("portal.iterate(native, ahead=1)"),
}
"""Classes for which that is not simply a ``BatchIterator``."""


class ClassPrinter:
    """Prints one class, for a formatter to lay out."""

    def __init__(
        self,
        twin: Twin,
        types: Types,
        words: Words,
        *,
        base: str | None,
        late: Callable[[Twin, Module], bool],
    ) -> None:
        """``base`` is written by hand and has what it is about; ``late`` tells what is imported where it is made."""
        self._twin = twin
        self._class = twin.source
        self._types = types
        self._words = words
        self._items = ITEMS.get(self._class.name, BATCHED)
        self._base = base
        self._late = late

    def lines(self) -> Iterator[str]:
        """The class."""
        generic = self._class.generic
        bases = [self._base] if self._base is not None else []
        if generic is not None:
            self._types.names(generic, self._class.module)
            bases.append(ast.unparse(generic))
        yield f"class {self._twin.name}{'(' + ', '.join(bases) + ')' if bases else ''}:"
        yield from self._doc(self._class.node, self._class.name, indent=4)
        raw = list(self._class.raw_methods())
        if self._base is None:
            yield from self._wrapping()
        for name, kind, method in raw:
            yield from self._raw(name, kind, kind.members[method])
        for member in self._class.members.values():
            if not raw and not (self._base is not None and member.name in RENAMED):
                yield from self._member(member)

    # -- pieces -----------------------------------------------------------------------------------------------

    def _doc(self, node: ast.ClassDef | Definition, place: str, *, indent: int) -> Iterator[str]:
        text = ast.get_docstring(node)
        if text is None:
            return
        turned = self._words.docstring(text, place, indent)
        yield from docstring(turned, indent)

    def _wrapping(self) -> Iterator[str]:
        self._types.need_other(self._class.origin)
        if self._twin.made_by_callers:
            yield from self._made_from_client(self._class.members["__init__"])
            return
        self._types.need_other(PORTAL)
        generic = self._class.generic
        native = self._class.name + (
            ast.unparse(generic).removeprefix("Generic") if generic is not None else ""
        )
        yield f"    def __init__(self, portal: Portal, native: {native}) -> None:"
        yield "        self._portal = portal"
        yield "        self._async = native"
        yield from self._reading_ahead()
        yield ""

    def _made_from_client(self, member: Member) -> Iterator[str]:
        self._types.need_other(CLIENT_PARTS)
        (client, *others) = self._passed(member)
        yield from self._head(member, member.node, "None")
        given = client.partition(".")[0]
        yield f"        portal, async_client = {CLIENT_PARTS[1]}({given})"
        yield f"        native = {self._class.name}({', '.join(['async_client', *others])})"
        yield "        self._portal = portal"
        yield "        self._async = native"
        yield from self._reading_ahead()
        yield ""

    def _reading_ahead(self) -> Iterator[str]:
        if self._reads_ahead:
            if self._items.needs is not None:
                self._types.need_other(self._items.needs)
            yield f"        self._items = {self._items.made}"

    @property
    def _reads_ahead(self) -> bool:
        """Whether items are read before they are asked for; what cannot be closed must not run on by itself."""
        return {"__aiter__", "aclose"} <= self._class.members.keys()

    def _member(self, member: Member) -> Iterator[str]:
        if member.name == "__init__":
            if self._base is not None and self._base.partition("[")[0].endswith("Client"):
                yield from self._constructor(member)
            return
        if member.name == "__repr__":
            yield "    def __repr__(self) -> str:"
            yield f'        return repr(self._async).replace("{self._class.name}", "{self._twin.name}", 1)'
            yield ""
            return
        if member.name == "__aiter__":
            yield from self._iteration()
            return
        for overload in member.overloads:
            yield "    @overload"
            yield from self._head(member, overload, self._returns(member, overload))
            yield "        ..."
            self._types.need_other(("typing", "overload"))
        for decorator in member.decorators & {"property", "cached_property"}:
            yield f"    @{decorator}"
            if decorator == "cached_property":
                self._types.need_other(("functools", "cached_property"))
        unknown = member.decorators - {"property", "cached_property"}
        if unknown:
            raise Refusal(f"{self._class.name}.{member.name}: there is no rule for {unknown}")
        yield from self._head(member, member.node, self._returns(member, member.node))
        yield from self._doc(member.node, f"{self._class.name}.{member.name}", indent=8)
        yield from textwrap.indent(self._body(member), " " * 8).splitlines()
        yield ""

    def _iteration(self) -> Iterator[str]:
        if not self._reads_ahead:
            self._types.need_other(("typing", "Self"))
            yield from ("    def __iter__(self) -> Self:", "        return self", "")
            return
        step = self._class.members["__anext__"]
        assert step.node.returns is not None
        self._types.need_other(BATCHES)
        item = ast.unparse(self._types.blocking(step.node.returns, step.module))
        yield f"    def __iter__(self) -> BatchIterator[{item}]:"
        yield "        return iter(self._items)"
        yield ""

    def _head(self, member: Member, node: Definition, returns: str, name: str = "") -> Iterator[str]:
        arguments = copy.deepcopy(node.args)
        for argument in _all(arguments):
            if argument.annotation is not None:
                argument.annotation = self._types.blocking(argument.annotation, member.module)
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self._types.names(default, member.module)
        name = name or RENAMED.get(member.name, member.name)
        yield f"    def {name}({ast.unparse(arguments)}) -> {returns}:"

    def _returns(self, member: Member, node: Definition) -> str:
        if node.returns is None:
            raise Refusal(f"{self._class.name}.{member.name}: the type of what it returns is missing")
        turned = self._types.blocking(node.returns, member.module)
        if self._iterates(member):
            assert isinstance(turned, ast.Subscript)
            self._types.need_other(BATCHES)
            return f"BatchIterator[{ast.unparse(turned.slice)}]"
        return ast.unparse(turned)

    def _iterates(self, member: Member) -> bool:
        """Whether what it returns is given out as it comes."""
        returns = member.node.returns
        named = returns.value if isinstance(returns, ast.Subscript) else None
        if not isinstance(named, ast.Name):
            return False
        return named.id in ("AsyncIterator", "AsyncIterable", "AsyncGenerator")

    def _body(self, member: Member) -> str:
        native = f"self._async.{member.name}"
        special = self._special(member)
        if special is not None:
            return special
        if member.name in self._items.properties:
            return f"return self._items.{member.name}"
        if member.decorators & {"property", "cached_property"}:
            return self._result(member, native)
        call = f"{native}({', '.join(self._passed(member))})"
        if not member.is_async or member.is_generator:
            return self._result(member, call)
        if member.overloads:  # the union that the implementation takes fits no single overload
            return self._result(member, f"self._portal.call(lambda: {call})")
        return self._result(member, self._forward(member))

    def _forward(self, member: Member) -> str:
        return f"self._portal.call({', '.join([f'self._async.{member.name}', *self._passed(member)])})"

    def _special(self, member: Member) -> str | None:
        """The body of what begins, steps or ends a ``for`` or ``with``, where it does not simply forward."""
        body = [
            ast.unparse(node)
            for node in member.node.body
            if not isinstance(node, ast.Expr) or not _is_text(node)
        ]
        enters = self._class.members.get("__aenter__")
        match member.name:
            case "__anext__":
                step = "self._portal.step(self._async.__anext__)"
                return "return next(self._items)" if self._reads_ahead else f"return {step}"
            case "aclose" if self._reads_ahead:
                return "self._items.close()"
            case "__aenter__" if self._iterates(member):
                self._types.need_other(ENTERED)
                return "self._items = entered(self._portal, self._async)\nreturn self._items"
            case "__aexit__" if enters is not None and self._iterates(enters):
                return "self._items.close()"
            case "__aenter__" if body == ["return self"]:
                return "return self"
            case "__aexit__" if body == ["await self.aclose()"]:
                return "self.close()"
            case "__aexit__" if self._reads_ahead:
                return f"self._items.close()\n{self._forward(member)}"
            case _:
                return None

    def _result(self, member: Member, value: str) -> str:
        returns = member.node.returns
        if isinstance(returns, ast.Name) and returns.id == "Self":
            return f"{value}\nreturn self"
        if isinstance(returns, ast.Constant) and returns.value is None:
            return value
        if self._iterates(member):
            return f"return self._portal.iterate({value})"
        assert returns is not None
        twin = self._types.twin(returns, member.module)
        if twin is None:
            if self._types.is_async(returns, member.module):
                raise Refusal(f"{self._class.name}.{member.name}: cannot wrap {ast.unparse(returns)}")
            return f"return {value}"
        late = self._late(twin, member.module)
        made = f"{twin.name}._wrap" if twin.source.name.endswith("Client") else twin.name
        lines = [f"from {twin.module} import {twin.name}", ""] if late else []
        return "\n".join([*lines, f"return {made}(self._portal, {value})"])

    def _passed(self, member: Member) -> list[str]:
        arguments = member.node.args
        passed = [self._value(argument, member) for argument in [*arguments.posonlyargs, *arguments.args][1:]]
        if arguments.vararg is not None:
            passed.append(f"*{arguments.vararg.arg}")
        passed += [f"{argument.arg}={self._value(argument, member)}" for argument in arguments.kwonlyargs]
        if arguments.kwarg is not None:
            passed.append(f"**{arguments.kwarg.arg}")
        return passed

    def _value(self, argument: ast.arg, member: Member) -> str:
        annotation, name = argument.annotation, argument.arg
        if annotation is None:
            return name
        bridge = self._types.bridge(annotation, member.module)
        if bridge is not None:
            self._types.need_other(bridge)
            return f"{bridge[1]}({name})"
        parts = _union(annotation)
        twins = [
            twin for twin in (self._types.twin(part, member.module) for part in parts) if twin is not None
        ]
        if not twins:
            return name
        if len(parts) == 1:
            return f"{name}._async"
        kinds = " | ".join(twin.name for twin in twins)
        return f"{name}._async if isinstance({name}, {kinds}) else {name}"

    # -- clients, and the methods that also give the answer ---------------------------------------------------

    def _constructor(self, member: Member) -> Iterator[str]:
        node = copy.deepcopy(member.node)
        passed = self._passed(member)
        factory = ""
        for argument in node.args.kwonlyargs:
            if argument.arg == "http_client":
                argument.annotation = ast.parse("Callable[[], httpx.AsyncClient] | None", mode="eval").body
                self._types.need_other(("collections.abc", "Callable"))
                passed.remove("http_client=http_client")
                factory = ", http_client"
        self._types.need_other(("functools", "partial"))
        self._types.need_other(self._class.origin)
        native = Member(member.module, node)
        yield from self._head(native, node, "None")
        yield f"        self._open(partial({', '.join([self._class.name, *passed])}){factory})"
        yield ""

    def _raw(self, name: str, kind: AsyncClass, method: Member) -> Iterator[str]:
        twin = self._types.twins[self._original(kind)]
        self._types.need_other(RESPONSE)
        for overload in [*method.overloads, method.node]:
            if overload is not method.node:
                yield "    @overload"
                self._types.need_other(("typing", "overload"))
            answer = f"ApiResponse[{self._returns(method, overload)}]"
            if method.overloads and overload is method.node:
                answer = "ApiResponse[Any]"  # the answers of the overloads have no type in common
            yield from self._head(method, overload, answer, name)
            if overload is not method.node:
                yield "        ..."
        yield f'        """As :meth:`{twin.name}.{method.name}`, with the answer it came in."""'
        call = f"self._portal.call({', '.join([f'self._async.{name}', *self._passed(method)])})"
        if method.overloads:
            # `raw` has one signature for all overloads.
            self._types.need_other(("typing", "Any"))
            self._types.need_other(("typing", "cast"))
            call = call.replace(f"self._async.{name}", f'cast("Any", self._async.{name})', 1)
            yield f"        response: {answer} = {call}"
            yield "        return response"
        else:
            yield f"        return {call}"
        yield ""

    def _original(self, kind: AsyncClass) -> Origin:
        """The class that has a twin: ``kind``, or the one whose other half ``kind`` is."""
        if kind.origin in self._types.twins:
            return kind.origin
        for origin, twin in self._types.twins.items():
            if any(base.origin == kind.origin for base in twin.source.bases):
                return origin
        raise Refusal(f"{kind.name} has no twin")


def docstring(text: str, indent: int) -> Iterator[str]:
    """A docstring, indented."""
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = text.splitlines()
    if len(lines) == 1:
        yield f'{" " * indent}"""{text}"""'
        return
    yield f'{" " * indent}"""{lines[0]}'
    yield from (" " * indent + line if line.strip() else "" for line in lines[1:])
    yield f'{" " * indent}"""'


def _is_text(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _all(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    yield from filter(None, [arguments.vararg, arguments.kwarg])


def _union(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_union(node.left), *_union(node.right)]
    return [node]
