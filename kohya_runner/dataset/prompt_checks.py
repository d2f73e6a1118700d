"""What the text encoders will not get of a caption: cut off ends, trigger words that are missing or misspelt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from kohya_runner.dataset.token_count import Count, Encoder, alike
from kohya_runner.dataset.trainer_view import PageFinding, Rules, TrainerView, named, page_finding, some
from kohya_runner.findings import info, warning
from kohya_runner.text import counted, shortened

Check = Callable[[Sequence[TrainerView], Rules], Iterator[PageFinding]]

_CHOICE = re.compile(r"(?<!\{)\{[^{}|]*\|[^{}]*\}(?!\})")
_WORDS = re.compile(r"[\w']+")
ALIKE, NEARLY_ALL = 8, 0.9  # captions, and their share, that make a first tag one which all should have
USUAL = 0.5  # share of captions with a word that make it one which all should have
TAIL = 40


def truncated(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """Captions that are cut off (library/strategy_base.py:232): for certain, or perhaps."""
    for index, name in alike(rules.encoders):
        encoder = rules.encoders[index]
        limit = views[0].counts[index].limit  # the encoder's, less what is written before every caption
        certain = [one for one in views if one.counts[index].fewest > limit]
        if certain:
            longest = max(certain, key=lambda one: one.counts[index].fewest)
            far, cut = longest.counts[index], longest.counts[index].cut or 0
            where = "after" if far.exact else "after, at the earliest,"
            text = (
                f"{counted(len(certain), 'caption')} longer than the {limit} tokens of {name}: "
                f"{named(certain)}; the longest has {far.shown} and is cut {where} "
                f"{shortened('…' + longest.caption[max(0, cut - TAIL) : cut])}"
            )
            hint = "shorten" + _length_that_fits(encoder, [one.counts[index] for one in certain])
            # beside T5 CLIP gives no more than one vector, and long captions are usual
            say = info if encoder.kind == "clip" and any(other.kind == "t5" for other in rules.encoders) else warning
            yield page_finding(say, "caption.truncated", text, certain, hint=hint)
        perhaps = [one for one in views if one.counts[index].fewest <= limit < one.counts[index].most]
        if perhaps:
            most = max(one.counts[index].most for one in perhaps)
            text = (
                f"{counted(len(perhaps), 'caption')} could be longer than the {limit} tokens of "
                f"{name}: {named(perhaps)}; at most {most} by an estimate that never counts too low"
            )
            yield page_finding(info, "caption.length", text, perhaps)


def _length_that_fits(encoder: Encoder, counts: Sequence[Count]) -> str:
    """The shortest where the tokens were counted, the longest where they were estimated."""
    most = max(one.most for one in counts)
    fitting = [length for length in encoder.longer if length >= most]
    if encoder.longer and not fitting:
        return f" to {encoder.longer[-1]} tokens and write args.max_token_length: {encoder.longer[-1]}"
    return f", or write args.max_token_length: {fitting[0]}" if fitting else ""


def prefix(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """Captions without the first tag that nearly all others begin with, where no rule of the recipe says it."""
    written = [one for one in views if one.from_file and not one.source.regularization]
    moved = {"enable_wildcard", "shuffle_caption"} & {*rules.changing}
    if moved or not written or written[0].source.captions.starts_with:
        return
    heads = Counter(one.caption.partition(",")[0] for one in written if "," in one.caption)
    head, having = heads.most_common(1)[0] if heads else ("", 0)
    others = [one for one in written if one.caption.partition(",")[0] != head]
    if others and having >= ALIKE and having >= NEARLY_ALL * len(written):
        text = f"{counted(len(others), 'caption')} without {shortened(head)} at the beginning: {named(others)}; "
        hint = "write it there, too; captions.starts_with in the recipe makes it a rule"
        yield page_finding(warning, "caption.prefix", f"{text}{having} others have it", others, hint=hint)


def wildcards(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """``{red|blue}`` is chosen from with enable_wildcard alone (library/dataset.py:521-549)."""
    found = [] if "enable_wildcard" in rules.changing else [one for one in views if _CHOICE.search(one.caption)]
    text, hint = "with braces that are read literally", "write args.enable_wildcard: true, or take the braces out"
    return some(warning, "caption.wildcard", found, "caption", text, hint)


def trigger(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """Captions without the word that most captions have, and captions with one that looks like it."""
    written = [one for one in views if one.from_file and not one.source.regularization]
    if not written or "enable_wildcard" in rules.changing:  # then chance takes a line
        return
    groups = triggers(written)
    for words in groups:
        without = [one for one in written if not any(word in one.caption for word in words)]
        meant = {id(one): near for one in without if (near := misspelt(one.caption, words))}
        wrong = [one for one in without if id(one) in meant]
        if wrong:
            found, word = meant[id(wrong[0])]
            text = f"with {shortened(found)} where {shortened(word)} was meant"
            yield from some(warning, "caption.misspelt", wrong, "caption", text, "correct the spelling")
        missing = [one for one in without if id(one) not in meant]
        stated = words == written[0].source.captions.contains_any  # then caption.contains_any says it
        if missing and not stated:
            text = f"{counted(len(missing), 'caption')} without {' or '.join(map(shortened, words))}"
            rest = f"{len(written) - len(without)} others have it"
            yield page_finding(warning, "caption.trigger", f"{text}: {named(missing)}; {rest}", missing)


def triggers(views: Sequence[TrainerView]) -> tuple[tuple[str, ...], ...]:
    """Groups of words of which each caption should hold one: the recipe's, else the concept where most captions do."""
    rules = views[0].source.captions
    stated = ((rules.contains_any,) if rules.contains_any else ()) + tuple((word,) for word in rules.contains_all)
    if stated:
        return stated
    concept = views[0].source.concept
    forms = tuple(dict.fromkeys((concept, concept.replace("_", " "))))
    having = sum(1 for one in views if any(form in one.caption for form in forms))
    close = sum(1 for one in views if misspelt(one.caption, forms)) if having else 0
    return (forms,) if having and (having + close) >= USUAL * len(views) else ()


def misspelt(text: str, words: Sequence[str]) -> tuple[str, str] | None:
    """What stands in the text in place of one of the words, and that word; None where nothing looks like one."""
    said = [found[0] for found in _WORDS.finditer(text)]
    for word in words:
        parts = _WORDS.findall(word)
        allowed = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
        for start in range(len(said) - len(parts) + 1) if parts else ():
            piece = " ".join(said[start : start + len(parts)])
            wanted = " ".join(parts)
            if abs(len(piece) - len(wanted)) <= allowed and 0 < distance(piece, wanted, allowed) <= allowed:
                return piece, word
    return None


def distance(one: str, other: str, most: int) -> int:
    """Edit distance with swapped neighbours as one edit; ``most + 1`` for anything farther."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            best = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, last[j - 2] + 1)
            row.append(best)
        if min(row) > most:
            return most + 1
    return row[-1]


def kept(text: str, count: Count) -> tuple[str, str]:
    """What is read of a text for certain, and what is, or may be, cut off."""
    return (text, "") if count.cut is None else (text[: count.cut], text[count.cut :])


PROMPT_CHECKS: tuple[Check, ...] = (truncated, prefix, wildcards, trigger)
"""Checks of one folder's prompts. A new check is a row here."""
