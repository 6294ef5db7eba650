"""Every decoder under generated input: a slice of `make hostile`."""

from __future__ import annotations

from random import Random

from schemas.topics import TOPICS, messages
from tests.hostile.decoders import Decoder, Outcome, Unfit, decoders
from tests.hostile.fuzz import fuzz
from tests.hostile.values import EXAMPLES, hostile_value

CASES = 20_000
SEED = 20_261_128


def test_whatever_comes_is_a_typed_value_or_refused_with_a_reason() -> None:
    """Never another exception, never much time, and never a value that nobody behind the decoder can take."""
    tally = fuzz(CASES, SEED)
    told = [f"{each.decoder}, case {each.case}: {each.error} at {each.where}\n{each.input[:400]}" for each in tally.findings.values()]
    assert told == []
    assert tally.cases.total() == CASES
    assert 0.1 < tally.typed.total() / CASES < 0.9, "an input that is always refused, or never, tests little"


def test_every_topic_and_every_message_is_among_them() -> None:
    names = {decoder.name for decoder in decoders()}
    assert {f"wire {topic.name}" for topic in TOPICS} <= names
    assert set(EXAMPLES) == {kind.__name__ for _, kind in messages()}


def test_the_same_seed_draws_the_same_inputs() -> None:
    first, second = Random(7), Random(7)
    assert [hostile_value(first, EXAMPLES["PlaceOrder"]) for _ in range(50)] == [
        hostile_value(second, EXAMPLES["PlaceOrder"]) for _ in range(50)
    ]


def test_a_decoder_that_fails_is_found() -> None:
    """Otherwise a clean run would say nothing."""

    def read(drawn: int) -> Outcome:
        if drawn == 3:
            raise Unfit("three")
        return Outcome(drawn % 2 == 0, (str(drawn),))

    tally = fuzz(100, 1, [Decoder("toy", lambda dice, _: dice.randrange(5), read)])
    assert tally.failed > 0
    assert [finding.error for finding in tally.findings.values()] == ["Unfit: three"]
