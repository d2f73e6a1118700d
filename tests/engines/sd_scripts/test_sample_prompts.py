from __future__ import annotations

import json

from kohya_runner.engines.sd_scripts.build import sample_prompts, sample_seeds, sample_sizes


def test_a_text_file_states_a_seed_in_each_line(odd_path):
    path = odd_path / "my prompts.txt"
    path.write_text("a cat --w 64 --d 0\n# a comment --d 7\n\na dog\na d 5 --D 12 --d 13\n", encoding="utf-8")
    assert sample_seeds(sample_prompts(path)) == (0, 13)


def test_a_negative_seed_in_a_text_file_is_not_read_by_the_trainer_either(odd_path):
    path = odd_path / "prompts.txt"
    path.write_text("a cat --d -1\n", encoding="utf-8")
    assert sample_seeds(sample_prompts(path)) == ()


def test_a_json_file_states_seeds_as_numbers_and_in_its_lines(odd_path):
    path = odd_path / "prompts.json"
    path.write_text(json.dumps([{"prompt": "a", "seed": -1}, "b --d 3", {"prompt": "c"}]), encoding="utf-8")
    assert sample_seeds(sample_prompts(path)) == (-1, 3)


def test_what_is_no_file_of_prompts_states_none(odd_path):
    (odd_path / "prompts.json").write_text("[[[", encoding="utf-8")
    (odd_path / "prompts.md").write_text("a --d 1", encoding="utf-8")
    found = [sample_seeds(sample_prompts(odd_path / name)) for name in ("prompts.json", "prompts.md", "none.txt")]
    assert found == [(), (), ()]


def test_the_sizes_are_read_with_the_last_of_several(odd_path):
    path = odd_path / "prompts.txt"
    path.write_text("a cat --w 1000 --h 512 --w 1001\na dog --h 513\na bird\n", encoding="utf-8")
    assert sample_sizes(sample_prompts(path)) == ((1001, 512), (None, 513))
