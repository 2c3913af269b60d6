"""A small language model: how often the corpus goes on in which way.

Layer: engines. Knows tokens and the settings they are drawn by. Knows no events; dice come in as
an argument.

What follows a token is looked up where the corpus has that token; what follows two or three, in
those places that agree further back. So the corpus and one list of places for each token are the
whole model: n-grams of every order up to `ORDER`, never written down. 90 paragraphs of plain prose
(`corpus.txt`, written for this package) are learnt in 10 ms and take 2 MiB.

The orders are mixed, each shorter one with `BACK_OFF` times the weight of the longer; single tokens
are used only where the corpus does not have the last one at all.
Source of the weight: https://aclanthology.org/D07-1090/, section 4.

Words of the prompt count for more while the reply is written (a cache model), so that it keeps to
the matter as far as the corpus knows it. Source: https://doi.org/10.1109/34.56193
"""

import functools
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import accumulate

from rawproxy.dialects.call import Sampling
from rawproxy.engines.tokenizer import Tokenizer, pieces

__all__ = ["ORDER", "Language", "draw", "embedded"]

ORDER = 4
"""Tokens of the longest n-gram: the three before and the one that follows."""

BACK_OFF = 0.4

_TOPIC = 60.0
"""Weight that a word of the prompt gains, shared among its uses: the rarer, the more it says."""


class Language:
    """What can be learnt from `corpus`: paragraphs, parted by empty lines, each a whole text."""

    def __init__(self, corpus: str) -> None:
        paragraphs = [" ".join(paragraph.split()) for paragraph in corpus.split("\n\n")]
        self.tokenizer = Tokenizer("\n".join(paragraphs))
        self.end = self.tokenizer.size
        """The token that ends a text, and as a context, begins one. It spells nothing."""
        self._corpus = [self.end]
        for paragraph in paragraphs:
            self._corpus += [*self.tokenizer.encode(paragraph), self.end]
        self._places = defaultdict[int, list[int]](list)
        for place, token in enumerate(self._corpus[:-1], start=1):
            self._places[token].append(place)
        self._tokens_of = defaultdict[str, list[int]](list)
        for token in self._places.keys() - {self.end}:
            self._tokens_of[_word(self.tokenizer.decode([token]))].append(token)

    def topic(self, prompt: str) -> dict[int, float]:
        """Return the tokens that words of `prompt` may be, with the factor of their weight."""
        return {
            token: 1 + _TOPIC / len(self._places[token])
            for word in {_word(piece) for piece in pieces(prompt)}
            for token in self._tokens_of.get(word, ())
        }

    def weights(
        self, context: Sequence[int], topic: Mapping[int, float], *, may_end: bool
    ) -> dict[int, float]:
        """Return the tokens that may follow `context`, with their weights; never none.

        Args:
            context: the text so far; its last `ORDER - 1` tokens are looked at.
            topic: what `topic` said of the prompt.
            may_end: whether the text may end here.
        """
        corpus = self._corpus
        weights = defaultdict[int, float](float)
        share = BACK_OFF ** (ORDER - 1)
        places = self._places.get(context[-1], [])
        if not may_end:
            places = [place for place in places if corpus[place] != self.end]
        if not places:
            places = [place for place, token in enumerate(corpus) if token != self.end]
        for back in range(2, ORDER + 1):
            share /= BACK_OFF
            for place in places:
                weights[corpus[place]] += share / len(places)
            if back > len(context):
                break
            places = [place for place in places if corpus[place - back] == context[-back]]
        for token in weights.keys() & topic.keys():
            weights[token] *= topic[token]
        return weights


@functools.cache
def embedded() -> Language:
    """Return what is learnt from the corpus of this package; the first call learns it."""
    return Language(resources.files("rawproxy.engines").joinpath("corpus.txt").read_text("utf-8"))


def draw(weights: Mapping[int, float], sampling: Sampling, dice: random.Random) -> int:
    """Return one of the tokens of `weights`.

    Temperature comes first, then `top_k`, `top_p` and `min_p` leave out what is less likely; the
    best token always stays. A temperature of zero takes that one. Of equal weights, the smaller
    token is the better one. Penalties and `logit_bias` are not looked at.

    Args:
        weights: not empty; they need not sum up to one.
        sampling: what is not said is off, and the temperature 1. A `top_k` of zero is off too.
        dice: moved by one number, except at temperature zero.
    """
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    temperature = 1.0 if sampling.temperature is None else sampling.temperature
    if temperature <= 0:
        return ranked[0][0]
    if sampling.top_k is not None and sampling.top_k > 0:
        ranked = ranked[: sampling.top_k]
    best = ranked[0][1]
    odds = [(weight / best) ** (1 / temperature) for _, weight in ranked]
    if sampling.min_p is not None:
        odds = [odd for odd in odds if odd >= min(sampling.min_p, 1)]
    sums = list(accumulate(odds))
    if sampling.top_p is not None:
        sums = sums[: bisect_left(sums, sampling.top_p * sums[-1]) + 1]
    return dice.choices([token for token, _ in ranked[: len(sums)]], cum_weights=sums)[0]


def _word(piece: str) -> str:
    return piece.strip().lower()
