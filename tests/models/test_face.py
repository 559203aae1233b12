"""Finding, aligning and encoding faces, and the loop that trains the networks for it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twinset.models.face_encoder import FaceEncoder, crops_to_tensor
from twinset.models.face_finder import TEMPLATE, FaceFinder, align, face_size, similarity_transform
from twinset.training.core.loop import Checkpoints, FitResult, FitSettings, fit
from twinset.training.studio import face_encoder, face_finder, judges


def turned(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Points under a similarity."""
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ matrix.T + shift


def dotted(points: np.ndarray, size: int = 300) -> np.ndarray:
    """A black picture with a soft white dot at each point; the first pixel covers 0 to 1."""
    ys, xs = np.mgrid[:size, :size] + 0.5
    squared = (xs - points[:, 0, None, None]) ** 2 + (ys - points[:, 1, None, None]) ** 2
    return np.repeat((255 * np.exp(-squared / 32).max(0))[..., None], 3, axis=2).astype(np.uint8)


class TestAlign:
    def test_similarity_maps_the_points_exactly(self) -> None:
        points = turned(TEMPLATE, 0.4, 1.7, (90, 40))
        matrix = similarity_transform(points, TEMPLATE)
        np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)

    def test_similarity_needs_two_different_points(self) -> None:
        with pytest.raises(ValueError, match="two different"):
            similarity_transform(np.ones((5, 2)), TEMPLATE)

    @pytest.mark.parametrize("scale", [0.7, 1.0, 2.0])
    def test_landmarks_come_to_lie_on_the_template(self, scale: float) -> None:
        points = turned(TEMPLATE, 0.3, scale, (70, 30))
        crop = align(dotted(points), points)[..., 0].astype(float)
        ys, xs = np.mgrid[:112, :112] + 0.5
        for x, y in TEMPLATE:
            near = crop * ((abs(xs - x) < 8) & (abs(ys - y) < 8))
            found = (near * xs).sum() / near.sum(), (near * ys).sum() / near.sum()
            np.testing.assert_allclose(found, (x, y), atol=0.4)

    def test_border_is_repeated(self) -> None:
        white = np.full((50, 40, 3), 255, np.uint8)
        assert align(white, TEMPLATE).min() == 255


