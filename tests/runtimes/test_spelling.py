"""Names that are misspelt, and names that only look alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.runtimes.spelling import misspelt_from

# Parts may be empty: `_x`, `x_`, `x__y`.
NAMES = st.lists(st.text("abM1é", max_size=9) | st.sampled_from(["", "mask", "input"]), max_size=4).map("_".join)


@pytest.mark.parametrize(
    ("word", "names", "name"),
    [
        ("mas", ["x", "mask"], "mask"),
        ("use_cach", ["past_key_values", "use_cache"], "use_cache"),
        ("use_cahce", ["use_cache"], "use_cache"),
        ("usecache", ["use_cache"], "use_cache"),
        ("Mask", ["mask"], "mask"),
        ("input_id", ["input_ids", "inputs_embeds"], "input_ids"),
        ("attention_masks", ["attention_mask"], "attention_mask"),
        ("atention_msk", ["attention_mask"], "attention_mask"),
        ("hiden_sates_1", ["hidden_states_1"], "hidden_states_1"),
        ("attention_msk", ["attention_mask"], "attention_mask"),
        ("attemtion_mask", ["attention_mask"], "attention_mask"),
        ("attemtoin_mask", ["attention_mask"], "attention_mask"),
        ("atentoin_mask", ["attention_mask"], "attention_mask"),
        ("embeddnigs", ["embeddings"], "embeddings"),
        ("input", ["input_"], "input_"),
    ],
)
def test_a_misspelling_names_what_it_stands_for(word: str, names: list[str], name: str) -> None:
    assert misspelt_from(word, names) == name


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("mask", ["mask"]),
        ("y", ["x"]),
        ("q_mask", ["k_mask"]),
        ("cu_seq_lens_q", ["cu_seq_lens_k"]),
        ("image2", ["image1", "image"]),
        ("task", ["mask"]),
        ("tgt_mask", ["src_mask"]),
        ("max_len", ["min_len"]),
        ("inputs_embeds", ["input_ids", "embeds"]),
        ("position_ids", ["input_ids", "token_type_ids"]),
        ("output_attentions", ["output_hidden_states", "attentions"]),
        ("labels", ["input_ids", "attention_mask"]),
        ("return_dict", ["return_dict_in_generate", "past_key_values"]),
        ("", ["x"]),
        ("input_ids", ["input_"]),
        ("input_ids", ["input__"]),
        ("x_mask", ["x_"]),
        ("_mask", ["key_mask"]),
        ("__mask", ["a_b_mask"]),
        ("src", ["sec"]),
        ("mel", ["mem"]),
        ("img", ["imu"]),
        ("ref", ["rel"]),
        ("text", ["test"]),
        ("left", ["lift"]),
        ("state", ["stage"]),
        ("encoded", ["encoder"]),
        ("context", ["content"]),
        ("contexts", ["contents"]),
        ("positive", ["position"]),
        ("dilations", ["durations"]),
        ("timestamps", ["timesteps"]),
    ],
)
def test_another_name_is_no_misspelling(word: str, names: list[str]) -> None:
    assert misspelt_from(word, names) is None


@given(NAMES, st.lists(NAMES, max_size=4))
def test_any_names_can_be_compared(word: str, names: list[str]) -> None:
    match = misspelt_from(word, names)
    assert match is None or (match in names and match != word)


@given(NAMES, NAMES)
def test_a_name_is_as_near_to_another_as_that_to_it(one: str, other: str) -> None:
    assert (misspelt_from(one, [other]) is None) == (misspelt_from(other, [one]) is None)
