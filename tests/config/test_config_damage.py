"""Configurations damaged at random, by fixed seeds: each is read, or refused by an error of the user's."""

from __future__ import annotations

import copy
import os
import random
from typing import Any

import yaml

from heatbeam import config

SEEDS = int(os.environ.get("HEATBEAM_FUZZ", "1")) * 60

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, float("inf"), float("nan"), "", "x", "\x1b[2J", [], {}, [[]], {"a": {"b": 1}}, ["x", 2],
    {3: 4},
)  # fmt: skip
RIGHT = config.parse("{input: {tfrecord: x}, model: {path: m}, explain: {methods: [cam]}, output: {directory: d}}")


def damaged(seed: int) -> str:
    choice = random.Random(seed)  # noqa: S311 - the same damage every time
    document: Any = copy.deepcopy(RIGHT.model_dump(mode="json"))
    for _ in range(choice.randint(1, 4)):
        inside, key = document, choice.choice(list(document))
        while isinstance(inside[key], dict) and inside[key] and choice.random() < 0.9:
            inside = inside[key]
            key = choice.choice(list(inside))
        inside[choice.choice([key, "unknown"])] = choice.choice(JUNK)
    text = yaml.safe_dump(document, allow_unicode=True)
    if choice.random() < 0.2:
        place = choice.randrange(len(text))
        text = text[:place] + choice.choice("\t:{[-'&*!%\x00") + text[place + 1 :]
    return text


def test_whatever_is_damaged_is_read_or_refused():
    refused = 0
    for seed in range(SEEDS):
        try:
            config.parse(damaged(seed))
        except config.ConfigError as error:
            refused += bool(error.problems)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert refused > SEEDS // 2