class TestFaceEncoder:
    def test_embeddings_have_length_one(self) -> None:
        crops = crops_to_tensor(np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8))
        encoder = FaceEncoder().eval()
        assert encoder(crops).shape == (2, 512)
        torch.testing.assert_close(encoder.embed(crops).norm(dim=1), torch.ones(2))

    def test_other_sizes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(1, 3, 96, 96\).*align"):
            FaceEncoder()(torch.zeros(1, 3, 96, 96))

    def test_it_comes_back_from_disk(self, tmp_path: Path) -> None:
        encoder, crops = FaceEncoder().eval(), torch.rand(1, 3, 112, 112)
        encoder.save_pretrained(tmp_path)
        assert torch.equal(FaceEncoder.from_pretrained(tmp_path)(crops), encoder(crops))

    def test_margin_makes_arcface_harder(self) -> None:
        embeddings = torch.randn(6, 3, 16) * 0.2 + torch.randn(6, 1, 16)
        plain, hard = (face_encoder.arcface_among_people(embeddings, margin, 16) for margin in (0.0, 0.4))
        assert hard > plain > 0

    def test_training_learns_and_is_written(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        base = rng.integers(0, 256, (24, 1, 7, 7, 3)).repeat(16, 2).repeat(16, 3)
        views = (0.8 * base + rng.integers(0, 50, (24, 3, 112, 112, 3))).astype(np.uint8)
        vectors = (base[:, 0, ::16, ::16].reshape(24, -1)[:, :8] / 127.5 - 1).astype(np.float32)
        store = {"crops": views[:, :2], "canvas": views[:, 2], "identity_vector": vectors}
        settings = face_encoder.FaceEncoderOptions(
            data=tmp_path, out=tmp_path, steps=6, people=8, held_out=8, bf16=False, margin_steps=4
        )
        folder = face_encoder.train_face_encoder_on(store, settings)
        assert FaceEncoder.from_pretrained(folder, torch_dtype=torch.float16).dtype == torch.float16
        assert (folder / "figures.json").read_text().count("rank1") == 1


class TestFaceFinder:
    def test_nothing_is_found_by_a_network_that_sees_nothing(self) -> None:
        finder = FaceFinder().eval()
        nn.init.constant_(finder.head.weight, 0.0)
        assert finder.find(np.zeros((300, 200, 3), np.uint8)) == []

    def test_faces_lie_in_the_coordinates_of_the_picture(self) -> None:
        faces = FaceFinder().eval().find(np.zeros((600, 900, 3), np.uint8), threshold=0.0, most=2)
        assert 1 <= len(faces) <= 2
        assert all(face.landmarks.shape == (5, 2) and 0 <= face.score <= 1 for face in faces)

    def test_floating_pictures_are_refused(self) -> None:
        with pytest.raises(ValueError, match="uint8"):
            FaceFinder().find(np.zeros((8, 8, 3)))

    def test_targets_peak_at_the_landmarks(self) -> None:
        points = turned(TEMPLATE, 0.1, 1.0, (10, 5))
        heat, size = face_finder.targets_of(points)
        rows, columns = np.divmod(heat[1:].reshape(5, -1).argmax(1), heat.shape[2])
        np.testing.assert_allclose(np.stack([columns, rows], 1) * 4 + 2, points, atol=2.01)
        assert size == pytest.approx(np.log(face_size(points) / 40.0))

    def test_training_learns_and_is_written(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        landmarks = np.stack([turned(TEMPLATE, 0.0, 0.8, tuple(rng.uniform(10, 60, 2))) for _ in range(8)])
        faces = np.stack([dotted(points, 160) for points in landmarks])
        pool = face_finder.Pool(faces, landmarks, rng.integers(0, 256, (8, 160, 160, 3), dtype=np.uint8))
        settings = face_finder.FaceFinderOptions(out=tmp_path, steps=4, batch_size=8, held_out=2, bf16=False)
        assert FaceFinder.from_pretrained(face_finder.train_face_finder_on(pool, settings)).config["longest"] == 256

    def test_pool_from_mannequin_has_faces_where_it_says(self) -> None:
        pool = face_finder.draw_pool(3, first_seed=5)
        assert pool.faces.shape == pool.empty.shape == (3, 256, 192, 3)
        assert (pool.landmarks > 0).all() and (pool.landmarks[..., 0] < 192).all()


class Stopped(Exception):
    """Stands for a killed process."""


def fit_small(out: Path, stop_at: int | None = None, **changes: object) -> tuple[nn.Module, FitResult]:
    """Trains a small network with dropout for six steps."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.Linear(16, 1))

    def batch_fn(step: int) -> dict[str, Tensor]:
        if step == stop_at:
            raise Stopped
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(step))
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def loss_fn(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (model(batch["x"]) - batch["y"]).square().mean()
        return loss, {"mse": loss}

    settings = FitSettings(out=out, steps=6, log_every=1, checkpoint_seconds=0, warmup=1, learning_rate=0.01)
    return model, fit(model, batch_fn, loss_fn, replace(settings, **changes))


def weights(model: nn.Module) -> Tensor:
    """All parameters in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class TestLoop:
    @pytest.mark.parametrize("ema", [0.0, 0.9])
    def test_resumed_run_is_bit_equal(self, tmp_path: Path, ema: float) -> None:
        whole, _ = fit_small(tmp_path / "whole", ema=ema)
        with pytest.raises(Stopped):
            fit_small(tmp_path / "parts", stop_at=3, ema=ema)
        parts, result = fit_small(tmp_path / "parts", ema=ema)
        assert result.step == 6
        assert torch.equal(weights(whole), weights(parts))

    def test_loss_falls(self, tmp_path: Path) -> None:
        _, short = fit_small(tmp_path / "short", steps=1)
        _, long = fit_small(tmp_path / "long", steps=60, log_every=20)
        assert long.figures["loss"] < 0.5 * short.figures["loss"]

    def test_nan_stops_before_it_is_saved(self, tmp_path: Path) -> None:
        fit_small(tmp_path, steps=2)
        with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) at step"):
            fit_small(tmp_path, steps=40, learning_rate=1e30, clip=1e30)
        state = Checkpoints(tmp_path / "checkpoints").newest()
        assert state is not None
        assert all(value.isfinite().all() for value in state["model"].values())

    def test_damaged_checkpoint_is_passed_over(self, tmp_path: Path) -> None:
        checkpoints = Checkpoints(tmp_path)
        checkpoints.write(1, {"step": 1})
        checkpoints.write(2, {"step": 2}).write_bytes(b"half a file")
        (tmp_path / "step-00000003.partial").write_bytes(b"a write that was killed")
        with pytest.warns(UserWarning, match="cannot be read"):
            assert checkpoints.newest() == {"step": 1}

    def test_failed_write_leaves_the_last_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        checkpoints = Checkpoints(tmp_path)
        checkpoints.write(1, {"step": 1})

        def fail(*_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            checkpoints.write(2, {"step": 2})
        assert checkpoints.newest() == {"step": 1}

    def test_only_two_checkpoints_stay(self, tmp_path: Path) -> None:
        fit_small(tmp_path)
        assert [path.name for path in Checkpoints(tmp_path / "checkpoints").files()] == [
            "step-00000006.pt",
            "step-00000005.pt",
        ]

    def test_minutes_end_a_run(self, tmp_path: Path) -> None:
        _, result = fit_small(tmp_path, steps=None, minutes=0.01, log_every=1000)
        assert 0.6 <= result.seconds < 3

    def test_a_length_is_needed(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="length of the run"):
            FitSettings(out=tmp_path)


class TestJudges:
    def test_peaks_find_the_keypoints(self) -> None:
        keypoints = np.array([[50.3, 71.8, 1], [120.0, 200.5, 1], [0, 0, 0]], np.float32)
        heat = torch.from_numpy(judges.keypoint_heat(keypoints)).clamp(1e-4, 1 - 1e-4)
        found = judges.heatmap_peaks(torch.logit(heat)[None])[0].numpy()
        np.testing.assert_allclose(found[:2], keypoints[:2], atol=0.5)
        assert found[2, 2] == 0

    def test_garment_crop_fills_the_square(self) -> None:
        mask = np.zeros((256, 192), bool)
        mask[60:180, 40:100] = True
        crop = judges.garment_crop(np.zeros((256, 192, 3), np.uint8), mask)
        assert crop.shape == (96, 96, 3)
        assert (crop[0, 48] == 0).all() and (crop[48, 0] == 255).all()

    def test_unknown_judge_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="'nose'"):
            judges.JudgeOptions.model_validate({"data": tmp_path, "out": tmp_path, "judge": "nose"})
