"""Problems in captions: what the trainer stumbles over, and what the recipe promises about them."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from kohya_runner.dataset.captions import BOM, fewest_tokens, most_tokens
from kohya_runner.dataset.facts import CAPTION_BLANK, CAPTION_EMPTY, CAPTION_ENCODING, LINK, Caption, Scan, dotted
from kohya_runner.findings import Finding, error, info, warning
from kohya_runner.text import counted, names, shortened

Say = Callable[..., Finding]
PATTERN_SECONDS = 5.0
"""How long a pattern may take on all captions of a folder: a careless one would take for ever."""


def regex_problem(pattern: str) -> str | None:
    """Why a ``captions.matches`` cannot be used, or None."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as problem:
        return f"is not a regular expression: {problem}"
    return None


def about(  # noqa: PLR0913, PLR0917 - a finding, and of what
    say: Say, code: str, scan: Scan, paths: Sequence[Path], noun: str, what: str, hint: str = ""
) -> Iterator[Finding]:
    """One finding about these files of a folder, ``noun`` as they are called; none where there are none."""
    if paths:
        text = f"{counted(len(paths), noun)} {what}: {names(paths)}"
        yield say(code, text, where=scan.source.place(paths), hint=hint)


def missing(scan: Scan) -> Iterator[Finding]:
    """Images without a caption: the trainer takes the folder's name for it (library/dreambooth_dataset.py:232)."""
    paths = [image.path for image in scan.images if image.caption is None]
    hint = f"the trainer trains them as '{scan.source.concept}'; if so, write in the entry captions: {{optional: true}}"
    say = info if scan.source.regularization or scan.source.captions.optional else error
    lacking = f"without a {dotted(scan.source.captions.extension)} file"
    return about(say, "caption.missing", scan, paths, "image", lacking, hint)


def orphan(scan: Scan) -> Iterator[Finding]:
    return about(warning, "caption.orphan", scan, scan.orphans, "caption", "without an image")


UNUSABLE = (
    ("caption.empty", CAPTION_EMPTY, "without any text, which stops the trainer", "write a caption"),
    ("caption.blank", CAPTION_BLANK, "with a blank first line, the only line the trainer reads",
     "write the caption into the first line"),
    ("caption.encoding", CAPTION_ENCODING, "not in UTF-8, which stops the trainer", "save as UTF-8"),
)  # fmt: skip


def unusable(scan: Scan) -> Iterator[Finding]:
    """No byte: an assertion of the trainer; a blank first line: an empty prompt, without a word; not UTF-8: its end.

    library/dreambooth_dataset.py:108, :112 and :105.
    """
    for code, problem, text, hint in UNUSABLE:
        paths = [caption.path for caption in _captions(scan) if caption.problem == problem]
        yield from about(error, code, scan, paths, "caption", text, hint)


def unreadable(scan: Scan) -> Iterator[Finding]:
    told = [caption for caption in _captions(scan) if caption.problem.startswith("unreadable")]
    bad = [caption for caption in told if not caption.problem.endswith(LINK)]
    if bad:
        reason = bad[0].problem.partition(": ")[2]
        paths = [caption.path for caption in bad]
        text = f"{counted(len(bad), 'caption')} cannot be read: {names(paths)}: {reason}"
        yield error("caption.unreadable", text, where=scan.source.place(paths))


def lines(scan: Scan) -> Iterator[Finding]:
    """Several lines: only the first is used (library/dreambooth_dataset.py:112), with enable_wildcard any of them."""
    paths = [caption.path for caption in _usable(scan) if caption.lines > 1]
    hint = "join the lines (with args.enable_wildcard the trainer picks one of them at random)"
    return about(warning, "caption.lines", scan, paths, "caption", "of several lines, only the first is used", hint)


def bom(scan: Scan) -> Iterator[Finding]:
    """A byte order mark stays in the prompt: it is read as utf-8, not utf-8-sig (library/dreambooth_dataset.py:102)."""
    paths = [caption.path for caption in _captions(scan) if caption.bom]
    text = "with a byte order mark, which becomes part of the prompt"
    return about(warning, "caption.bom", scan, paths, "caption", text, "save as UTF-8 without BOM")


