"""What other programs write before a trainer's lines: times, levels, containers, units of journald.

A prefix is taken off only where it cannot be the trainer's own text, line by line, several times over:
``kubectl`` writes its time before docker's name, and fluxgym its own time and level before that.
"""

from __future__ import annotations

import re

_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_LEVEL = r"(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|STDOUT|STDERR|stdout|stderr)"
_PREFIXES = re.compile(
    rf"\[{_TIME}\] ?\[{_LEVEL}\] ?"  # fluxgym: [2024-12-31 10:02:11] [INFO] text
    rf"|\[?{_TIME}\]? (?:stdout|stderr) [FP] "  # containerd: time stream flag text
    rf"|{_TIME} - {_LEVEL} - "
    rf"|{_TIME}\|?(?=\[LyCORIS\])"
    rf"|\[{_TIME}\] ?"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}(?:Z|[+-]\d\d:\d\d) ?(?:- )?"  # kubectl, docker logs --timestamps
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,64} [\w@./-]{1,64}(?:\[\d{1,8}\])?: "  # journald, syslog
    r"|\[\d\d:\d\d:\d\d(?:\.\d{1,6})?\]:? ?"
    r"|(?:Training )?STD(?:ERR|OUT): "
    r"|\d\d:\d\d:\d\d-\d{6} (?=Traceback|  File)"
    rf"|\[{_LEVEL}\] (?! )"
)
_CONTAINER = re.compile(r"[a-zA-Z][\w.-]{0,62}(?:-\d{1,3})?\s{1,30}\| ?")
_POD = re.compile(r"\[(?:pod/)?[\w.-]{1,80}/[\w.-]{1,80}\] ?")  # kubectl --prefix, stern
_QUOTED = re.compile(r"> ?")
_MOST = 4
_FEW = 400
"""Lines of the log's beginning that tell whether all of it stands behind a container's name."""

_POWERSHELL = re.compile(
    r"At (?:line:\d+|[A-Za-z]:\\.{1,300}:\d+) char:\d+$|\s{0,8}\+ (?:CategoryInfo|FullyQualifiedErrorId)\b|\+ +~|\+ \S"
)
"""What PowerShell writes around the words of a program that failed."""


def shared(lines: list[str]) -> tuple[re.Pattern[str], ...]:
    """The prefixes that most of the first lines have: a container's name and a quotation mark prove nothing alone."""
    some = [line for line in lines[:_FEW] if line.strip()]
    kinds = (_CONTAINER, _POD, _QUOTED)
    return tuple(kind for kind in kinds if some and sum(bool(kind.match(line)) for line in some) > 0.8 * len(some))


def without(line: str, common: tuple[re.Pattern[str], ...]) -> str:
    """The line without what other programs wrote before it; rich's own records keep their time."""
    for _ in range(_MOST):
        for kind in (*common, _PREFIXES):
            match = kind.match(line)
            if match and match.end():
                line = line[match.end() :]
                break
        else:
            return line
    return line


def noise(line: str) -> bool:
    """Whether it is PowerShell's frame around an error, which cuts a traceback into pieces."""
    return bool(_POWERSHELL.match(line))
