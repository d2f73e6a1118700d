"""Two forms in which trainers list the choices of an option: the keys of a table, the members of an enumeration."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ENUMERATIONS: Mapping[str, tuple[str, ...]] = {
    "accelerate.utils.DynamoBackend": (
        "NO", "EAGER", "AOT_EAGER", "INDUCTOR", "AOT_TS_NVFUSER", "NVPRIMS_NVFUSER", "CUDAGRAPHS", "OFI", "FX2TRT",
        "ONNXRT", "TENSORRT", "AOT_TORCHXLA_TRACE_ONCE", "TORCHXLA_TRACE_ONCE", "IPEX", "TVM", "HPU_BACKEND",
    ),
}  # fmt: skip
"""The values of enumerations outside a checkout, by full name (accelerate 1.6.0, which every engine pins)."""


def table_of(node: ast.expr) -> ast.expr | None:
    """``TABLE`` of ``list(TABLE)`` and ``list(TABLE.keys())``."""
    match node:
        case ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Attribute(value=table, attr="keys"), args=[])]):
            return table
        case ast.Call(func=ast.Name(id="list"), args=[ast.Name() as table], keywords=[]):
            return table
        case _:
            return None


def enumeration_of(node: ast.expr) -> ast.expr | None:
    """``Enum`` of ``[e.value for e in Enum]``."""
    match node:
        case ast.ListComp(
            elt=ast.Attribute(value=ast.Name(id=used), attr="value"),
            generators=[ast.comprehension(target=ast.Name(id=bound), iter=source, ifs=[], is_async=0)],
        ) if used == bound:
            return source
        case _:
            return None


def dict_keys(node: ast.expr) -> tuple[ast.expr, ...] | None:
    """The keys of a dictionary that is written down, without ``**``; None for anything else."""
    if not isinstance(node, ast.Dict) or any(key is None for key in node.keys):
        return None
    return tuple(key for key in node.keys if key is not None)


def dotted(node: ast.expr) -> tuple[str, ...]:
    """``a.b.c`` as its parts; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=inner, attr=name):
            outer = dotted(inner)
            return (*outer, name) if outer else ()
        case _:
            return ()
