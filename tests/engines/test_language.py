"""What the language model learns, and how the next token is drawn."""

import random
import re
from collections import Counter
from importlib import resources

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.call import Sampling
from rawproxy.engines.language import BACK_OFF, Language, draw, embedded

SMALL = Language("a b c.\n\na b\nd.\n\ne b d.")

WEIGHTS = st.dictionaries(st.integers(0, 9), st.floats(0.001, 1), min_size=1)
SETTINGS = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 1e9),
    top_p=st.none() | st.floats(-1, 2),
    top_k=st.none() | st.integers(-1, 12),
    min_p=st.none() | st.floats(-1, 2),
)


def weights_after(text: str, *, may_end: bool = True) -> dict[str, float]:
    context = SMALL.tokenizer.encode(text) or [SMALL.end]
    weights = SMALL.weights(context, {}, may_end=may_end)
    return {
        "END" if token == SMALL.end else SMALL.tokenizer.decode([token]): weight
        for token, weight in weights.items()
    }


def spelled(value: object) -> str:
    return msgspec.json.encode(value).decode()


def dice() -> random.Random:
    return random.Random(7)


def test_orders_are_mixed_by_back_off() -> None:
    two, three, four = BACK_OFF**2, BACK_OFF, 1.0
    # After "b": d, c, d. After "a b": c, d. Nothing comes before "a".
    assert weights_after("a b") == pytest.approx(
        {" c": two / 3 + three / 2, " d": two * 2 / 3 + three / 2}
    )
    # Only the longest context tells how "b d." goes on: all texts with it end.
    assert weights_after(" b d.") == pytest.approx({"END": two + three + four})


def test_an_unknown_context_backs_off_to_single_tokens() -> None:
    assert set(weights_after("?")) == {"a", "e", " b", " c", " d", "."}
    assert weights_after("?")[" b"] == 3 * weights_after("?")["e"] > 0


def test_a_new_text_begins_as_the_learnt_ones_do() -> None:
    assert weights_after("")["a"] == pytest.approx(2 * weights_after("")["e"])
    assert set(weights_after("")) == {"a", "e"}


def test_a_text_ends_only_where_it_may() -> None:
    assert set(weights_after(".")) == {"END"}
    assert "END" not in weights_after(".", may_end=False)
    assert weights_after(".", may_end=False)


def test_words_of_the_prompt_gain_weight() -> None:
    plain = SMALL.weights([SMALL.end], {}, may_end=True)
    topic = SMALL.topic("Tell me about E!")
    said = SMALL.weights([SMALL.end], topic, may_end=True)
    (token,) = SMALL.tokenizer.encode("e")
    assert list(topic) == [token]
    assert said[token] > plain[token]
    assert {k: v for k, v in said.items() if k != token} == {
        k: v for k, v in plain.items() if k != token
    }


@given(weights=WEIGHTS, sampling=SETTINGS, seed=st.integers())
def test_what_is_drawn_was_there(weights: dict[int, float], sampling: Sampling, seed: int) -> None:
    assert draw(weights, sampling, random.Random(seed)) in weights


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0),
        Sampling(temperature=5e-324),
        Sampling(top_k=1),
        Sampling(top_p=0),
        Sampling(top_p=0.3),
        Sampling(min_p=1),
        Sampling(min_p=3),
    ],
    ids=spelled,
)
def test_settings_that_leave_one_token_take_the_best(sampling: Sampling) -> None:
    weights = {5: 2.0, 3: 1.0, 1: 2.0 - 1e-9, 9: 0.5}
    rolled = dice()
    assert {draw(weights, sampling, rolled) for _ in range(50)} == {5}


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(), {0, 1, 2, 3}),
        (Sampling(top_k=0, top_p=1, min_p=0), {0, 1, 2, 3}),
        (Sampling(top_k=9, top_p=1.5), {0, 1, 2, 3}),
        (Sampling(top_k=2), {0, 1}),
        (Sampling(top_p=0.7), {0, 1}),
        (Sampling(top_p=0.71), {0, 1, 2}),
        (Sampling(min_p=0.5), {0, 1, 2}),
        (Sampling(top_k=3, top_p=0.5), {0, 1}),
    ],
    ids=spelled,
)
def test_what_settings_leave_out(sampling: Sampling, kept: set[int]) -> None:
    weights = {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}
    rolled = dice()
    assert {draw(weights, sampling, rolled) for _ in range(300)} == kept


def test_the_smaller_of_equal_tokens_is_the_better_one() -> None:
    assert draw({4: 1.0, 2: 1.0, 3: 1.0}, Sampling(temperature=0), dice()) == 2


def test_tokens_come_as_often_as_they_weigh() -> None:
    rolled = dice()
    drawn = Counter(draw({0: 3.0, 1: 1.0}, Sampling(), rolled) for _ in range(2000))
    assert 0.7 < drawn[0] / 2000 < 0.8
    warmer = Counter(draw({0: 3.0, 1: 1.0}, Sampling(temperature=2), rolled) for _ in range(2000))
    assert warmer[0] < drawn[0]


def test_the_corpus_is_learnt_once() -> None:
    assert embedded() is embedded()


# Names of vendors and of their models, as they are in use when this was written.
NAMES = re.compile(
    r"\b(openai|chatgpt|gpt|anthropic|claude|opus|sonnet|haiku|google|gemini|gemma|bard|palm|meta|"
    r"llama|mistral|mixtral|azure|amazon|nova|titan|bedrock|cohere|command|grok|deepseek|qwen|"
    r"falcon|granite|phi|orca|ollama)\b",
    re.IGNORECASE,
)


def test_the_corpus_names_no_vendor_and_no_model() -> None:
    text = resources.files("rawproxy.engines").joinpath("corpus.txt").read_text("utf-8")
    assert NAMES.findall(text) == []
    assert NAMES.findall("what Claude said to GPT") == ["Claude", "GPT"]
    assert len(text) > 25_000
