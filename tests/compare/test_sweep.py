from __future__ import annotations

import json
import os

import pytest
from sweep_trainer import MODULES, loads, lora_file, trained_run

from kohya_runner.compare import painting
from kohya_runner.compare.settings import SweepOptions
from kohya_runner.compare.subject import Named
from kohya_runner.compare.sweep import compare, compare_run
from kohya_runner.errors import NoCheckpointError, TrainerError, UsageError
from kohya_runner.finish import after
from kohya_runner.machine.host import Gpu
from kohya_runner.record import record


def pictures(run_dir):
    return {p.name: p.read_bytes() for p in (run_dir / "comparison" / "cells").glob("*.png")}


def answer(run_dir):
    return json.loads((run_dir / "comparison" / "compare.json").read_bytes())


def test_all_checkpoints_are_painted_by_one_process(run_dir, checkout):
    found = compare_run(run_dir)
    assert [head.label for head in found.columns] == ["base", "epoch 1", "epoch 2", "epoch 3"]
    assert len(loads(checkout)) == 1
    assert len(pictures(run_dir)) == 4 * 2
    assert found.failed == ()
    assert len(set(pictures(run_dir).values())) == 8


def test_the_recipe_decides_size_seeds_and_prompts(run_dir, checkout):
    compare_run(run_dir)
    told = answer(run_dir)
    assert (told["prompts"], told["seeds"], told["settings"]["size"]) == (["a cat", "a dog"], [7], "64x48")
    assert told["settings"]["guidance"] == 7.5


def test_doing_it_again_paints_nothing(run_dir, checkout):
    compare_run(run_dir)
    first = answer(run_dir)
    compare_run(run_dir)
    assert len(loads(checkout)) == 1
    assert answer(run_dir) == first


def test_another_epoch_costs_only_its_own_pictures(run_dir, checkout):
    compare_run(run_dir)
    before = pictures(run_dir)
    lora_file(run_dir / "output" / "my cat-000007.safetensors", 9)
    found = compare_run(run_dir)
    assert len(pictures(run_dir)) == len(before) + 2
    assert before.items() <= pictures(run_dir).items()
    assert found.failed == ()


def test_a_file_that_changed_is_painted_again(run_dir, checkout):
    compare_run(run_dir)
    before = set(pictures(run_dir))
    lora_file(run_dir / "output" / "my cat-000001.safetensors", 99)
    compare_run(run_dir)
    assert len(set(pictures(run_dir)) - before) == 2


def test_seeds_and_strengths_are_axes_of_their_own(run_dir, checkout):
    found = compare_run(run_dir, given=SweepOptions(seeds="1,2,3", strengths="0.5,1"))
    assert [head.label for head in found.columns[:3]] == ["base", "epoch 1 x0.5", "epoch 1 x1"]
    assert len(found.shown) == 7 * 2 * 3


@pytest.mark.parametrize(("gpus", "kept"), [((), "0"), ((Gpu("a GPU", 24 << 30, 0, (8, 9), "550"),), None)])
def test_only_where_a_processor_paints_is_memory_kept_for_the_next_piece(run_dir, checkout, monkeypatch, gpus, kept):
    monkeypatch.setattr("kohya_runner.compare.sweep.read_gpus", lambda *_: gpus)
    placed = []
    real = painting.paint
    monkeypatch.setattr(painting, "paint", lambda *given: placed.append(given[3]) or real(*given))
    compare_run(run_dir)
    assert placed[0].env.get("MALLOC_MMAP_MAX_") == kept


