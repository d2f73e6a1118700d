from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_runner.dataset.buckets import BucketSettings, bucket_resolutions, limits, make_buckets, problems, select

SDXL = BucketSettings((1024, 1024), enable_bucket=True)
SHRINK = BucketSettings((512, 512), enable_bucket=True, bucket_no_upscale=True)


def test_the_sizes_are_those_of_the_trainer() -> None:
    assert bucket_resolutions((256, 256), (128, 512), 64) == (
        (128, 384), (128, 448), (128, 512), (192, 320), (256, 256), (320, 192), (384, 128), (448, 128), (512, 128),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "bucket", "resized"),
    [
        ((24, 24), (1024, 1024), (1024, 1024)),
        ((1920, 1080), (1024, 576), (1024, 576)),
        ((1000, 1001), (1024, 1024), (1024, 1025)),
        ((768, 1024), (768, 1024), (768, 1024)),
    ],
)
def test_an_image_goes_to_the_nearest_aspect_ratio(
    size: tuple[int, int], bucket: tuple[int, int], resized: tuple[int, int]
) -> None:
    assert select(make_buckets(SDXL), size) == (bucket, resized)


@pytest.mark.parametrize(
    ("size", "chosen"),
    [
        ((300, 200), ((256, 192), (300, 200))),
        ((1024, 1024), ((512, 512), (512, 512))),
        ((63, 640), None),
        ((640, 63), None),
        ((8192, 64), None),
    ],
)
def test_without_upscale_an_image_keeps_its_size_or_shrinks(size: tuple[int, int], chosen: object) -> None:
    assert select(make_buckets(SHRINK), size) == chosen


def test_without_buckets_there_is_one() -> None:
    assert select(make_buckets(BucketSettings((512, 256))), (100, 100)) == ((512, 256), (512, 512))


def test_limits_are_rounded_outwards_to_steps() -> None:
    assert limits(BucketSettings((512, 512), True, 300, 1000)) == (256, 1024)


@given(width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_the_resized_image_covers_its_bucket(width: int, height: int) -> None:
    choice = select(make_buckets(SDXL), (width, height))
    assert choice is not None
    bucket, resized = choice
    assert resized[0] >= bucket[0]
    assert resized[1] >= bucket[1]


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        pytest.param(SDXL, [], id="good"),
        pytest.param(BucketSettings((192, 192), True), ["args.bucket_min"], id="smaller than the smallest"),
        pytest.param(BucketSettings((1536, 1536), True), ["args.bucket_max"], id="larger than the largest"),
        pytest.param(BucketSettings((512, 512), True, 32), ["args.bucket_min"], id="a smallest of 0"),
        pytest.param(BucketSettings((512, 512), True, 32, bucket_no_upscale=True), [], id="limits that are ignored"),
        pytest.param(BucketSettings((512, 512), True, 256, 1024, 0), ["args.bucket_reso_steps"], id="no steps"),
        pytest.param(BucketSettings((512, 512), True, 256, 1024, 32), ["args.bucket_reso_steps"], id="odd steps"),
        pytest.param(BucketSettings((192, 192)), [], id="no buckets"),
        pytest.param(BucketSettings((0, 512)), ["args.resolution"], id="no width"),
    ],
)
def test_what_the_trainer_asserts_is_an_error(settings: BucketSettings, codes: list[str]) -> None:
    assert [finding.code for finding in problems(settings, divisor=64)] == codes


def test_an_error_says_what_to_write() -> None:
    (finding,) = problems(BucketSettings((200, 300), True))
    assert finding.message == "min_bucket_reso is 256 (in steps of 64), more than the resolution 200,300"
    assert finding.hint == "write args.min_bucket_reso: 192"
