from __future__ import annotations

import pytest

from kohya_runner.errors import UsageError
from kohya_runner.recipe.models import NAME
from kohya_runner.sweep.variants import LONGEST, MOST, axes, variants


def names(*sets, name="cat"):
    return [one.name for one in variants(name, axes(sets))]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("args.network_dim=16,32, 64", ("16", "32", "64")),
        ("args.network_dim=[16, 32]", ("16", "32")),
        ('args.resolution="1024,1024","768,768"', ('"1024,1024"', '"768,768"')),
        ('args.resolution=["1024,1024", 768]', ('"1024,1024"', "768")),
        ("args.resolution=[[1024, 1024], [768, 768]]", ("[1024, 1024]", "[768, 768]")),
        ("args.network_args={a: 4, b: 1},{a: 8}", ("{a: 4, b: 1}", "{a: 8}")),
        ("args.optimizer_args=[[a=1, b=2],[a=2]]", ("[a=1, b=2]", "[a=2]")),
        ("args.x='it, is','not'", ("'it, is'", "'not'")),
        ("args.caption_extension=null,.txt", ("null", ".txt")),
    ],
)  # fmt: skip
def test_a_comma_separates_values_outside_of_quotes_and_brackets(text, values):
    assert axes([text])[0].values == values


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        (("args.network_dim=16",), "nothing to sweep"),
        ((), "nothing to sweep"),
        (("args.network_dim",), "write KEY=A,B,C"),
        (("=1,2",), "write KEY=A,B,C"),
        (("args.resolution=1024,1024",), "the same value twice"),
        (("args.x=1,,2",), "an empty value"),
        (("args.x=1,2,",), "an empty value"),
        (("args.x=1,2", "args.x=3,4"), "given twice"),
        (("name=a,b",), "cannot be swept"),
        (("extends=a.yaml,b.yaml",), "cannot be swept"),
        (("a=1,2,3,4,5", "b=1,2,3,4,5", "c=1,2,3"), f"make 75 runs, more than {MOST}"),
    ],
)
def test_what_makes_no_runs_is_a_usage_error(sets, why):
    with pytest.raises(UsageError, match=why):
        axes(sets)


def test_names_say_what_differs():
    assert names("args.network_dim=16,32", "args.unet_lr=1e-4,5e-5", "args.seed=7") == [
        "cat_dim16_unet_lr1e-4", "cat_dim16_unet_lr5e-5", "cat_dim32_unet_lr1e-4", "cat_dim32_unet_lr5e-5",
    ]  # fmt: skip
    assert names("args.cache_latents=true,false") == ["cat_cache_latentstrue", "cat_cache_latentsfalse"]
    assert names("model=/models/a b.safetensors,hf://you/x/y.safetensors") == [
        "cat_modela-b.safetensors", "cat_modely.safetensors",
    ]  # fmt: skip
    assert names("datasets.0.repeats=1,2", "datasets.1.repeats=3,4")[0] == (
        "cat_datasets.0.repeats1_datasets.1.repeats3"
    )
    assert names("args.adam_beta1=0.9,0.95") == ["cat_adam_beta1-0.9", "cat_adam_beta1-0.95"]


@pytest.mark.parametrize(
    "sets",
    [
        ("args.x='a b','a-b',a/b,a~b",),
        (f"args.x={'a' * 300},{'a' * 299}b",),
        tuple(f"args.a_quite_long_name_{n}=11111111,22222222" for n in range(5)),
        ("args.x='','../../etc','..',+",),
        ('args.x="ä","ö"',),
    ],
    ids=["alike", "long values", "many", "nasty", "letters"],
)
def test_names_are_unique_short_and_names_of_files(sets):
    found = names(*sets)
    assert len(set(found)) == len(found)
    assert all(NAME.match(one) and len(one) <= LONGEST for one in found), found
    assert len({one.label for one in variants("cat", axes(sets))}) == len(found)


def test_each_run_gets_its_own_values_and_those_of_all():
    one = variants("cat", axes(["args.seed=7", "args.network_dim=16,32"]))[1]
    assert one.overrides == ("args.seed=7", "args.network_dim=32", 'name="cat_dim32"')
    assert one.label == "dim32"