def test_samplers_are_rows_of_their_own_and_cost_a_load_each(run_dir, checkout):
    found = compare_run(run_dir, given=SweepOptions(prompts=("a cat",), sampler="ddim, euler_a", seeds="1,2"))
    assert [(row.sampler, row.seed) for row in found.rows] == [
        ("ddim", 1), ("ddim", 2), ("euler_a", 1), ("euler_a", 2)
    ]  # fmt: skip
    assert ["--sampler=ddim" in line for line in loads(checkout)] == [True, False]
    assert len(pictures(run_dir)) == 4 * 4
    told = answer(run_dir)
    assert (told["samplers"], told["settings"]["sampler"]) == (["ddim", "euler_a"], "ddim, euler_a")
    assert {(c["sampler"], c["seed"]) for c in told["cells"] if c["column"] == 0} == {
        ("ddim", 1), ("ddim", 2), ("euler_a", 1), ("euler_a", 2)
    }  # fmt: skip


def test_another_sampler_keeps_the_pictures_of_the_first(run_dir, checkout):
    compare_run(run_dir, given=SweepOptions(prompts=("a cat",)))
    before = pictures(run_dir)
    compare_run(run_dir, given=SweepOptions(prompts=("a cat",), sampler="ddim,heun"))
    assert before.items() <= pictures(run_dir).items()
    assert len(pictures(run_dir)) == 2 * len(before)


def test_without_a_base_there_is_no_such_column(run_dir, checkout):
    assert [h.label for h in compare_run(run_dir, given=SweepOptions(base=False)).columns] == [
        "epoch 1",
        "epoch 2",
        "epoch 3",
    ]


def test_the_base_column_is_the_base_whatever_was_in_the_slot_before(run_dir, checkout):
    compare_run(run_dir)
    told = answer(run_dir)
    base = next(cell for cell in told["cells"] if cell["column"] == 0)
    (run_dir / "comparison" / base["file"]).unlink()
    before = pictures(run_dir)
    compare_run(run_dir)
    assert before.items() <= pictures(run_dir).items()
    assert (run_dir / "comparison" / base["file"]).is_file()


def test_a_cell_whose_process_dies_is_shown_as_failed_and_the_rest_is_painted(run_dir, checkout):
    found = compare_run(run_dir, given=SweepOptions(prompts=("a cat", "CRASH", "a bird"), base=False))
    assert [(s.column, s.prompt) for s in found.failed] == [(0, 1), (1, 1), (2, 1)]
    assert "code 3" in found.failed[0].problem
    assert "out of memory" in found.failed[0].problem
    assert len(pictures(run_dir)) == 6
    assert not answer(run_dir)["ok"]


def test_a_cell_without_a_picture_is_failed(run_dir, checkout):
    found = compare_run(run_dir, given=SweepOptions(prompts=("a cat", "LEAVE"), base=False))
    assert {s.prompt for s in found.failed} == {1}
    assert len(loads(checkout)) == 1


def test_black_pictures_cannot_win_and_are_spoken_of(run_dir, checkout):
    found = compare_run(run_dir, given=SweepOptions(prompts=("BLACK",)))
    assert found.failed == ()
    assert found.suggestion.column is None
    assert any(note.startswith("epoch 2: 1 picture(s) of one colour") for note in found.notes)


def test_weights_that_hold_nan_fail_alone(run_dir, checkout):
    lora_file(run_dir / "output" / "my cat-000002.safetensors", 255)
    found = compare_run(run_dir)
    assert {found.columns[s.column].label for s in found.failed} == {"epoch 2"}
    assert "NaN" in found.failed[0].problem


def test_a_failed_cell_is_tried_again(run_dir, checkout):
    broken = run_dir / "output" / "my cat-000002.safetensors"
    compare_run(run_dir, given=SweepOptions(prompts=("LEAVE it",)))
    assert compare_run(run_dir, given=SweepOptions(prompts=("LEAVE it",))).failed
    assert broken.is_file()
    assert len(loads(checkout)) == 2


def test_a_script_that_never_paints_is_an_error_with_its_last_lines(run_dir, checkout):
    (checkout / "gen_img.py").write_text("raise SystemExit('no such option')", encoding="utf-8")
    with pytest.raises(TrainerError, match="no such option"):
        compare_run(run_dir)
    assert not (run_dir / "comparison" / "compare.json").exists()


