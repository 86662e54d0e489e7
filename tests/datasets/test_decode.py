import numpy as np
import pytest
from PIL import Image

from sklunlearn.datasets._decode import Decoder, UnreadableImageError, bombs_are_errors, to_unit

RGB = np.random.default_rng(0).integers(256, size=(4, 6, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
SIXTEEN = np.random.default_rng(1).integers(65536, size=(4, 6), dtype=np.uint16)
# Grey as ITU-R 601 weighs the three channels.
LUMA = RGB @ [0.299, 0.587, 0.114]


@pytest.fixture
def save(tmp_path):
    """Write an image to a file; its path."""

    def write(image, name="a.png", **options):
        image.save(tmp_path / name, **options)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("color, channels", [(None, 3), ("rgb", 3), ("grey", 1)])
def test_color_image(save, color, channels):
    decoder, path = Decoder(color=color), save(Image.fromarray(RGB))
    image = decoder.read(path)
    assert image.dtype == np.uint8
    assert image.shape == decoder.shape(path) == (channels, 4, 6)
    expected = LUMA[None] if color == "grey" else RGB.transpose(2, 0, 1)
    np.testing.assert_allclose(image, expected, atol=0.51 if color == "grey" else 0)


@pytest.mark.parametrize("color, channels", [(None, 1), ("rgb", 3), ("grey", 1)])
def test_grey_image(save, color, channels):
    decoder, path = Decoder(color=color), save(Image.fromarray(GREY))
    assert decoder.shape(path) == (channels, 4, 6)
    np.testing.assert_array_equal(decoder.read(path), [GREY] * channels)


@pytest.mark.parametrize("color, channels", [(None, 1), ("rgb", 3), ("grey", 1)])
def test_16_bits(save, color, channels):
    decoder, path = Decoder(color=color), save(Image.fromarray(SIXTEEN))
    image = decoder.read(path)
    assert image.dtype == np.uint16
    assert decoder.shape(path) == (channels, 4, 6)
    np.testing.assert_array_equal(image, [SIXTEEN] * channels)


def test_alpha_is_dropped(save):
    alpha = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    path = save(Image.fromarray(np.concatenate([RGB, alpha], axis=2)))
    np.testing.assert_array_equal(Decoder().read(path), RGB.transpose(2, 0, 1))
    path = save(Image.fromarray(np.stack([GREY, alpha[:, :, 0]], axis=2)))
    np.testing.assert_array_equal(Decoder().read(path), GREY[None])


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palette(save, transparency):
    indices = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    palette = np.array([[255, 0, 0], [0, 200, 10], [7, 8, 9]], dtype=np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    path = save(image, **({} if transparency is None else {"transparency": transparency}))
    np.testing.assert_array_equal(Decoder().read(path), palette[indices].transpose(2, 0, 1))
    assert Decoder().shape(path) == (3, 4, 6)
    grey = Decoder(color="grey").read(path)
    expected = (palette @ [0.299, 0.587, 0.114])[indices]
    np.testing.assert_allclose(grey[0], expected, atol=0.51)


def test_other_kinds(save):
    bilevel = save(Image.fromarray(GREY).convert("1"))
    assert set(np.unique(Decoder().read(bilevel))) == {0, 255}
    assert Decoder().read(save(Image.fromarray(RGB).convert("CMYK"), "a.jpg")).shape == (3, 4, 6)
    small = save(Image.fromarray(SIXTEEN.astype(np.int32)), "a.tiff")
    np.testing.assert_array_equal(Decoder().read(small), SIXTEEN[None])
    large = save(Image.fromarray(SIXTEEN.astype(np.int32) * 70), "b.tiff")
    with pytest.raises(UnreadableImageError, match="values that 16 bits cannot hold"):
        Decoder().read(large)
    for method in (Decoder().read, Decoder().shape):
        with pytest.raises(UnreadableImageError, match="pixels of kind 'F'"):
            method(save(Image.fromarray(np.ones((2, 2), np.float32)), "c.tiff"))


@pytest.mark.parametrize("pixels", [RGB, GREY, SIXTEEN], ids=["rgb", "grey", "16 bits"])
def test_size(save, pixels):
    decoder, path = Decoder(size=(2, 3)), save(Image.fromarray(np.full_like(pixels, 200)))
    image = decoder.read(path)
    assert image.shape == decoder.shape(path)
    assert image.shape[1:] == (2, 3)
    assert image.dtype == pixels.dtype
    assert (image == 200).all()


def test_to_unit():
    for dtype, largest in [(np.uint8, 255), (np.uint16, 65535)]:
        unit = to_unit(np.array([0, largest // 5, largest], dtype=dtype))
        assert unit.dtype == np.float32
        np.testing.assert_allclose(unit, [0, 0.2, 1], rtol=1e-6)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated(save, name):
    rng = np.random.default_rng(0)
    path = save(Image.fromarray(rng.integers(256, size=(64, 64, 3), dtype=np.uint8)), name)
    with open(path, "rb+") as file:
        file.truncate(2000)
    assert Decoder().shape(path) == (3, 64, 64)  # the head is whole
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        Decoder().read(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n\x00"])
def test_no_image(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for method in (Decoder().read, Decoder().shape):
        with pytest.raises(UnreadableImageError, match="cannot be read") as error:
            method(str(path))
        assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("limit", [20, 10])
def test_decompression_bomb(save, monkeypatch, limit):
    # 24 pixels: more than the limit, of which Pillow warns; or than twice as many, an error.
    path = save(Image.fromarray(GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with bombs_are_errors():
        for method in (Decoder().read, Decoder().shape):
            with pytest.raises(UnreadableImageError, match="more pixels than is plausible"):
                method(path)
