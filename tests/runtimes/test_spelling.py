"""Names that are misspelt, and names that only look alike."""

from __future__ import annotations

import pytest

from bench.runtimes.spelling import misspelt_from


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
    ],
)
def test_another_name_is_no_misspelling(word: str, names: list[str]) -> None:
    assert misspelt_from(word, names) is None
