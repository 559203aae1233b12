"""The small CLIP: tokenizer, both halves, its training, and CLIP-IQA."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from transformers import CLIPTokenizer

from twinset.models.clip import END, GARMENT_SENTENCES, LENGTH, START, StudioCLIP, letterbox, token_ids, tokenizer
from twinset.scoring.iqa import ANTONYMS, clip_iqa
from twinset.training.mannequin.attributes import ATTRIBUTES, attributes
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.spec import draw_plain_spec
from twinset.training.studio import clip as training
from twinset.training.studio.clip_words import garment_caption, mentioned_attributes, shortened
from twinset.training.studio.spoil import SPOILS, VERDICTS, spoil


@pytest.fixture(scope="module")
def tokens() -> CLIPTokenizer:
    """The tokenizer, built once."""
    return tokenizer()


@pytest.fixture(scope="module")
def small() -> StudioCLIP:
    """A CLIP too small to be good."""
    torch.manual_seed(0)
    return StudioCLIP.new(text_width=32, image_width=32, layers=2).eval()


class TestTokenizer:
    @pytest.mark.parametrize("text", ["a red dress on the beach", "Short hair, DRESS!", "短发 红色连衣裙", "5 cats"])
    def test_agrees_with_open_clip(self, tokens: CLIPTokenizer, text: str) -> None:
        expected = open_clip.tokenize([text], context_length=LENGTH)[0]
        ours = token_ids(tokens, [text])[0]
        length = int((expected != 0).sum())
        assert ours[:length].tolist() == expected[:length].tolist()
        assert (ours[length:] == END).all()

    def test_chinese_with_full_width_comma_agrees_too(self, tokens: CLIPTokenizer) -> None:
        text = "短发，红色连衣裙，海滩"
        expected = open_clip.tokenize([text])[0]
        assert token_ids(tokens, [text])[0][: int((expected != 0).sum())].tolist() == expected[expected != 0].tolist()

    def test_long_texts_are_cut(self, tokens: CLIPTokenizer) -> None:
        ids = token_ids(tokens, ["红" * 200])
        assert ids.shape == (1, LENGTH)
        assert ids[0, 0] == START and ids[0, -1] == END

    def test_it_comes_back_from_disk(self, tokens: CLIPTokenizer, tmp_path: Path) -> None:
        tokens.save_pretrained(tmp_path)
        again = CLIPTokenizer.from_pretrained(tmp_path)
        assert torch.equal(token_ids(again, ["短发 dress"]), token_ids(tokens, ["短发 dress"]))


class TestStudioCLIP:
    def test_letterbox_keeps_the_shape(self) -> None:
        box = letterbox(torch.zeros(1, 256, 192, 3, dtype=torch.uint8))
        assert box.shape == (1, 3, 112, 112)
        assert (box[..., :14] == 1).all() and (box[..., 15:97] < -0.99).all()

    def test_embeddings_have_length_one(self, small: StudioCLIP) -> None:
        with torch.no_grad():
            texts = small.encode_text(["a shirt", "一件衬衫"])
            pictures = small.encode_image(torch.zeros(2, 40, 60, 3, dtype=torch.uint8))
        torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
        torch.testing.assert_close(pictures.norm(dim=1), torch.ones(2))

    def test_choices_sum_to_one(self, small: StudioCLIP) -> None:
        chances = small.choose(np.zeros((50, 40, 3), np.uint8), list(GARMENT_SENTENCES.values()))
        assert chances.shape == (len(GARMENT_SENTENCES),)
        assert chances.sum() == pytest.approx(1)

    def test_it_comes_back_from_disk_in_half_precision(self, small: StudioCLIP, tmp_path: Path) -> None:
        small.save_pretrained(tmp_path)
        again = StudioCLIP.from_pretrained(tmp_path, torch.float16)
        assert again.logit_scale.dtype == torch.float16
        with torch.no_grad():
            close = again.float().encode_text(["a coat"]) @ small.encode_text(["a coat"]).T
        assert float(close) == pytest.approx(1, abs=1e-3)

    def test_an_empty_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no CLIP"):
            StudioCLIP.from_pretrained(tmp_path)


class TestWords:
    @pytest.mark.parametrize("seed", range(5))
    def test_captions_fit_and_say_what_is_true(self, tokens: CLIPTokenizer, seed: int) -> None:
        spec, rng = draw_plain_spec(seed), np.random.default_rng(seed)
        words, values = captions(spec, rng), np.array(list(attributes(spec).values()))
        for column, text in enumerate((words.english, words.chinese, words.english_plain, words.chinese_plain)):
            short = shortened(text, tokens, rng)
            assert len(tokens(short).input_ids) <= LENGTH
            mentioned = dict(zip(ATTRIBUTES, mentioned_attributes(short, values, column), strict=True))
            assert any(mentioned.values())
            if column == 0:
                assert mentioned["hair_colour"] and mentioned["upper_colour"] and mentioned["scene"]
            if column >= 2:
                assert not mentioned["upper_colour"] and not mentioned["logo"]

    def test_a_garment_is_described_in_both_languages(self) -> None:
        rng = np.random.default_rng(1)
        classes = [list(GARMENT_SENTENCES).index("dress"), 0, 1, 0]
        english = {garment_caption(classes, training.GARMENT_HEADS, False, rng) for _ in range(20)}
        chinese = {garment_caption(classes, training.GARMENT_HEADS, True, rng) for _ in range(20)}
        assert "a red striped dress on white" in english and "a dress on white" in english
        assert "红色条纹连衣裙，白色背景" in chinese


class TestQuality:
    @pytest.mark.parametrize("way", SPOILS)
    def test_every_way_changes_the_picture(self, way: str) -> None:
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
        spoiled = spoil(picture, way, rng)
        assert spoiled.shape == picture.shape and spoiled.dtype == np.uint8
        assert np.abs(spoiled.astype(int) - picture).mean() > 5

    def test_unknown_way_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'fire'"):
            spoil(np.zeros((8, 8, 3), np.uint8), "fire", np.random.default_rng(0))

    def test_spoiled_pictures_are_of_bad_quality(self) -> None:
        assert (VERDICTS[:, list(ANTONYMS).index("quality")] == 1).all()

    def test_scores_are_the_softmax_of_each_pair(self, small: StudioCLIP) -> None:
        picture = np.full((60, 40, 3), 90, np.uint8)
        scores = clip_iqa(small, picture)
        pair = small.choose(picture, ANTONYMS["sharpness"])
        assert list(scores) == list(ANTONYMS)
        assert scores["sharpness"] == pytest.approx(float(pair[0]), abs=1e-5)


@pytest.fixture(scope="module")
def store() -> dict[str, np.ndarray]:
    """Twelve samples with true words and random pictures."""
    rng, specs = np.random.default_rng(0), [draw_plain_spec(seed) for seed in range(12)]
    words = [captions(spec, rng) for spec in specs]
    return {
        "picture": rng.integers(0, 256, (12, 256, 192, 3), dtype=np.uint8),
        "captions": np.array([(w.english, w.chinese, w.english_plain, w.chinese_plain) for w in words]),
        "attributes": np.array([list(attributes(spec).values()) for spec in specs], dtype=np.int16),
        "flats": rng.integers(0, 256, (12, 2, 128, 96, 3), dtype=np.uint8),
        "crops": rng.integers(0, 256, (12, 2, 112, 112, 3), dtype=np.uint8),
        "identity_vector": np.stack([spec.identity.vector for spec in specs]),
    }


def test_training_lowers_the_loss_and_is_written(store: dict[str, np.ndarray], tmp_path: Path) -> None:
    settings = training.ClipOptions(
        data=tmp_path, out=tmp_path, steps=1, pictures=6, garments=4, faces=2, spoiled=2, held_out=4, bf16=False
    )
    model = training.ClipWithHeads(StudioCLIP.new(32, 32, 2), 30)
    antonyms = token_ids(model.clip.tokenizer, [word for pair in ANTONYMS.values() for word in pair])
    batch = training.draw_captioned(store, 8, settings, model.clip, np.random.default_rng(0))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        loss, named = training.clip_losses(model, batch, antonyms)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert set(named) == {"clip", "picture", "text", "garment", "identity", "colour", "iqa"}
    folder = training.train_clip_on(store, settings, StudioCLIP.new(32, 32, 2))
    assert StudioCLIP.from_pretrained(folder).text_encoder.config.hidden_size == 32