def test_nothing_half_done_is_left_behind(run_dir, checkout):
    compare_run(run_dir)
    names = {p.name for p in (run_dir / "comparison").iterdir() if not p.name.endswith(".guard")}
    assert names == {"cells", "compare.json", "compare.log", "contact-sheet.png", "report.html"}


def test_other_ranks_and_families_are_left_out_by_name(run_dir, checkout):
    output = run_dir / "output"
    lora_file(output / "my cat-000008.safetensors", rank=8)
    lora_file(output / "zebra.safetensors", modules=("lora_unet_double_blocks_0_a",))
    (output / "cut.safetensors").write_bytes((output / "my cat.safetensors").read_bytes()[:-3])
    told = {skipped.path.name: skipped.reason for skipped in compare_run(run_dir).skipped}
    assert told["my cat-000008.safetensors"] == "has rank 8, the others have rank 2"
    assert told["zebra.safetensors"] == "is a LoRA for flux, not for sd15"
    assert "is cut" in told["cut.safetensors"]


def test_a_run_without_files_says_so(run_dir, checkout):
    for path in (run_dir / "output").iterdir():
        path.unlink()
    with pytest.raises(NoCheckpointError, match="nothing to compare"):
        compare_run(run_dir)


def test_a_base_model_that_is_gone_is_named(run_dir, checkout):
    (run_dir.parents[2] / "models" / "base model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"base model.safetensors .* is not there"):
        compare_run(run_dir)


def test_a_part_that_is_gone_is_named(odd_path, checkout):
    with pytest.raises(UsageError, match=r"/gone/ae \(--ae\) is not there"):
        compare_run(trained_run(odd_path / "flux", family="flux", ae="/gone/ae"))


def test_files_of_strangers_are_compared_when_the_base_model_is_named(odd_path, checkout):
    files = [lora_file(odd_path / "theirs" / f"{name}.safetensors", n) for n, name in enumerate("abc", start=1)]
    base = odd_path / "base.safetensors"
    base.write_bytes(b"x" * 100)
    named = Named(tuple(map(str, files)), family="sd15", model=str(base))
    found = compare(named, SweepOptions(prompts=("a cat",), size="64x64"))
    assert [head.label for head in found.columns] == ["base", "a", "b", "c"]
    assert [head.number for head in found.columns] == [None, 1, 2, 3]
    assert found.folder == odd_path / "theirs" / "comparison"


def test_files_whose_base_model_nobody_names_are_refused(odd_path, checkout):
    with pytest.raises(UsageError, match="the base model of these files is not known"):
        compare(Named((str(lora_file(odd_path / "a.safetensors")),)), SweepOptions())


def test_captions_stand_in_for_prompts_that_nobody_gave(odd_path, checkout):
    data = odd_path / "data" / "2_cat"
    data.mkdir(parents=True)
    for n in range(4):
        (data / f"{n}.txt").write_text(f"a cat, number {n}", encoding="utf-8")
    run = trained_run(odd_path / "other", train_data_dir=str(data.parent), caption_extension=".txt")
    record = json.loads((run / "record.json").read_bytes())
    del record["recipe"]["compare"]
    (run / "record.json").write_text(json.dumps(record), encoding="utf-8")
    found = compare_run(run)
    assert found.prompts == ("a cat, number 0", "a cat, number 2")
    assert found.how["size"] == "64x64"
    assert any("captions" in note for note in found.notes)


def test_flux_is_painted_by_its_own_script_in_one_process(odd_path, checkout):
    run = trained_run(odd_path / "flux", family="flux", clip_l=__file__, t5xxl=__file__, ae=__file__)
    found = compare_run(run, given=SweepOptions(prompts=("a cat", "a dog")))
    (arguments,) = loads(checkout)
    assert f"--clip_l={__file__}" in arguments
    assert found.how["guidance"] == 3.5
    assert found.failed == ()
    assert len(set(pictures(run).values())) == 8


def test_a_script_without_a_choice_of_samplers_says_so(odd_path, checkout):
    run = trained_run(odd_path / "flux", family="flux", clip_l=__file__, t5xxl=__file__, ae=__file__)
    found = compare_run(run, given=SweepOptions(prompts=("a cat",), sampler="euler,heun"))
    assert len(found.rows) == 1
    assert "flux_minimal_inference.py has only its own sampler" in found.notes[0]
    told = answer(run)
    assert told["samplers"] == []
    assert "sampler" not in told["settings"]
    assert told["cells"][0]["sampler"] is None


def test_a_family_that_merges_at_load_takes_one_process_and_loads_again_what_a_lora_goes_into(odd_path, checkout):
    run = trained_run(odd_path / "hunyuan", family="hunyuan_image", text_encoder=__file__, byt5=__file__, vae=__file__)
    found = compare_run(run, given=SweepOptions(prompts=("a cat", "a dog"), size="64x64"))
    assert len(loads(checkout)) == 1
    assert loads(checkout, "parts.txt") == ["text encoder", "model"] * 4
    assert found.failed == ()
    assert len(set(pictures(run).values())) == 8


def test_what_merges_gets_each_strength_and_passes_over_weights_with_nan(odd_path, checkout):
    run = trained_run(odd_path / "hunyuan", family="hunyuan_image", text_encoder=__file__, byt5=__file__, vae=__file__)
    lora_file(run / "output" / "my cat-000001.safetensors", 255, modules=MODULES["hunyuan_image"])
    found = compare_run(run, given=SweepOptions(prompts=("a cat",), size="64x64", strengths="0.5,1", base=False))
    assert {found.columns[s.column].label for s in found.failed} == {"epoch 1 x0.5", "epoch 1 x1"}
    assert "NaN" in found.failed[0].problem
    assert len(set(pictures(run).values())) == 4
    assert len(loads(checkout)) == 1


def test_a_clip_model_that_is_not_there_is_told_before_anything_is_painted(run_dir, checkout, odd_path):
    with pytest.raises(UsageError, match="no such folder"):
        compare_run(run_dir, given=SweepOptions(clip=odd_path / "gone"))
    (odd_path / "empty").mkdir()
    with pytest.raises(UsageError, match="contains no transformers model"):
        compare_run(run_dir, given=SweepOptions(clip=odd_path / "empty"))
    assert loads(checkout) == []


def test_a_clip_model_that_cannot_be_used_costs_no_comparison(run_dir, checkout, odd_path):
    folder = odd_path / "a clip"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"nothing")
    found = compare_run(run_dir, given=SweepOptions(clip=folder))
    assert found.failed == ()
    assert found.hint == ""
    assert any(note.startswith("CLIP could not measure the pictures: ") for note in found.notes)


def test_a_run_that_asks_for_it_is_compared_when_it_has_ended(run_dir):
    said = []
    asked = {"compare": True, "pod": "", "notify": None}
    ended = after.finish(run_dir, record.read(run_dir).changed(finish=asked), said.append, os.environ)
    assert [entry["action"] for entry in ended.after] == ["compare"]
    assert ended.after[0]["said"].startswith(f"compare: {run_dir / 'comparison'}")
    assert (run_dir / "comparison" / "compare.json").is_file()
    assert after.finish(run_dir, ended, said.append, os.environ) == ended  # once


def test_a_run_that_failed_is_not_compared(run_dir):
    asked = {"compare": True, "pod": "", "notify": None}
    failed = record.read(run_dir).changed(state="failed", finish=asked)
    ended = after.finish(run_dir, failed, lambda _text: None, os.environ)
    assert ended.after[0]["said"] == "compare: skipped: the run has failed"
    assert not (run_dir / "comparison").exists()
