"""Rules as one line of text, to type and to read: ``clip@top30% - mimic@bottom15%`` means what the JSON means.

    rule    = both { "|" both }                   kept by any        (or the word: or)
    both    = rest { "&" rest }                   kept by all        (and)
    rest    = atom { "-" atom }                   but not            (minus); spaces around it after a name
    atom    = ( "(" rule ")" | voting | visits | "filter" "(" name ")" | score cut ) [ "!" ]
    score   = column | ( "mean" | "mean_rank" | "mean_score" ) "(" column { "," column } ")"
    column  = [ name ":" ] name                   RUN:SIGNAL, or a SIGNAL of the run at hand
    cut     = ">=" number | "@" ( "top" best | "bottom" best | "mixture" | "two_means" )
    best    = amount [ "/class" [ "{" name amount { "," name amount } "}" ] ]
    amount  = number "%" | whole number
    voting  = ( "majority" | "dawid_skene" ) "(" rule { "," rule } ")"
            | "weighted" "(" number "*" rule { "," number "*" rule } ")"
    visits  = "visits" "(" name "," measure cut "," how ")"
    measure = "score" | "weight" | "margin" | "neg_loss"
    how     = "majority" | "dawid_skene" | "weighted" number { number } | "mean" | "mean_normal"

``!`` drops what the part before it knows no score of. A name with other characters than letters, digits, ``_``, ``.``
and inner ``-`` is written as a JSON string. A saved filter is taken up with its rule as it is now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mimic.errors import MimicError
from mimic.filters.mean_rules import Draw, MeanRule, VisitsRule
from mimic.filters.rule import Column, Rule
from mimic.filters.rules import DEEPEST, AndRule, MinusRule, OrRule, VotesRule, depth
from mimic.filters.signal_rules import Best, ShareRule, SplitRule, ThresholdRule

LONGEST = 10_000  # characters

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*(?:-[A-Za-z0-9_.]+)*")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_MEANS = {"mean": "normal", "mean_rank": "rank", "mean_score": "score"}
_MEASURES = ("score", "weight", "margin", "neg_loss")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Scope:
    """What names mean. Each function raises a MimicError for a name that means nothing.

    Attributes:
        column: (run or None, signal) → the column.
        run: a run's name → its id.
        saved: a filter's name → its rule.
    """

    column: Callable[[str | None, str], Column]
    run: Callable[[str], str]
    saved: Callable[[str], Rule]


def _as_written(run: str | None, signal: str) -> Column:
    if run is None:
        raise MimicError(f"{signal!r} is of no run: write RUN:{signal}")
    return Column(run=run, signal=signal)


def _no_filters(name: str) -> Rule:
    raise MimicError(f"there is no filter {name!r}")


AS_WRITTEN = Scope(_as_written, lambda name: name, _no_filters)


def parse(text: str, scope: Scope = AS_WRITTEN) -> Rule:
    """The rule that an expression means.

    Raises:
        MimicError: the sentence quotes the place, counted in characters from 1, and says what was expected there.
    """
    if len(text) > LONGEST:
        raise MimicError(f"the rule has {len(text):,} characters, and {LONGEST:,} is the most that is read")
    return _Parser(text, scope).whole()


def expression(rule: Rule, run: str | None = None) -> str:
    """The expression that means this rule; signals of `run` go without its name."""
    if isinstance(rule, (AndRule, OrRule, MinusRule)):
        if rule.drop_unscored:
            return f"({_combined(rule, run)})!"
        return _combined(rule, run)
    return _atom(rule, run) + ("!" if rule.drop_unscored else "")


def _combined(rule: Rule, run: str | None) -> str:
    if isinstance(rule, MinusRule):
        return f"{_inside(rule.of, run, AndRule, OrRule)} - {_inside(rule.without, run, AndRule, OrRule, MinusRule)}"
    if isinstance(rule, AndRule):
        return " & ".join(_inside(part, run, AndRule, OrRule) for part in rule.parts)
    return " | ".join(_inside(part, run, OrRule) for part in rule.parts)


def _inside(part: Rule, run: str | None, *bracketed: type[Rule]) -> str:
    words = expression(part, run)
    return f"({words})" if isinstance(part, bracketed) and not part.drop_unscored else words


def _atom(rule: Rule, run: str | None) -> str:
    if isinstance(rule, ThresholdRule):
        return f"{_column(rule.column, run)} >= {rule.threshold!r}"
    if isinstance(rule, ShareRule):
        return f"{_column(rule.column, run)}@{rule.side}{_best(rule.best)}"
    if isinstance(rule, SplitRule):
        return f"{_column(rule.column, run)}@{rule.by}"
    if isinstance(rule, MeanRule):
        name = next(name for name, of in _MEANS.items() if of == rule.of)
        return f"{name}({', '.join(_column(each, run) for each in rule.signals)}){_draw(rule.draw)}"
    if isinstance(rule, VisitsRule):
        how = {None: rule.how, "score": "mean", "normal": "mean_normal"}[rule.mean]
        weights = "".join(f" {weight!r}" for weight in rule.weights)
        return f"visits({_name(rule.run)}, {rule.measure}{_draw(rule.draw)}, {how}{weights})"
    assert isinstance(rule, VotesRule)
    inner = [expression(part, run) for part in rule.rules]
    if rule.how == "weighted":
        inner = [f"{weight!r} * {words}" for weight, words in zip(rule.weights, inner, strict=True)]
    return f"{rule.how}({', '.join(inner)})"


def _column(column: Column, run: str | None) -> str:
    return _name(column.signal) if column.run == run else f"{_name(column.run)}:{_name(column.signal)}"


def _name(name: str) -> str:
    return name if _NAME.fullmatch(name) else json.dumps(name)


def _draw(draw: Draw) -> str:
    if draw.by == "line":
        return f" >= {draw.at!r}"
    return f"@top{_percent(draw.at or 0.0)}" if draw.by == "top" else f"@{draw.by}"


def _best(best: Best) -> str:
    def amount(value: float) -> str:
        return _percent(value) if best.share is not None else str(int(value))

    written = amount(best.share if best.share is not None else best.count or 0)
    if best.within == "class":
        written += "/class"
    if best.budgets:
        written += f"{{{', '.join(f'{_name(name)} {amount(value)}' for name, value in best.budgets.items())}}}"
    return written


def _percent(share: float) -> str:
    # in decimal: .07 · 100 is 7.000000000000001 in binary, and would come back as another share
    return f"{(Decimal(repr(share)) * 100).normalize():f}%"


def notes(rule: Rule, run: str | None = None) -> list[str]:
    """What may not have been meant: a number of samples that looks like a share, its % forgotten."""
    if isinstance(rule, ShareRule) and rule.best.count is not None and 0 < rule.best.count <= 100:
        count, before = rule.best.count, f"{_column(rule.column, run)}@{rule.side}"
        within = "/class" if rule.best.within == "class" else ""
        verb = "keeps" if rule.side == "top" else "is the worst"
        each = " of each class" if within else ""
        return [f"{before}{count}{within} {verb} {count} samples{each}; {count}% would be {before}{count}%{within}"]
    return [note for part in rule.parts for note in notes(part, run)]


class _Parser:
    """Recursive descent over the text, without tokens made beforehand: what a `-` is depends on where it stands."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._text, self._scope = text, scope
        self._at, self._depth = 0, 0

    def whole(self) -> Rule:
        rule = self._rule()
        self._space()
        if self._at < len(self._text):
            raise self._wrong("expected |, &, - or the end")
        if depth(rule.model_dump()) > DEEPEST:  # filters that were taken up may be deep too
            raise self._wrong(f"rules within rules go {DEEPEST} deep at most")
        return rule

    def _rule(self) -> Rule:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"rules within rules go {DEEPEST} deep at most")
        rule = self._chain(lambda: self._chain(self._rest, r"&|and\b", AndRule), r"\||or\b", OrRule)
        self._depth -= 1
        return rule

    def _chain(self, part: Callable[[], Rule], operator: str, kind: type[AndRule] | type[OrRule]) -> Rule:
        parts = [part()]
        while self._found(operator):
            parts.append(part())
        return parts[0] if len(parts) == 1 else kind.model_validate({"rules": parts})

    def _rest(self) -> Rule:
        rule, steps = self._atom(), 1
        while self._found(r"-|minus\b"):
            steps += 1
            if steps > DEEPEST:  # each is a rule within a rule
                raise self._wrong(f"at most {DEEPEST - 1} rules are taken away one after another")
            rule = MinusRule.model_validate({"of": rule, "without": self._atom()})
        return rule

    def _atom(self) -> Rule:
        if self._found(r"\("):
            rule = self._rule()
            self._expect(r"\)", ")")
        elif word := self._found(r"(?:majority|dawid_skene|weighted|visits|filter|mean_rank|mean_score|mean)\s*\("):
            rule = self._call(word[:-1].strip())
        else:
            rule = self._of_signal()
        return rule.model_copy(update={"drop_unscored": True}) if self._found("!") else rule

    def _call(self, word: str) -> Rule:
        start = self._at
        if word == "filter":
            rule: Rule = self._meant(self._scope.saved, self._word("the name of a filter"))
        elif word == "visits":
            return self._visits()
        elif word in _MEANS:
            signals = self._listed(self._column)
            self._expect(r"\)", ") or ,")
            draw = self._draw(self._cut())
            return self._made(start, MeanRule, of=_MEANS[word], signals=signals, draw=draw)
        elif word == "weighted":
            pairs = self._listed(lambda: (self._number(), self._expect(r"\*", "*") and self._rule()))
            weights, weighed = zip(*pairs, strict=True)
            rule = self._made(start, VotesRule, rules=weighed, how="weighted", weights=weights)
        else:
            rules = self._listed(self._rule)
            rule = self._made(start, VotesRule, rules=rules, how=word)
        self._expect(r"\)", ") or ,")
        return rule

    def _visits(self) -> Rule:
        start = self._at
        run = self._meant(self._scope.run, self._word("the name of a training run"))
        self._expect(",", ",")
        measure = self._one_of(_MEASURES)
        draw = self._draw(self._cut())
        self._expect(",", ",")
        how = self._one_of(("majority", "dawid_skene", "weighted", "mean_normal", "mean"))
        weights = []
        while how == "weighted" and (number := self._found(_NUMBER.pattern)):
            weights.append(float(number))
        self._expect(r"\)", ")")
        means = {"mean": "score", "mean_normal": "normal"}
        said: dict[str, Any] = {"mean": means[how]} if how in means else {"how": how, "weights": weights}
        return self._made(start, VisitsRule, run=run, measure=measure, draw=draw, **said)

    def _of_signal(self) -> Rule:
        start, column = self._at, self._column()
        said: dict[str, Any] = {"run": column.run, "signal": column.signal}
        cut = self._cut()
        if isinstance(cut, float):
            return self._made(start, ThresholdRule, threshold=cut, **said)
        if isinstance(cut, str):
            return self._made(start, SplitRule, by=cut, **said)
        side, best = cut
        return self._made(start, ShareRule, side=side, best=best, **said)

    def _column(self) -> Column:
        self._space()
        if re.compile(r"not\s+[\w\"(]", re.IGNORECASE).match(self._text, self._at):
            raise self._wrong(
                "there is no NOT: what is not to be kept stands after a minus (clip@top30% - mimic@bottom15%), "
                "and ! drops what a rule knows no score of (mimic@top80%!)"
            )
        start, first = self._at, self._word("a signal, RUN:SIGNAL, a function or (")
        second = self._word("a signal") if self._found(":") else None
        run, signal = (None, first) if second is None else (first, second)
        return self._meant(lambda name: self._scope.column(run, name), signal, start)

    def _cut(self) -> float | str | tuple[str, Best]:
        """A line; the name of a split; or a side and how much of it."""
        if self._found(">="):
            return self._number()
        self._space()
        if self._text[self._at : self._at + 1] in ("<", ">", "="):
            raise self._wrong(
                "use >= ; a rule says what is kept, from a line up (mimic >= 0.1); the lowest are named by their share "
                "(mimic@bottom15%)"
            )
        self._expect("@", ">= or @")
        kind = self._one_of(("top", "bottom", "mixture", "two_means"))
        return kind if kind in ("mixture", "two_means") else (kind, self._best())

    def _draw(self, cut: float | str | tuple[str, Best]) -> Draw:
        if isinstance(cut, float):
            return Draw(by="line", at=cut)
        if isinstance(cut, str):
            return Draw.model_validate({"by": cut})
        side, best = cut
        if side != "top" or not best.share or best.within == "class":
            raise self._wrong("what is worked out is cut by >= number, @topN%, @mixture or @two_means")
        return Draw(by="top", at=best.share)

    def _best(self) -> Best:
        start, amount, is_share = self._at, *self._amount()
        budgets: dict[str, float] = {}
        by_class = self._found(r"/\s*class\b")
        if by_class and self._found(r"\{"):
            for name, (value, same) in self._listed(lambda: (self._word("a class"), self._amount()), 1):
                if same != is_share:
                    raise self._wrong("a class has its budget in the unit of the general one, % or a number")
                budgets[name] = value
            self._expect(r"\}", "} or ,")
        said: dict[str, Any] = {"share": amount} if is_share else {"count": int(amount)}
        return self._made(start, Best, within="class" if by_class else "all", budgets=budgets, **said)

    def _amount(self) -> tuple[float, bool]:
        """How much, and whether it is a share."""
        start = self._at
        number = self._expect(_NUMBER.pattern, "an amount such as 30% or 500")
        if self._found("%"):
            share = Decimal(number) / 100
            if not 0 <= share <= 1:
                self._at = start
                raise self._wrong(f"{number}% is no share: give 0% to 100%")
            return float(share), True
        if not number.isdigit():
            self._at = start
            raise self._wrong("expected a share such as 30%, or a whole number of samples")
        return float(number), False

    def _listed(self, item: Callable[[], T], least: int = 2) -> list[T]:
        items = [item()]
        while self._found(","):
            items.append(item())
        if len(items) < least:
            self._expect(",", f"a comma, and {least} or more of what is combined")
        return items

    def _number(self) -> float:
        return float(self._expect(_NUMBER.pattern, "a number"))

    def _one_of(self, words: tuple[str, ...]) -> str:
        # followed by no letter, but perhaps by a number: top30%
        return self._expect(f"(?:{'|'.join(words)})(?![A-Za-z_])", f"{', '.join(words[:-1])} or {words[-1]}")

    def _word(self, what: str) -> str:
        written = self._expect(rf'{_NAME.pattern}|"(?:[^"\\]|\\.)*"', what)
        if not written.startswith('"'):
            return written
        try:
            return str(json.loads(written))
        except ValueError:
            self._at -= len(written)
            raise self._wrong("expected a JSON string") from None

    def _meant(self, find: Callable[[str], T], name: str, start: int | None = None) -> T:
        """What a name means, or what is wrong with it, said at its place."""
        try:
            return find(name)
        except MimicError as error:
            self._at = self._at - len(name) if start is None else start
            apart = name.replace("-", " - ")
            hint = "" if apart == name else f"a minus after a name needs spaces around it ({apart}); "
            raise self._wrong(f"{hint}{error}") from None

    def _made(self, start: int, kind: type[M], **said: Any) -> M:
        """A model of what was said, or what is wrong with it, said where it begins."""
        try:
            return kind.model_validate(said)
        except ValidationError as error:
            self._at = start
            raise self._wrong(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def _space(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _found(self, pattern: str) -> str:
        """What matches here, which is passed; empty, and nothing is passed, where nothing does."""
        self._space()
        match = re.compile(pattern).match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _expect(self, pattern: str, what: str) -> str:
        found = self._found(pattern)
        if not found:
            raise self._wrong(f"expected {what}")
        return found

    def _wrong(self, why: str) -> MimicError:
        rest = self._text[self._at :]
        here = f"at {rest[:20]!r}{'…' if len(rest) > 20 else ''}" if rest else "at its end"
        return MimicError(f"the rule goes wrong at character {self._at + 1}, {here}: {why}")