def promised(scan: Scan) -> Iterator[Finding]:
    """The recipe's ``captions.starts_with``, ``contains_any`` and ``contains_all``."""
    rules = scan.source.captions
    if (start := rules.starts_with) is not None:
        rule = f"not beginning with {shortened(start)}"
        yield from _broken(scan, "caption.starts_with", rule, lambda text: text.startswith(start))
    if one_of := rules.contains_any:
        rule = f"with none of {', '.join(map(shortened, one_of))}"
        yield from _broken(scan, "caption.contains_any", rule, lambda text: any(word in text for word in one_of))
    if each := rules.contains_all:
        rule = f"without {' and '.join(map(shortened, each))}"
        yield from _broken(scan, "caption.contains_all", rule, lambda text: all(word in text for word in each))


def matches(scan: Scan) -> Iterator[Finding]:
    """The recipe's ``captions.matches``. A pattern with a fault is not tried."""
    pattern = scan.source.captions.matches
    if pattern is None or regex_problem(pattern) is not None:
        return
    compiled = re.compile(pattern)
    rule = f"not matching {shortened(pattern)}"
    try:
        with at_most(PATTERN_SECONDS):
            found = tuple(_broken(scan, "caption.matches", rule, lambda text: compiled.search(text) is not None))
    except TooSlowError:
        text = f"captions.matches {shortened(pattern)} takes more than {PATTERN_SECONDS:.0f} s on {scan.source.folder}"
        hint = "write a simpler pattern, without a repeat inside a repeat"
        found = (error("caption.matches", text, where=scan.source.where, hint=hint),)
    yield from found


def max_tokens(scan: Scan) -> Iterator[Finding]:
    """The recipe's ``captions.max_tokens``: an error where it is certain, a warning where it cannot be ruled out.

    The trainer cuts off what is too long without a word (library/strategy_base.py:232).
    """
    limit = scan.source.captions.max_tokens
    if limit is None:
        return
    captions = [(fewest_tokens(c.text), most_tokens(c.text), c.path) for c in _usable(scan)]
    certain = {path: fewest for fewest, _, path in captions if fewest > limit}
    if certain:
        text = f"{counted(len(certain), 'caption')} of more than {limit} tokens: {names([*certain])}"
        longest = f"the longest has at least {max(certain.values())}"
        yield error("caption.max_tokens", f"{text}; {longest}", where=scan.source.place([*certain]), hint="shorten")
    perhaps = {path: most for fewest, most, path in captions if fewest <= limit < most}
    if perhaps:
        text = f"{counted(len(perhaps), 'caption')} could have more than {limit} tokens: {names([*perhaps])}"
        longest = f"at most {max(perhaps.values())} by an estimate that never counts too low"
        yield warning("caption.max_tokens", f"{text}; {longest}", where=scan.source.place([*perhaps]))


class TooSlowError(Exception):
    """The work took longer than it may."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise ``TooSlowError`` in the block after so many seconds.

    Python's regular expressions look for signals while they match, so a timer can end one. Only the main thread hears
    signals; in another there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _captions(scan: Scan) -> tuple[Caption, ...]:
    """Every caption of an image, once."""
    return tuple({image.caption.path: image.caption for image in scan.images if image.caption}.values())


def _usable(scan: Scan) -> tuple[Caption, ...]:
    return tuple(caption for caption in _captions(scan) if not caption.problem)


def _broken(scan: Scan, code: str, rule: str, holds: Callable[[str], bool]) -> Iterator[Finding]:
    """An error for the captions that break a rule. A byte order mark is no part of the text that is judged."""
    bad = [caption for caption in _usable(scan) if not holds(caption.text.lstrip(BOM))]
    if bad:
        paths = [caption.path for caption in bad]
        text = f"{counted(len(bad), 'caption')} {rule}: {names(paths)}; the first reads {shortened(bad[0].text)}"
        yield error(code, text, where=scan.source.place(paths), hint="correct the captions, or the recipe's rule")


CAPTION_CHECKS = (
    missing, unusable, unreadable, orphan, lines, bom, promised, matches, max_tokens,
)  # fmt: skip
"""Checks of one folder's captions. A new check is a row here."""
